"""Rules that are made up, on events that are made for them: engines find what the rules mean (meaning.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from queries.indexed import store_scripts
from queries.proof import INDEX, Account, proven
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.engine import Node

PAIRS = 1500
"""Rules with an event each; every rule is compared on all events of its batch besides."""

SEED = 1_700_000


@pytest.fixture(scope="module")
def cluster(each_version: Node) -> Iterator[Cluster]:
    with connect(ConnectionSettings(each_version.url)) as client:
        store_scripts(client)
        yield client
        client.request("DELETE", f"/{INDEX}", params={"ignore_unavailable": "true"})


def test_engines_find_what_rules_mean(cluster: Cluster) -> None:
    account: Account = proven(cluster, PAIRS, SEED)
    told = "\n".join(f"# {each.detail}\n{each.as_case()}" for each in account.disagreements)
    assert not told, f"cases for test_meaning.py:\n{told}"
    # The test says something only if many rules compile and many of the events are found.
    assert account.compared > 100 * PAIRS
    assert account.matched > account.pairs // 5
    assert sum(account.refused.values()) < account.rules // 2
    assert sum(account.invalid.values()) < account.rules // 4
    assert account.known < account.rules // 10
