"""From a description to an ingest pipeline: one Painless script, the user's hook, and what keeps a failed document.

The text is the same for Elasticsearch 8/9 and OpenSearch 2/3, so it uses only what both have. Three layers keep a
document whatever happens: the script's own problems (below), its catch for what the description's author did not
think of, and the pipeline's `on_failure` for what a script cannot catch (the engine's loop and regex limits).

Two kinds of trouble are told apart. A **field problem** leaves one field out and is listed in `error.message`; the
event stays an event, and rules see it. A line that does not fit its format **as a whole** (wrong number of columns, no
syslog line of that program, an unusable required field, or more than `MAX_FIELD_PROBLEMS` field problems, which means
that the columns are others than declared) is an `event.kind: pipeline_error` with the reason in `error.message`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.derive import DERIVATIONS, write_related
from sigmawatch.datasets.enrich import lookup_processors
from sigmawatch.datasets.load import emitted_fields
from sigmawatch.datasets.mapping import assignments, write_cases, write_switches
from sigmawatch.datasets.parsers import (
    TakesParsed,
    TakesParts,
    needed_raw_values,
    parted_values,
    steps_of,
)
from sigmawatch.datasets.privacy import Privacy, privacy_processors, rescue_processors
from sigmawatch.datasets.script import MAX_SOURCE_BYTES, Script, compact, literal
from sigmawatch.datasets.times import format_fault, time_zone
from sigmawatch.datasets.values import write_mapping
from sigmawatch.datasets.writing import ARGUMENTS, ENVIRONMENT, TIME_SLOT
from sigmawatch.ecs import ecs_version
from sigmawatch.errors import ContentError, Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.model import Dataset, Description, Part, Parts

__all__ = ["MAX_FIELD_PROBLEMS", "build_pipeline", "hook_id", "options_of", "without_hook"]

LONGEST = 8000
"""Characters of Java's from which on a text is cut into pieces. Lucene takes terms of 32,766 bytes, which is 10,922
characters of three bytes each; the terms of flattened objects begin with the path of the member."""

OVERLAP = 1000
"""Characters that a piece has in common with the one before: a search for texts of this length misses nothing."""

_NOT_PARSED = {"event.type": ["info"], "event.action": "not-parsed", "event.outcome": "unknown"}
"""What is said of a document that could not be parsed, beside the category that its dataset begins with."""

_DEEPEST = 50
"""Levels of objects in which long texts are cut."""

MAX_FIELD_PROBLEMS = 2
"""With more unusable fields than this, a line is not taken for one of its format."""

_STATEMENTS_A_FUNCTION = 15
"""Small functions: the JVM does not compile methods beyond 8,000 bytes of code."""


def hook_id(dataset: Dataset) -> str:
    """Return the name of the user's own pipeline, which is called after ours."""
    return f"{dataset.pipeline_id}@custom"


def options_of(dataset: Dataset) -> frozenset[str]:
    """Return the names of the options that a dataset's pipeline can be built with."""
    known = {
        option
        for body in dataset.body.bodies
        for options_of_part in (
            *(parser.options for parser in body.parsers),
            *(DERIVATIONS[name].options for name in body.derive),
        )
        for option in options_of_part
    }
    if any(mapping.type == "time" for body in dataset.body.bodies for mapping in body.mappings):
        known.add("timezone")
    if any(mapping.local for body in dataset.body.bodies for mapping in body.mappings):
        known.add("dates")
    return frozenset({*known, "enrich"})


_NOTHING_HIDDEN = Privacy()


