"""Roles of Elasticsearch with the least that each part of sigmawatch needs.

As bodies for `PUT _security/role/NAME`, or as role descriptors of an API key. Tests on a real Elasticsearch prove that
they are enough for the work, and that nothing could be left out; except for what only data streams, index lifecycle
management and Watcher need (privileges on `logs-*` and on alerts of a deployer, `manage_ilm` and what its policies do,
`manage_watcher`), which the engine of the tests is built without.

What Kibana lets people do are privileges of its application in the same roles: Kibana's own role API writes nothing
else, and this way one body also serves for API keys. They have the first names of Kibana's features (`siem`,
`dashboard`): these are the only ones that all of 8.x and 9.x know; later ones (`siemV2` to `siemV5`, `dashboard_v2`)
came with single versions and take over what the first ones give (`replacedBy` in Kibana's feature registry).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.render.target import Target
from sigmawatch.roles.reach import ALIASES, ARCHIVE, CHECKPOINTS, DETECTIONS, FINDINGS, LOGS, OWN, of_tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KIBANA", "Role", "later_names", "role"]

Role = dict[str, Any]

KIBANA = "kibana-.kibana"
"""Kibana among the applications of Elasticsearch; its index cannot be named otherwise since 8.0."""

_PRODUCT = "cluster:monitor/main"
"""`GET /`: which product and version this is; no named privilege below `monitor` has it."""

_SHOWN = ("dashboard", "discover", "visualize", "indexPatterns", "savedObjectsTagging")
"""Features of what packs bring to Kibana: dashboards, saved searches, visualizations, data views, and a tag."""

_LATER = {
    "siem": (
        *(f"siemV{number}" for number in range(2, 5)),
        # Rules left `siem` with siemV5, in 9.3.
        *(f"securitySolutionRulesV{number}" for number in range(1, 5)),
    ),
    "dashboard": ("dashboard_v2",),
    "discover": ("discover_v2",),
    "visualize": ("visualize_v2",),
}


def role(
    name: str,
    *,
    target: Target = Target.RUNNER,
    space: str | None = None,
    tenant: str = "",
    retention: bool = True,
) -> Role:
    """Return the body of one of `reach.ROLES`. Raises KeyError for another name.

    `target`: who executes the detections; a deployer of watches or of Kibana's rules also runs them, so it needs what
    a runner does. `space`: the space of Kibana that is deployed to; None: none, unless Kibana is the target.
    `tenant`: whose logs and alerts alone it is about. What is deployed has no owner that a cluster knows, so every
    deployer may change what another tenant's deployed; sigmawatch itself does not.
    `retention`: the deployer also deploys ILM policies. ILM does what they say with the roles that who updated them
    last had then, and wants `manage` on all their indices (Elasticsearch's reference, "Create or update lifecycle
    policy"): without it nothing is rolled over or deleted.
    """
    if target is Target.KIBANA:
        space = space or "default"
    makers = {
        "deployer": _deployer,
        "runner": _runner,
        "archiver": _archiver,
        "analyst": _analyst,
        "shipper": _shipper,
    }
    body = makers[name](target, space)
    if name == "deployer" and retention:
        body["cluster"].append("manage_ilm")
        body["indices"].append(_access([LOGS, *FINDINGS], "manage"))
    if not tenant:
        return body
    indices = [
        {**one, "names": [of_tenant(index, tenant) for index in one["names"]]} for one in body["indices"]
    ]
    return {**body, "indices": indices}


def later_names(privilege: str) -> tuple[str, ...]:
    """Return the privileges of later versions of Kibana that do as well as one of a role here."""
    feature, _, kind = privilege.removeprefix("feature_").partition(".")
    return tuple(f"feature_{later}.{kind}" for later in _LATER.get(feature, ()))


def _deployer(target: Target, space: str | None) -> Role:
    watches = ["manage_watcher"] if target is Target.WATCHER else []
    cluster = [
        "monitor",
        "manage_index_templates",
        "manage_ingest_pipelines",
        # There is no named privilege for scripts below `manage`.
        "cluster:admin/script/get",
        "cluster:admin/script/put",
        "cluster:admin/script/delete",
        *watches,
    ]
    indices = [
        _access(OWN, "create_index", "view_index_metadata", "read", "write"),
        _access([LOGS], "create_index"),
        _access([LOGS, *FINDINGS], "monitor", "view_index_metadata"),
        # `status` tells what is archived.
        _access([ARCHIVE], "monitor", "view_index_metadata"),
    ]
    if target is Target.WATCHER:
        # A watch does what it does with the rights of whoever deployed it.
        indices += _runner(target, space)["indices"]
    features = [f"{feature}.all" for feature in _SHOWN]
    if target is Target.KIBANA:
        # A rule searches with the rights of whoever edited it last, in an API key that Kibana makes of them; its
        # exceptions may refer to lists of values.
        indices += [
            _access([LOGS], "read"),
            _access([f".lists-{space}", f".items-{space}"], "read"),
        ]
        # Rules are sent with the actions that analysts gave them, and those only by who may use their connectors.
        features += ["siem.all", "actions.read"]
    return {"cluster": cluster, "indices": indices, **_kibana(space, features)}


def _runner(target: Target, space: str | None) -> Role:
    del target, space
    return {
        "cluster": [_PRODUCT],
        "indices": [
            _access([LOGS], "read"),
            _access([DETECTIONS], "read", "view_index_metadata"),
            _access([CHECKPOINTS], "create_index", "view_index_metadata", "read", "write"),
            # Reading, too: what was reported is not reported again. Servers keep silent about what may not be read.
            _access(
                FINDINGS,
                "create_index",
                "read",
                "write",
            ),
        ],
    }


def _archiver(target: Target, space: str | None) -> Role:
    del target, space
    return {
        # What to archive stands in index templates, which this may read; copying is a task.
        "cluster": ["monitor"],
        "indices": [
            # What is not searchable yet is not copied. Below `maintenance`, which may merge, too.
            _access([LOGS], "indices:admin/refresh*", "monitor", "read", "view_index_metadata"),
            _access(
                [ARCHIVE],
                "create_doc",
                "create_index",
                # Of copies that are as old as they may be.
                "delete_index",
                "indices:admin/mapping/put",
                "indices:admin/settings/update",
                # Asked for once, whatever is copied to where; what it reads and writes needs the others as well.
                "indices:data/write/reindex",
                "maintenance",
                "monitor",
                "read",
                "view_index_metadata",
            ),
        ],
    }


def _analyst(target: Target, space: str | None) -> Role:
    names = [LOGS, ARCHIVE, *(name for each in ALIASES for name in (each, f"{each}-*"))]
    indices = [_access(names, "read", "view_index_metadata")]
    features = [f"{feature}.read" for feature in _SHOWN]
    if target is Target.KIBANA:
        alerts = [f".alerts-security.alerts-{space}", f".internal.alerts-security.alerts-{space}-*"]
        # To close an alert is to update it, and to refresh its index; not to delete it.
        indices.append(_access(alerts, "read", "index", "maintenance", "view_index_metadata"))
        features.append("siem.read")
    return {"cluster": [_PRODUCT], "indices": indices, **_kibana(space, features)}


def _shipper(target: Target, space: str | None) -> Role:
    del target, space
    return {"cluster": ["monitor"], "indices": [_access([LOGS], "auto_configure", "create_doc")]}


def _kibana(space: str | None, features: list[str]) -> Role:
    """Return what features of Kibana somebody has in a space. In one entry: Kibana refuses to show roles with two."""
    if space is None:
        return {}
    privileges = [f"feature_{feature}" for feature in features]
    return {
        "applications": [{"application": KIBANA, "privileges": privileges, "resources": [f"space:{space}"]}]
    }


def _access(names: Sequence[str], *privileges: str) -> dict[str, Any]:
    return {"names": list(names), "privileges": list(privileges)}
