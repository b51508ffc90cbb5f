"""Expected documents keep to ECS 8.17 and to what is promised for all datasets. No engine is asked."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from datasets.dataset_server import ROOT
from datasets.test_datasets_samples import leaves
from sigmawatch.datasets import load_dataset, samples
from sigmawatch.ecs import allowed_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmawatch.datasets import Dataset

NAMES = sorted(path.parent.name for path in ROOT.glob("*/dataset.yml"))

LISTS = re.compile(
    r"event\.(category|type)|related\.\w+|tags|dns\.(answers|header_flags|resolved_ip)|(host|observer)\.(ip|mac)"
    r"|(.+\.)?process(\.parent)?\.args|rule\.author|user(\.\w+)?\.roles|error\.message|threat\.(tactic|technique)\.\w+"
    r"|.+\.x509\.alternative_names|container\.image\.tag"
)
"""Fields that ECS wants as lists, however many values there are; `error.message` is our own promise."""

PLACEHOLDERS = frozenset(
    {"null", "NULL", "None", "nil", "N/A", "n/a", "(empty)", "(null)", "undefined", "NaN"}
)
MAC = re.compile(r"[0-9A-F]{2}(-[0-9A-F]{2}){5}|[0-9A-F]{2}(-[0-9A-F]{2}){7}")
USERS = re.compile(r"(.+\.)?user(\.(target|effective|changes))?\.(name|email)")
HOSTS = re.compile(
    r"(source|destination|client|server|url)\.domain|host\.(name|hostname)|observer\.hostname|dns\.question\.name"
    r"|tls\.client\.server_name"
)


NO_OUTCOME = "a login has no event.outcome"

UNKNOWN_LOGINS = frozenset(
    {
        # Half of a sign-in, of which the other half comes with the second factor.
        ("auth.azure_signin", "sign_ins.log:4"),
        ("auth.azure_signin", "sign_ins.log:11"),
        # Nothing says how it ended.
        ("auth.azure_signin", "errors.log:6"),
        ("api.m365", "sharepoint_teams.log:8"),
        ("api.okta", "rare.log:9"),
        # Somebody wrote both into a name.
        ("auth.ivanti_connect_secure", "standard.log:16"),
    }
)
"""Logins whose lines do not tell how they ended: dataset, sample and line."""


def documents(dataset: Dataset) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (where, line, document) of every sample line that becomes a document."""
    for sample in samples(dataset):
        given = list(dataset.documents(sample.lines))
        assert sample.expected is not None, f"{sample.path} has no expected documents"
        assert len(given) == len(sample.expected), f"{sample.path}: not one expected document a line"
        for number, (document, expected) in enumerate(zip(given, sample.expected, strict=True), 1):
            if expected is not None:
                yield f"{sample.path.name}:{number}", document["message"], expected


def elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def fields_of(dataset: Dataset, document: dict[str, Any]) -> list[tuple[str, Any]]:
    flattened = frozenset(field for field, kind in dataset.fields.items() if kind == "flattened")
    return [(field, value) for field, value in leaves(document, flattened) if field not in flattened]


