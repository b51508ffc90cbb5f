"""What the one who asks may do, compared with what a role of sigmawatch needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError
from sigmawatch.doctor.findings import Finding, Verdict
from sigmawatch.doctor.permissions import check_permissions
from sigmawatch.render.target import Target
from sigmawatch.roles import later_names, role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["check_privileges"]


def check_privileges(
    cluster: Cluster, name: str, *, target: Target, tenant: str = "", retention: bool = True
) -> Finding:
    """Return whether we may do what a role needs; the cluster itself is asked. Raises ClusterError.

    What is needed in Kibana is asked where one is configured: Elasticsearch knows that, too. `retention`: whether a
    deployer's policies roll over and delete.
    """
    if cluster.info.distribution == "opensearch":
        return check_permissions(cluster, name, target=target, tenant=tenant, retention=retention)
    check = f"privileges of a {name}"
    kibana = cluster.settings.kibana
    space = kibana.space if kibana is not None else None
    wanted = role(name, target=target, space=space, tenant=tenant, retention=retention)
    applications = wanted.get("applications", ())
    body = {
        "cluster": wanted["cluster"],
        "index": [{"names": one["names"], "privileges": one["privileges"]} for one in wanted["indices"]],
        "application": [
            {**one, "privileges": [each for name in one["privileges"] for each in (name, *later_names(name))]}
            for one in applications
        ],
    }
    try:
        answer = cluster.request("POST", "/_security/user/_has_privileges", body)
    except ResponseError as error:
        if error.status in {400, 405, 500} or "not enabled" in error.reason:
            hint = "Anybody who reaches it can read, change and delete everything, alerts included."
            return Finding(check, Verdict.WARNING, "security is switched off in this cluster", hint)
        raise
    missing = [f"cluster: {privilege}" for privilege, granted in answer["cluster"].items() if not granted]
    missing += [
        f"{index}: {privilege}"
        for index, privileges in answer["index"].items()
        for privilege, granted in privileges.items()
        if not granted
    ]
    missing += [
        each for one in applications for each in _missing_in_kibana(one, answer.get("application") or {})
    ]
    who = answer.get("username", "?")
    if not missing:
        return Finding(check, Verdict.FINE, f"{who} has all of them")
    options = f" --target {target}" if target is not Target.RUNNER else ""
    options += f" --space {space}" if applications and space else ""
    hint = f"`sigmawatch roles {name}{options}` prints a role that has them."
    return Finding(check, Verdict.PROBLEM, f"{who} lacks {len(missing)}", hint, tuple(sorted(missing)))


def _missing_in_kibana(wanted: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield what somebody may not do in Kibana: neither by the name in the role nor by one of a later version."""
    for resource in wanted["resources"]:
        granted = (answer.get(wanted["application"]) or {}).get(resource) or {}
        for privilege in wanted["privileges"]:
            if not any(granted.get(name) for name in (privilege, *later_names(privilege))):
                yield f"Kibana, {resource.replace(':', ' ')}: {privilege.removeprefix('feature_')}"
