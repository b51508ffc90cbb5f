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

from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.derive import DERIVATIONS, write_related
from sigmawatch.datasets.enrich import LOOKUP, lookup_processors, note_lookups
from sigmawatch.datasets.load import emitted_fields
from sigmawatch.datasets.mapping import assignments, write_cases, write_switches
from sigmawatch.datasets.parsers import TakesParsed, needed_raw_values, parted_values, steps_of
from sigmawatch.datasets.script import MAX_SOURCE_BYTES, Script, compact, literal
from sigmawatch.datasets.times import time_zone
from sigmawatch.datasets.values import write_mapping
from sigmawatch.datasets.writing import ARGUMENTS, ENVIRONMENT, TIME_SLOT
from sigmawatch.ecs import ecs_version
from sigmawatch.errors import ContentError, Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.datasets.model import Dataset

__all__ = ["MAX_FIELD_PROBLEMS", "build_pipeline", "hook_id", "options_of", "without_hook"]

LONGEST = 8000
"""Characters of Java's from which on a text is cut into pieces. Lucene takes terms of 32,766 bytes, which is 10,922
characters of three bytes each; the terms of flattened objects begin with the path of the member."""

OVERLAP = 1000
"""Characters that a piece has in common with the one before: a search for texts of this length misses nothing."""

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
        for options_of_part in (
            *(parser.options for parser in dataset.body.parsers),
            *(DERIVATIONS[name].options for name in dataset.body.derive),
        )
        for option in options_of_part
    }
    if any(mapping.type == "time" for mapping in dataset.body.mappings):
        known.add("timezone")
    return frozenset({*known, "enrich"})