def is_number(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and low <= value <= high


def is_time(value: Any) -> bool:
    """Whether a value is a moment in UTC, or stands for the present one."""
    try:
        # The placeholder of a year may stand before the 29th of February.
        return (
            value == "<now>"
            or datetime.fromisoformat(value.replace("<year>", "2028")).utcoffset() == timedelta()
        )
    except (AttributeError, TypeError, ValueError):
        return False


def is_address(value: Any) -> bool:
    try:
        return ipaddress.ip_address(value) is not None
    except ValueError:
        return False


TYPES: dict[str, Callable[[Any], bool]] = {
    "date": is_time,
    "ip": is_address,
    "long": lambda value: is_number(value, -(2**63), 2**63 - 1),
}


def of_types(dataset: Dataset, document: dict[str, Any]) -> Iterator[str]:
    """Values are what their mapping says, to the letter: what it would only bear with, rules may miss."""
    for field, value in fields_of(dataset, document):
        check = TYPES.get(dataset.fields.get(field, ""))
        for element in elements(value):
            if check is not None and not check(element):
                yield f"{field} is no {dataset.fields[field]}: {element!r}"
            if field.endswith(".port") and not is_number(element, 0, 65535):
                yield f"{field} is no port: {element!r}"
            if field.endswith(".mac") and not MAC.fullmatch(str(element)):
                yield f"{field} is not written as RFC 7042 has it: {element!r}"
            if element in PLACEHOLDERS:
                yield f"{field} holds a placeholder: {element!r}"
        if LISTS.fullmatch(field) and not isinstance(value, list):
            yield f"{field} is no list"


def of_categories(dataset: Dataset, document: dict[str, Any]) -> Iterator[str]:
    """`event.*` is all there, with values that ECS allows, and says how a login ended."""
    event = document["event"]
    yield from (
        f"event.{name} is missing"
        for name in ("kind", "category", "type", "action", "outcome", "original")
        if not event.get(name)
    )
    for name in ("kind", "category", "type", "outcome"):
        allowed = allowed_values(f"event.{name}") or frozenset()
        wrong = [value for value in elements(event.get(name, [])) if value not in allowed]
        if wrong:
            yield f"event.{name}: ECS does not allow {wrong}"
    if event["kind"] == "pipeline_error":
        if event.get("type") != ["info"] or event.get("outcome") != "unknown":
            yield "a pipeline_error says more than is known"
        return
    for name in ("category", "type"):
        values = event.get(name) or []
        if not values or len(set(values)) != len(values):
            yield f"event.{name} is {values}"
    if (
        "authentication" in event.get("category", ())
        and "start" in event["type"]
        and event["outcome"] == "unknown"
    ):
        yield NO_OUTCOME
    for first, second in (("allowed", "denied"), ("creation", "deletion")):
        if {first, second} <= set(event.get("type", ())):
            yield f"event.type is both {first} and {second}"


def of_relations(dataset: Dataset, document: dict[str, Any]) -> Iterator[str]:
    """`related.*` has every address, user, host and hash of the document; both ends known have a direction."""
    related = document.get("related", {})
    for field, value in fields_of(dataset, document):
        if field.startswith("related."):
            continue
        targets = {
            "ip": dataset.fields.get(field) == "ip",
            "user": USERS.fullmatch(field),
            "hosts": HOSTS.fullmatch(field),
            "hash": ".hash." in field or field in ("tls.client.ja3", "tls.server.ja3s"),
        }
        for target, wanted in targets.items():
            missing = [one for one in elements(value) if wanted and one not in related.get(target, ())]
            if missing:
                yield f"related.{target} lacks {missing} of {field}"
    for target, values in related.items():
        if len(set(values)) != len(values):
            yield f"related.{target} has a value twice"
    if "ip" in document.get("source", {}) and "ip" in document.get("destination", {}):
        known = {"inbound", "outbound", "internal", "external", "unknown", "ingress", "egress"}
        if document.get("network", {}).get("direction") not in known:
            yield "both ends are addresses, and there is no network.direction"


NOT_RELATED = re.compile(
    # Versions, and what is told of a packet's way, not of who sent it or got it.
    r"azure\.frontdoor\.http_version|netflow\.other\.\w*next_hop"
    # nginx's own, beside the name that was asked for; a text that a Windows DNS server puts anything into.
    r"|modsecurity\.hostname|winlog\.event_data\.param\d+"
    # In the answer to a question for something else than an address.
    r"|dns\.answers\.data"
)
"""Fields whose texts may look like addresses, and need not be under `related.ip`."""


def texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a document with its path, free-form objects and lists of anything included."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from texts(member, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for element in value:
            yield from texts(element, name)
    elif isinstance(value, str):
        yield name, value


def of_addresses(dataset: Dataset, document: dict[str, Any]) -> Iterator[str]:
    """Whatever looks like an address is under `related.ip`, whoever's field it stands in."""
    if document["event"]["kind"] == "pipeline_error":
        return
    related = {ipaddress.ip_address(one) for one in document.get("related", {}).get("ip", ())}
    for field, text in texts(document):
        if (
            is_address(text)
            and field not in ("message", "event.original")
            and not NOT_RELATED.fullmatch(field)
        ):
            address = ipaddress.ip_address(text)
            plain = getattr(address, "ipv4_mapped", None) or address
            if not plain.is_unspecified and plain not in related:
                yield f"related.ip lacks {text} of {field}"


def of_times(dataset: Dataset, document: dict[str, Any]) -> Iterator[str]:
    """What lasts some time begins before it ends."""
    event = document["event"]
    if event.get("duration", 0) < 0:
        yield "event.duration is negative"
    if "duration" in event and is_time(event.get("start")) and is_time(event.get("end")):
        start, end = (datetime.fromisoformat(event[name]) for name in ("start", "end"))
        if start > end:
            yield f"event.start {start} is after event.end {end}"


def of_origin(dataset: Dataset, document: dict[str, Any]) -> Iterator[str]:
    """Every document says what it is and why it is no event."""
    event = document["event"]
    wanted = {"dataset": dataset.name, "module": dataset.body.module}
    yield from (
        f"event.{name} is {event.get(name)!r}" for name, value in wanted.items() if event.get(name) != value
    )
    if document.get("ecs", {}).get("version") != "8.17.0":
        yield "ecs.version is missing"
    if event["kind"] == "pipeline_error" and not document.get("error", {}).get("message"):
        yield "a pipeline_error has no error.message"


RULES = (of_types, of_categories, of_relations, of_addresses, of_times, of_origin)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NAMES)
def test_expected_documents_conform(
    name: str, rule: Callable[[Dataset, dict[str, Any]], Iterator[str]]
) -> None:
    dataset = load_dataset(ROOT / name)
    told = [
        f"{where}: {text}"
        for where, _, document in documents(dataset)
        for text in rule(dataset, document)
        if text != NO_OUTCOME or (name, where) not in UNKNOWN_LOGINS
    ]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_enough_to_trust(name: str) -> None:
    dataset = load_dataset(ROOT / name)
    found = list(documents(dataset))
    assert len(found) >= 8, f"{len(found)} documents"
    assert any(document["event"]["kind"] == "pipeline_error" for _, _, document in found), (
        "no line that fails"
    )
    assert any(document["event"]["kind"] != "pipeline_error" for _, _, document in found)
    for where, line, document in found:
        assert document["event"]["original"] == line, f"{where}: event.original is not the line"


