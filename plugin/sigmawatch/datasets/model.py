"""A dataset: one kind of log, as its folder describes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.envelopes import Envelope, identity, records
from sigmawatch.datasets.eventxml import begins_with_events, events_and_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sigmawatch.datasets.jsontext import Way
    from sigmawatch.datasets.mapping import Case, FieldMapping, Switch
    from sigmawatch.datasets.parsers import Parser

__all__ = ["Archived", "Dataset", "Description", "Event", "FieldInfo", "Part", "Parts", "Sample"]


@dataclass(frozen=True)
class FieldInfo:
    """A field that a dataset emits."""

    type: str
    """Its mapping type, as ECS writes it; what an engine without that type uses instead is for `templates`."""
    description: str = ""
    """What a vendor's own field means; empty for ECS fields."""


@dataclass(frozen=True)
class Archived:
    """Which of its fields a dataset has in the archive otherwise than others, as names or with a `*`."""

    keep: tuple[str, ...] = ()
    """Besides those that are kept of every dataset."""
    drop: tuple[str, ...] = ()
    """Those of them that tell nothing here."""


@dataclass(frozen=True)
class Part:
    """What becomes of some of the lines of a dataset: a script of its own, which does nothing for the others."""

    name: str
    values: tuple[str, ...]
    """Values that choose it."""
    set: Mapping[str, Any]
    """Fields with the same value in all its documents."""
    rest: Mapping[str, str]
    """Value that chose the part (empty: any) -> the object for what no mapping names, under its own names."""
    body: Description
    """What the description says for all parts, and what it says for this one."""


@dataclass(frozen=True)
class Parts:
    """The parts of a description, of which every line has one."""

    by: tuple[str, ...]
    """Raw values: the first that chooses a part. What the first of them says is true, the others are only hints."""
    name: str
    """The raw value that tells what was chosen by."""
    keys: Mapping[str, tuple[str, ...]]
    """Where none does and the first is missing: value -> keys of a record of which one shows that it is such."""
    otherwise: str
    """The part of all other lines."""
    of: tuple[Part, ...]


