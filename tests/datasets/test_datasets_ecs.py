from __future__ import annotations

import pytest

from sigmawatch.ecs import allowed_values, ecs_type, ecs_version, types_of_category


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("@timestamp", "date"),
        ("message", "match_only_text"),
        ("source.ip", "ip"),
        ("source.bytes", "long"),
        ("source.nat.port", "long"),
        ("source.user.name", "keyword"),
        ("source.user.group.id", "keyword"),
        ("source.geo.location", "geo_point"),
        ("destination.as.number", "long"),
        ("event.category", "keyword"),
        ("event.duration", "long"),
        ("event.risk_score", "float"),
        ("url.path", "wildcard"),
        ("process.command_line", "wildcard"),
        ("process.parent.command_line", "wildcard"),
        ("process.parent.hash.sha256", "keyword"),
        ("process.parent.user.name", "keyword"),
        ("process.real_group.id", "keyword"),
        ("process.entry_meta.source.ip", "ip"),
        ("process.session_leader.parent.session_leader.pid", "long"),
        ("dll.pe.imphash", "keyword"),
        ("registry.data.strings", "wildcard"),
        ("threat.indicator.ip", "ip"),
        ("threat.indicator.file.hash.md5", "keyword"),
        ("threat.enrichments.indicator.url.path", "wildcard"),
        ("tls.server.x509.issuer.common_name", "keyword"),
        ("tls.established", "boolean"),
        ("log.syslog.structured_data", "flattened"),
        ("log.syslog.priority", "long"),
        ("container.cpu.usage", "scaled_float"),
        ("labels.team", "keyword"),
        ("data_stream.dataset", "constant_keyword"),
        ("threat.enrichments", "nested"),
        # not in ECS
        ("source", None),
        ("hash.md5", None),
        ("geo.city_name", None),
        ("threat_indicator.ip", None),
        ("process.parent.parent.pid", None),
        ("user.target.target.name", None),
        ("winlog.event_id", None),
        ("source.ips", None),
        ("", None),
    ],
)
def test_type_of(field: str, expected: str | None) -> None:
    assert ecs_type(field) == expected


def test_allowed_values_are_known_for_the_categorisation_fields_only() -> None:
    assert "pipeline_error" in (allowed_values("event.kind") or ())
    assert allowed_values("user.name") is None
    assert ecs_version() == "8.17.0"


def test_every_category_has_event_types_that_ecs_allows() -> None:
    for category in allowed_values("event.category") or ():
        assert types_of_category(category)
        assert types_of_category(category) <= (allowed_values("event.type") or frozenset())
