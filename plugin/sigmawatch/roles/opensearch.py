"""Roles of OpenSearch's security plugin with the least that each part of sigmawatch needs.

As bodies for `PUT _plugins/_security/api/roles/NAME`. The plugin grants transport actions by their names, and asks for
each action that a request leads to: `cluster_permissions` for some, `index_permissions` for all others, on every index
that is meant. Which are which, and what is asked beside the action itself (what a bulk request does to each index, and
`indices:admin/create` and `indices:admin/mapping/put` for what happens by itself), is in `PrivilegesEvaluator` of
opensearch-project/security (2.x and 3.x alike), `WellKnownActions` and `ActionConfiguration` (3.x).

The names were read off a real OpenSearch 3.7, which tells the actions of each request in its log: tests compare these
roles with all that their owners lead to, both ways. The plugin itself was not at hand, nor were index state management
and alerting: names of those are from `AlertingActions` of opensearch-project/common-utils and from
`indexstatemanagement/transport/action` of opensearch-project/index-management.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.errors import UsageError
from sigmawatch.render.target import Target
from sigmawatch.roles.reach import ALIASES, ARCHIVE, CHECKPOINTS, DETECTIONS, FINDINGS, LOGS, OWN, of_tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["opensearch_role"]

Role = dict[str, Any]

_TARGETS = (Target.RUNNER, Target.OPENSEARCH)

_DESCRIPTIONS = {
    "deployer": "sigmawatch: plans, deploys, rolls back",
    "runner": "sigmawatch: executes detections and writes alerts",
    "archiver": "sigmawatch: copies old logs and deletes old copies",
    "analyst": "sigmawatch: reads alerts, logs and the archive",
    "shipper": "sigmawatch: sends logs",
}

_PRODUCT = "cluster:monitor/main"
"""`GET /`: which product and version this is."""

_SCROLL = "indices:data/read/scroll*"
"""Further pages, and giving them up."""

# A document is written in bulk by itself, too: the plugin asks for `bulk[s]` on its index, and for what is done there.
_SENDS = "indices:data/write/bulk"
_BULK = "indices:data/write/bulk*"
_INDEX = "indices:data/write/index"
_DELETE = "indices:data/write/delete"
_SEARCH = "indices:data/read/search"
_MSEARCH = "indices:data/read/msearch"
"""Also asked for on the indices where `do_not_fail_on_forbidden` is on (opensearch-project/security, issue 2113)."""

_ABOUT = ("indices:monitor/settings/get", "indices:monitor/stats")
"""`_cat/indices` and `_settings`."""


def opensearch_role(
    name: str, *, target: Target = Target.RUNNER, tenant: str = "", retention: bool = True
) -> Role:
    """Return the body of one of `reach.ROLES`. Raises KeyError for another name, UsageError for another target.

    `target`: the runner, or the monitors of the alerting plugin, which search with the roles of who wrote them last.
    `tenant`: whose logs and alerts alone it is about; names and settings of indices are seen of all.
    `retention`: the deployer also deploys policies of index state management. These do what they do with the roles of
    who deployed them (`ManagedIndexRunner` of opensearch-project/index-management), so that one rolls over and deletes.
    """
    if target not in _TARGETS:
        raise UsageError(f"{target} is nothing of OpenSearch", hint="Its targets are runner and opensearch.")
    cluster, indices = _MAKERS[name](target)
    if name == "deployer" and retention:
        cluster += _ISM
        indices += _ism()
    if tenant:
        indices = [
            {**one, "index_patterns": [of_tenant(each, tenant) for each in one["index_patterns"]]}
            for one in indices
        ]
    return {
        "description": _DESCRIPTIONS[name],
        "cluster_permissions": cluster,
        "index_permissions": indices,
    }


_Parts = tuple[list[str], list[dict[str, Any]]]

_ISM = [
    "cluster:admin/opendistro/ism/managedindex/add",
    "cluster:admin/opendistro/ism/managedindex/change",
    "cluster:admin/opendistro/ism/managedindex/explain",
    "cluster:admin/opendistro/ism/managedindex/remove",
    "cluster:admin/opendistro/ism/policy/delete",
    "cluster:admin/opendistro/ism/policy/get",
    "cluster:admin/opendistro/ism/policy/search",
    "cluster:admin/opendistro/ism/policy/write",
]


def _ism() -> list[dict[str, Any]]:
    return [
        _access(
            [LOGS, *FINDINGS],
            # What index management asks of who gives an index a policy, takes it away, or looks at it.
            "indices:admin/opensearch/ism/managedindex",
            # Of a pattern whose policy goes, it has to know whether anything stays.
            "indices:admin/resolve/index",
            # And what the actions of our policies do: rollover, read_only and index_priority, force_merge, delete.
            "indices:admin/delete",
            "indices:admin/forcemerge",
            "indices:admin/rollover",
            "indices:admin/settings/update",
            "indices:monitor/stats",
        )
    ]


def _deployer(target: Target) -> _Parts:
    cluster = [
        "cluster:admin/component_template/*",
        "cluster:admin/ingest/pipeline/*",
        "cluster:admin/script/*",
        "cluster:monitor/*",
        "indices:admin/index_template/*",
        "indices:data/read/mget",
        _SCROLL,
        _SENDS,
    ]
    indices = [
        _access(
            OWN,
            "indices:admin/create",
            "indices:admin/get",
            "indices:data/read/get",
            "indices:data/read/mget*",
            _SEARCH,
            _BULK,
            _DELETE,
            _INDEX,
        ),
        _access([LOGS], "indices:admin/data_stream/create"),
        # `status` tells what is archived, and what waits for it.
        _access([ARCHIVE], "indices:admin/get", *_ABOUT),
        _access([LOGS], *_ABOUT),
        # Which data streams there are, and which pipelines indices use that must not go. No content.
        _access(["*"], "indices:admin/data_stream/get", "indices:monitor/settings/get"),
    ]
    if target is Target.OPENSEARCH:
        cluster += [
            "cluster:admin/opendistro/alerting/monitor/delete",
            "cluster:admin/opendistro/alerting/monitor/execute",
            "cluster:admin/opendistro/alerting/monitor/get",
            "cluster:admin/opendistro/alerting/monitor/search",
            "cluster:admin/opendistro/alerting/monitor/write",
        ]
        # The plugin tries the search when it takes a monitor (TransportIndexMonitorAction), and a monitor then
        # searches with these roles.
        indices.append(_access([LOGS], _SEARCH))
    return cluster, indices


def _runner(target: Target) -> _Parts:
    del target
    return (
        [_PRODUCT, _MSEARCH, _SCROLL, _SENDS],
        [
            _access([LOGS], _MSEARCH, _SEARCH),
            _access([DETECTIONS], _SEARCH, "indices:monitor/settings/get"),
            _access([CHECKPOINTS], "indices:admin/create", "indices:admin/get", _SEARCH, _BULK, _INDEX),
            # Reading, too: what was reported is not reported again. And what two runners report at the same moment,
            # one of them takes back.
            _access(FINDINGS, "indices:admin/create", _MSEARCH, _SEARCH, _BULK, _DELETE, _INDEX),
        ],
    )


def _archiver(target: Target) -> _Parts:
    del target
    return (
        [
            # Copying is a task.
            "cluster:monitor/*",
            # What to archive stands in index templates.
            "indices:admin/index_template/get",
            _SCROLL,
            _SENDS,
            "indices:data/write/reindex",
        ],
        [
            _access(
                [LOGS],
                "indices:admin/data_stream/get",
                # What is not searchable yet is not copied.
                "indices:admin/refresh*",
                _SEARCH,
                *_ABOUT,
            ),
            _access(
                [ARCHIVE],
                "indices:admin/create",
                # Of copies that are as old as they may be.
                "indices:admin/delete",
                "indices:admin/forcemerge",
                "indices:admin/get",
                "indices:admin/mapping/put",
                "indices:admin/refresh*",
                "indices:admin/settings/update",
                _SEARCH,
                _BULK,
                _INDEX,
                *_ABOUT,
            ),
        ],
    )


def _analyst(target: Target) -> _Parts:
    cluster = [_PRODUCT, "indices:data/read/mget", _MSEARCH, _SCROLL]
    if target is Target.OPENSEARCH:
        cluster += [
            "cluster:admin/opendistro/alerting/alerts/ack",
            "cluster:admin/opendistro/alerting/alerts/get",
            "cluster:admin/opendistro/alerting/monitor/get",
            "cluster:admin/opendistro/alerting/monitor/search",
        ]
    names = [LOGS, ARCHIVE, *(name for each in ALIASES for name in (each, f"{each}-*"))]
    looks = (
        "indices:admin/aliases/get",
        "indices:admin/get",
        "indices:admin/mappings/fields/get*",
        "indices:admin/mappings/get",
        "indices:admin/resolve/index",
        "indices:data/read/*",
        "indices:monitor/settings/get",
    )
    return cluster, [_access(names, *looks)]


def _shipper(target: Target) -> _Parts:
    del target
    # A new data stream is an index that is created by itself. To create a document and to replace one is the same
    # to the plugin, but streams take only new ones.
    return (
        [_PRODUCT, _SENDS],
        [_access([LOGS], "indices:admin/create", "indices:admin/mapping/put", _BULK, _INDEX)],
    )


_MAKERS = {
    "deployer": _deployer,
    "runner": _runner,
    "archiver": _archiver,
    "analyst": _analyst,
    "shipper": _shipper,
}


def _access(patterns: Sequence[str], *actions: str) -> dict[str, Any]:
    return {"index_patterns": list(patterns), "allowed_actions": sorted(actions)}
