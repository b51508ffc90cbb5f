"""Lines that are JSON objects, behind a syslog header where a `syslog` step stands before this one.

    - json:
        required: [eventVersion, eventSource]   # keys that prove the format; `a|b`: one of them
        error: not a CloudTrail event           # what is said of objects that lack one
        unwrap: [detail, message.data]          # envelopes: an object, its JSON text, or that in base64
        split: [Records]                        # envelopes of many events, as `envelope: {records: …}` has them
        prefixes: ["@cee:"]                     # what may stand before the object
        parsed: [json]                          # where shippers put objects that they parsed themselves
        null_values: ["-"]                      # texts that mean there is no value, besides null and ""
        rest: aws.cloudtrail.other              # a flattened field for everything that no mapping names
        windows_xml: true                       # the XML of Windows events is read as what Winlogbeat makes of it
        rendered: true                          # `message` beside parsed fields is a text that was made of them
        lift: [properties]                      # objects whose members count as those of the event
        any_case: true                          # keys of the event as the description spells them, whatever their case
        suffixes: [_s, _d]                      # … and whichever of these endings they have
        whole: suricata.eve                     # or one for all of the object
        table: {kind: _path, formats: {dns: [ts uid query]}}   # lines of columns become the same objects (`table`)
        pairs: {Parameters: [Name, Value]}      # lists of names and values that are objects in fact; [Name]: of objects
        gather:                                 # other forms of the event, with its members at the top:
          unless: time                          # a key that only the usual form has
          into: properties                      # the object that holds them there
          beside: [time, category]              # what stands beside it there, too
          names: {TimeGenerated: time, Claims: identity.claims, status.value: status}   # what has another name

Raw values are paths (`paths`). Only those that something asks for are looked up, by code written for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.eventxml import begins_with_events, events_and_lines
from sigmawatch.datasets.parsers.columns import FORMAT_FIELD
from sigmawatch.datasets.parsers.extract import write_extraction
from sigmawatch.datasets.parsers.paths import Element, Key, PathError, Select, alternatives, parse_path
from sigmawatch.datasets.parsers.table import Table, read_table
from sigmawatch.datasets.script import IN_ELEMENT, TREE, literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.mapping import FieldMapping
    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["Gather", "Json", "read"]


@dataclass(frozen=True)
class Gather:
    """How other forms of an event, whose members are all at the top, become the usual one.

    Names that begin with a capital begin with a small letter there, and texts that are JSON are what they hold: so
    Azure's tables differ from what its event hubs get.
    """

    unless: str
    """A key that only the usual form has."""
    into: str
    """The object that holds an event's own members."""
    beside: tuple[str, ...]
    """Members that stand beside it."""
    names: Mapping[str, str]
    """Name, or `object.member`, in the other form -> in the usual one (a path); the first that has a value counts."""


