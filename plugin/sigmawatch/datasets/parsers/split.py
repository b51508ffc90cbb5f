"""Raw values that hold several: `TCP_MISS/200`, `1772359200,192.0.2.1,10.0.0.4,…`.

    - split:
        outcome: {at: "/", into: [result, status]}               # at the first such text
        peer: {at: ":", into: [address, port], last: true}       # … or at the last
        tuple: {at: ",", into: [time, source, target, state], counts: [3, 4], error: no tuple of a flow}

Where the text is missing the first part is all of it. With more than two names, or with `counts`, it is parted at every
such text, and an empty part is none. `counts` are the numbers of parts that it may have: the line is refused with the
words of `error` where it has another, or where there is more than one such value; parts behind those that have a name
are told in `error.message`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.parsers.plain import Plain
from sigmawatch.datasets.script import java_length, literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["Cut", "Split", "read"]


@dataclass(frozen=True)
class Cut:
    """How a raw value is parted."""

    raw: str
    """The raw value."""
    at: str
    """The text between its parts."""
    into: tuple[str, ...]
    """The parts."""
    last: bool = False
    """Whether the last such text counts, not the first."""
    counts: tuple[int, ...] = ()
    """How many parts it may have; empty: any number."""
    error: str = ""
    """What is said of a line where it has another number of them."""

    @property
    def at_every(self) -> bool:
        """Whether it is parted at every such text."""
        return len(self.into) > 2 or bool(self.counts)


@dataclass(frozen=True)
class Split(Plain):
    """Raw values taken apart."""

    cuts: tuple[Cut, ...]
    """In this order."""
    kind: str = "split"

    @property
    def raw_values(self) -> Sequence[str]:
        """The parts."""
        return [name for cut in self.cuts for name in cut.into]

    @property
    def parts(self) -> Sequence[str]:
        """The raw values that are parted."""
        return [cut.raw for cut in self.cuts]

    def write(self, script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG002  # the protocol's signature
        """Write the cuts; an empty part is none."""
        lines = []
        for cut in self.cuts:
            if cut.at_every:
                lines.append(_write_all(script, cut))
                continue
            whole, first, second = (script.slot(name) for name in (cut.raw, *cut.into))
            find = "lastIndexOf" if cut.last else "indexOf"
            lines.append(
                f"if ({whole} != null) {{ String whole = {whole}; int at = whole.{find}({literal(cut.at)}); "
                f"{first} = at < 0 ? whole : at == 0 ? null : whole.substring(0, at); "
                f"int next = at + {java_length(cut.at)}; "
                f"{second} = at < 0 || next == whole.length() ? null : whole.substring(next); }}\n"
            )
        return "".join(lines)


def _write_all(script: Script, cut: Cut) -> str:
    """Write the cut of a value at every such text."""
    whole = script.slot(cut.raw)
    slots = script.shared_table("slots", [script.slot_number(name) for name in cut.into])
    parted = f"int count = partAll({whole}, {literal(cut.at)}, (List){slots}, f);"
    checks = ""
    if cut.counts:
        error = literal(f"split: {cut.error}")
        tests = [f"count != {count}" for count in sorted(cut.counts) if count < len(cut.into)]
        wrong = " && ".join([f"count < {len(cut.into)}", *tests])
        more = literal(f"split: {cut.raw}: more parts than are known")
        checks = (
            f" if ({wrong}) {{ {script.fault} = {error}; }} "
            f"else if (count > {len(cut.into)}) {{ problems.add({more}); }}"
        )
        if script.lists:
            # Where a list was not parted into documents all but the first would be lost.
            several = f"r[{script.slot_number(cut.raw)}]"
            checks += (
                f" if ({several} instanceof List && ((List){several}).size() > 1) "
                f"{{ {script.fault} = severalEvents(((List){several}).size()); }}"
            )
    return f"if ({whole} != null) {{ {parted}{checks} }}\n"


def read(reader: Reader) -> Split:
    """Read the settings of a split step."""
    cuts = []
    for raw, entry in reader.items():
        if not entry.is_mapping({"at", "into", "last", "counts", "error"}):
            continue
        into = entry.texts("into")
        if len(into) < 2:
            entry.problem("into: expected the names of the parts", hint="into: [result, status]")
            continue
        member = entry.get("counts")
        counts = tuple(element.data for element in member.elements()) if member else ()
        if not all(type(count) is int for count in counts):
            entry.at("counts").problem("counts: expected numbers of parts", hint="counts: [8, 13]")
            continue
        if counts and max(counts) != len(into):
            entry.at("counts").problem(f"counts: the largest is that of the names, {len(into)}")
        cut = Cut(raw, entry.text("at"), into, entry.flag("last"), counts, entry.text("error", default=""))
        if cut.at_every and cut.last:
            entry.at("last").problem("last is for two parts")
        if bool(counts) != bool(cut.error):
            entry.problem("counts and error go together", hint="error: no tuple of a flow")
        cuts.append(cut)
    return Split(tuple(cuts))
