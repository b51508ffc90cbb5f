"""Envelopes: what transports and exports put around events, and records that hold several of them.

    envelope:
      records: [Records, detail.findings]     # ways to lists of events; what is around the list is left away
      each: properties.flows[].flows[].flowTuples[]   # one document an element of the last list: the whole record, with
                                              # every list on the way replaced by its one element
    id: [eventID]                             # what makes an event unique (`a|b`: the first that is there)

Known without being declared: `Records`, `records` and `events` that are alone in their object, lists of objects, JSON
over many lines or one after the other, CloudWatch Logs subscriptions, Kinesis and Firehose, SQS and SNS, Pub/Sub, and
lines in the objects of shippers (`message`), Docker and Fluent Bit (`log`) and the journal (`MESSAGE`).

An event's text is what stands in the file, without the blanks between members where it was laid out over lines. What is
damaged is passed on as it is, for the pipeline to mark.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch.datasets.jsontext import Piece, Way, pieces

if TYPE_CHECKING:
    from sigmawatch.datasets.reader import Reader

__all__ = ["Envelope", "Record", "identity", "read_envelope", "read_id", "records"]

WRAPPING = ("Records", "records", "events")
"""Lists of events that need no declaration where they are alone in their object."""

MAX_DEPTH = 6
"""Envelopes within envelopes: Firehose in CloudWatch in Kinesis is real, more is an attack."""

MAX_UNPACKED = 256 * 1024 * 1024
"""Bytes that the packed payload of one message may have: AWS and Google allow 10 MB packed."""

_GZIP = b"\x1f\x8b"
_LISTED = "[]"


@dataclass(frozen=True)
class Envelope:
    """What a dataset's events come in."""

    records: tuple[Way, ...] = ()
    """Ways to lists of events."""
    each: tuple[tuple[tuple[str, bool], ...], ...] = ()
    """Ways within an event to lists of which each element is one document: keys, and whether a list is there."""


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it is to be indexed."""

    text: str
    """The raw text: `message`."""
    data: Any = None
    """The same as a value, where it is a JSON object."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the document, from the envelope."""
    part: int = 0
    """Which document of its event it is, where an event becomes several."""
    left_out: int = 0
    """Characters of it that were not kept, because it has more than a document may."""


def records(
    chunks: Iterable[str],
    envelope: Envelope,
    keys: Sequence[Sequence[Sequence[str]]] = (),
    *,
    structured: bool = False,
) -> Iterator[Record]:
    """Yield the events of a text, in order. Only a window of the text is in memory.

    `keys`: what marks a JSON object as an event of the dataset itself, so that a `message` in it is not a shipper's
    way of sending the line: of each kind, groups of keys of which it has one each. `structured`: all its events are
    JSON objects, so that a text in `message` is none of them.
    """
    yield from _Opener(envelope, keys, structured).read(chunks, {}, 0)


@dataclass(frozen=True)
class _Opener:
    """Opens the envelopes of one dataset."""

    envelope: Envelope
    keys: Sequence[Sequence[Sequence[str]]]
    structured: bool

    def read(self, chunks: Iterable[str], context: Mapping[str, Any], depth: int) -> Iterator[Record]:
        """Yield the events of a text."""
        for piece in pieces(chunks, self.envelope.records, wrapping=WRAPPING):
            if isinstance(piece.data, dict):
                yield from self._open(piece, context, depth)
            else:
                yield Record(piece.text, None, context, left_out=piece.left_out)

    def _open(self, piece: Piece, context: Mapping[str, Any], depth: int) -> Iterator[Record]:
        """Yield the events in an object: what its envelope holds, or itself."""
        if depth < MAX_DEPTH:
            for opener in _OPENERS:
                found = opener(piece.data)
                if found is None:
                    continue
                for payload, more in found:
                    if opener is _cloudwatch:
                        yield from self._one(payload, {**context, **more}, depth + 1)
                    else:
                        yield from self.read([_encodable(payload)], {**context, **more}, depth + 1)
                return
            line = None if self._is_event(piece.data) else _shipped_line(piece.data, self.structured)
            if line is not None:
                yield from self._one(line[0], {**context, **line[1]}, depth + 1)
                return
        for way in self.envelope.each:
            parts = list(_parts(piece.data, way))
            if len(parts) != 1 or parts[0] is not piece.data:
                for number, part in enumerate(_parts(_exact(piece), way)):
                    text = json.dumps(part, ensure_ascii=False, separators=(",", ":"))
                    yield Record(_encodable(text), part, context, number)
                return
        yield Record(piece.text, piece.data, context)

    def _is_event(self, data: Mapping[str, Any]) -> bool:
        return any(all(any(key in data for key in group) for group in kind) for kind in self.keys)

    def _one(self, text: str, context: Mapping[str, Any], depth: int) -> Iterator[Record]:
        """Yield the event that a text is: its line feeds are content, unless it is JSON."""
        text = _encodable(text)
        if text.lstrip().startswith("{"):
            yield from self.read([text], context, depth)
        elif text.strip():
            yield Record(text.rstrip("\r\n"), None, context)