def build_pipeline(
    dataset: Dataset, *, options: Mapping[str, Any] | None = None, privacy: Privacy = _NOTHING_HIDDEN
) -> dict[str, Any]:
    """Return the body of a dataset's ingest pipeline.

    `privacy`: what is hidden in its documents; with pseudonyms the body has the name of a secret in it.

    Options are those of its parsers and derivations: `format` (the order of columns), `timezone` (of stamps that have
    none), `networks` (what is inside, as CIDR), and `enrich` (which of `ENRICHMENTS` to make). Raises UsageError for an
    option that the dataset does not have or a value that makes no sense, ContentError when the script becomes larger
    than engines accept.
    """
    options = dict(options or {})
    known = options_of(dataset)
    for option in options:
        if option not in known:
            raise UsageError(
                f"{dataset.name} has no option {option!r}",
                hint=f"It has: {', '.join(sorted(known)) or 'none'}.",
            )
    parts = dataset.body.parts
    zone = time_zone(str(options.get("timezone") or "")) if "timezone" in known else None
    dates = _dates(options)
    first = _script(zone, dates)
    processors = [_processor(dataset, "parse", first, _main(dataset, first, options))]
    for part in parts.of if parts else ():
        script = _script(zone, dates)
        source = _part(dataset, part, script, options, first.places)
        # Another script does the work that was chosen: this one is not even begun.
        condition = f"{literal(part.name)}.equals(ctx._part)"
        processors.append(_processor(dataset, f"part-{part.name}", script, source, condition))
    hook: dict[str, Any] = {"name": hook_id(dataset), "tag": "custom"}
    if any(parser.drops for parser in dataset.body.parsers):
        processors.append({"drop": {"tag": "header", "if": "ctx._drop != null"}})
    processors += lookup_processors(dataset, options)
    processors += privacy_processors(dataset, privacy)
    hook_failed = [_append_error(f"pipeline {hook_id(dataset)} failed")]
    processors.append({"pipeline": {**hook, "on_failure": hook_failed}})
    return {
        "description": f"{dataset.title}: raw lines to ECS {ecs_version()}",
        "processors": processors,
        "on_failure": [
            *_rescue(dataset, hides=privacy.hides),
            {"pipeline": {**hook, "on_failure": hook_failed}},
        ],
    }


