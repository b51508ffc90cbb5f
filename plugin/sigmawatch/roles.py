"""Roles of Elasticsearch with the least that each part of sigmawatch needs.

As bodies for `PUT _security/role/NAME`, or as role descriptors of an API key. Tests on a real Elasticsearch prove that
they are enough for the work, and that nothing could be left out; except for what only data streams, index lifecycle
management and Watcher need (privileges on `logs-*` and on alerts of a deployer, `manage_ilm`, `manage_watcher`), which
the engine of the tests is built without.
"""

from __future__ import annotations

from typing import Any

from sigmawatch.render.target import Target

__all__ = ["ROLES", "role"]

Role = dict[str, Any]

ROLES = ("deployer", "runner", "analyst", "shipper")
"""deployer: plan, deploy, rollback, status, destroy. runner: `sigmawatch run`. analyst: reads alerts and logs.
shipper: sends logs."""

_OWN = ["sigmawatch-registry", "sigmawatch-releases", "sigmawatch-detections"]


def role(name: str, *, target: Target = Target.RUNNER) -> Role:
    """Return the body of one of `ROLES`. Raises KeyError for another name.

    `target`: who executes the detections; a deployer of watches also runs them, so it needs what a runner does.
    """
    return {"deployer": _deployer, "runner": _runner, "analyst": _analyst, "shipper": _shipper}[name](target)


def _deployer(target: Target) -> Role:
    watches = ["manage_watcher"] if target is Target.WATCHER else []
    cluster = [
        "monitor",
        "manage_index_templates",
        "manage_ingest_pipelines",
        "manage_ilm",
        # There is no named privilege for scripts below `manage`.
        "cluster:admin/script/get",
        "cluster:admin/script/put",
        "cluster:admin/script/delete",
        *watches,
    ]
    indices = [
        _access(_OWN, "create_index", "view_index_metadata", "read", "write"),
        _access(["logs-*"], "create_index"),
        _access(
            ["logs-*", "sigmawatch-alerts-*", "sigmawatch-health-*"],
            # Which policy an index has is a setting; below `manage`, which may delete, nothing named can write those.
            "indices:admin/settings/update",
            "manage_ilm",
            "monitor",
            "view_index_metadata",
        ),
    ]
    if target is Target.WATCHER:
        # A watch does what it does with the rights of whoever deployed it.
        indices += _runner(target)["indices"]
    return {"cluster": cluster, "indices": indices}


def _runner(target: Target) -> Role:
    del target
    return {
        "cluster": [],
        "indices": [
            _access(["logs-*"], "read"),
            _access(["sigmawatch-detections"], "read", "view_index_metadata"),
            _access(["sigmawatch-checkpoints"], "create_index", "view_index_metadata", "read", "write"),
            # Reading, too: what was reported is not reported again. Servers keep silent about what may not be read.
            _access(
                ["sigmawatch-alerts-*", "sigmawatch-shadow-*", "sigmawatch-health-*"],
                "create_index",
                "read",
                "write",
            ),
        ],
    }


def _analyst(target: Target) -> Role:
    del target
    own = ("sigmawatch-alerts", "sigmawatch-shadow", "sigmawatch-health")
    names = ["logs-*", *(name for each in own for name in (each, f"{each}-*"))]
    return {"cluster": [], "indices": [_access(names, "read", "view_index_metadata")]}


def _shipper(target: Target) -> Role:
    del target
    return {"cluster": ["monitor"], "indices": [_access(["logs-*"], "auto_configure", "create_doc")]}


def _access(names: list[str], *privileges: str) -> dict[str, Any]:
    return {"names": names, "privileges": list(privileges)}
