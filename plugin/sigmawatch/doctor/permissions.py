"""What the one who asks may do in OpenSearch, compared with what a role of sigmawatch needs.

The security plugin has no list of somebody's permissions, but since 3.2 it answers any request with whether it would be
allowed (`perform_permission_check`; opensearch-project/security, pull request 5496). It was not at hand: each question
here is therefore one that would do nothing if it were taken for a request. It names what does not exist, or asks for
what no cluster takes. One who shows a certificate is asked nothing at all, since nobody asks what a super admin may do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sigmawatch.cluster import ResponseError
from sigmawatch.doctor.findings import Finding, Verdict
from sigmawatch.render.target import Target
from sigmawatch.roles import opensearch_role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmawatch.cluster import Cluster

__all__ = ["ASKING", "UNASKED", "check_permissions", "questions"]

ASKING = {"perform_permission_check": "true"}

_NOTHING = "sigmawatch.no-such-thing"
"""Name of what does not exist."""

Question = tuple[str, str, Any]
"""Method, path and body. `{index}` in the path stands for the index that is meant."""

_SEARCH = {"size": 0}

_QUESTIONS: dict[str, Question] = {
    "cluster:admin/component_template/*": ("DELETE", f"/_component_template/{_NOTHING}", None),
    "cluster:admin/ingest/pipeline/*": ("DELETE", f"/_ingest/pipeline/{_NOTHING}", None),
    "cluster:admin/script/*": ("DELETE", f"/_scripts/{_NOTHING}", None),
    "cluster:monitor/*": ("GET", "/_cluster/health", None),
    "cluster:monitor/main": ("GET", "/", None),
    "indices:admin/index_template/*": ("DELETE", f"/_index_template/{_NOTHING}", None),
    "indices:admin/index_template/get": ("GET", f"/_index_template/{_NOTHING}", None),
    "indices:data/read/mget": ("POST", f"/{_NOTHING}/_mget", {"ids": ["x"]}),
    "indices:data/read/msearch": ("POST", "/_msearch", f'{{"index":"{_NOTHING}"}}\n{{"size":0}}\n'.encode()),
    "indices:data/read/scroll*": ("DELETE", "/_search/scroll", {"scroll_id": ["x"]}),
    "indices:data/write/bulk": (
        "POST",
        "/_bulk",
        f'{{"delete":{{"_index":"{_NOTHING}","_id":"x"}}}}\n'.encode(),
    ),
    "indices:data/write/reindex": (
        "POST",
        "/_reindex",
        {"source": {"index": _NOTHING}, "dest": {"index": f"{_NOTHING}-either"}},
    ),
    "indices:admin/aliases/get": ("GET", "/{index}/_alias", None),
    "indices:admin/create": ("PUT", "/{index}", {"settings": {"number_of_shards": 0}}),
    "indices:admin/data_stream/create": ("PUT", "/_data_stream/{index}-NO-UPPER-CASE", None),
    "indices:admin/data_stream/get": ("GET", "/_data_stream/{index}", None),
    "indices:admin/delete": ("DELETE", "/{index}", None),
    "indices:admin/forcemerge": ("POST", "/{index}/_forcemerge", None),
    "indices:admin/get": ("GET", "/{index}", None),
    "indices:admin/mapping/put": ("PUT", "/{index}/_mapping", {"properties": {}}),
    "indices:admin/mappings/fields/get*": ("GET", "/{index}/_mapping/field/x", None),
    "indices:admin/mappings/get": ("GET", "/{index}/_mapping", None),
    "indices:admin/refresh*": ("POST", "/{index}/_refresh", None),
    "indices:admin/resolve/index": ("GET", "/_resolve/index/{index}", None),
    "indices:admin/rollover": ("POST", "/{index}/_rollover", None),
    "indices:admin/settings/update": ("PUT", "/{index}/_settings", {"index.number_of_replicas": 1}),
    "indices:data/read/*": ("POST", "/{index}/_search", _SEARCH),
    "indices:data/read/get": ("GET", f"/{{index}}/_doc/{_NOTHING}", None),
    "indices:data/read/search": ("POST", "/{index}/_search", _SEARCH),
    "indices:data/write/delete": ("DELETE", f"/{{index}}/_doc/{_NOTHING}", None),
    # Only into an alias, which it is not.
    "indices:data/write/index": ("PUT", f"/{{index}}/_doc/{_NOTHING}?require_alias=true", {"x": 1}),
    "indices:monitor/settings/get": ("GET", "/{index}/_settings", None),
    "indices:monitor/stats": ("GET", "/{index}/_stats", None),
}

UNASKED = (
    "cluster:admin/opendistro/",
    "indices:admin/opensearch/",
    "indices:data/read/mget*",
    "indices:data/write/bulk*",
)
"""What begins so is not asked: plugins answer for themselves, and parts of a request are no requests."""


def questions(
    name: str, *, target: Target, tenant: str = "", retention: bool = True
) -> Iterator[tuple[str, Question]]:
    """Yield what to ask for a role: what it is about, for people, and the request."""
    wanted = opensearch_role(name, target=target, tenant=tenant, retention=retention)
    for permission in wanted["cluster_permissions"]:
        if not permission.startswith(UNASKED):
            yield f"cluster: {permission}", _QUESTIONS[permission]
    for access in wanted["index_permissions"]:
        for pattern in access["index_patterns"]:
            # A name of its own: patterns mean what is there, and nothing may be.
            index = quote(pattern.replace("*", _NOTHING), safe="")
            for permission in access["allowed_actions"]:
                if permission.startswith(UNASKED) or permission == "indices:data/read/msearch":
                    continue
                method, path, body = _QUESTIONS[permission]
                yield f"{pattern}: {permission}", (method, path.replace("{index}", index), body)


def check_permissions(
    cluster: Cluster, name: str, *, target: Target, tenant: str = "", retention: bool = True
) -> Finding:
    """Return whether we may do what a role needs; the cluster itself is asked. Raises ClusterError."""
    check = f"privileges of a {name}"
    options = "" if target is Target.RUNNER else f" --target {target}"
    options += f" --tenant {tenant}" if tenant else ""
    hint = f"`sigmawatch roles {name} --engine opensearch{options}` prints a role that has them."
    try:
        me = cluster.request("GET", "/_plugins/_security/authinfo")
    except ResponseError as error:
        if error.status in {400, 404, 405}:
            warning = "this cluster has no security plugin, or it is switched off"
            danger = "Anybody who reaches it can read, change and delete everything, alerts included."
            return Finding(check, Verdict.WARNING, warning, danger)
        raise
    who = str(me.get("user_name") or "?")
    roles = tuple(f"has the role {role}" for role in sorted(me.get("roles") or ()))
    if me.get("principal") or str(me.get("peer_certificates") or "0") != "0":
        told = f"{who} comes with a certificate, with which it is not asked what is allowed"
        return Finding(check, Verdict.UNKNOWN, told, hint, roles)
    if _allowed(cluster, _QUESTIONS["cluster:monitor/*"]) is None:
        told = f"{cluster.info} does not tell privileges beforehand; OpenSearch does since 3.2"
        return Finding(check, Verdict.UNKNOWN, told, hint, roles)
    answers = {
        label: _allowed(cluster, question)
        for label, question in questions(name, target=target, tenant=tenant, retention=retention)
    }
    missing = sorted(label for label, allowed in answers.items() if allowed is False)
    untold = sorted(f"not told: {label}" for label, allowed in answers.items() if allowed is None)
    if missing:
        return Finding(check, Verdict.PROBLEM, f"{who} lacks {len(missing)}", hint, (*missing, *untold))
    if untold:
        told = f"{who} has all that the cluster tells of, which is not everything"
        return Finding(check, Verdict.UNKNOWN, told, hint, tuple(untold))
    return Finding(check, Verdict.FINE, f"{who} has all that can be asked for")


def _allowed(cluster: Cluster, question: Question) -> bool | None:
    """Return whether a request would be allowed, None where that is not told."""
    method, target, body = question
    path, _, given = target.partition("?")
    params = {**dict(one.split("=") for one in given.split("&") if one), **ASKING}
    try:
        answer = cluster.request(method, path, body, params=params, idempotent=True)
    except ResponseError as error:
        return False if error.status == 403 else None
    told = answer.get("accessAllowed") if isinstance(answer, dict) else None
    return told if isinstance(told, bool) else None