def _dates(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the formats of the option `dates`. Raises UsageError for what is none."""
    given = options.get("dates") or ()
    formats = (given,) if isinstance(given, str) else tuple(map(str, given))
    for pattern in formats:
        if fault := format_fault(pattern):
            raise UsageError(
                f"the option `dates`: {pattern!r} is no format of a time: {fault}",
                hint="For example dd/MM/yyyy HH:mm:ss.",
            )
    return formats


def _script(zone: str | None, dates: tuple[str, ...]) -> Script:
    script = Script()
    script.dates = dates
    if zone is not None:
        script.params["timezone"] = zone
    return script


def _processor(
    dataset: Dataset, tag: str, script: Script, main: str, condition: str | None = None
) -> dict[str, Any]:
    """Return a script as a processor. Raises ContentError when it is larger than engines accept."""
    source = script.text(main)
    if len(source.encode()) > MAX_SOURCE_BYTES:
        source = compact(source)
    if len(source.encode()) > MAX_SOURCE_BYTES:
        raise ContentError(
            [
                Problem(
                    f"the script {tag!r} has {len(source.encode()):,} bytes; engines accept {MAX_SOURCE_BYTES:,}",
                    dataset.folder / "dataset.yml",
                    hint="move values into tables, or the description into parts",
                    code="script-size",
                )
            ]
        )
    settings = {"tag": tag, "lang": "painless", "source": source, "params": script.params}
    return {"script": settings if condition is None else {"if": condition, **settings}}


def without_hook(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pipeline body that does not call the user's hook.

    For `_simulate` with the body given inline: the hook need not exist on that engine, and where it does, what the
    user added is not what a sample expects.
    """
    return {
        **pipeline,
        **{
            key: [processor for processor in pipeline[key] if "pipeline" not in processor]
            for key in ("processors", "on_failure")
        },
    }


def _append_error(text: str) -> dict[str, Any]:
    return {"append": {"field": "error.message", "value": [text], "ignore_failure": True}}


def _rescue(dataset: Dataset, *, hides: bool) -> list[dict[str, Any]]:
    """Return the processors for a document whose script broke off: it is kept, and says so.

    Each may fail by itself (a shipper's `event` that is a text) without the others being skipped.
    """
    if hides:
        told = [
            each for each in _rescue(dataset, hides=False) if "script" not in each and "rename" not in each
        ]
        return [*rescue_processors(), *told]
    return [
        # Not even this runs where the engine cannot hand a document to scripts: OpenSearch, when a shipper's JSON has
        # a whole number beyond a long. What follows does what it can then.
        {
            "script": {
                "tag": "rescue",
                "lang": "painless",
                "source": _RESCUE + (_FORGET_PARTS if dataset.body.parts else ""),
                "params": {"dataset": dataset.name},
                "on_failure": [
                    # What has the name of an object here may be a text there, which the index would refuse.
                    {
                        "rename": {
                            "field": name,
                            "target_field": f"_{name}",
                            "ignore_missing": True,
                            "ignore_failure": True,
                        }
                    }
                    for name in _objects_of_logs(dataset)
                ],
            }
        },
        {
            "set": {
                "tag": "rescue-kind",
                "field": "event.kind",
                "value": "pipeline_error",
                # A log's own `event` may be no object, which the index would refuse.
                "on_failure": [
                    {"rename": {"field": "event", "target_field": "event_value", "ignore_failure": True}},
                    _rescue_set("kind-again", "event.kind", "pipeline_error"),
                ],
            }
        },
        _rescue_set("dataset", "event.dataset", dataset.name),
        _rescue_set("module", "event.module", dataset.body.module),
        *(
            _rescue_set(field.partition(".")[2], field, value)
            for field, value in _not_parsed(dataset).items()
        ),
        _append_error("the script reached a limit of the engine"),
        {
            "rename": {
                "tag": "rescue-original",
                "field": "message",
                "target_field": "event.original",
                "ignore_missing": True,
                "ignore_failure": True,
            }
        },
        _rescue_set("ingested", "event.ingested", "{{{_ingest.timestamp}}}", override=False),
        _rescue_set("time", "@timestamp", "{{{_ingest.timestamp}}}", override=False),
    ]


def _objects_of_logs(dataset: Dataset) -> list[str]:
    """Return the objects at the top of a dataset's documents that a log may have a text for; shippers have `host`."""
    return sorted(
        {name.partition(".")[0] for name in dataset.field_info if "." in name} - {"event"} | {"host"}
    )


_RESCUE = """\
String now = Instant.ofEpochMilli(System.currentTimeMillis()).toString();
if (!(ctx.event instanceof Map)) { ctx.event = new HashMap(); }
if (ctx.event.ingested == null) { ctx.event.ingested = now; }
ctx.remove('_lookup');
boolean usable = false;
try {
  usable = ZonedDateTime.parse(ctx['@timestamp'].toString()).toInstant().toEpochMilli() >= 0L;
} catch (Exception e) { }
if (!usable) { ctx['@timestamp'] = now; }
"""


_FORGET_PARTS = "ctx.remove('_part');\nctx.remove('_parsed');\n"
"""What the scripts of a dataset with parts hand over, and no index is to see."""


def _rescue_set(
    name: str, field: str, value: str | Sequence[str], *, override: bool = True
) -> dict[str, Any]:
    settings = {"tag": f"rescue-{name}", "field": field, "value": value, "ignore_failure": True}
    return {"set": settings if override else {**settings, "override": False}}


@dataclass(frozen=True)
class _Pieces:
    """The statements of a script that descriptions of every shape have."""

    inputs: str
    """Find an object that a shipper parsed."""
    steps: str
    """Take the line apart."""
    header: str
    """Set what the header of a line says."""
    required: str
    fields: str
    """Set the fields, and do what follows from them."""
    last: str
    """Set what follows from several fields, and the time."""


def _pieces(
    dataset: Dataset, body: Description, script: Script, options: Mapping[str, Any], part: Part | None
) -> _Pieces:
    """Write the functions of a script, and return the statements that call them."""
    script.declared = dataset.fields
    for name, table in body.tables.items():
        script.params[f"table.{name}"] = dict(table)
    # What a line says about its values needs no guess whether they are in the right places.
    script.lists = body.names_values
    script.listed = frozenset(body.raw_values)
    script.mapped = tuple(raw for mapping in body.mappings for raw in mapping.takes) + parted_values(
        body.parsers
    )
    written: dict[str, list[str]] = {"header": [], "required": [], "fields": []}
    for number, mapping in enumerate(body.mappings):
        kind = "required" if mapping.required else "fields" if mapping in body.own else "header"
        written[kind].append(write_mapping(script, mapping, number))
    cases = write_switches(script, body.switches, body.is_raw) + write_cases(script, body.cases)
    for raw in needed_raw_values(body.parsers):
        script.slot(raw)
    if script.hands_over:
        # Parts look at what this script finds.
        for raw in (*body.raw_values, *(body.parts.by if body.parts else ())):
            script.slot(raw)
    shared = dataset.body.parsers if part else ()
    inputs = (
        ""
        if part
        else "".join(
            step.write_input(script) for step in steps_of(body.parsers) if isinstance(step, TakesParsed)
        )
    )
    steps = ""
    for parser in body.parsers:
        if parser not in shared:
            steps += _unless_refused(script, parser.write(script, options))
        elif isinstance(step := steps_of([parser])[0], TakesParts):
            steps += _unless_refused(script, step.write_taking(script))
    time = script.slot(TIME_SLOT)
    # Where raw values may be lists, so may fields.
    script.single = script.lists
    times = "".join(
        f"  if ({time} == null) {{ {time} = (String){script.get(field)}; }}\n" for field in body.timestamp
    )
    derived = "".join(DERIVATIONS[name].write(script, options) for name in body.derive)
    script.single = False
    own = emitted_fields(replace(body, parts=None))
    emitted = {field: dataset.fields[field] for field in own if field in dataset.fields}
    # After the fields, so that what a document already had is related too.
    derived += write_related(script, emitted)
    header, required, fields, last = (
        "".join(f"  {call}\n" for call in _functions(script, name, statements))
        for name, statements in (*written.items(), ("derived", [times + derived]))
    )
    categorise = "".join(f"  {call}\n" for call in _functions(script, "cases", [cases] if cases else []))
    return _Pieces(inputs, steps, header, required, fields + categorise, last)


def _main(dataset: Dataset, script: Script, options: Mapping[str, Any]) -> str:
    """Write the script that takes a line apart, and does all the rest where the description has no parts."""
    parts = dataset.body.parts
    body = dataset.body
    if parts is not None:
        # Fields, and what follows from them, are for the scripts of the parts.
        body = replace(body, own=(), cases=(), switches=(), timestamp=(), derive=(), tables={})
        script.hands_over = True
        script.elsewhere = tuple(
            raw
            for part in parts.of
            for mapping in part.body.mappings
            for raw in (*mapping.takes, *mapping.looks_at)
        )
    pieces = _pieces(dataset, body, script, options, None)
    message = literal("message")
    event = script.object("event")
    script.params["shape"] = script.shape()
    drops = any(parser.drops for parser in body.parsers)
    # Marks of our own that are not for a shipper to set.
    forget = "ctx.remove('_drop');\n" if drops else ""
    if parts is not None:
        forget += f"{_FORGET_PARTS}Map parsed = new HashMap();\n"
    take_message = ""
    if "message" in emitted_fields(dataset.body):
        # The log has a message of its own inside the line.
        take_message = f"ctx.remove({message});\n"
    return f"""\
Map p = params;
long now = System.currentTimeMillis();
String present = iso(now);
def given = ctx.get('event');
def raw = given instanceof Map ? ((Map)given).get('original') : null;
if (raw == null) {{ raw = ctx.get({message}); }}
if (raw == null) {{ raw = ctx.remove('event.original'); }}
{pieces.inputs}{forget}admit(ctx, (Map)p.get('shape'));
Map[] o = open(ctx);
List problems = new ArrayList();
String step = 'input';
String text = raw == null ? '' : raw.toString();
if (raw != null) {{ {script.put("event.original", "text")} }}
{take_message}{script.put("event.dataset", literal(dataset.name))}
{script.put("event.module", literal(body.module))}
{script.put("event.kind", literal("event"))}
{script.put("event.ingested", "present")}
{script.put("ecs.version", literal(ecs_version()))}
ctx.put('event', new HashMap({event}));
if (ctx.get('@timestamp') == null) {{ ctx.put('@timestamp', present); }}
try {{
if (raw == null) {{
  {script.fault} = 'input: the document has neither message nor event.original';
}} else {{
  text = bareLine(text);
}}
step = 'parse';
{assignments(script, body.set)}{pieces.steps}step = 'fields';
{pieces.header}{_unless_refused(script, pieces.required)}{_unless_refused(script, pieces.fields)}\
{_misfit(script, body) if parts is None else _hand_over(script, parts)}{_end(script, dataset, dataset.body, pieces)}"""


def _part(
    dataset: Dataset, part: Part, script: Script, options: Mapping[str, Any], before: Mapping[str, int]
) -> str:
    """Write the script of a part: it goes on where the first one ended. `before`: the objects that one writes to."""
    assert dataset.body.parts is not None  # or there would be no part
    script.kind = dataset.body.parts.name
    script.rests = {
        value: (target, (*dataset.body.parts.by, *_mapped(part, script.kind, value)))
        for value, target in part.rest.items()
    }
    pieces = _pieces(dataset, part.body, script, options, part)
    script.object("event")
    for path in before:
        script.object(path)
    places = [item for path in before for item in (path, script.places[path])]
    found = "".join(
        f"{script.slot(raw)} = (String)found.get({literal(raw)});\n"
        for raw in (*dataset.body.raw_values, TIME_SLOT)
        if raw in script.slots or raw == TIME_SLOT
    )
    return f"""\
Map p = params;
long now = System.currentTimeMillis();
Map given = (Map)ctx.remove('_parsed');
ctx.remove('_part');
Map[] o = open(ctx);
List problems = (List)given.get('problems');
String step = 'fields';
def raw = given.get('raw');
String text = (String)given.get('text');
Map found = (Map)given.get('found');
{found}try {{
resume(o, (Map)given.get('objects'), (List){script.table("places.before", places)});
{assignments(script, part.set)}{pieces.steps}\
{_unless_refused(script, pieces.required)}{_unless_refused(script, pieces.fields)}\
{_misfit(script, part.body)}{_end(script, dataset, part.body, pieces)}"""


def _mapped(part: Part, kind: str, value: str) -> tuple[str, ...]:
    """Return the raw values that mappings take where a part was chosen by a value."""
    found = [*parted_values(part.body.parsers)]
    for mapping in part.body.mappings:
        wanted = mapping.when.get(kind, True)
        if isinstance(wanted, bool) or not value or value in wanted:
            found += mapping.takes
    return tuple(found)


def _misfit(script: Script, body: Description) -> str:
    """Return the statements that refuse a line of which too much is unusable."""
    if body.names_values:
        return ""
    return (
        f"if ({script.fault} == null && problems.size() > {MAX_FIELD_PROBLEMS}) {{\n"
        f"  {script.fault} = 'fields: the line does not fit its format';\n}}\n"
    )


def _hand_over(script: Script, parts: Parts) -> str:
    """Return the statements that choose a part, give it what was parsed, and leave the rest to it."""
    values = {value: part.name for part in parts.of for value in part.values}
    table = script.table("parts", values)
    chosen = script.slot(parts.name)
    by = "".join(
        f"if ({chosen} == null && ((Map){table}).containsKey({script.slot(raw)})) "
        f"{{ {chosen} = {script.slot(raw)}; }}\n"
        for raw in parts.by
    )
    if parts.keys:
        kinds = [item for value, keys in parts.keys.items() for item in (value, list(keys))]
        by += (
            f"if ({chosen} == null && {script.slot(parts.by[0])} == null && parsed.get('whole') != null) "
            f"{{ {chosen} = kindByKeys((Map)parsed.get('whole'), (List){script.table('parts.keys', kinds)}); }}\n"
        )
    # What was told, though no part is for it.
    by += f"if ({chosen} == null) {{ {chosen} = {script.slot(parts.by[0])}; }}\n"
    found = "".join(
        f"if ({script.slot(raw)} != null) {{ found.put({literal(raw)}, {script.slot(raw)}); }}\n"
        for raw in dict.fromkeys([*sorted(script.listed), TIME_SLOT])
    )
    objects = "".join(f"objects.put({literal(path)}, o[{index}]);\n" for path, index in script.places.items())
    return f"""\
if ({script.fault} == null) {{
def part = null;
{by}if ({chosen} != null) {{ part = ((Map){table}).get({chosen}); }}
Map found = new HashMap();
{found}Map objects = new HashMap();
{objects}parsed.put('found', found);
parsed.put('objects', objects);
parsed.put('problems', problems);
parsed.put('raw', raw.toString());
parsed.put('text', text);
ctx.put('_parsed', parsed);
ctx.put('_part', part == null ? {literal(parts.otherwise)} : part);
return;
}}
"""


def _end(script: Script, dataset: Dataset, body: Description, pieces: _Pieces) -> str:
    """Return the statements that end a script, whatever went wrong in it."""
    message = literal("message")
    event = script.object("event")
    time = script.slot(TIME_SLOT)
    keep_message = f"ctx.remove({message});"
    if body.message == "text":
        keep_message = (
            f"if (raw != null && !text.isEmpty()) {{ ctx.put({message}, text); }} "
            f"else {{ ctx.remove({message}); }}"
        )
    if "message" in emitted_fields(body):
        keep_message = f"if ({script.fault} != null) {{ ctx.remove({message}); }}"
    # A line that is refused gets nothing but what every document has and its header: the rest would be filed wrongly.
    # What is wrong with the header is among the problems already.
    again = pieces.header.replace(ARGUMENTS, ARGUMENTS.replace("problems", "new ArrayList()"))
    return f"""\
}} catch (Exception e) {{
  {script.fault} = step + ': ' + shortened('' + e.getMessage());
}}
try {{
step = 'end';
if ({script.fault} != null) {{
  o = open(ctx);
  {time} = null;
  problems.add(0, {script.fault});
{again}  {script.put("event.kind", literal("pipeline_error"))}
  {script.put("ecs.version", literal(ecs_version()))}
{assignments(script, _not_parsed(dataset))}}}
{pieces.last}}} catch (Exception e) {{
  problems.add(step + ': ' + shortened('' + e.getMessage()));
}}
if (!problems.isEmpty()) {{ {script.put("error.message", "problems")} }}
ctx.put('@timestamp', {time} != null ? {time} : shipperTime(ctx.get('@timestamp'), now));
{keep_message}
{event}.putIfAbsent('action', {literal(dataset.body.action)});
{event}.putIfAbsent('outcome', 'unknown');
close(o);
if (raw != null && raw.toString().length() > {LONGEST}) {{
  // The line itself stays whole; it is not indexed.
  Map whole = (Map)ctx.get('event');
  def line = whole.remove('original');
  cutLong(ctx, {LONGEST}, {OVERLAP}, {_DEEPEST});
  whole.put('original', line);
}}
"""


def _not_parsed(dataset: Dataset) -> dict[str, Any]:
    """Return the fields that say of a document that it could not be parsed: every document has all of `event.*`."""
    category = dataset.body.set.get("event.category")
    return {**({"event.category": category} if category else {}), **_NOT_PARSED}


def _unless_refused(script: Script, statements: str) -> str:
    # Painless refuses an empty block.
    return f"if ({script.fault} == null) {{\n{statements}}}\n" if statements else ""


def _functions(script: Script, name: str, statements: list[str]) -> list[str]:
    """Put statements into functions of a bearable size, and return the calls."""
    calls = []
    statements = [statement for statement in statements if statement]  # Painless refuses an empty function
    for start in range(0, len(statements), _STATEMENTS_A_FUNCTION):
        part = f"{name}{start // _STATEMENTS_A_FUNCTION}"
        body = "".join(statements[start : start + _STATEMENTS_A_FUNCTION])
        script.function(part, "void", ENVIRONMENT, body)
        calls.append(f"{part}({ARGUMENTS});")
    return calls