@dataclass(frozen=True)
class Description:
    """How raw lines become documents."""

    module: str
    """`event.module`."""
    message: str
    """What becomes of `message`: `text` keeps what the parsers left of the line, `remove` takes it away."""
    parsers: tuple[Parser, ...]
    """The steps that take a line apart."""
    set: Mapping[str, Any]
    """Fields with the same value in every parsed document."""
    own: tuple[FieldMapping, ...]
    """What becomes of raw values, as the description says."""
    tables: Mapping[str, Mapping[str, str]]
    """Tables that translate values."""
    cases: tuple[Case, ...]
    """What follows from certain values."""
    switches: tuple[Switch, ...]
    """What follows from one value by a table, before the cases."""
    timestamp: tuple[str, ...]
    """Date fields that are the time of the event, the first that is there; empty: a mapping sets `@timestamp`."""
    derive: tuple[str, ...]
    """Names of the derivations."""
    parts: Parts | None = None
    """What holds for some of the lines only, where one script would be larger than engines accept."""
    action: str = "other"
    """`event.action` of a line that nothing else gives one."""
    told: tuple[str, ...] = ()
    """Raw values that are known beforehand: of a part, what it was chosen by."""

    @property
    def bodies(self) -> tuple[Description, ...]:
        """The description itself, and that of each part."""
        return (self, *(part.body for part in self.parts.of)) if self.parts else (self,)

    def extending(self, other: Description) -> Description:
        """Return another description with this one's additions.

        What is a list is appended, and a mapping of a raw value or a fixed value takes the other's place.
        """
        replaced = {mapping.raw for mapping in self.own}
        return Description(
            module=self.module,
            message=self.message,
            action=self.action if self.action != Description.action else other.action,
            parsers=self.parsers,
            set={**other.set, **self.set},
            own=(*(mapping for mapping in other.own if mapping.raw not in replaced), *self.own),
            tables={**other.tables, **self.tables},
            cases=(*other.cases, *self.cases),
            switches=(*other.switches, *self.switches),
            timestamp=self.timestamp or other.timestamp,
            derive=tuple(dict.fromkeys((*other.derive, *self.derive))),
        )

    @property
    def mappings(self) -> tuple[FieldMapping, ...]:
        """What becomes of all raw values, those that the parsers know themselves first."""
        return (*(mapping for parser in self.parsers for mapping in parser.mappings), *self.own)

    @property
    def raw_values(self) -> Sequence[str]:
        """Every raw value that some parser may find, each once, as far as their names are known beforehand."""
        found = [name for parser in self.parsers for name in parser.raw_values]
        return tuple(dict.fromkeys([*found, *self.told, *([self.parts.name] if self.parts else [])]))

    @property
    def json_keys(self) -> Sequence[Sequence[Sequence[str]]]:
        """For each kind of JSON object that is one of its events, the groups of keys of which it has one each."""
        from sigmawatch.datasets.parsers import steps_of
        from sigmawatch.datasets.parsers.json import Json
        from sigmawatch.datasets.parsers.members import Members

        steps = steps_of(self.parsers)
        named = [step.spelled for step in steps if isinstance(step, Members)]
        return (*(step.required for step in steps if isinstance(step, Json)), *named)

    @property
    def is_json(self) -> bool:
        """Whether all its events are JSON objects."""
        from sigmawatch.datasets.parsers.json import Json

        return any(isinstance(step, Json) and step.table is None for step in self.parsers)

    @property
    def takes_event_xml(self) -> bool:
        """Whether its events may be the XML of Windows events."""
        from sigmawatch.datasets.parsers import steps_of
        from sigmawatch.datasets.parsers.json import Json

        return any(isinstance(step, Json) and step.windows_xml for step in steps_of(self.parsers))

    @property
    def names_values(self) -> bool:
        """Whether lines name their values, as JSON does, so that any name may be one."""
        from sigmawatch.datasets.parsers import NamesItsValues, steps_of

        return any(isinstance(step, NamesItsValues) for step in steps_of(self.parsers))

    def why_no_raw(self, name: str) -> str:
        """Return why no parser finds a raw value of this name, empty when one may."""
        from sigmawatch.datasets.parsers import NamesItsValues, steps_of

        if name in self.raw_values:
            return ""
        reasons = [step.why_not(name) for step in steps_of(self.parsers) if isinstance(step, NamesItsValues)]
        return "" if "" in reasons else next(iter(reasons), f"no parser finds a raw value {name!r}")

    def is_raw(self, name: str) -> bool:
        """Whether a name that may be a raw value's or a field's is a raw value's."""
        from sigmawatch.datasets.load import emitted_fields

        if name in self.raw_values:
            return True
        return name not in emitted_fields(self) and not self.why_no_raw(name)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a log as it is sent to the cluster."""

    document: dict[str, Any]
    """The document to index: the raw text as `message`, and what the envelope says about it."""
    unique: bytes | None = None
    """What makes it unique wherever it is found, where the log says so."""
    left_out: int = 0
    """Characters that `message` lacks because it is longer than a document may be."""


@dataclass(frozen=True)
class Dataset:
    """One kind of log: where it comes from, what its documents hold, and how they are made."""

    name: str
    """E.g. `flow.aws_vpc`; also `event.dataset`."""
    title: str
    description: str
    logsources: tuple[Mapping[str, str], ...]
    """The Sigma logsources that it serves, each with some of category, product and service."""
    scopes: tuple[Mapping[str, tuple[str, ...]], ...]
    """For each of them the values of fields that its events have; empty: all events of the dataset are of it."""
    folder: Path
    fields: Mapping[str, str]
    """Every field its documents may have -> mapping type, as ECS writes it."""
    field_info: Mapping[str, FieldInfo] = field(repr=False)
    """Those that are its own, beside the ones all datasets have."""
    body: Description = field(repr=False)
    """How its documents are made."""
    envelope: Envelope = Envelope()  # noqa: RUF009  # immutable
    """What its events come in."""
    id: tuple[tuple[Way, ...], ...] = ()
    """Ways to the values that make an event unique, each with its alternatives; empty: its log has none."""
    extends: Dataset | None = field(default=None, repr=False)
    """The dataset that its description adds to."""
    marks: tuple[str, ...] = ()
    """Beginnings of lines that no other log has."""
    tenant: str = ""
    """The tenant whose events alone it is about, which is their namespace; empty: everybody's."""
    archived: Archived = Archived()  # immutable
    """What the archive has of it."""

    @property
    def pipeline_id(self) -> str:
        """Name of its ingest pipeline, which is also the name of its component template."""
        return f"sigmawatch-{self.name}-{self.tenant}" if self.tenant else f"sigmawatch-{self.name}"

    @property
    def template_id(self) -> str:
        """Name of its index template."""
        return f"logs-{self.name}-{self.tenant}" if self.tenant else f"logs-{self.name}"

    @property
    def index_pattern(self) -> str:
        """All its data streams, whatever their namespace; of a tenant its own."""
        return f"logs-{self.name}-{self.tenant or '*'}"

    def data_stream(self, namespace: str = "default") -> str:
        """Return the name of its data stream in a namespace."""
        return f"logs-{self.name}-{namespace}"

    def documents(self, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the documents to index for the lines of a file, in order. See `events`."""
        return (event.document for event in self.events(f"{line.rstrip(_LINE_END)}\n" for line in lines))

    def events(self, chunks: Iterable[str], *, declared: str | None = None) -> Iterator[Event]:
        """Yield the events of a text that comes in chunks of any size, in order.

        Envelopes are opened, and records that hold several events become as many (`envelopes`). A line that declares
        the format of those after it (a header) is remembered, and told with each of them: a pipeline sees one document
        at a time. The line itself is yielded too; the pipeline drops it. Blank lines are left out. `declared`: a format
        that was declared before the text began.
        """
        from sigmawatch.datasets.parsers import DeclaresByLines, TakesSeveral, steps_of
        from sigmawatch.datasets.parsers.columns import FORMAT_FIELD

        if self.body.takes_event_xml:
            is_export, chunks = begins_with_events(chunks)
            if is_export:
                yield from (Event({"message": one}) for one in events_and_lines(chunks))
                return
        by_lines = next(
            (step for step in steps_of(self.body.parsers) if isinstance(step, DeclaresByLines)), None
        )
        for record in records(chunks, self.envelope, self.body.json_keys, structured=self.body.is_json):
            document = {**record.context, "message": record.text}
            unique = None
            if record.data is None:
                several = next(
                    (
                        found
                        for step in steps_of(self.body.parsers)
                        if isinstance(step, TakesSeveral) and (found := step.events(record.text)) is not None
                    ),
                    None,
                )
                if several is not None:
                    yield from (Event({**record.context, "message": one}) for one in several)
                    continue
                header = (
                    by_lines.declared_after(record.text, declared)
                    if by_lines is not None
                    else next(
                        (found for step in self.body.parsers if (found := step.declared_format(record.text))),
                        None,
                    )
                )
                if header is not None:
                    declared = header
                elif declared:
                    document[FORMAT_FIELD] = declared
            elif self.id:
                unique = identity(record.data, self.id)
                if unique is not None and record.part:
                    unique += b" %d" % record.part
            yield Event(document, unique, record.left_out)


_LINE_END = "\r\n"


@dataclass(frozen=True)
class Sample:
    """Lines of a log with the documents that must come of them."""

    name: str
    path: Path
    """The file with the lines."""
    lines: tuple[str, ...]
    expected: tuple[dict[str, Any] | None, ...] | None
    """One document a line, None for a line that is dropped; None where nobody wrote them yet."""

    @property
    def expected_path(self) -> Path:
        """The file with the expected documents."""
        return self.path.with_suffix(".expected.json")