def _exact(piece: Piece) -> Any:
    """Return the value of a piece with numbers beyond 64 bits as they are, which the fast parser rounds."""
    try:
        return json.loads(piece.text)
    except (ValueError, RecursionError):
        return piece.data


def _parts(value: Any, way: tuple[tuple[str, bool], ...]) -> Iterator[Any]:
    """Yield a value once for each element of the lists on the way; as it is where the way leads to nothing."""
    if not way:
        yield value
        return
    key, listed = way[0]
    inner = value.get(key) if isinstance(value, dict) else None
    if listed and isinstance(inner, list) and inner:
        for element in inner:
            for part in _parts(element, way[1:]):
                yield {**value, key: part}
    elif isinstance(inner, dict):
        for part in _parts(inner, way[1:]):
            yield value if part is inner else {**value, key: part}
    else:
        yield value


Opened = list[tuple[str, Mapping[str, Any]]]


def _cloudwatch(data: Mapping[str, Any]) -> Opened | None:
    """CloudWatch Logs, subscription filters: `logEvents` with the log group around them."""
    events = data.get("logEvents")
    if not isinstance(events, list) or "logGroup" not in data:
        return None
    if data.get("messageType") == "CONTROL_MESSAGE":
        return []  # AWS asks whether the receiver is there
    around: dict[str, Any] = {}
    if isinstance(owner := data.get("owner"), str):
        around["cloud"] = {"provider": "aws", "account": {"id": owner}}
    around["log"] = {"file": {"path": f"{data['logGroup']}/{data.get('logStream', '')}"}}
    found: Opened = []
    for event in events:
        if isinstance(event, dict) and isinstance(event.get("message"), str):
            found.append((event["message"], {**around, **_time(event.get("timestamp"), 1e3)}))
        else:
            found.append((json.dumps(event), around))
    return found


def _awslogs(data: Mapping[str, Any]) -> Opened | None:
    """The event that CloudWatch Logs calls a Lambda function with."""
    inner = data.get("awslogs")
    return _decoded(inner) if isinstance(inner, dict) and len(data) == 1 else None


def _stream_record(data: Mapping[str, Any]) -> Opened | None:
    """A record of Kinesis (API and Lambda), Firehose (Lambda and HTTP), or SQS (Lambda)."""
    inner = data.get("kinesis")
    if isinstance(inner, dict) and "eventSource" in data:
        return _decoded(inner)
    if data.get("eventSource") == "aws:sqs" and isinstance(data.get("body"), str):
        return [(data["body"], {})]
    if "PartitionKey" in data and "SequenceNumber" in data:
        return _decoded(data, "Data")
    beside = set(data) - {"data", "recordId", "approximateArrivalTimestamp", "kinesisRecordMetadata"}
    return None if beside else _decoded(data)


def _notification(data: Mapping[str, Any]) -> Opened | None:
    """A message of SNS."""
    if "TopicArn" in data and data.get("Type") == "Notification" and isinstance(data.get("Message"), str):
        return [(data["Message"], {})]
    return None


def _pubsub(data: Mapping[str, Any]) -> Opened | None:
    """A message of Google Pub/Sub, pushed or pulled."""
    received = data.get("receivedMessages")
    if isinstance(received, list) and len(data) == 1:
        return [(json.dumps(one), {}) for one in received]
    inner = data.get("message")
    if isinstance(inner, dict) and ({"subscription", "ackId"} & set(data)) and "data" in inner:
        return _decoded(inner)
    if ({"messageId", "message_id"} & set(data)) and "publishTime" in data and "data" in data:
        return _decoded(data)
    return None


_OPENERS = (_cloudwatch, _awslogs, _stream_record, _notification, _pubsub)


def _decoded(data: Mapping[str, Any], key: str = "data") -> Opened | None:
    """Return the text in base64, packed maybe, or None when it is none."""
    encoded = data.get(key)
    if not isinstance(encoded, str):
        return None
    try:
        raw = base64.b64decode(encoded, validate=True)
        if raw.startswith(_GZIP):
            raw = _unpacked(raw)
    except (binascii.Error, ValueError, zlib.error):
        return None  # passed on as it is
    return [(raw.decode("utf-8", "backslashreplace"), {})]


def _unpacked(raw: bytes) -> bytes:
    found = b""
    while raw and len(found) < MAX_UNPACKED:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        found += unpacker.decompress(raw, MAX_UNPACKED - len(found))
        if not unpacker.eof:
            raise ValueError("cut off or too large")
        raw = unpacker.unused_data if unpacker.unused_data.startswith(_GZIP) else b""
    return found


