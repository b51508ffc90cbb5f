"""Indicators of compromise: lists in files, compiled into one pipeline that all datasets call.

OpenSearch has no enrich processor, and a search an event would be too dear on either engine. So the indicators are
parameters of a script: tables in which an address, a name or a hash is found at once, however many there are. They
are part of the cluster state, which every node holds in memory, and so there may be at most `MOST`.
"""

from __future__ import annotations

import csv
import ipaddress
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import Artifact
from sigmawatch.datasets.derive import PRIVATE_NETWORKS
from sigmawatch.datasets.enrich import threat_intel_id
from sigmawatch.datasets.public_suffixes import is_public_suffix
from sigmawatch.datasets.script import Script
from sigmawatch.errors import ContentError, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["MOST", "Indicator", "load_indicators", "read_indicator", "threat_intel_artifact"]

MOST = 20_000
"""Indicators of a site. 20,000 make about 3 MB of the cluster state."""

_WIDEST = {4: 8, 6: 19}
"""The shortest prefix of a network that can be an indicator: wider ones are mistakes that mark every event."""

_HASHES = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_HEX = re.compile(r"[0-9a-f]+")
_DOMAIN = re.compile(
    r"(?=.{4,253}$)([a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]*[a-z0-9]", re.ASCII
)
_COLUMNS = (
    "indicator",
    "description",
    "provider",
    "reference",
    "confidence",
    "first_seen",
    "last_seen",
    "modified_at",
    "tlp",
    "valid_until",
)
_TIMES = ("first_seen", "last_seen", "modified_at", "valid_until")
_CONFIDENCE = ("Not Specified", "None", "Low", "Medium", "High")
"""What ECS allows for `threat.indicator.confidence`."""

_FIELDS = (
    *((name, "ip") for name in ("source.ip", "destination.ip", "client.ip", "server.ip")),
    *((name, "ip") for name in ("source.nat.ip", "destination.nat.ip", "dns.resolved_ip")),
    *((name, "host") for name in ("url.domain", "dns.question.name", "dns.answers.data")),
    *((name, "host") for name in ("source.domain", "destination.domain", "client.domain", "server.domain")),
    ("tls.client.server_name", "host"),
    *((name, "url") for name in ("url.full", "url.original")),
    *(
        (f"{object_}.hash.{name}", "hash")
        for object_ in ("file", "process", "process.parent", "dll")
        for name in ("sha256", "sha1", "md5", "sha512")
    ),
    # Whatever field else it stands in.
    ("related.ip", "ip"),
    ("related.hosts", "host"),
    ("related.hash", "hash"),
)
"""Fields that are compared with indicators, the first that has one is told; and with which kind."""

_FEW = frozenset(
    {
        *("related.ip", "related.hosts", "related.hash", "url.domain", "url.full", "url.original"),
        *("dns.answers.data", "tls.client.server_name"),
    }
)
"""Those of them in which, between them, every value is that stands in any of them."""

_SOURCE = """\
matchIndicators(ctx, (Map)params.get('table'), (List)params.get('few'), (List)params.get('fields'),
  (List)params.get('indicators'), System.currentTimeMillis());
"""


@dataclass(frozen=True)
class Indicator:
    """One indicator, with what is known of it."""

    kind: str
    """`network` (also a single address), `domain`, `url` or `hash`."""
    value: str
    """In the form in which it is compared."""
    said: Mapping[str, str] = field(default_factory=dict)
    """Columns of the list: description, provider, …"""
    path: Path | None = None
    line: int = 0

    def ecs(self) -> dict[str, Any]:
        """Return it as ECS's `threat.enrichments.indicator`."""
        found: dict[str, Any] = {"name": self.value}
        if self.kind == "network":
            network = ipaddress.ip_network(self.value)
            found["type"] = f"ipv{network.version}-addr"
            if network.num_addresses == 1:
                found["ip"] = found["name"] = str(network.network_address)
        elif self.kind == "domain":
            found |= {"type": "domain-name", "url": {"domain": self.value}}
        elif self.kind == "url":
            found |= {"type": "url", "url": {"full": self.value}}
        else:
            found |= {"type": "file", "file": {"hash": {_HASHES[len(self.value)]: self.value}}}
        for name in (
            "description",
            "provider",
            "reference",
            "confidence",
            "first_seen",
            "last_seen",
            "modified_at",
        ):
            if self.said.get(name):
                found[name] = self.said[name]
        if self.said.get("tlp"):
            found["marking"] = {"tlp": self.said["tlp"].upper()}
        return found

    def until(self) -> int | None:
        """Return the moment after which it is none any more, in milliseconds since 1970."""
        text = self.said.get("valid_until")
        return int(datetime.fromisoformat(text).timestamp() * 1000) if text else None


