"""What becomes of raw values: field mappings, cases and fixed values of a description, and their Painless."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.script import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = [
    "Case",
    "FieldMapping",
    "assignments",
    "read_assignments",
    "read_cases",
    "read_mappings",
    "value",
]

LIST_FIELDS = frozenset({"event.category", "event.type"})
"""Fields that ECS wants as lists, however many values they have."""

_MAPPING_KEYS = frozenset(
    {"to", "type", "table", "otherwise", "bits", "required", "differs_from", "if_absent", "quiet", "unless"}
)


@dataclass(frozen=True)
class FieldMapping:
    """A raw value, the fields it goes to, and the type of value that it is."""

    raw: str
    """The raw value."""
    to: tuple[str, ...]
    """The fields; for some types of value the object whose fields are meant."""
    type: str = "keyword"
    """The type of value (see `values`)."""
    table: str = ""
    """For `lookup`: the table that translates it."""
    otherwise: str = "keep"
    """For `lookup`, when the table lacks it: `keep` it in lower case, `drop` it, or `problem`."""
    bits: Mapping[int, str] = field(default_factory=dict)
    """For `bits`: what each bit is called."""
    required: bool = False
    """Whether a line without a usable value is refused as a whole: it is none of this format."""
    differs_from: str = ""
    """Set only when this raw value is another."""
    unless: str = ""
    """A text that means there is no value in this column."""
    if_absent: bool = False
    """Set only where the document has no such field yet."""
    quiet: bool = False
    """Left out without complaint when it is unusable."""


@dataclass(frozen=True)
class Case:
    """What follows from certain raw values."""

    when: Mapping[str, tuple[str, ...] | bool]
    """Raw value -> the texts it may be, or whether it must be there; all must hold."""
    set: Mapping[str, Any]
    """Fields that are set then."""
    add: Mapping[str, Any]
    """List fields that receive values then."""


def value(content: Any) -> str:
    """Return a value of a description as Painless source; a list becomes a new one for every document."""
    if isinstance(content, (list, tuple)):
        return "[" + ", ".join(literal(element) for element in content) + "]"
    return literal(content)


def assignments(script: Script, fields: Mapping[str, Any]) -> str:
    """Return the statements that set fields to fixed values, in the object array `o`."""
    return "".join(f"  {script.put(name, value(content))}\n" for name, content in fields.items())


def additions(script: Script, fields: Mapping[str, Any]) -> str:
    """Return the statements that add fixed values to list fields."""
    return "".join(
        f"  {script.add(name, literal(element))}\n" for name, content in fields.items() for element in content
    )


def read_assignments(reader: Reader) -> Mapping[str, Any]:
    """Read a mapping of field -> fixed value."""
    found: dict[str, Any] = {}
    for name, member in reader.items():
        content = member.data
        elements = content if isinstance(content, list) else [content]
        if not elements or not all(isinstance(element, (str, bool, int)) for element in elements):
            member.problem(f"{name}: expected a text, a number, true, false, or a list of texts")
            continue
        found[name] = list(elements) if name in LIST_FIELDS or isinstance(content, list) else content
    return found


def read_mappings(reader: Reader) -> tuple[FieldMapping, ...]:
    """Read the `fields` of a description: raw value -> one mapping, or a list of them, or just the field."""
    found = []
    for raw, member in reader.items():
        for entry in member.elements():
            if isinstance(entry.data, str):
                found.append(FieldMapping(raw, (entry.data,)))
            elif entry.is_mapping(_MAPPING_KEYS):
                found.append(_mapping(raw, entry))
    return tuple(found)


def _mapping(raw: str, entry: Reader) -> FieldMapping:
    to = entry.texts("to")
    if not to:
        entry.problem("'to' is missing", code="missing-key")
    bits: dict[int, str] = {}
    for bit, name in entry.mapping("bits").items():
        if bit.isdigit() and isinstance(name, str):
            bits[int(bit)] = name
        else:
            entry.at("bits").problem(f"bits: {bit!r} is no number with a name", hint='"2": syn')
    otherwise = entry.text("otherwise", default="keep")
    if otherwise not in ("keep", "drop", "problem"):
        entry.at("otherwise").problem("otherwise: expected keep, drop or problem")
    table = entry.text("table", default="")
    return FieldMapping(
        raw=raw,
        to=to,
        type=entry.text("type", default="lookup" if table else "bits" if bits else "keyword"),
        table=table,
        otherwise=otherwise,
        bits=bits,
        required=entry.flag("required"),
        differs_from=entry.text("differs_from", default=""),
        unless=entry.text("unless", default=""),
        if_absent=entry.flag("if_absent"),
        quiet=entry.flag("quiet"),
    )


def read_cases(reader: Reader) -> tuple[Case, ...]:
    """Read the `cases` of a description."""
    found = []
    for entry in reader.elements():
        if not entry.is_mapping({"when", "set", "add"}):
            continue
        when: dict[str, tuple[str, ...] | bool] = {}
        condition = entry.get("when")
        if condition is None or not condition.data:
            entry.problem("'when' is missing", code="missing-key")
        for raw, member in condition.items() if condition else ():
            if isinstance(member.data, bool):
                when[raw] = member.data
            else:
                when[raw] = tuple(element.as_text() for element in member.elements())
        settings, added = entry.get("set"), entry.get("add")
        additions_read = read_assignments(added) if added else {}
        found.append(
            Case(
                when,
                read_assignments(settings) if settings else {},
                {
                    name: content if isinstance(content, list) else [content]
                    for name, content in additions_read.items()
                },
            )
        )
    return tuple(found)


def write_cases(script: Script, cases: Sequence[Case]) -> str:
    """Return the statements of all cases, in order."""
    lines = []
    for case in cases:
        conditions = []
        for raw, wanted in case.when.items():
            slot = script.slot(raw)
            if isinstance(wanted, bool):
                conditions.append(f"{slot} {'!=' if wanted else '=='} null")
            else:
                conditions.append(
                    "(" + " || ".join(f"{literal(text)}.equals({slot})" for text in wanted) + ")"
                )
        body = assignments(script, case.set) + additions(script, case.add)
        lines.append(f"  if ({' && '.join(conditions)}) {{\n{body}  }}\n")
    return "".join(lines)
