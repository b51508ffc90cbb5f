"""Monitors of OpenSearch's alerting plugin.

The server gives them their ids, so ours is kept in `ui_metadata`, which the plugin stores as it is, and found there;
where Dashboards has written that anew, the name still ends with it. Creating is never sent twice. An update names the
version that it was made from (`if_seq_no`), and takes along what people set: whether it is switched on, and the actions
of its triggers.

Sources: `RestIndexMonitorAction`, `TransportIndexMonitorAction` and `RestSearchMonitorAction` of
opensearch-project/alerting, `Monitor` and `QueryLevelTrigger` of opensearch-project/common-utils.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey
from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kind import Body, ChangedMeanwhile, Kind, Trial, Write
from sigmawatch.deploy.kinds._trials import tried
from sigmawatch.errors import ClusterError, TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sigmawatch.artifact import Artifact
    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["Monitor"]

_MONITORS = "/_plugins/_alerting/monitors"
_PLACE = "ui_metadata"
_OURS = "sigmawatch"
_STAGE = "sigmawatch_stage"
_PARKED = "sigmawatch_actions"
"""Where the actions of triggers are kept while a monitor is on trial."""

MOST = 10_000
"""Monitors that one search shows; the plugin takes 1,000 unless its settings say otherwise."""

_SERVERS = frozenset(
    {
        "data_sources",
        "delete_query_index_in_every_run",
        "enabled",
        "enabled_time",
        "fan_out_enabled",
        "last_update_time",
        "metadata",
        "owner",
        "schema_version",
        "should_create_single_alert_for_findings",
        "ui_metadata",
        "user",
    }
)


class Monitor(Kind):
    """`_plugins/_alerting/monitors`."""

    name = "monitor"
    rank = 60
    authored = False
    detects = True

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read with one search over all monitors: names are analysed, and what we keep in them is not indexed."""
        wanted = set(ids)
        if not wanted:
            return {}
        reason = cluster.features().why_not("alerting")
        if reason:
            raise TargetUnavailable(reason, hint="Deploy detections for our own runner instead.")
        return {each: found[0]["monitor"] for each, found in _monitors(cluster, wanted).items()}

    def write(self, cluster: Cluster, one: Write) -> None:
        """Create the monitor, or replace it as it was just read."""
        wanted = _with_id(one.body, one.id)
        found = _monitors(cluster, {one.id}).get(one.id, [])
        self.require_basis(one, found[0]["monitor"] if found else None)
        if not found:
            try:
                cluster.request("POST", _MONITORS, wanted, idempotent=False)
            except ClusterError as error:
                found = _made_after_all(cluster, one.id, error)
            else:
                return
        first, *others = found
        live = first["monitor"]
        same = self.normalise(live) == self.normalise(wanted) and self.marks_of(live) == self.marks_of(wanted)
        if not same:
            self._replace(cluster, one.id, first, wanted)
        for each in others:  # two deployers made one each; both would alert
            cluster.request("DELETE", _MONITORS + url_path(each["id"]), ignore=(404,))

    def _replace(self, cluster: Cluster, artifact_id: str, found: Mapping[str, Any], wanted: Body) -> None:
        params = {"if_seq_no": found["seq_no"], "if_primary_term": found["primary_term"]}
        merged = _with_theirs(wanted, found["monitor"])
        try:
            cluster.request("PUT", _MONITORS + url_path(found["id"]), merged, params=params)
        except ResponseError as error:
            # An answer that got lost on the way: our own write is what we conflict with.
            conflict = (
                error.status == 409 or "version conflict" in error.reason
            )  # the plugin wraps some in a 500
            if not conflict:
                raise
            again = _read(cluster, found["id"])
            if again is None or self.marks_of(again) != self.marks_of(wanted):
                raise ChangedMeanwhile(ArtifactKey(self.name, artifact_id)) from error

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the monitor; its alerts stay."""
        for one in _monitors(cluster, {artifact_id}).get(artifact_id, ()):
            cluster.request("DELETE", _MONITORS + url_path(one["id"]), ignore=(404,))

    def prove(
        self,
        cluster: Cluster,
        artifacts: Sequence[Artifact],
        samples: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> Mapping[str, Trial]:
        """Execute each monitor as a dry run."""
        del samples
        found = _monitors(cluster, {one.id for one in artifacts})
        return tried(
            [one for one in artifacts if one.id in found], lambda one: _trial(cluster, found[one.id][0]["id"])
        )

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return what a monitor searches and triggers on, without what the server or people add."""
        plain = {name: value for name, value in body.items() if name not in _SERVERS}
        plain["triggers"] = [_without_actions(trigger) for trigger in body.get("triggers") or ()]
        return plain

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in `ui_metadata`."""
        del info
        kept = body.get(_PLACE) or {}
        return {**body, _PLACE: {**kept, _OURS: dict(marks)}}

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in `ui_metadata`, without the id that is kept there, too."""
        marks = (body.get(_PLACE) or {}).get(_OURS)
        if not isinstance(marks, dict):
            return {}
        return {name: value for name, value in marks.items() if name != "id"}


