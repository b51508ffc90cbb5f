"""What the one who asks may do, compared with what a role of sigmawatch needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmawatch.cluster import ResponseError
from sigmawatch.doctor.findings import Finding, Verdict
from sigmawatch.roles import role

if TYPE_CHECKING:
    from sigmawatch.cluster import Cluster
    from sigmawatch.render.target import Target

__all__ = ["check_privileges"]


def check_privileges(cluster: Cluster, name: str, *, target: Target) -> Finding:
    """Return whether we may do what a role needs; the cluster itself is asked. Raises ClusterError."""
    check = f"privileges of a {name}"
    if cluster.info.distribution != "elasticsearch":
        # OpenSearch has no API that answers this for a user; its security plugin tells with each request.
        return Finding(check, Verdict.UNKNOWN, "OpenSearch does not tell privileges beforehand")
    wanted = role(name, target=target)
    body = {
        "cluster": wanted["cluster"],
        "index": [{"names": one["names"], "privileges": one["privileges"]} for one in wanted["indices"]],
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
    who = answer.get("username", "?")
    if not missing:
        return Finding(check, Verdict.FINE, f"{who} has all of them")
    hint = f"`sigmawatch roles {name}` prints a role that has them."
    return Finding(check, Verdict.PROBLEM, f"{who} lacks {len(missing)}", hint, tuple(sorted(missing)))
