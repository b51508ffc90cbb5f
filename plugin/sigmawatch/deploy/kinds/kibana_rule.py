"""Rules of Kibana's detection engine.

A PUT replaces the whole rule: what analysts set in Kibana (whether it is switched on, exceptions, actions, tags,
notes, suppression) is read before and sent along, so that an update never takes an exception away. Snoozes and mutes
are kept by Kibana itself, as long as the rule is not deleted. Creating is never sent twice: Kibana looks whether the
`rule_id` is taken and then creates, so two requests at once would make two rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.cluster.failures import describe
from sigmawatch.deploy.kind import Body, Kind, Retirement, Trial, Write
from sigmawatch.deploy.kinds import _rule_owners as owners
from sigmawatch.deploy.kinds._saved_objects import by_space, in_space, space_and_id
from sigmawatch.deploy.kinds._trials import tried
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sigmawatch.artifact import Artifact
    from sigmawatch.cluster import Cluster, ClusterInfo, Kibana

__all__ = ["KibanaRule"]

_RULES = "/api/detection_engine/rules"

PAGE = 100
"""Rules asked for at once: their ids stand in the address, of which Node takes 16 kB."""

_CLAIMS = "$claims"
"""In a body on its way to `write`: what of the live rule was ours until now."""


class KibanaRule(Kind):
    """`/api/detection_engine/rules`, by `rule_id`. Marks are in `meta`, and as tags: only these can be searched for."""

    name = "kibana_rule"
    rank = 60
    spaced = True
    detects = True

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read by `_find`, some at a time."""
        found: dict[str, Body] = {}
        for space, wanted in by_space(ids).items():
            kibana = cluster.kibana
            kibana.require_detection_engine(space)
            for start in range(0, len(wanted), PAGE):
                page = wanted[start : start + PAGE]
                names = " or ".join(_quoted(rule_id) for rule_id in page)
                params = {
                    "filter": f"alert.attributes.params.ruleId: ({names})",
                    "per_page": 2 * len(page),  # should somebody have made one of them twice
                    "page": 1,
                }
                answer = kibana.in_space(space, "GET", f"{_RULES}/_find", params=params)
                for rule in answer.get("data") or ():
                    if rule["rule_id"] in page:
                        found[in_space(space, rule["rule_id"])] = rule
        return found

    def _read(self, kibana: Kibana, space: str, rule_id: str) -> Body | None:
        found: Body | None = kibana.in_space(space, "GET", _RULES, params={"rule_id": rule_id}, ignore=(404,))
        return found

    def write(self, cluster: Cluster, one: Write) -> None:
        """Create the rule, or replace it with what analysts set taken along.

        Kibana creates one only where there is none; an update names no version, so it follows a look.
        """
        kibana = cluster.kibana
        space, rule_id = space_and_id(one.id)
        wanted = {**one.body, "rule_id": rule_id}
        claims = wanted.pop(_CLAIMS, ())
        live = self._read(kibana, space, rule_id)
        self.require_basis(one, live)
        if live is None:
            try:
                kibana.in_space(space, "POST", _RULES, wanted, idempotent=False)
            except ClusterError as error:
                live = self._made_after_all(kibana, space, rule_id, error)
                self.require_basis(one, live)
            else:
                return
        before, after = owners.compared(live, wanted, claims)
        if before == after and self.marks_of(live) == self.marks_of(wanted):
            return  # our own request, whose answer got lost
        kibana.in_space(space, "PUT", _RULES, owners.merged(live, wanted, claims))

    def _made_after_all(self, kibana: Kibana, space: str, rule_id: str, error: ClusterError) -> Body:
        """Return the rule that is there although creating it failed. Raises the error when it is not."""
        if isinstance(error, ResponseError) and error.status not in {409, 502, 503, 504}:
            raise error
        try:
            live = self._read(kibana, space, rule_id)
        except ClusterError:
            raise error from None
        if live is None:
            raise error
        return live

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the rule; its alerts stay, and so do its exceptions where other rules share them."""
        space, rule_id = space_and_id(artifact_id)
        cluster.kibana.in_space(space, "DELETE", _RULES, params={"rule_id": rule_id}, ignore=(404,))

    def prove(
        self,
        cluster: Cluster,
        artifacts: Sequence[Artifact],
        samples: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> Mapping[str, Trial]:
        """Search for the filters of each rule in the cluster; Kibana itself has no dry run with an answer.

        Only rules that are nothing but filters, as ours are: what their query language says is not known here.
        """
        del samples
        return tried(
            [one for one in artifacts if not one.body.get("query")], lambda one: _trial(cluster, one)
        )

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return what a rule finds and says, without what the server adds or only analysts decide."""
        return owners.normal(body)

    def claims(self, body: Mapping[str, Any]) -> frozenset[str]:
        """Return what becomes ours by sending a body."""
        return owners.claims_of(body)

    def ours(self, live: Mapping[str, Any], claims: Collection[str]) -> Body:
        """Return what is ours of a live rule: what analysts added is no drift."""
        return owners.ours(live, claims)

    def compared(
        self, live: Mapping[str, Any], wanted: Mapping[str, Any], claims: Collection[str]
    ) -> tuple[Body, Body]:
        """Compare what is ours; notes that analysts changed are left to them."""
        return owners.compared(live, wanted, claims)

    def told(self, body: Mapping[str, Any], claims: Collection[str]) -> Body:
        """Tell `write` what was ours."""
        return {**body, _CLAIMS: sorted(claims)}

    def retirement(self, live: Mapping[str, Any], claims: Collection[str]) -> Retirement | None:
        """Keep a rule that analysts put work into, switched off: what they set would be lost with it."""
        work = ", ".join(owners.theirs_on(live, claims))
        if owners.is_retired(live):
            if live.get("enabled"):
                return Retirement(None, "kept, switched on again by analysts", work)
            return (
                Retirement(None, f"kept, switched off, for what analysts set: {work}", work) if work else None
            )
        if live.get("enabled") is False:
            told = f"; they also set: {work}" if work else ""
            return Retirement(None, f"kept, switched off by analysts{told}", work)
        if not work:
            return None
        reason = f"switched off, and kept for what analysts set: {work}"
        return Retirement(owners.handed_on(live, claims), reason, work)

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in `meta`, which editing in Kibana may overwrite, and with tags, which it leaves alone."""
        del info
        tags = [tag for tag in body.get("tags") or () if tag != owners.OWNER_TAG]
        meta = {**(body.get("meta") or {}), "sigmawatch": dict(marks)}
        return {**body, "tags": [*tags, owners.OWNER_TAG, f"{owners.PACK_TAG}{marks['pack']}"], "meta": meta}

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in `meta`, else what the tags say."""
        marks = (body.get("meta") or {}).get("sigmawatch")
        if isinstance(marks, dict):
            return marks
        tags = [tag for tag in body.get("tags") or () if tag.startswith(owners.PACK_TAG)]
        packs = [tag.removeprefix(owners.PACK_TAG) for tag in tags]
        return {"pack": packs[0]} if packs else {}


def _trial(cluster: Cluster, rule: Artifact) -> str:
    """Search for what a rule filters; a refusal is raised."""
    queries = [one["query"] for one in rule.body.get("filters") or () if "query" in one]
    indices = rule.body.get("index")
    if not queries or not indices:
        return ""
    body = {"size": 0, "terminate_after": 1, "query": {"bool": {"filter": queries}}}
    params = {"ignore_unavailable": "true", "allow_no_indices": "true"}
    answer = cluster.request("POST", f"{url_path(','.join(indices))}/_search", body, params=params)
    failures = (answer.get("_shards") or {}).get("failures") or ()
    return f"its search fails: {describe(failures[0]['reason'])}" if failures else ""


def _quoted(text: str) -> str:
    """Return a text as a literal of KQL."""
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'