def broken(name: str, **changes: Any) -> list[str]:
    """Return what is told of an event of a dataset with other fields."""
    dataset = load_dataset(ROOT / name)
    for _, _, document in documents(dataset):
        if document["event"]["kind"] == "event" and "ip" in document.get("destination", {}):
            for field, value in changes.items():
                parent, _, member = field.rpartition("__")
                document.setdefault(parent, {})[member] = value
            return [text for rule in RULES for text in rule(dataset, document)]
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"event__end": "yesterday"}, "event.end is no date: 'yesterday'"),
        ({"event__type": ["conection"]}, "event.type: ECS does not allow ['conection']"),
        ({"event__category": "network"}, "event.category is no list"),
        ({"event__type": ["allowed", "denied"]}, "event.type is both allowed and denied"),
        ({"event__module": "x"}, "event.module is 'x'"),
        ({"event__start": "2027-01-01T00:00:00Z"}, "event.start 2027-01-01 00:00:00+00:00 is after"),
        ({"source__port": 70000}, "source.port is no port: 70000"),
        ({"source__bytes": 2**63}, "source.bytes is no long"),
        ({"source__ip": "10.0.0.01"}, "source.ip is no ip: '10.0.0.01'"),
        ({"source__address": "null"}, "source.address holds a placeholder: 'null'"),
        ({"related__ip": []}, "related.ip lacks"),
        ({"vendor__anything": [{"x": ["192.0.2.250"]}]}, "related.ip lacks 192.0.2.250 of vendor.anything.x"),
        ({"network__direction": "in"}, "both ends are addresses, and there is no network.direction"),
    ],
)
def test_what_does_not_conform_is_told(changes: dict[str, Any], told: str) -> None:
    assert any(text.startswith(told) for text in broken("flow.aws_vpc", **changes))