def _shipped_line(data: Mapping[str, Any], structured: bool) -> tuple[str, Mapping[str, Any]] | None:
    """Return the raw line that a shipper put into an object, and the rest of the document it would have sent."""
    message = data.get("message")
    event = data.get("event")
    original = event.get("original") if isinstance(event, dict) else None
    line = original if isinstance(original, str) and original else message
    if isinstance(line, str) and line:
        if structured and not line.lstrip().startswith("{"):
            return None
        return line, {
            key: value for key, value in data.items() if key not in _NOT_CONTEXT and not key.startswith("_")
        }
    if structured:
        return None
    line = data.get("log")
    if isinstance(line, str) and line and (len(data) == 1 or {"stream", "date", "time"} & set(data)):
        when = data.get("time", data.get("date"))
        return line, _time(when, 1) if isinstance(when, float | int) else _text_time(when)
    if "MESSAGE" in data and "__REALTIME_TIMESTAMP" in data:
        line = _journal_text(data["MESSAGE"])
        return None if line is None else (line, _journal(data))
    return None


_NOT_CONTEXT = frozenset({"message", "@metadata", "@version", "event", "timestamp", "source_type"})
"""What is a shipper's own: the pipeline sets `event` itself."""


def _journal_text(value: Any) -> str | None:
    """Return a field of the journal as text: what is not all printable comes as a list of bytes."""
    if isinstance(value, list):
        try:
            return bytes(value).decode("utf-8", "replace")
        except (TypeError, ValueError):
            return None
    return value if isinstance(value, str) else None


def _journal(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of systemd's journal (systemd.journal-fields) that ECS has."""
    found: dict[str, Any] = {}
    if isinstance(name := data.get("_HOSTNAME"), str):
        found["host"] = {"hostname": name, "name": name}
    header = {"appname": data.get("SYSLOG_IDENTIFIER"), "procid": data.get("_PID")}
    found["log"] = {"syslog": {key: value for key, value in header.items() if isinstance(value, str)}}
    # As the header of a syslog line says it.
    process: dict[str, Any] = {}
    if isinstance(program := data.get("SYSLOG_IDENTIFIER"), str):
        process["name"] = program
    if isinstance(pid := data.get("_PID"), str) and pid.isascii() and pid.isdigit() and len(pid) < 11:
        process["pid"] = int(pid)
    if process:
        found["process"] = process
    micros = str(data["__REALTIME_TIMESTAMP"])
    return {**found, **(_time(int(micros), 1e6) if micros.isascii() and micros.isdigit() else {})}


def _time(value: Any, a_second: float) -> dict[str, str]:
    """Return `@timestamp` for a number of seconds, milliseconds or the like; nothing for what is no time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {}
    try:
        moment = datetime.fromtimestamp(value / a_second, UTC)
    except (OverflowError, OSError, ValueError):
        return {}
    return {"@timestamp": moment.isoformat(timespec="microseconds").replace("+00:00", "Z")}


def _text_time(value: Any) -> dict[str, str]:
    return {"@timestamp": value} if isinstance(value, str) else {}


def _encodable(text: str) -> str:
    """Return a text without halves of surrogate pairs, which JSON can spell and UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def read_envelope(reader: Reader) -> Envelope:
    """Read the `envelope` of a description."""
    if not reader.is_mapping({"records", "each"}):
        return Envelope()
    ways = []
    for member in _listed(reader, "records"):
        text = member.as_text()
        if _LISTED in text:
            member.problem("records: name the list without []", hint="detail.findings")
        ways.append(_way(text, member))
    each = []
    for member in _listed(reader, "each"):
        steps = member.as_text().split(".")
        if not steps[-1].endswith(_LISTED):
            member.problem("each: the last step must be a list", hint="properties.flows[].flowTuples[]")
        keys = _way(".".join(step.removesuffix(_LISTED) for step in steps), member)
        each.append(tuple(zip(keys, (step.endswith(_LISTED) for step in steps), strict=True)))
    return Envelope(tuple(ways), tuple(each))


def read_id(reader: Reader) -> tuple[tuple[Way, ...], ...]:
    """Read the `id` of a description: ways to values, of which all must be there, and alternatives of each."""
    return tuple(
        tuple(_way(way, member) for way in member.as_text().split("|")) for member in reader.elements()
    )


def _listed(reader: Reader, key: str) -> Iterator[Reader]:
    member = reader.get(key)
    return iter(()) if member is None else member.elements()


def _way(text: str, reader: Reader) -> Way:
    keys = tuple(text.split("."))
    if not all(keys):
        reader.problem(f"{text!r} is no way to a value", hint="keys with points between them")
    return keys


def identity(data: Any, ways: tuple[tuple[Way, ...], ...]) -> bytes | None:
    """Return what makes an event unique, None when a value of it is missing."""
    found = []
    for alternatives in ways:
        value = next((value for way in alternatives if (value := _scalar(data, way)) is not None), None)
        if value is None:
            return None
        found.append(value)
    return orjson.dumps(found) if found else None


def _scalar(data: Any, way: Way) -> str | None:
    for key in way:
        data = data.get(key) if isinstance(data, dict) else None
    if isinstance(data, bool) or not isinstance(data, str | int):
        return None
    return _encodable(str(data)) or None
