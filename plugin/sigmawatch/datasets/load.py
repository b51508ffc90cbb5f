"""Reading datasets from their folders, checking everything, and telling every problem with file and line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigmawatch import yamlfile
from sigmawatch.datasets.derive import DERIVATIONS
from sigmawatch.datasets.envelopes import Envelope, read_envelope, read_id
from sigmawatch.datasets.mapping import read_assignments, read_cases, read_mappings, read_switches
from sigmawatch.datasets.model import Archived, Dataset, Description, FieldInfo, Part, Parts, Sample
from sigmawatch.datasets.names import fields_like, similar_fields
from sigmawatch.datasets.parsers import (
    Conditional,
    NamesItsValues,
    needed_raw_values,
    read_parsers,
    steps_of,
)
from sigmawatch.datasets.parsers.json import Json
from sigmawatch.datasets.reader import Reader
from sigmawatch.datasets.script import IN_ELEMENT
from sigmawatch.datasets.times import format_fault
from sigmawatch.datasets.values import VALUE_TYPES
from sigmawatch.ecs import allowed_values, ecs_type
from sigmawatch.errors import ContentError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sigmawatch.datasets.mapping import Condition, FieldMapping

__all__ = ["base_fields", "emitted_fields", "load_dataset", "load_datasets", "samples"]

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_FIELD = re.compile(r"@?[A-Za-z_][\w-]*(\.[A-Za-z0-9_][\w-]*)*")
_KEYS = frozenset(
    {
        "name", "title", "description", "module", "logsources", "message", "parse", "set", "fields", "tables",
        "cases", "switch", "timestamp", "derive", "envelope", "id", "extends", "parts", "marks", "action",
        "archive",
    }
)  # fmt: skip
_PART_KEYS = frozenset(
    {"values", "parse", "set", "fields", "tables", "cases", "switch", "timestamp", "derive", "rest"}
)
_TYPES = frozenset(
    {
        "boolean", "constant_keyword", "date", "flattened", "float", "geo_point", "ip", "keyword", "long",
        "match_only_text", "nested", "object", "scaled_float", "wildcard",
    }
)  # fmt: skip


@cache
def base_fields() -> Mapping[str, FieldInfo]:
    """Return the fields that any dataset's documents may have, by name."""
    problems: list[Problem] = []
    found = _read_fields(Path(__file__).with_name("base.yml"), problems)
    if problems:
        raise ContentError(problems)
    return found


def load_datasets(root: Path) -> list[Dataset]:
    """Load every dataset below a folder, sorted by name. Raises ContentError with the problems of all of them."""
    problems: list[Problem] = []
    found = []
    for path in sorted(root.glob("*/dataset.yml")):
        try:
            found.append(load_dataset(path.parent))
        except ContentError as error:
            problems += error.problems
    if problems:
        raise ContentError(problems)
    return sorted(found, key=lambda dataset: dataset.name)


def load_dataset(folder: Path) -> Dataset:
    """Load the dataset of a folder. Raises ContentError with every problem found, each with file and line."""
    problems: list[Problem] = []
    path = folder / "dataset.yml"
    reader = Reader(yamlfile.load(path), None, problems)
    reader = Reader(reader.document, reader.document.data, problems)
    reader.is_mapping(_KEYS)
    name = reader.text("name")
    if name != folder.name or not _NAME.fullmatch(name):
        (reader.get("name") or reader).problem(
            f"the dataset's name {name!r} must be that of its folder, {folder.name!r}",
            hint="small letters, digits, `_`, and at least one point: flow.aws_vpc",
        )
    own = _read_fields(folder / "fields.yml", problems)
    body = described = _read_description(reader)
    extended = _read_extended(reader, folder)
    if extended is not None:
        own = {**extended.field_info, **own}
        body = described.extending(extended.body)
    _check(reader, body, described, {**base_fields(), **own})
    for part in described.parts.of if described.parts else ():
        place = reader.at("parts").at("of").at(part.name)
        _check_part(place, part, described, {**base_fields(), **own})
    _check_folder(folder, problems)
    served = _read_logsources(reader)
    envelope, unique = reader.get("envelope"), reader.get("id")
    dataset = Dataset(
        name=name,
        title=reader.text("title"),
        description=reader.text("description"),
        logsources=tuple(logsource for logsource, _ in served),
        scopes=tuple(where for _, where in served),
        folder=folder,
        fields={field: info.type for field, info in {**base_fields(), **own}.items()},
        field_info=own,
        body=body,
        envelope=_with_splits(read_envelope(envelope) if envelope else Envelope(), body),
        id=read_id(unique) if unique else (),
        extends=extended,
        marks=reader.texts("marks"),
        archived=_read_archived(reader, {**base_fields(), **own}),
    )
    if problems:
        raise ContentError(problems)
    return dataset