def load_indicators(paths: Iterable[Path]) -> tuple[list[Indicator], list[Problem]]:
    """Read lists of indicators, and those in folders; one that several lists have counts as the first has it.

    A list is a text with one indicator a line (`#` begins a remark), or, with the ending `.csv`, a table with a column
    `indicator`. Written so that nobody follows them by accident (`hxxp://`, `[.]`) they are read as what they mean.
    Lists are other people's: a line that cannot be an indicator is left out, with a warning, and stops nothing.
    Raises ContentError for files that cannot be read, and when there are more than `MOST`.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    found: dict[tuple[str, str], Indicator] = {}
    for path in _files(paths):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(f"cannot be read: {error}", path, code="indicators"))
            continue
        lines = _table(path, text, problems) if path.suffix == ".csv" else _list(text)
        for number, written, said in lines:
            indicator = _indicator(written, said, path, number, warnings)
            if indicator is not None:
                found.setdefault((indicator.kind, indicator.value), indicator)
    if len(found) > MOST:
        last = list(found.values())[MOST]
        hint = "keep those of a high confidence, or networks instead of their addresses"
        message = f"{len(found):,} indicators, at most {MOST:,} are possible: this is the first too many"
        problems.append(Problem(message, last.path, last.line, hint, code="indicators"))
    if problems:
        raise ContentError(problems)
    return [found[key] for key in sorted(found)], warnings


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(
                one for one in path.rglob("*") if one.suffix in {".txt", ".csv"} and one.is_file()
            )
        else:
            yield path


def _list(text: str) -> Iterator[tuple[int, str, Mapping[str, str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        # A `#` within is part of a URL.
        written = re.sub(r"(^|\s)#.*", "", line).strip()
        if written:
            yield number, written, {}


def _table(path: Path, text: str, problems: list[Problem]) -> Iterator[tuple[int, str, Mapping[str, str]]]:
    reader = csv.DictReader(text.splitlines(), restkey="")
    columns = [str(name).strip().lower() for name in reader.fieldnames or ()]
    if "indicator" not in columns:
        hint = f"known columns: {', '.join(_COLUMNS)}"
        problems.append(Problem("there is no column `indicator`", path, 1, hint, code="indicators"))
        return
    reader.fieldnames = columns
    for row in reader:
        said = {name: (row.get(name) or "").strip() for name in _COLUMNS[1:]}
        if row["indicator"]:
            yield reader.line_num, row["indicator"].strip(), said


def _indicator(
    written: str, said: Mapping[str, str], path: Path, number: int, warnings: list[Problem]
) -> Indicator | None:
    def problem(message: str, hint: str = "") -> None:
        warnings.append(Problem(message, path, number, hint, Severity.WARNING, "indicators"))

    try:
        kind, value = read_indicator(written)
    except ValueError as error:
        problem(str(error))
        return None
    told = dict(said)
    for name in _TIMES:
        if told.get(name):
            try:
                moment = datetime.fromisoformat(told[name])
            except ValueError:
                problem(f"{name}: {told.pop(name)!r} is no moment", "e.g. 2026-03-01T10:00:00Z")
                continue
            told[name] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
    if told.get("confidence") and told["confidence"] not in _CONFIDENCE:
        problem(f"confidence: {told.pop('confidence')!r} is none", f"one of {', '.join(_CONFIDENCE)}")
    return Indicator(kind, value, told, path, number)


def read_indicator(written: str) -> tuple[str, str]:
    """Return the kind of an indicator, and it in the form in which it is compared.

    Raises ValueError with the reason why it can be none.
    """
    text = written.replace("[.]", ".").replace("[:]", ":").replace("[://]", "://")
    if text.lower().startswith("hxxp"):
        text = f"http{text[4:]}"
    if "://" in text:
        return "url", text
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            raise ValueError(f"{written!r} has bits beyond its prefix") from error
    else:
        if network.prefixlen < _WIDEST[network.version]:
            raise ValueError(f"{written!r} is too wide: it would mark a good part of all events")
        if any(network.version == one.version and network.overlaps(one) for one in _inside()):
            raise ValueError(f"{written!r} is private: everybody has it")
        return "network", str(network)
    name = text.lower().rstrip(".")
    if _HEX.fullmatch(name) and len(name) in _HASHES:
        return "hash", name
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError as error:
            raise ValueError(f"{written!r} is no name of a host") from error
    if not _DOMAIN.fullmatch(name):
        raise ValueError(f"{written!r} is neither an address, a network, a domain, a URL nor a hash")
    if is_public_suffix(name):
        raise ValueError(f"{written!r} is a public suffix: anybody may have a name below it")
    return "domain", name


@cache
def _inside() -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(one) for one in PRIVATE_NETWORKS)


def threat_intel_artifact(indicators: Sequence[Indicator], *, tenant: str = "") -> Artifact:
    """Return the pipeline that compares events with indicators, of everybody or of one tenant alone."""
    body = {
        "description": f"Compares events with {len(indicators):,} indicators of compromise",
        "processors": [
            {
                "script": {
                    "tag": "threat-intel",
                    "lang": "painless",
                    "source": Script().library_text(_SOURCE),
                    "params": {
                        "table": _tables(indicators),
                        "few": [_place(name, kind) for name, kind in _FIELDS if name in _FEW],
                        "fields": [_place(name, kind) for name, kind in _FIELDS],
                        "indicators": [_entry(one) for one in indicators],
                    },
                }
            }
        ],
    }
    return Artifact("ingest_pipeline", threat_intel_id(tenant), body, source="threat_intel", shared=True)


def _place(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "path": name.split("."), "kind": kind}


def _entry(indicator: Indicator) -> dict[str, Any]:
    until = indicator.until()
    return {"ecs": indicator.ecs(), **({} if until is None else {"until": until})}


def _tables(indicators: Sequence[Indicator]) -> dict[str, Any]:
    """Return the tables that the Painless function `matchIndicators` reads, networks with the narrowest first."""
    exact: dict[str, dict[str, int]] = {"domain": {}, "url": {}, "hash": {}}
    masks: dict[tuple[int, int], dict[str, int]] = {}
    for number, indicator in enumerate(indicators):
        if indicator.kind != "network":
            exact[indicator.kind][indicator.value] = number
            continue
        network = ipaddress.ip_network(indicator.value)
        base = int(network.network_address)
        key = str(base) if network.version == 4 else f"{_signed(base >> 64)}:{_signed(base)}"
        masks.setdefault((network.version, network.prefixlen), {})[key] = number
    narrowest = sorted(masks.items(), key=lambda item: -item[0][1])
    v4 = [
        {"mask": (1 << 32) - (1 << (32 - prefix)), "bases": bases}
        for (version, prefix), bases in narrowest
        if version == 4
    ]
    v6 = []
    for (version, prefix), bases in narrowest:
        mask = (1 << 128) - (1 << (128 - prefix))
        if version == 6:
            v6.append({"hi": _signed(mask >> 64), "lo": _signed(mask), "bases": bases})
    return {"v4": v4, "v6": v6, **exact}


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number
