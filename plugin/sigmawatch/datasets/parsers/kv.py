r"""Pairs of key and value: `srcip=10.0.0.1 action="deny"`, `[action:"Drop"; src:"10.0.0.1"]`, `IN=eth0 SYN URGP=0`.

    - kv:
        keys: [srcip, action, …]     # the keys that the format has
        of: pairs                    # the raw value that holds them; else what is left of the line
        separator: " "               # between pairs; a list: the one that ends the first value
        assign: "="                  # between key and value
        quotes: '"'                  # what may stand around a value
        escapes: true                # a backslash protects the next sign: \\" \\= \\\\ \\n
        blanks: true                 # a value without quotes may hold separators: it ends before the next known key
        flags: tcp-flags             # words without a value are gathered in this raw value, with blanks between
        begin: "IN="                 # the pairs begin with this text …
        before: prefix               # … and what stands before it is this raw value
        end: " ["                    # they end before this text, or the first of several
        inside: "[]"                 # they stand between these two signs
        null_values: ["N/A"]         # what stands where there is no value; an empty one always does
        rest: fortinet.firewall      # the object for what no field mapping names
        all: true                    # … and for what mappings name, too
        repeated: ignore             # a key that stands twice is no problem
        error: no pairs              # what is said of a line without any of the keys

Of several values of a key the first counts, and that there was another is told in `error.message`: who can write into
a value (a URL, a user name) must not be able to change what the device says of it. A quoted value ends at the quote
behind which the next pair begins, so a quote inside, protected or not, ends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.parsers.plain import Plain
from sigmawatch.datasets.script import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["Pairs", "pairs_table", "read"]


@dataclass(frozen=True)
class Pairs(Plain):
    """Pairs of key and value."""

    keys: tuple[str, ...]
    """The keys of the format."""
    separators: tuple[str, ...]
    """What stands between pairs: the one of them that ends the first value."""
    assign: str
    """What stands between key and value."""
    quotes: str
    """Signs that may stand around a value."""
    escapes: str
    """The signs that a backslash protects; `n` and `r` among them stand for line breaks."""
    blanks: bool
    """Whether values without quotes may hold separators."""
    flags: str
    """The raw value for words without a value; empty: they are left out."""
    begin: str
    """The text that the pairs begin with; empty: the beginning of the line."""
    before: str
    """The raw value for what stands before it."""
    end: tuple[str, ...]
    """Texts that the pairs end before; empty: the end of the line."""
    inside: str
    """Two signs that stand around all pairs; empty: none."""
    null_values: tuple[str, ...]
    """Values that mean there is none."""
    rest: str
    """The object for values without a mapping; empty: they are left out."""
    all: bool
    """Whether values with a mapping go there, too."""
    repeated: str
    """What is done about a key that stands twice with two values: `problem` or `ignore`."""
    error: str
    """What is said of a line that has none of the keys."""
    of: str = ""
    """The raw value that holds the pairs; empty: what is left of the line."""
    kind: str = "kv"

    @property
    def raw_values(self) -> Sequence[str]:
        """The keys, the flags, and what stands before the pairs."""
        return tuple(name for name in (*self.keys, self.flags, self.before) if name)

    def write(self, script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG002  # the protocol's signature
        """Write the cuts and the call that takes the pairs apart."""
        place = script.unique("pairs", pairs_table(self, script))
        source = script.slot(self.of) if self.of else "text"
        lines = [f"String core = {source};"]
        refusal = f"{script.fault} = {literal(f'kv: {self.error}')};"
        if self.begin:
            before = f"{script.slot(self.before)} = core.substring(0, at).trim();" if self.before else ""
            if before:
                before += (
                    f" if ({script.slot(self.before)}.isEmpty()) {{ {script.slot(self.before)} = null; }}"
                )
            lines.append(
                f"int at = core.indexOf({literal(self.begin)}); "
                f"if (at < 0) {{ {refusal} core = ''; }} else {{ {before} core = core.substring(at); }}"
            )
        if self.end:
            lines.append("int end = -1;")
        lines += [
            f"end = core.indexOf({literal(text)}); if (end >= 0) {{ core = core.substring(0, end); }}"
            for text in self.end
        ]
        if self.inside:
            first, last = self.inside[0], self.inside[1]
            lines += [
                f"int open = core.indexOf({literal(first)}); int close = core.lastIndexOf({literal(last)});",
                "if (open >= 0) { core = core.substring(open + 1, close > open ? close : core.length()); }",
            ]
        rest = script.object(self.rest) if self.rest else "null"
        call = f"String twice = pairs(core, f, {rest}, (Map){place});"
        if self.repeated == "problem":
            call += " if (twice != null) { problems.add('kv: more than one value of ' + shortened(twice)); }"
        lines.append(call)
        if self.of:
            return f"if ({source} != null) {{\n" + "\n".join(lines) + "\n}\n"
        known = " && ".join(f"{script.slot(key)} == null" for key in self.keys if key in script.slots)
        if known and not self.begin:
            lines.append(f"if ({known}) {{ {refusal} }}")
        return "\n".join(lines) + "\n"


def pairs_table(step: Pairs, script: Script, *, any_key: bool = False) -> dict[str, Any]:
    """Return what the Painless function `pairs` reads; with `any_key` every name is a key that ends a bare value."""
    used = script.slots
    mapped = set(script.mapped)
    # What only conditions look at goes to `rest` as well: a negative number says so.
    slots = {key: used.get(key, 0) * (1 if key in mapped or not step.rest else -1) for key in step.keys}
    return {
        "separators": list(step.separators),
        "assign": step.assign,
        "quotes": step.quotes,
        "escapes": step.escapes,
        "blanks": step.blanks,
        "any": any_key,
        "flags": script.slot_number(step.flags) if step.flags else 0,
        "slots": slots,
        "nulls": dict.fromkeys(step.null_values, True),
        "all": step.all and bool(step.rest),
        "reserved": script.reserved(step.rest) if step.rest else {},
    }


_KEYS = frozenset(
    {
        "keys", "separator", "assign", "quotes", "escapes", "blanks", "flags", "begin", "before", "end", "inside",
        "null_values", "rest", "all", "repeated", "error", "of",
    }
)  # fmt: skip


def read(reader: Reader) -> Pairs:
    """Read the settings of a kv step."""
    reader.is_mapping(_KEYS)
    keys = reader.texts("keys")
    if not keys:
        reader.problem("'keys' is missing", hint="list the keys that the format has", code="missing-key")
    if len(set(keys)) != len(keys):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        reader.at("keys").problem(f"keys that stand twice: {', '.join(twice)}")
    inside = reader.text("inside", default="")
    if len(inside) not in (0, 2):
        reader.at("inside").problem("inside: expected two signs", hint='inside: "[]"')
        inside = ""
    repeated = reader.text("repeated", default="problem")
    if repeated not in ("problem", "ignore"):
        reader.at("repeated").problem("repeated: expected problem or ignore")
    begin, before = reader.text("begin", default=""), reader.text("before", default="")
    if before and not begin:
        reader.at("before").problem("'before' needs 'begin', the text that the pairs begin with")
    rest, everything = reader.text("rest", default=""), reader.flag("all")
    if everything and not rest:
        reader.at("all").problem("'all' needs 'rest', the object that they go to")
    flags, blanks = reader.text("flags", default=""), reader.flag("blanks")
    if flags and blanks:
        reader.at("flags").problem("words without a value cannot be told from values with blanks")
    return Pairs(
        keys=keys,
        separators=reader.texts("separator") or (" ",),
        assign=reader.text("assign", default="="),
        quotes=reader.text("quotes", default="") if reader.get("quotes") else '"',
        escapes=reader.text("escapes", default=""),
        blanks=blanks,
        flags=flags,
        begin=begin,
        before=before,
        end=reader.texts("end"),
        inside=inside,
        null_values=reader.texts("null_values"),
        rest=rest,
        all=everything,
        repeated=repeated,
        error=reader.text("error", default="none of the keys of this format"),
        of=reader.text("of", default=""),
    )
