"""Which fields an alert has, of which type, and where a field of a rule goes in it."""

from __future__ import annotations

from functools import cache, lru_cache

from sigmawatch.ecs import ecs_type

__all__ = ["COPIED", "alert_path", "mapping_properties", "related_fields"]

COPIED = (
    "client.address", "client.ip", "client.port",
    "cloud.account.id", "cloud.instance.id", "cloud.provider", "cloud.region", "cloud.service.name",
    "container.id", "container.image.name", "container.name",
    "destination.address", "destination.bytes", "destination.domain", "destination.ip", "destination.port",
    "dns.question.name", "dns.question.registered_domain", "dns.question.type", "dns.response_code",
    "file.hash.sha256", "file.name", "file.path",
    "group.name",
    "host.hostname", "host.id", "host.ip", "host.name",
    "http.request.method", "http.response.status_code",
    "network.bytes", "network.direction", "network.protocol", "network.transport",
    "observer.hostname", "observer.name", "observer.product", "observer.vendor",
    "orchestrator.cluster.name",
    "process.command_line", "process.executable", "process.name", "process.parent.name", "process.pid",
    "related.hash", "related.hosts", "related.ip", "related.user",
    "server.address", "server.ip", "server.port",
    "service.name",
    "source.address", "source.as.number", "source.as.organization.name", "source.bytes", "source.domain",
    "source.geo.country_iso_code", "source.ip", "source.port",
    "tls.server.x509.subject.common_name",
    "url.domain", "url.full", "url.original", "url.path", "url.query",
    "user.domain", "user.effective.name", "user.email", "user.id", "user.name", "user.target.name",
    "user_agent.original",
)  # fmt: skip
"""Fields of an event that the alert of a plain rule shows, where the event has them."""

OWN = {
    "@timestamp": "date",
    "ecs.version": "keyword",
    "event.category": "keyword",
    "event.created": "date",
    "event.dataset": "keyword",
    "event.end": "date",
    "event.kind": "keyword",
    "event.module": "keyword",
    "event.reason": "keyword",
    "event.severity": "long",
    "event.start": "date",
    "event.type": "keyword",
    "rule.author": "keyword",
    "rule.description": "keyword",
    "rule.id": "keyword",
    "rule.license": "keyword",
    "rule.name": "keyword",
    "rule.reference": "keyword",
    "rule.uuid": "keyword",
    "rule.version": "keyword",
    "sigmawatch.correlation.threshold": "double",
    "sigmawatch.correlation.type": "keyword",
    "sigmawatch.correlation.value": "double",
    "sigmawatch.correlation.window": "keyword",
    "sigmawatch.events.id": "keyword",
    "sigmawatch.events.index": "keyword",
    "sigmawatch.falsepositives": "keyword",
    "sigmawatch.group": "keyword",
    "sigmawatch.level": "keyword",
    "sigmawatch.risk_score": "long",
    "sigmawatch.runbook": "keyword",
    "sigmawatch.stage": "keyword",
    "sigmawatch.tags": "keyword",
    "sigmawatch.target": "keyword",
    "threat.framework": "keyword",
    "threat.tactic.id": "keyword",
    "threat.tactic.name": "keyword",
    "threat.technique.id": "keyword",
    "threat.technique.subtechnique.id": "keyword",
}
"""Fields that every alert may have of its own, with their mapping types."""

_NUMBERS = frozenset({"long", "double", "float", "scaled_float", "integer", "short", "byte"})
_RELATED_USERS = frozenset({"user.name", "user.effective.name", "user.target.name"})
_RELATED_HOSTS = frozenset({"host.name", "host.hostname", "source.domain", "destination.domain"})


def _alert_type(field: str) -> str:
    found = OWN.get(field) or ecs_type(field) or "keyword"
    return found if found in _NUMBERS or found in ("ip", "date", "boolean") else "keyword"


def mapping_properties() -> dict[str, object]:
    """Return the mapping of alerts. What does not fit a type is kept in the document, just not indexed."""
    root: dict[str, object] = {}
    for field in sorted({*OWN, *COPIED}):
        kind = _alert_type(field)
        leaf: dict[str, object] = {"type": kind}
        if kind == "keyword":
            leaf["ignore_above"] = 8191
        elif kind != "boolean":
            leaf["ignore_malformed"] = True
        level = root
        *parents, last = field.split(".")
        for name in parents:
            inner = level.setdefault(name, {"properties": {}})
            assert isinstance(inner, dict)
            level = inner["properties"]
        level[last] = leaf
    return root


_COPIED = frozenset(COPIED)
_LEAVES = frozenset({*OWN, *COPIED})
_OBJECTS = frozenset(name[:dot] for name in _LEAVES for dot, char in enumerate(name) if char == ".")
_RESERVED = frozenset({"event", "rule", "sigmawatch", "threat", "ecs", "@timestamp"})


@cache
def alert_path(field: str) -> str:
    """Return where a field of a rule goes in its alert: to its own name, unless the mapping has something else
    there (a rule may call `user` what is an object in ECS); then below `sigmawatch.fields`.
    """
    if field in _COPIED:
        return field
    parents = (field[:dot] for dot, char in enumerate(field) if char == ".")
    clash = (
        field in _LEAVES
        or field in _OBJECTS
        or field.partition(".")[0] in _RESERVED
        or any(parent in _LEAVES for parent in parents)
    )
    return f"sigmawatch.fields.{field}" if clash else field


def related_fields(paths: tuple[str, ...]) -> dict[str, list[str]]:
    """Return which of the alert's fields feed `related.ip`, `related.user` and `related.hosts`."""
    return {kind: list(found) for kind, found in _related(paths).items()}


@lru_cache(maxsize=1024)  # thousands of rules have a few hundred combinations of fields
def _related(paths: tuple[str, ...]) -> dict[str, list[str]]:
    return {
        "ip": [path for path in paths if ecs_type(path) == "ip" and not path.startswith("related.")],
        "user": [path for path in paths if path in _RELATED_USERS],
        "hosts": [path for path in paths if path in _RELATED_HOSTS],
    }