def _read_archived(reader: Reader, declared: Mapping[str, FieldInfo]) -> Archived:
    """Read `archive`, each of whose names must be of a field that is declared."""
    member = reader.get("archive")
    if member is None or not member.is_mapping({"keep", "drop"}):
        return Archived()
    for name in ("keep", "drop"):
        for element in (member.get(name) or Reader(member.document, [], member.problems)).elements():
            if element.as_text() and not fields_like(element.data, declared):
                element.problem(
                    f"{name}: no declared field is {element.data!r}",
                    code="unknown-field",
                    hint=similar_fields(element.data, declared),
                )
    return Archived(member.texts("keep"), member.texts("drop"))


def _read_extended(reader: Reader, folder: Path) -> Dataset | None:
    """Load the dataset that a description adds to: one of the same pack, which extends no other itself."""
    member = reader.get("extends")
    if member is None:
        return None
    name = member.as_text()
    if (
        name == folder.name
        or not _NAME.fullmatch(name)
        or not (folder.parent / name / "dataset.yml").is_file()
    ):
        member.problem(f"extends: there is no other dataset {name!r} beside this one", code="unknown-dataset")
        return None
    try:
        data = yamlfile.load(folder.parent / name / "dataset.yml").data
        if isinstance(data, dict) and "extends" in data:
            member.problem(f"extends: {name} extends another dataset itself", hint="extend that one")
            return None
        if isinstance(data, dict) and "parts" in data:
            member.problem(f"extends: {name} has parts, which cannot be extended")
            return None
        return load_dataset(folder.parent / name)
    except ContentError:
        member.problem(f"extends: {name} cannot be loaded", hint=f"sigmawatch check ingest_pipelines/{name}")
        return None


def _with_splits(envelope: Envelope, body: Description) -> Envelope:
    """Return an envelope with the lists that json steps name as `split`."""
    splits = ((key,) for step in steps_of(body.parsers) if isinstance(step, Json) for key in step.split)
    return replace(envelope, records=tuple(dict.fromkeys([*envelope.records, *splits])))


def samples(dataset: Dataset) -> list[Sample]:
    """Return the samples of a dataset by name. Raises ContentError for one that cannot be read."""
    return [_read_sample(path) for path in sorted((dataset.folder / "samples").glob("*.log"))]


