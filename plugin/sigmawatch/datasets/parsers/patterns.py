"""Messages of many shapes: the first template that fits says what the message means.

    - patterns:
        prefixes: ["error: "]         # taken off before matching, the first that fits
        suffixes: [" [preauth]"]
        squeeze: true                 # runs of blanks, by which a log aligns its columns, are one
        list:
          - match: Failed {method} for {user*} from {address} port {port} ssh2    # or a list of templates
            set: {event.action: ssh_login, event.outcome: failure}
            raw: {method: none}       # raw values that follow from the shape, for mappings, switches and cases
        unmatched: {error: not an sshd line, unless: syslog.program}
        next: rest                    # the raw value that is the text of the next step

A message that no template fits is an event all the same when the raw value `unless` was found (or no `unmatched` is
given), else the line is refused with the words of `error`. `unmatched: {tell: a new shape, when: {code: [1, 2]}}` does
not refuse it, but says so in `error.message` where messages of a known shape were expected. `of: NAME` matches a raw
value in place of what is left of the line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.mapping import (
    Condition,
    condition,
    read_assignments,
    read_condition,
    table_of,
)
from sigmawatch.datasets.parsers.plain import Plain
from sigmawatch.datasets.parsers.templates import Template, TemplateError, parse_template
from sigmawatch.datasets.script import java_length, literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["Pattern", "Patterns", "read"]


@dataclass(frozen=True)
class Pattern:
    """Templates of one meaning."""

    templates: tuple[Template, ...]
    """Tried in this order."""
    set: Mapping[str, Any]
    """Fields that follow from the shape alone."""
    raw: Mapping[str, str] = field(default_factory=dict)
    """Raw values that do."""


@dataclass(frozen=True)
class Patterns(Plain):
    """An ordered list of message shapes."""

    patterns: tuple[Pattern, ...]
    """Tried in this order."""
    prefixes: tuple[str, ...]
    """Texts before the message that no template names."""
    suffixes: tuple[str, ...]
    """Texts behind it."""
    error: str
    """What is said of a line that no template fits; empty: it is an event."""
    unless: str
    """The raw value whose presence makes such a line an event all the same."""
    tell: str = ""
    """What is said of it in `error.message`, without refusing it; empty: nothing."""
    tell_when: Condition = field(default_factory=dict)
    """The raw values that it is said for."""
    next: str = ""
    """The raw value that is the text of the next step, where it was found; empty: the text stays as it is."""
    of: str = ""
    """The raw value that holds the message; empty: what is left of the line."""
    squeeze: bool = False
    """Whether runs of blanks in a message are one."""
    kind: str = "patterns"

    @property
    def raw_values(self) -> Sequence[str]:
        """The captures."""
        return tuple(
            dict.fromkeys(
                capture.name
                for pattern in self.patterns
                for template in pattern.templates
                for capture in template.captures
            )
            | dict.fromkeys(name for pattern in self.patterns for name in pattern.raw)
        )

    @property
    def emits(self) -> Mapping[str, Any]:
        """What the patterns set."""
        return {field: value for pattern in self.patterns for field, value in pattern.set.items()}

    def write(self, script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG002  # the protocol's signature
        """Write the tables of the templates and the call that tries them."""
        templates = []
        by_word: dict[str, list[int]] = {}
        anywhere: list[int] = []
        entries = [(template, pattern) for pattern in self.patterns for template in pattern.templates]
        words = dict.fromkeys(
            template.first_word for template, _ in entries if template.first_word is not None
        )
        for index, (template, pattern) in enumerate(entries):
            slots = [script.slot_number(capture.name) for capture in template.captures]
            sets = table_of(script, pattern.set)
            raw = [part for name, text in pattern.raw.items() for part in (script.slot_number(name), text)]
            templates.append({**template.table(), "slots": slots, "set": sets, "raw": raw})
            # Each list holds its templates in the order of the description.
            if template.first_word is None:
                anywhere.append(index)
            for word in words if template.first_word is None else [template.first_word]:
                by_word.setdefault(word, []).append(index)
        place = script.unique("patterns", {"words": by_word, "other": anywhere, "templates": templates})
        source = script.slot(self.of) if self.of else "text"
        lines = [f"String core = {f'squeezed({source})' if self.squeeze else source};"]
        for text, test, cut in (
            *((text, "startsWith", f"core.substring({java_length(text)})") for text in self.prefixes),
            *(
                (text, "endsWith", f"core.substring(0, core.length() - {java_length(text)})")
                for text in self.suffixes
            ),
        ):
            lines.append(f"if (core.{test}({literal(text)})) {{ core = {cut}; }}")
        call = f"matchMessage(core, (Map){place}, f, o)"
        unmatched = ""
        if self.error:
            known = f" && {script.slot(self.unless)} == null" if self.unless else ""
            unmatched = f"if (!{call}{known}) {{ {script.fault} = {literal(f'patterns: {self.error}')}; }}"
        if self.tell:
            expected = f" && {condition(script, self.tell_when)}" if self.tell_when else ""
            unmatched = f"if (!{call}{expected}) {{ problems.add({literal(f'patterns: {self.tell}')}); }}"
        lines.append(unmatched or f"{call};")
        if self.next:
            rest = script.slot(self.next)
            lines.append(f"if ({rest} != null) {{ text = {rest}; {rest} = null; }}")
        if self.of:
            return f"if ({source} != null) {{\n" + "\n".join(lines) + "\n}\n"
        return "\n".join(lines) + "\n"


def read(reader: Reader) -> Patterns:
    """Read the settings of a patterns step."""
    reader.is_mapping({"list", "prefixes", "suffixes", "unmatched", "next", "of", "squeeze"})
    patterns = []
    entries = reader.get("list")
    if entries is None:
        reader.problem("'list' is missing", code="missing-key")
    for entry in entries.elements() if entries else ():
        if not entry.is_mapping({"match", "set", "raw"}):
            continue
        templates = []
        match = entry.get("match")
        if match is None:
            entry.problem("'match' is missing", code="missing-key")
        for element in match.elements() if match else ():
            try:
                templates.append(parse_template(element.as_text()))
            except TemplateError as error:
                element.problem(f"broken pattern: {error}", code="pattern")
        settings = entry.get("set")
        raw = entry.get("raw")
        found = {name: member.as_text() for name, member in raw.items()} if raw else {}
        patterns.append(Pattern(tuple(templates), read_assignments(settings) if settings else {}, found))
    unmatched = reader.get("unmatched")
    refusal, unless, tell = "", "", ""
    tell_when: Condition = {}
    if unmatched is not None and unmatched.is_mapping({"error", "unless", "tell", "when"}):
        if unmatched.get("tell"):
            tell, tell_when = unmatched.text("tell"), read_condition(unmatched)
        else:
            refusal, unless = unmatched.text("error"), unmatched.text("unless", default="")
    found_patterns = Patterns(
        patterns=tuple(patterns),
        prefixes=reader.texts("prefixes"),
        suffixes=reader.texts("suffixes"),
        error=refusal,
        unless=unless,
        tell=tell,
        tell_when=tell_when,
        next=reader.text("next", default=""),
        of=reader.text("of", default=""),
        squeeze=reader.flag("squeeze"),
    )
    if found_patterns.next and found_patterns.next not in found_patterns.raw_values:
        reader.at("next").problem(f"next: no template captures {found_patterns.next!r}")
    return found_patterns
