"""What becomes of raw values: field mappings, cases and fixed values of a description, and their Painless."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.script import IN_ELEMENT, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = [
    "Case",
    "Condition",
    "FieldMapping",
    "Switch",
    "assignments",
    "condition",
    "read_assignments",
    "read_cases",
    "read_condition",
    "read_mappings",
    "read_switches",
    "value",
    "write_switches",
]

LIST_FIELDS = frozenset(
    {
        "event.category", "event.type", "dns.header_flags", "dns.resolved_ip", "host.ip", "host.mac", "observer.ip",
        "observer.mac", "process.args", "process.parent.args", "rule.author", "tags", "user.roles", "related.hash",
        "related.hosts", "related.ip", "related.user",
        *(f"threat.{part}.{name}" for part in ("tactic", "technique") for name in ("id", "name", "reference")),
    }
)  # fmt: skip
"""Fields that ECS wants as lists, however many values they have."""

_MAPPING_KEYS = frozenset(
    {
        "to", "type", "table", "otherwise", "bits", "required", "differs_from", "if_absent", "quiet", "unless", "when",
        "join", "decode", "formats", "host", "scheme", "query", "method", "unless_in",
        "fields", "pairs", "begin", "end", "local", "beside",
    }
)  # fmt: skip

_IF_THERE = "if_there"

Condition = Mapping[str, "tuple[str, ...] | bool"]
"""Raw value -> the texts it may be (`Create*`: how they begin), or whether it must be there; all must hold."""

_CHAIN = 3
"""Up to so many texts are compared one by one; more are looked up."""

DECODINGS = ("escapes", "hash", "url", "url_twice", "plus")
"""How texts are encoded: `\\x22` and `\\"`, `#22`, `%22`, `%2522`, or with `+` for a blank."""


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
    if_there: bool = False
    """Whether it is refused only for an unusable value, not where there is none: a format may lack it."""
    differs_from: str = ""
    """Set only when this raw value is another."""
    unless: str = ""
    """A text that means there is no value in this column."""
    if_absent: bool = False
    """Set only where the document has no such field yet."""
    quiet: bool = False
    """Left out without complaint when it is unusable."""
    when: Condition = field(default_factory=dict)
    """Other raw values that it takes for the mapping to hold."""
    join: str = ""
    """A raw value that continues this one behind a blank, such as the time after the date; without it there is none."""
    decode: str = ""
    """How the text was encoded (see `DECODINGS`)."""
    formats: tuple[str, ...] = ()
    """For `time`: the ways it may be written."""
    local: bool = False
    """For `time`: whether it is written as the locale of its machine has it, which the option `dates` tells."""
    host: str = ""
    """For `url` and `request_line`: the raw value with the host (and port) of a target that has none."""
    scheme: str = ""
    """For `url` and `request_line`: the raw value with its scheme."""
    query: str = ""
    """For `url`: the raw value with the query, where that stands in a column of its own."""
    method: str = ""
    """For `url`: the raw value with the method of the request; the target of CONNECT is a host with its port."""
    unless_in: Mapping[str, str] = field(default_factory=dict)
    """Raw value -> a text in it that shows that somebody wrote into the line what looks like another value of this
    kind: which of them is true nobody knows, so there is none."""

    begin: str = ""
    """For `enclosed` and `enclosed_number`: the text before each value."""
    end: str = ""
    """… and the text behind it; empty: the end of the text."""

    @property
    def takes(self) -> tuple[str, ...]:
        """The raw values that end up in its fields."""
        return tuple(
            raw
            for raw in (self.raw, self.join, self.host, self.scheme, self.query, *self.beside.values())
            if raw
        )

    @property
    def looks_at(self) -> tuple[str, ...]:
        """The other raw values that it takes into account."""
        return tuple(
            raw
            for raw in (
                self.differs_from,
                self.join,
                self.host,
                self.scheme,
                self.query,
                self.method,
                *self.unless_in,
            )
            if raw
        )

    fields: tuple[FieldMapping, ...] = ()
    """For `objects`: what becomes of the values in each object; their fields stand below `to[]`."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """For `objects`: a raw value of each object -> the list, in the same order, whose element it is."""
    pairs: tuple[str, ...] = ()
    """For `flattened`: the keys of name and value, where it is a list of such pairs."""

    @property
    def makes_list(self) -> bool:
        """Whether its fields are lists, however many values there are."""
        return "[]" in self.raw or not LIST_FIELDS.isdisjoint(self.to)


@dataclass(frozen=True)
class Case:
    """What follows from certain raw values."""

    when: Condition
    """What must hold."""
    set: Mapping[str, Any]
    """Fields that are set then."""
    add: Mapping[str, Any]
    """List fields that receive values then."""


@dataclass(frozen=True)
class Switch:
    """What follows from one value, looked up in a table: many values cost no more than one."""

    by: str
    """The raw value; or a field, as the mappings left it."""
    table: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
    """Text -> fields that are set, and list fields that receive values."""
    otherwise: tuple[Mapping[str, Any], Mapping[str, Any]] | None
    """The same for every other value, and for none."""


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
    decode = entry.text("decode", default="")
    if decode and decode not in DECODINGS:
        entry.at("decode").problem(f"decode: {decode!r} is unknown", hint=f"known: {', '.join(DECODINGS)}")
    table = entry.text("table", default="")
    pairs = entry.texts("pairs")
    if len(pairs) not in (0, 2):
        entry.at("pairs").problem("pairs: expected the keys of name and value", hint="[Name, Value]")
    return FieldMapping(
        raw=raw,
        to=to,
        type=entry.text("type", default="lookup" if table else "bits" if bits else "keyword"),
        table=table,
        otherwise=otherwise,
        bits=bits,
        required=entry.data.get("required") == _IF_THERE or entry.flag("required"),
        if_there=entry.data.get("required") == _IF_THERE,
        differs_from=entry.text("differs_from", default=""),
        unless=entry.text("unless", default=""),
        if_absent=entry.flag("if_absent"),
        quiet=entry.flag("quiet"),
        when=read_condition(entry),
        join=entry.text("join", default=""),
        decode=decode,
        formats=entry.texts("formats"),
        local=entry.flag("local"),
        host=entry.text("host", default=""),
        scheme=entry.text("scheme", default=""),
        query=entry.text("query", default=""),
        method=entry.text("method", default=""),
        unless_in={raw: entry.at("unless_in").text(raw) for raw in entry.mapping("unless_in")},
        fields=_element_mappings(raw, to, entry),
        beside={name: entry.at("beside").text(name) for name in entry.mapping("beside")},
        pairs=pairs,
        begin=entry.text("begin", default=""),
        end=entry.text("end", default=""),
    )


def _element_mappings(raw: str, to: tuple[str, ...], entry: Reader) -> tuple[FieldMapping, ...]:
    """Read the mappings for each object of a list: their raw values and fields are those of the object."""
    fields = entry.get("fields")
    if fields is None:
        return ()
    return tuple(
        replace(
            mapping,
            raw=f"{raw}{IN_ELEMENT}{mapping.raw}",
            # `^related.hosts` is a field of the document, of which every object may add to the list.
            to=tuple(
                name[1:] if name.startswith("^") else f"{to[0] if to else ''}[].{name}" for name in mapping.to
            ),
            when={f"{raw}{IN_ELEMENT}{name}": wanted for name, wanted in mapping.when.items()},
        )
        for mapping in read_mappings(fields)
    )


def read_condition(reader: Reader) -> Condition:
    """Read the member `when`: raw value -> a text, a list of texts, or whether it must be there."""
    member = reader.get("when")
    if member is None:
        return {}
    found: dict[str, tuple[str, ...] | bool] = {}
    for raw, wanted in member.items():
        if isinstance(wanted.data, bool):
            found[raw] = wanted.data
        else:
            found[raw] = tuple(element.as_text() for element in wanted.elements())
    return found


def condition(script: Script, when: Condition) -> str:
    """Return the Painless expression for a condition; the tables of long ones are in `p`."""
    conditions = []
    for raw, wanted in when.items():
        slot = script.slot(raw)
        if isinstance(wanted, bool):
            conditions.append(f"{slot} {'!=' if wanted else '=='} null")
        elif script.lists and "[]" in raw:
            table = script.shared_table("parts", _parts(wanted))
            conditions.append(f"anyIsAnyOf({script.slot_number(raw)}, (Map){table}, f, r)")
        elif any(_is_part(text) for text in wanted):
            table = script.shared_table("parts", _parts(wanted))
            conditions.append(f"isAnyOf({slot}, (Map){table})")
        elif len(wanted) > _CHAIN:
            table = script.shared_table("texts", dict.fromkeys(wanted, True))
            conditions.append(f"((Map){table}).containsKey({slot})")
        else:
            conditions.append("(" + " || ".join(f"{literal(text)}.equals({slot})" for text in wanted) + ")")
    return " && ".join(conditions)


def _is_part(text: str) -> bool:
    return len(text) > 1 and (text.endswith("*") or text.startswith("*"))


def _parts(texts: Sequence[str]) -> Mapping[str, Any]:
    """Return what the Painless function `isAnyOf` reads: `Create*` is how a text begins, `*.exe` how it ends.

    `*.Create*` is what stands anywhere in it.
    """
    parts = [text for text in texts if _is_part(text)]
    return {
        "is": {text: True for text in texts if not _is_part(text)},
        "has": [text[1:-1] for text in parts if text.startswith("*") and text.endswith("*")],
        "begins": [text[:-1] for text in parts if not text.startswith("*")],
        "ends": [text[1:] for text in parts if not text.endswith("*")],
    }


def read_cases(reader: Reader) -> tuple[Case, ...]:
    """Read the `cases` of a description."""
    found = []
    for entry in reader.elements():
        if not entry.is_mapping({"when", "set", "add"}):
            continue
        when = read_condition(entry)
        if not when:
            entry.problem("'when' is missing", code="missing-key")
        found.append(Case(when, *_consequences(entry)))
    return tuple(found)


def _consequences(entry: Reader) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Read the members `set` and `add`."""
    settings, added = entry.get("set"), entry.get("add")
    additions_read = read_assignments(added) if added else {}
    return (
        read_assignments(settings) if settings else {},
        {
            name: content if isinstance(content, list) else [content]
            for name, content in additions_read.items()
        },
    )