def _read_sample(path: Path) -> Sample:
    try:
        # Only the line feed ends a line here: the form feeds and separators inside log lines are content.
        lines = tuple(line for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
        expected_path = path.with_suffix(".expected.json")
        expected = None
        if expected_path.is_file():
            expected = tuple(json.loads(expected_path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ContentError([Problem(f"not a readable sample: {error}", path, code="sample")]) from error
    return Sample(path.stem, path, lines, expected)


def _check_folder(folder: Path, problems: list[Problem]) -> None:
    if not any((folder / "samples").glob("*.log")):
        problems.append(
            Problem(
                "the dataset has no samples",
                folder / "samples",
                hint="add samples/NAME.log",
                code="no-samples",
            )
        )
    if not (folder / "README.md").is_file():
        problems.append(Problem("the dataset has no README.md", folder, code="no-readme"))


def _read_fields(path: Path, problems: list[Problem]) -> Mapping[str, FieldInfo]:
    """Read `fields.yml`: ECS fields as a list, own fields with their type and description."""
    try:
        document = yamlfile.load(path)
    except ContentError as error:
        problems += error.problems
        return {}
    reader = Reader(document, document.data, problems)
    reader.is_mapping({"ecs", "own"})
    found: dict[str, FieldInfo] = {}
    listed = reader.get("ecs")
    for element in listed.elements() if listed else ():
        name = element.as_text()
        mapping_type = ecs_type(name)
        if mapping_type is None:
            element.problem(
                f"{name!r} is not an ECS field", hint="own fields stand under `own`", code="unknown-field"
            )
        else:
            found[name] = FieldInfo(mapping_type)
    own = reader.get("own")
    for name, member in own.items() if own else ():
        if not member.is_mapping({"type", "description"}):
            continue
        mapping_type = member.text("type", default="keyword")
        if mapping_type not in _TYPES:
            member.problem(f"{mapping_type!r} is no mapping type", hint=f"known: {', '.join(sorted(_TYPES))}")
        if ecs_type(name) is not None:
            member.problem(f"{name!r} is an ECS field", hint="list it under `ecs`; its type is ECS's")
        if not _FIELD.fullmatch(name):
            member.problem(f"{name!r} is no field name")
        found[name] = FieldInfo(mapping_type, member.text("description"))
    return found


def _read_logsources(
    reader: Reader,
) -> tuple[tuple[Mapping[str, str], Mapping[str, tuple[str, ...]]], ...]:
    """Read which log sources a dataset serves, each with the values of fields that its events have of it."""
    listed = reader.get("logsources")
    if listed is None:
        reader.problem("'logsources' is missing", code="missing-key")
        return ()
    fields = {field for element in listed.elements() for field in element.mapping("where")}
    if len(fields) > 1:
        listed.problem(f"'where' names {', '.join(sorted(fields))}; it must be one field for all log sources")
    return tuple(
        (
            {key: member.as_text() for key, member in element.items() if key != "where"},
            {field: element.at("where").texts(field) for field in element.mapping("where")},
        )
        for element in listed.elements()
        if element.is_mapping({"category", "product", "service", "where"})
    )


def _read_description(reader: Reader) -> Description:
    parse, fixed = reader.get("parse"), reader.get("set")
    if parse is None:
        reader.problem("'parse' is missing", code="missing-key")
    message = reader.text("message", default="remove")
    if message not in ("text", "remove"):
        reader.at("message").problem("message: expected text or remove")
    nothing = Description(
        module=reader.text("module"),
        message=message,
        action=reader.text("action", default=Description.action),
        parsers=(),
        set=read_assignments(fixed) if fixed else {},
        own=(),
        tables={},
        cases=(),
        switches=(),
        timestamp=(),
        derive=(),
    )
    body = _with(nothing, reader)
    parts = reader.get("parts")
    return replace(body, parts=_read_parts(parts, body)) if parts else body


def _with(body: Description, reader: Reader) -> Description:
    """Return a description with what a file or a part of it adds."""
    parse, fields, cases, switch = (reader.get(key) for key in ("parse", "fields", "cases", "switch"))
    tables: dict[str, Mapping[str, str]] = dict(body.tables)
    for name in reader.mapping("tables"):
        table = reader.at("tables").at(name)
        if table.is_mapping():
            tables[name] = {key: table.at(key).as_text() for key in table.data}
    return replace(
        body,
        parsers=(*body.parsers, *(read_parsers(parse) if parse else ())),
        own=(*body.own, *(read_mappings(fields) if fields else ())),
        tables=tables,
        cases=(*body.cases, *(read_cases(cases) if cases else ())),
        switches=(*body.switches, *(read_switches(switch) if switch else ())),
        timestamp=(*body.timestamp, *reader.texts("timestamp")),
        derive=(*body.derive, *reader.texts("derive")),
    )


def _read_parts(reader: Reader, common: Description) -> Parts | None:
    if not reader.is_mapping({"by", "as", "keys", "otherwise", "of"}):
        return None
    name = reader.text("as")
    of = []
    taken: dict[str, str] = {}
    listed = reader.get("of")
    for part_name, member in listed.items() if listed else ():
        if not member.is_mapping(_PART_KEYS):
            continue
        values = member.texts("values") or (part_name,)
        for value in values:
            if taken.setdefault(value, part_name) != part_name:
                member.problem(f"{value!r} chooses the part {taken[value]!r} already")
        fixed = member.get("set")
        of.append(
            Part(
                name=part_name,
                values=values,
                set=read_assignments(fixed) if fixed else {},
                rest=_read_rest(member),
                body=_with(replace(common, told=(name,)), member),
            )
        )
    otherwise = reader.text("otherwise")
    if otherwise not in {part.name for part in of}:
        (reader.get("otherwise") or reader).problem(f"there is no part {otherwise!r}")
    if not reader.texts("by"):
        reader.problem(
            "'by' is missing", hint="a raw value that says which part a line is of", code="missing-key"
        )
    for raw in reader.texts("by"):
        if missing := common.why_no_raw(raw):
            reader.at("by").problem(missing, code="unknown-raw")
    return Parts(
        by=reader.texts("by"),
        name=name,
        keys={value: reader.at("keys").texts(value) for value in reader.mapping("keys")},
        otherwise=otherwise,
        of=tuple(of),
    )


def _read_rest(member: Reader) -> Mapping[str, str]:
    """Read where a part puts what no mapping names: one object, or one for each value that chooses the part."""
    rest = member.get("rest")
    if rest is None:
        return {}
    return (
        {value: inner.as_text() for value, inner in rest.items()}
        if isinstance(rest.data, dict)
        else {"": rest.as_text()}
    )


def emitted_fields(body: Description) -> Mapping[str, FieldMapping | None]:
    """Return every field that a description writes, with the mapping that does where there is one."""
    found: dict[str, FieldMapping | None] = dict.fromkeys(body.set)
    for parser in body.parsers:
        found.update(dict.fromkeys(parser.emits))
    for settings, added in _consequences(body):
        found.update(dict.fromkeys([*settings, *added]))
    for name in body.derive:
        if name in DERIVATIONS:
            found.update(dict.fromkeys(DERIVATIONS[name].emits))
    for mapping in body.mappings:
        if mapping.type in VALUE_TYPES:
            found.update(dict.fromkeys(VALUE_TYPES[mapping.type].emits(mapping), mapping))
    for part in body.parts.of if body.parts else ():
        found.update(dict.fromkeys(part.set))
        found.update(emitted_fields(part.body))
    return found


def _check_part(place: Reader, part: Part, common: Description, declared: Mapping[str, FieldInfo]) -> None:
    """Check what a part adds to what is common to all of them."""
    body = replace(part.body, set=part.set)
    described = replace(
        body,
        parsers=body.parsers[len(common.parsers) :],
        cases=body.cases[len(common.cases) :],
        switches=body.switches[len(common.switches) :],
    )
    _check(place, body, described, declared)
    for target in part.rest.values():
        info = declared.get(target)
        flattened = info is not None and info.type == "flattened"
        if not flattened and not any(name.startswith(f"{target}.") for name in declared):
            place.at("rest").problem(f"{target!r} is no flattened field, and no declared field is below it")


def _check(
    reader: Reader, body: Description, described: Description, declared: Mapping[str, FieldInfo]
) -> None:
    """Check what a description says against itself, the declared fields, and ECS.

    `described` is what the file says, `body` that with what it extends.
    """
    _check_mappings(reader, body, declared)
    for index, case in enumerate(described.cases):
        _check_condition(_element(reader.at("cases"), index), case.when, body)
    emitted = emitted_fields(replace(body, parts=None))
    for index, switch in enumerate(described.switches):
        if switch.by not in emitted and body.why_no_raw(switch.by):
            _element(reader.at("switch"), index).problem(
                f"no parser finds a raw value {switch.by!r}, and nothing emits such a field",
                code="unknown-raw",
            )
    steps = reader.get("parse")
    for index, parser in enumerate(described.parsers):
        if steps is None:
            continue
        if isinstance(parser, Conditional):
            _check_condition(_element(steps, index), parser.when, body)
        for name in needed_raw_values([parser]):
            missing = body.why_no_raw(name)
            if missing and not isinstance(parser, Conditional):
                _element(steps, index).problem(missing, code="unknown-raw")
    for parser in steps_of(body.parsers):
        if isinstance(parser, NamesItsValues) and parser.rest:
            info = declared.get(parser.rest)
            if info is None or info.type != "flattened":
                (_find(reader, "rest") or _find(reader, "whole") or reader).problem(
                    f"{parser.rest!r} is no declared field of the type flattened"
                )
    for name in body.derive:
        if name not in DERIVATIONS:
            reader.at("derive").problem(
                f"unknown derivation {name!r}", hint=f"known: {', '.join(DERIVATIONS)}"
            )
    for field, mapping in emitted.items():
        if mapping is None and field not in declared:
            _place(reader, field).problem(
                f"{field!r} is emitted but not declared in fields.yml", code="undeclared-field"
            )
    for field in body.timestamp:
        if field not in declared or declared[field].type != "date":
            reader.at("timestamp").problem(f"{field!r} is no declared date field")
    for field, content in _fixed_values(body):
        allowed = allowed_values(field)
        values = content if isinstance(content, (list, tuple)) else [content]
        for element in values:
            if allowed is not None and element not in allowed:
                _place(reader, field).problem(
                    f"ECS does not allow {element!r} in {field}",
                    hint=f"allowed: {', '.join(sorted(allowed))}",
                )


def _element(reader: Reader, index: int) -> Reader:
    """Return the reader of an element of a list, or of the single value in the place of a list of one."""
    return reader.at(index) if isinstance(reader.data, list) else reader


def _check_condition(place: Reader, when: Condition, body: Description) -> None:
    for name in when:
        missing = body.why_no_raw(name.rpartition(IN_ELEMENT)[2])
        if missing:
            member = (place.get("when") or place).get(name) or place
            member.problem(missing, code="unknown-raw")


def _place(reader: Reader, field: str) -> Reader:
    """Return where in the file a fixed value of a field stands, as far as that is known."""
    for key in ("set", "cases", "switch", "parse"):
        member = reader.get(key)
        if member is not None:
            found = _find(member, field)
            if found is not None:
                return found
    return reader


def _find(reader: Reader, field: str) -> Reader | None:
    if isinstance(reader.data, dict):
        if field in reader.data:
            return reader.at(field)
        children: Sequence[Any] = list(reader.data)
    elif isinstance(reader.data, list):
        children = range(len(reader.data))
    else:
        return None
    for key in children:
        found = _find(reader.at(key), field)
        if found is not None:
            return found
    return None


def _consequences(body: Description) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield what cases and switches set and add."""
    for case in body.cases:
        yield case.set, case.add
    for switch in body.switches:
        yield from switch.table.values()
        if switch.otherwise is not None:
            yield switch.otherwise


def _fixed_values(body: Description) -> list[tuple[str, Any]]:
    found = list(body.set.items())
    for settings, added in _consequences(body):
        found += [*settings.items(), *added.items()]
    for parser in body.parsers:
        for pattern in getattr(parser, "patterns", ()):
            found += pattern.set.items()
    return found


def _check_mappings(reader: Reader, body: Description, declared: Mapping[str, FieldInfo]) -> None:
    for mapping in body.mappings:
        member = reader.get("fields")
        place = (member.get(mapping.raw) if member else None) or reader
        _check_mapping(place, mapping, body, declared)


def _check_mapping(
    place: Reader, mapping: FieldMapping, body: Description, declared: Mapping[str, FieldInfo]
) -> None:
    """Check a mapping, and those of the objects in a list."""
    for raw in (mapping.raw.rpartition(IN_ELEMENT)[2], *mapping.looks_at):
        missing = body.why_no_raw(raw)
        if missing:
            place.problem(missing, code="unknown-raw")
    _check_condition(place, mapping.when, body)
    value_type = VALUE_TYPES.get(mapping.type)
    if value_type is None:
        place.problem(
            f"unknown type of value {mapping.type!r}", hint=f"known: {', '.join(sorted(VALUE_TYPES))}"
        )
        return
    if mapping.type in ("lookup", "lookup_word") and mapping.table not in body.tables:
        place.problem(f"there is no table {mapping.table!r}", hint="tables stand under `tables`")
    if mapping.type == "time" and not mapping.formats:
        place.problem("a value of type 'time' needs 'formats'", hint='formats: ["yyyy/MM/dd HH:mm:ss"]')
    if mapping.type.startswith("enclosed") != bool(mapping.begin):
        place.problem(
            "`begin` says what stands before a value, and belongs to the types enclosed and enclosed_number",
            hint="type: enclosed, begin: '[id \"', end: '\"]'",
        )
    for pattern in mapping.formats:
        if fault := format_fault(pattern):
            place.problem(f"{pattern!r} is no format of a time: {fault}")
    _check_structure(place, mapping, body)
    inside = place.get("fields")
    for member in mapping.fields:
        line = inside.get(member.raw.rpartition(IN_ELEMENT)[2]) if inside else None
        _check_mapping(line or place, member, body, declared)
    if mapping.type == "objects":
        return  # what they emit was checked with their members
    for field in value_type.emits(mapping):
        name = field.replace("[]", "")
        info = declared.get(name)
        if info is None:
            place.problem(f"{name!r} is emitted but not declared in fields.yml", code="undeclared-field")
        elif "object" not in value_type.fits and info.type not in value_type.fits:
            place.problem(
                f"{name!r} is {info.type}, which a value of type {mapping.type!r} does not fit",
                hint=f"it fits {', '.join(sorted(value_type.fits))}",
                code="type",
            )


def _check_structure(place: Reader, mapping: FieldMapping, body: Description) -> None:
    """Check what is for objects and lists only."""
    structured = mapping.type in ("objects", "flattened", "json_text", "members")
    if structured and not body.names_values:
        place.problem(f"a value of type {mapping.type!r} comes from a parser such as json only")
    if (mapping.type == "objects") != bool(mapping.fields):
        place.problem(
            "`fields` says what becomes of the values in each object, and belongs to the type objects",
            hint="type: objects, fields: {name: where it goes in the object}",
        )
    if mapping.type == "objects" and len(mapping.to) != 1:
        place.problem("objects have one `to`")
    if mapping.pairs and mapping.type != "flattened":
        place.problem("`pairs` belongs to the type flattened")
    if structured and (mapping.required or mapping.unless or mapping.differs_from or mapping.if_absent):
        place.problem(
            f"a value of type {mapping.type!r} has no `required`, `unless`, `differs_from` or `if_absent`"
        )
