"""Watches of Elasticsearch's Watcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey
from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.cluster.failures import describe
from sigmawatch.deploy.kind import Body, ChangedMeanwhile, Kind, Trial, Write
from sigmawatch.deploy.kinds._shapes import marked, marks_in, unmarked
from sigmawatch.deploy.kinds._trials import tried
from sigmawatch.errors import TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sigmawatch.artifact import Artifact
    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["Watch"]

PAGE = 500
"""Watches asked for at once, by their ids."""

_SEARCH_DEFAULTS: dict[str, Any] = {"search_type": "query_then_fetch", "rest_total_hits_as_int": True}


class Watch(Kind):
    """`_watcher/watch`.

    A PUT resets acknowledgements and throttling, which is why an unchanged watch must never be written. With the
    version that it replaces (`if_seq_no`) Watcher merges it into that one, and what we removed would survive: so it is
    given only where merging and replacing are the same (`TransportPutWatchAction` of Elasticsearch).
    """

    name = "watch"
    rank = 60
    detects = True

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read by `_watcher/_query/watches`, whose search sees a watch as soon as its PUT has answered."""
        wanted = list(ids)
        reason = cluster.features().why_not("watcher") if wanted else ""
        if reason:
            raise TargetUnavailable(reason, hint="Deploy detections for our own runner instead.")
        found: dict[str, Body] = {}
        for start in range(0, len(wanted), PAGE):
            page = wanted[start : start + PAGE]
            query = {"query": {"ids": {"values": page}}, "from": 0, "size": len(page)}
            answer = cluster.request("POST", "/_watcher/_query/watches", query)
            found.update({one["_id"]: one["watch"] for one in answer.get("watches", ())})
        return found

    def write(self, cluster: Cluster, one: Write) -> None:
        """Replace the watch; one that somebody deactivated stays so (a plain PUT would activate it)."""
        path = url_path("_watcher", "watch", one.id)
        found = cluster.request("GET", path, ignore=(404,)) or {}
        live = found.get("watch")
        self.require_basis(one, live)
        active = ((found.get("status") or {}).get("state") or {}).get("active", True)
        params: dict[str, Any] = {"active": "true" if active else "false"}
        if live is not None and "_seq_no" in found and _holds_all_keys(one.body, _without_defaults(live)):
            params |= {"if_seq_no": found["_seq_no"], "if_primary_term": found["_primary_term"]}
        try:
            cluster.request("PUT", path, one.body, params=params)
        except ResponseError as error:
            if error.status != 409:
                raise
            # An answer that got lost on the way: our own write is what we conflict with.
            again = (cluster.request("GET", path, ignore=(404,)) or {}).get("watch")
            if again is None or self.marks_of(again) != self.marks_of(one.body):
                raise ChangedMeanwhile(ArtifactKey(self.name, one.id)) from error

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the watch. After a downgrade of the licence the cluster refuses this."""
        try:
            cluster.request("DELETE", url_path("_watcher", "watch", artifact_id), ignore=(404,))
        except ResponseError as error:
            error.hint = error.hint or "Was the licence downgraded? Then Watcher refuses even deletions."
            raise

    def prove(
        self,
        cluster: Cluster,
        artifacts: Sequence[Artifact],
        samples: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> Mapping[str, Trial]:
        """Execute each watch with all actions simulated, and without any record of it."""
        del samples
        return tried(artifacts, lambda one: _trial(cluster, one.id))

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Leave out status, marks, and the defaults that servers write into search requests and scripts."""
        copy = unmarked({key: value for key, value in body.items() if key != "status"}, within="metadata")
        plain: Body = _without_defaults(copy)
        return plain

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in `metadata`."""
        del info
        return marked(body, marks, within="metadata")

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in `metadata`."""
        return marks_in(body, within="metadata")


def _trial(cluster: Cluster, watch_id: str) -> str:
    """Return what of a watch failed; nothing when all did what it should."""
    body = {"action_modes": {"_all": "simulate"}, "record_execution": False}
    path = url_path("_watcher", "watch", watch_id, "_execute")
    record = cluster.request("POST", path, body, idempotent=True)["watch_record"]
    result = record.get("result") or {}
    parts = {name: result.get(name) or {} for name in ("input", "condition", "transform")}
    parts |= {f"action {one.get('id')}": one for one in result.get("actions") or ()}
    for name, part in parts.items():
        if part.get("status") == "failure":
            error = part.get("error")
            reason = describe(error) if isinstance(error, dict) else part.get("reason") or "no reason given"
            return f"its {name} fails: {reason}"
    if record.get("state") not in {"executed", "execution_not_needed", "throttled", "acknowledged"}:
        messages = "; ".join(map(str, record.get("messages") or ())) or "no reason given"
        return f"it ends as {record.get('state')}: {messages}"
    return ""


def _holds_all_keys(new: Any, old: Any) -> bool:
    """Return whether merging a body into an old one is the same as replacing it: no object loses a key."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return True  # a list or a plain value is replaced as a whole
    return all(key in new and _holds_all_keys(new[key], inner) for key, inner in old.items())


def _without_defaults(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_without_defaults(one) for one in value]
    if not isinstance(value, dict):
        return value
    copy = {key: _without_defaults(inner) for key, inner in value.items()}
    if "body" in copy or "template" in copy:  # a search request
        copy = {key: inner for key, inner in copy.items() if inner != _SEARCH_DEFAULTS.get(key, ...)}
    if ("source" in copy or "id" in copy) and copy.get("lang") == "painless":
        del copy["lang"]
    return copy