@dataclass(frozen=True)
class Json:
    """A JSON object."""

    required: tuple[tuple[str, ...], ...]
    """Keys of the object, of each group one."""
    error: str
    """What is said of other objects."""
    unwrap: tuple[tuple[str, ...], ...]
    """Ways to what an envelope holds."""
    split: tuple[str, ...]
    """Keys of lists of events."""
    prefixes: tuple[str, ...]
    """Texts before the object."""
    parsed: tuple[str, ...]
    """Fields of the input document with the object as a shipper parsed it."""
    null_values: tuple[str, ...]
    """Texts that mean there is no value."""
    rest: str
    """The flattened field for everything that no mapping names; empty: it is left out."""
    windows_xml: bool = False
    """Whether the XML of Windows events is read, too, as the object that Winlogbeat makes of it."""
    rendered: bool = False
    """Whether the document's own fields count even where it has a `message`, a text that was made of them."""
    lift: tuple[str, ...] = ()
    """Keys of objects whose members count as those of the event, where it has none of that name itself."""
    any_case: bool = False
    """Whether the event's own keys are those that the description names in any case."""
    suffixes: tuple[str, ...] = ()
    """Endings that such keys may have."""
    pairs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Key of a list of names and values -> their keys in it; without the latter, the object of that name."""
    gather: Gather | None = None
    """How other forms of the event become the usual one."""
    keeps_all: bool = False
    """Whether the whole object goes there, not only what no mapping names."""
    table: Table | None = None
    """How lines of columns become such objects."""
    kind: str = "json"
    options: Sequence[str] = ()
    mappings: Sequence[FieldMapping] = ()
    raw_values: Sequence[str] = ()

    @property
    def drops(self) -> bool:
        """Whether there are header lines."""
        return self.table is not None

    @property
    def emits(self) -> Mapping[str, Any]:
        """The field for the rest."""
        return {self.rest: None} if self.rest else {}

    def declared_format(self, line: str) -> str | None:
        """JSON declares nothing; columns may."""
        return self.table.declared_after(line, None) if self.table is not None else None

    def declared_after(self, line: str, before: str | None) -> str | None:
        """Do as `DeclaresByLines` says."""
        return self.table.declared_after(line, before) if self.table is not None else None

    def why_not(self, raw: str) -> str:
        """Return what is wrong with the name of a raw value, empty when it may be one."""
        try:
            for path in alternatives(raw):
                parse_path(path)
        except PathError as error:
            return str(error)
        return ""

    def events(self, line: str) -> Sequence[str] | None:
        """Return the events of a line that holds several, or None when it is none of these."""
        text = line.removeprefix("\ufeff").strip()
        if self.windows_xml and begins_with_events([text])[0]:
            return list(events_and_lines([text]))
        return None

    def write_input(self, script: Script) -> str:
        """Write the statements that find an object which a shipper parsed, where the document has no line."""
        groups = [list(group) for group in self.required]
        given = "raw == null || raw instanceof Map"
        if self.rendered:
            # A line that came along is worth more than what was made of it.
            required = script.table("required", groups)
            # `given` is what the document has for `event`; its objects are not open yet.
            none = "!(given instanceof Map) || ((Map)given).get('original') == null"
            # A text in the place of one of them is nothing that was parsed.
            whole = " && ".join(f"ctx.get({literal(group[0])}) instanceof Map" for group in self.required)
            given += f" || (({none}) && {whole} && hasAll(ctx, (List){required}))"
        return (
            f"if ({given}) "
            f"{{ raw = givenObject(ctx, raw, (List){script.table('parsed', list(self.parsed))}, "
            f"(List){script.table('required', groups)}); }}\n"
        )

    def write(self, script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG002  # as above
        """Write the functions that take the wanted values out of the object, and the calls."""
        wanted = self._wanted(script)
        lines = ["Map[] root = new Map[1];"]
        if self.table is not None:
            # Not every document is of a file: its field is taken away in any case.
            lines.append(f"def order = ctx.remove({literal(FORMAT_FIELD)});")
            # Behind the header of a syslog it is a message.
            header = "text.startsWith('#') && bareLine(raw.toString()).startsWith('#')"
            lines.append(f"if ({header}) {{ ctx.put('_drop', true); return; }}")
        lines += [
            f"if (text.startsWith({literal(prefix)})) {{ text = text.substring({len(prefix)}).trim(); }}"
            for prefix in self.prefixes
        ]
        fault = script.fault
        parse = f"{'parseWindows' if self.windows_xml else 'parseJson'}(text, root)"
        if self.table is not None:
            kind = script.slot(self.table.hint) if self.table.hint else "null"
            table = script.table("table", self.table.content())
            columns = f"tableObject(text, (Map){table}, order, {kind}, root)"
            parse = f"text.startsWith('{{') || text.startsWith('[') ? {parse} : {columns}"
        lines.append(f"{fault} = {parse};")
        ways = [*self.unwrap, *((key,) for key in self.split)]
        if ways:
            arguments = (
                script.table("unwrap", [list(way) for way in ways]),
                script.table("required", [list(group) for group in self.required]),
            )
            lines.append(
                f"if ({fault} == null) {{ {fault} = unwrap(root, (List){arguments[0]}, (List){arguments[1]}); }}"
            )
        tests = [
            " || ".join(f"root[0].get({literal(key)}) != null" for key in group) for group in self.required
        ]
        if tests:
            proof = " && ".join(f"({test})" for test in tests)
            refusal = literal(f"json: {self.error}")
            lines.append(f"if ({fault} == null && !({proof})) {{ {fault} = {refusal}; }}")
        if self.gather is not None:
            form = script.table(
                "gather",
                {
                    "unless": self.gather.unless,
                    "into": self.gather.into,
                    "beside": dict.fromkeys(self.gather.beside, True),
                    "names": dict(self.gather.names),
                },
            )
            lines.append(f"if ({fault} == null) {{ root[0] = gathered(root[0], (Map){form}); }}")
        if self.pairs:
            pairs = script.table("pairs", [[key, *names, ""][:3] for key, names in self.pairs.items()])
            lines.append(f"if ({fault} == null) {{ root[0] = paired(root[0], (List){pairs}); }}")
        names = {
            steps[0].name
            for name in (*wanted, *(raw for raw in script.elsewhere if _is_own(script, raw)))
            for steps in map(parse_path, alternatives(name.removeprefix(TREE)))
            if isinstance(steps[0], Key)
        }
        dotted = script.table("dotted", sorted(name for name in names if "." in name))
        whole = f"withoutDots(root[0], (List){dotted})"
        if self.lift:
            whole = f"lifted({whole}, (List){script.table('lift', list(self.lift))}, problems)"
        if self.any_case:
            # Names that differ in their case only are different ones.
            spellings = {name.lower(): name for name in sorted(names, reverse=True)} | {n: n for n in names}
            spelling = script.table("spelling", dict(sorted(spellings.items())))
            whole = (
                f"spelled({whole}, (Map){spelling}, (List){script.table('suffixes', list(self.suffixes))})"
            )
        take = self._take(script, keep=not script.hands_over)
        hand_over = " withoutBigNumbers(whole); parsed.put('whole', whole);" if script.hands_over else ""
        lines.append(f"if ({fault} == null) {{ Map whole = {whole}; {take}{hand_over} }}")
        return "\n".join(lines) + "\n"

    def write_taking(self, script: Script) -> str:
        """Do as `TakesParts` says."""
        return f"Map whole = (Map)given.get('whole');\nif (whole != null) {{ {self._take(script, keep=True)} }}\n"

    def _wanted(self, script: Script) -> Mapping[str, int]:
        return {name: slot for name, slot in script.slots.items() if _is_own(script, name.removeprefix(TREE))}

    def _take(self, script: Script, *, keep: bool) -> str:
        """Return the statements that put what is wanted of `whole` into slots, and the rest into a field."""
        nulls = " || ".join(["s.isEmpty()", *(f"{literal(null)}.equals(s)" for null in self.null_values)])
        script.function("isNull", "boolean", "String s", f"  return {nulls};")
        take = f"{write_extraction(script, self._wanted(script), 'json')}(whole, f, r);"
        if script.rests and keep:
            return f"{take} {_write_rests(script)}"
        if not self.rest or not keep:
            return take
        known_keys = (
            "null" if self.keeps_all else f"(Map){script.table('known', _known(script, script.mapped))}"
        )
        script.function(
            "keepRest",
            "void",
            "Map m, Map[] o, Map p",
            f"  def left = flattened(m, {known_keys}, 0, new int[] {{1000}});\n"
            f"  if (left != null) {{ {script.put(self.rest, 'left')} }}",
        )
        return f"{take} keepRest(whole, o, p);"


def _is_own(script: Script, raw: str) -> bool:
    """Whether a slot is for a value of the object itself, not for another parser's or that of a list's element."""
    return not raw.startswith("(") and IN_ELEMENT not in raw and raw not in script.listed


def _write_rests(script: Script) -> str:
    """Write the function that puts what no mapping names into the object for it, and return the call."""
    objects = {}
    for value, (target, mapped) in script.rests.items():
        number, places = script.place_of(target)
        known = {**_known(script, mapped), **{name: {} for name in script.listed}}
        objects[value] = {
            "place": number,
            "places": places,
            "known": known,
            "shape": script.shape(target),
        }
    table = script.table("rests", objects)
    script.function(
        "keepRest",
        "void",
        "Map m, String kind, Map[] o, Map p",
        f"  def rest = ((Map){table}).get(kind);\n"
        "  if (rest == null) { rest = ((Map)" + table + ").get(''); }\n"
        "  if (rest != null) { spread(m, (Map)rest, o); }",
    )
    return f"keepRest(whole, {script.slot(script.kind)}, o, p);"


def _known(script: Script, mapped: Sequence[str]) -> dict[str, Any]:
    """Return the keys of what mappings take, an empty mapping for all that is below."""
    top: dict[str, Any] = {}
    own = [raw for raw in mapped if _is_own(script, raw)]
    for path in (alternative for raw in own for alternative in alternatives(raw)):
        steps = parse_path(path)
        # Of a list from which only some elements are taken, all are kept.
        if any(
            isinstance(step, Select) or (isinstance(step, Element) and step != Element()) for step in steps
        ):
            continue
        level = top
        keys = [step.name for step in steps if isinstance(step, Key)]
        for key in keys[:-1]:
            below = level.setdefault(key, {"": None})
            # An empty one is a place whose whole value is taken.
            if not below:
                break
            level = below
        else:
            level[keys[-1]] = {}
    return top


_KEYS = frozenset(
    {
        "required", "error", "unwrap", "split", "prefixes", "parsed", "null_values", "rest", "windows_xml", "rendered",
        "whole", "table", "lift", "any_case", "suffixes", "gather", "pairs",
    }
)  # fmt: skip


def read(reader: Reader) -> Json:
    """Read the settings of a json step."""
    reader.is_mapping(_KEYS)
    unwrap = []
    ways = reader.get("unwrap")
    for way in ways.elements() if ways else ():
        try:
            steps = parse_path(way.as_text())
        except PathError as error:
            way.problem(str(error), code="path")
            continue
        if not all(isinstance(step, Key) for step in steps):
            way.problem("unwrap: expected keys only", hint="a list of one event is unwrapped by itself")
        unwrap.append(tuple(step.name for step in steps if isinstance(step, Key)))
    if "rest" in reader.data and "whole" in reader.data:
        reader.at("rest").problem("rest and whole are one or the other")
    if "suffixes" in reader.data and not reader.flag("any_case"):
        reader.at("suffixes").problem("suffixes go with any_case: true")
    required = reader.texts("required")
    if not required:
        reader.problem(
            "'required' is missing", hint="name the keys that prove the format", code="missing-key"
        )
    return Json(
        required=tuple(tuple(text.split("|")) for text in required),
        error=reader.text("error", default="an object of another format"),
        unwrap=tuple(unwrap),
        split=reader.texts("split"),
        prefixes=reader.texts("prefixes"),
        parsed=reader.texts("parsed") or ("json",),
        null_values=reader.texts("null_values"),
        rest=reader.text("rest", default="") or reader.text("whole", default=""),
        keeps_all="whole" in reader.data,
        windows_xml=reader.flag("windows_xml"),
        rendered=reader.flag("rendered"),
        lift=reader.texts("lift"),
        any_case=reader.flag("any_case"),
        suffixes=tuple(text.lower() for text in reader.texts("suffixes")),
        pairs=_pairs(reader.get("pairs")),
        gather=_gather(reader.get("gather")),
        table=read_table(reader.get("table")),
    )


def _pairs(reader: Reader | None) -> Mapping[str, tuple[str, ...]]:
    if reader is None or not reader.is_mapping():
        return {}
    found = {key: reader.texts(key) for key in reader.data}
    for key, names in found.items():
        if len(names) not in (1, 2):
            reader.at(key).problem("pairs: expected the keys of name and value", hint="[Name, Value]")
    return found


def _gather(reader: Reader | None) -> Gather | None:
    if reader is None or not reader.is_mapping({"unless", "into", "beside", "names"}):
        return None
    return Gather(
        unless=reader.text("unless"),
        into=reader.text("into"),
        beside=reader.texts("beside"),
        names={name: str(target) for name, target in reader.mapping("names").items()},
    )