def _monitors(cluster: Cluster, wanted: set[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the monitors of those ids, each with the server's id and version; the oldest first."""
    query = {"size": MOST, "query": {"match_all": {}}, "seq_no_primary_term": True}
    try:
        answer = cluster.request("POST", f"{_MONITORS}/_search", query, idempotent=True)
    except ResponseError as error:
        if error.status == 404:  # the plugin's index comes with the first monitor
            return {}
        raise
    found: dict[str, list[dict[str, Any]]] = {}
    for hit in answer["hits"]["hits"]:
        # Wrapped where the plugin could not parse what it stores, which it passes on then.
        monitor = hit["_source"].get("monitor", hit["_source"])
        if monitor.get("type") != "monitor":
            continue
        for artifact_id in _ids_of(monitor, wanted):
            one = {
                "id": hit["_id"],
                "seq_no": hit["_seq_no"],
                "primary_term": hit["_primary_term"],
                "monitor": monitor,
            }
            found.setdefault(artifact_id, []).append(one)
    for each in found.values():
        each.sort(key=lambda one: one["seq_no"])
    return found


def _ids_of(monitor: Mapping[str, Any], wanted: set[str]) -> list[str]:
    """Return which artifact a monitor is: by our mark, else by the end of its name."""
    ours = (monitor.get(_PLACE) or {}).get(_OURS)
    if isinstance(ours, dict) and "id" in ours:
        return [ours["id"]] if ours["id"] in wanted else []
    name = str(monitor.get("name", ""))
    start = name.rfind(" (")
    inner = name[start + 2 : -1] if start >= 0 and name.endswith(")") else ""
    return [inner] if inner in wanted else []


def _trial(cluster: Cluster, monitor_id: str) -> str:
    """Return what of a monitor failed; nothing when its search and its triggers ran."""
    path = f"{_MONITORS}{url_path(monitor_id, '_execute')}"
    answer = cluster.request("POST", path, params={"dryrun": "true"}, idempotent=True)
    if error := answer.get("error") or (answer.get("input_results") or {}).get("error"):
        return f"its search fails: {error}"
    for one in (answer.get("trigger_results") or {}).values():
        if one.get("error"):
            return f"its trigger {one.get('name')!r} fails: {one['error']}"
    return ""


def _read(cluster: Cluster, monitor_id: str) -> Body | None:
    answer = cluster.request("GET", _MONITORS + url_path(monitor_id), ignore=(404,))
    return dict(answer["monitor"]) if answer else None


def _made_after_all(cluster: Cluster, artifact_id: str, error: ClusterError) -> list[dict[str, Any]]:
    """Return the monitor that is there although creating it failed. Raises the error when it is not."""
    if isinstance(error, ResponseError) and error.status not in {502, 503, 504}:
        raise error
    try:
        found = _monitors(cluster, {artifact_id}).get(artifact_id, [])
    except ClusterError:
        raise error from None
    if not found:
        raise error
    return found


def _with_id(body: Body, artifact_id: str) -> Body:
    kept = body.get(_PLACE) or {}
    return {**body, _PLACE: {**kept, _OURS: {**(kept.get(_OURS) or {}), "id": artifact_id}}}


def _with_theirs(wanted: Body, live: Mapping[str, Any]) -> Body:
    """Return our body with what people set in a live monitor: its switch, and what its triggers do."""
    actions = {
        inner.get("id"): inner.get("actions")
        for trigger in live.get("triggers") or ()
        for inner in trigger.values()
        if isinstance(inner, dict)
    }
    kept = (live.get(_PLACE) or {}).get(_PARKED) or {}
    actions = {trigger_id: found or kept.get(trigger_id) for trigger_id, found in actions.items()}
    ui = {**(live.get(_PLACE) or {}), **(wanted.get(_PLACE) or {})}
    if _on_trial(wanted):
        # On trial nobody is told of anything; what its triggers did comes back when it is live again.
        ui[_PARKED] = {trigger_id: found for trigger_id, found in actions.items() if found}
        actions = {}
    else:
        ui = {name: value for name, value in ui.items() if name not in {_PARKED, _STAGE}}
    triggers = [
        {
            kind: {**inner, "actions": actions.get(inner.get("id")) or inner.get("actions", [])}
            for kind, inner in trigger.items()
        }
        for trigger in wanted.get("triggers") or ()
    ]
    return {**wanted, "enabled": live.get("enabled", True), "triggers": triggers, _PLACE: ui}


def _on_trial(monitor: Mapping[str, Any]) -> bool:
    return (monitor.get(_PLACE) or {}).get(_STAGE) == "shadow"


def _without_actions(trigger: Mapping[str, Any]) -> Body:
    return {
        kind: {name: value for name, value in inner.items() if name != "actions"}
        if isinstance(inner, dict)
        else inner
        for kind, inner in trigger.items()
    }
