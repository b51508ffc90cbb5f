"""`sigmawatch compile --live-types`: queries for the mappings that a cluster really has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from cli.command_line import rule_text, sigmawatch, write
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.engine import Node

DYNAMIC = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}


@pytest.fixture(scope="module")
def cluster(each_engine: Node) -> Iterator[Cluster]:
    client = connect(ConnectionSettings(each_engine.url))
    mappings: dict[str, dict[str, Any]] = {
        "live-a": {"app.user": DYNAMIC, "app.size": {"type": "long"}, "app.mixed": {"type": "keyword"}},
        "live-b": {"app.user": DYNAMIC, "app.size": {"type": "integer"}, "app.mixed": {"type": "ip"}},
    }
    for index, properties in mappings.items():
        client.request("PUT", f"/{index}", {"mappings": {"properties": properties}})
    client.request(
        "PUT", "/live-a/_doc/1", {"app": {"user": "Root User", "size": 7}}, params={"refresh": "true"}
    )
    yield client
    for index in mappings:
        client.request("DELETE", f"/{index}")
    client.close()


def query(rule: Path, cluster: Cluster) -> Any:
    ran = sigmawatch("compile", rule, "--live-types", "live-*", "--url", cluster.url)
    assert ran.code == 0, ran.err
    return orjson.loads(ran.out)["query"]


def test_a_field_of_analysed_text_is_searched_whole_where_it_is_kept_whole(
    cluster: Cluster, tmp_path: Path
) -> None:
    rule = write(tmp_path / "r.yml", rule_text("app.user|endswith: ' user'"))
    found = query(rule, cluster)
    assert "app.user.keyword" in str(found)
    hits = cluster.request("POST", "/live-*/_search", {"query": found})["hits"]["hits"]
    assert [hit["_id"] for hit in hits] == ["1"]


def test_kinds_that_are_queried_alike_are_one_and_others_are_told(cluster: Cluster, tmp_path: Path) -> None:
    rule = write(tmp_path / "r.yml", rule_text("app.size|gte: 7"))
    assert query(rule, cluster) == {"range": {"app.size": {"gte": 7}}}
    ran = sigmawatch("compile", rule, "--live-types", "live-*", "--url", cluster.url)
    assert "field app.mixed has different types in different indices: ip, keyword" in ran.err
    # Without looking, nothing says that it is a number.
    assert "no numeric field" in sigmawatch("compile", rule).err


def test_a_pattern_that_matches_nothing_is_an_error(cluster: Cluster, tmp_path: Path) -> None:
    rule = write(tmp_path / "r.yml", rule_text())
    ran = sigmawatch("compile", rule, "--live-types", "nothing-*", "--url", cluster.url)
    assert ran.code == 2
    assert "no index of the cluster matches nothing-*" in ran.err