def read_switches(reader: Reader) -> tuple[Switch, ...]:
    """Read the `switch` of a description: one, or a list of them. A key may hold several texts, with blanks between."""
    found = []
    for entry in reader.elements():
        if not entry.is_mapping({"by", "table", "otherwise"}):
            continue
        table: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
        member = entry.get("table")
        if member is None:
            entry.problem("'table' is missing", code="missing-key")
        for key, content in member.items() if member else ():
            if not content.is_mapping({"set", "add"}):
                continue
            consequences = _consequences(content)
            for text in key.split():
                if text in table:
                    content.problem(f"{text!r} stands twice in this table")
                table[text] = consequences
        other = entry.get("otherwise")
        otherwise = _consequences(other) if other and other.is_mapping({"set", "add"}) else None
        found.append(Switch(entry.text("by"), table, otherwise))
    return tuple(found)


def write_cases(script: Script, cases: Sequence[Case]) -> str:
    """Return the statements of all cases, in order."""
    lines = []
    for case in cases:
        body = assignments(script, case.set) + additions(script, case.add)
        lines.append(f"  if ({condition(script, case.when)}) {{\n{body}  }}\n")
    return "".join(lines)


def table_of(script: Script, fields: Mapping[str, Any]) -> list[Any]:
    """Return fixed values of fields as the Painless functions `setAll` and `addAll` read them."""
    return [part for name, content in fields.items() for part in (*script.member(name), content)]


def write_switches(script: Script, switches: Sequence[Switch], is_raw: Callable[[str], bool]) -> str:
    """Return the statements of all switches, in order; `is_raw` tells names of raw values from those of fields."""
    lines = []
    for switch in switches:
        entries: dict[str, list[list[Any]]] = {}
        table = {}
        for text, (settings, added) in switch.table.items():
            entry = [table_of(script, settings), table_of(script, added)]
            # Texts of one meaning share an entry.
            table[text] = entries.setdefault(repr(entry), entry)
        otherwise = None
        if switch.otherwise is not None:
            otherwise = [table_of(script, content) for content in switch.otherwise]
        place = script.unique("switch", {"table": table, "otherwise": otherwise})
        text = script.slot(switch.by) if is_raw(switch.by) else script.get(switch.by)
        lines.append(f"  follow((Map){place}, {text}, o);\n")
    return "".join(lines)