def build_pipeline(dataset: Dataset, *, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the body of a dataset's ingest pipeline.

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
    script = Script()
    if "timezone" in known:
        script.params["timezone"] = time_zone(str(options.get("timezone") or ""))
    source = script.text(_main(dataset, script, options))
    if len(source.encode()) > MAX_SOURCE_BYTES:
        source = compact(source)
    if len(source.encode()) > MAX_SOURCE_BYTES:
        raise ContentError(
            [
                Problem(
                    f"the script has {len(source.encode()):,} bytes; engines accept {MAX_SOURCE_BYTES:,}",
                    dataset.folder / "dataset.yml",
                    hint="move values into tables",
                    code="script-size",
                )
            ]
        )
    hook: dict[str, Any] = {"name": hook_id(dataset), "tag": "custom"}
    processors: list[dict[str, Any]] = [
        {"script": {"tag": "parse", "lang": "painless", "source": source, "params": script.params}}
    ]
    if any(parser.drops for parser in dataset.body.parsers):
        processors.append({"drop": {"tag": "header", "if": "ctx._drop != null"}})
    processors += lookup_processors(dataset, options)
    hook_failed = [_append_error(f"pipeline {hook_id(dataset)} failed")]
    processors.append({"pipeline": {**hook, "on_failure": hook_failed}})
    return {
        "description": f"{dataset.title}: raw lines to ECS {ecs_version()}",
        "processors": processors,
        "on_failure": [
            *_rescue(dataset),
            {"pipeline": {**hook, "on_failure": hook_failed}},
        ],
    }


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


def _rescue(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the processors for a document whose script broke off: it is kept, and says so.

    Each may fail by itself (a shipper's `event` that is a text) without the others being skipped.
    """
    return [
        # Not even this runs where the engine cannot hand a document to scripts: OpenSearch, when a shipper's JSON has
        # a whole number beyond a long. What follows does what it can then.
        {
            "script": {
                "tag": "rescue",
                "lang": "painless",
                "source": _RESCUE,
                "params": {"dataset": dataset.name},
                "ignore_failure": True,
            }
        },
        _rescue_set("kind", "event.kind", "pipeline_error"),
        _rescue_set("dataset", "event.dataset", dataset.name),
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


def _rescue_set(name: str, field: str, value: str, *, override: bool = True) -> dict[str, Any]:
    settings = {"tag": f"rescue-{name}", "field": field, "value": value, "ignore_failure": True}
    return {"set": settings if override else {**settings, "override": False}}


def _main(dataset: Dataset, script: Script, options: Mapping[str, Any]) -> str:
    body = dataset.body
    script.declared = dataset.fields
    for name, table in body.tables.items():
        script.params[f"table.{name}"] = dict(table)
    # What a line says about its values needs no guess whether they are in the right places.
    script.lists = body.names_values
    script.listed = frozenset(body.raw_values)
    script.mapped = tuple(raw for mapping in body.mappings for raw in mapping.takes) + parted_values(
        body.parsers
    )
    inputs = "".join(
        step.write_input(script) for step in steps_of(body.parsers) if isinstance(step, TakesParsed)
    )
    written: dict[str, list[str]] = {"header": [], "required": [], "fields": []}
    for number, mapping in enumerate(body.mappings):
        kind = "required" if mapping.required else "fields" if mapping in body.own else "header"
        written[kind].append(write_mapping(script, mapping, number))
    cases = write_switches(script, body.switches, body.is_raw) + write_cases(script, body.cases)
    for raw in needed_raw_values(body.parsers):
        script.slot(raw)
    steps = "".join(_unless_refused(script, parser.write(script, options)) for parser in body.parsers)
    time = script.slot(TIME_SLOT)
    # Where raw values may be lists, so may fields.
    script.single = script.lists
    times = "".join(
        f"  if ({time} == null) {{ {time} = (String){script.get(field)}; }}\n" for field in body.timestamp
    )
    derived = "".join(DERIVATIONS[name].write(script, options) for name in body.derive)
    script.single = False
    emitted = {field: dataset.fields[field] for field in emitted_fields(body) if field in dataset.fields}
    # After the fields, so that what a document already had is related too.
    derived += write_related(script, emitted)
    script.single = True
    lookups = note_lookups(dataset, script, options)
    script.single = False
    derived += lookups
    header, required, fields, last = (
        "".join(f"  {call}\n" for call in _functions(script, name, statements))
        for name, statements in (*written.items(), ("derived", [times + derived]))
    )
    categorise = "".join(f"  {call}\n" for call in _functions(script, "cases", [cases] if cases else []))
    message = literal("message")
    event = script.object("event")
    script.params["shape"] = script.shape()
    drops = any(parser.drops for parser in body.parsers)
    # A mark of our own that is not for a shipper to set.
    forget = "ctx.remove('_drop');\n" if drops else ""
    if lookups:
        forget += f"ctx.remove({literal(LOOKUP)});\n"
    keep_message = f"ctx.remove({message});"
    if body.message == "text":
        keep_message = (
            f"if (raw != null && !text.isEmpty()) {{ ctx.put({message}, text); }} "
            f"else {{ ctx.remove({message}); }}"
        )
    take_message = ""
    if "message" in emitted_fields(body):
        # The log has a message of its own inside the line.
        take_message = f"ctx.remove({message});\n"
        keep_message = f"if ({script.fault} != null) {{ ctx.remove({message}); }}"
    # A line that is refused gets nothing but what every document has and its header: the rest would be filed wrongly.
    # What is wrong with the header is among the problems already.
    again = header.replace(ARGUMENTS, ARGUMENTS.replace("problems", "new ArrayList()"))
    misfit = ""
    if not body.names_values:
        misfit = (
            f"if ({script.fault} == null && problems.size() > {MAX_FIELD_PROBLEMS}) {{\n"
            f"  {script.fault} = 'fields: the line does not fit its format';\n}}\n"
        )
    return f"""\
Map p = params;
long now = System.currentTimeMillis();
String present = iso(now);
def given = ctx.get('event');
def raw = given instanceof Map ? ((Map)given).get('original') : null;
if (raw == null) {{ raw = ctx.get({message}); }}
if (raw == null) {{ raw = ctx.remove('event.original'); }}
{inputs}{forget}admit(ctx, (Map)p.get('shape'));
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
{assignments(script, body.set)}{steps}step = 'fields';
{header}{_unless_refused(script, required)}{_unless_refused(script, fields + categorise)}\
{misfit}}} catch (Exception e) {{
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
}}
{last}}} catch (Exception e) {{
  problems.add(step + ': ' + shortened('' + e.getMessage()));
}}
if (!problems.isEmpty()) {{ {script.put("error.message", "problems")} }}
ctx.put('@timestamp', {time} != null ? {time} : shipperTime(ctx.get('@timestamp'), now));
{keep_message}
close(o);
if (raw != null && raw.toString().length() > {LONGEST}) {{
  // The line itself stays whole; it is not indexed.
  Map whole = (Map)ctx.get('event');
  def line = whole.remove('original');
  cutLong(ctx, {LONGEST}, {OVERLAP}, {_DEEPEST});
  whole.put('original', line);
}}
"""


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
