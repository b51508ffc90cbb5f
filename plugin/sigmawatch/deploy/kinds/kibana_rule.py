"""Rules of Kibana's detection engine.

A PUT replaces the whole rule: what analysts set in Kibana (whether it is switched on, exceptions, actions) is read
before and sent along, so that an update never takes an exception away. Creating is never sent twice: Kibana looks
whether the `rule_id` is taken and then creates, so two requests at once would make two rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.cluster.failures import describe
from sigmawatch.deploy.kind import Body, Kind, Trial
from sigmawatch.deploy.kinds._saved_objects import by_space, in_space, space_and_id
from sigmawatch.deploy.kinds._trials import tried
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sigmawatch.artifact import Artifact
    from sigmawatch.cluster import Cluster, ClusterInfo, Kibana

__all__ = ["KibanaRule"]

_RULES = "/api/detection_engine/rules"

PAGE = 100
"""Rules asked for at once: their ids stand in the address, of which Node takes 16 kB."""

_ANALYSTS = ("enabled", "exceptions_list", "actions", "response_actions", "throttle")
"""What belongs to the people who work with the rule: taken along through updates, and no drift."""

_SERVERS = frozenset(
    {
        "created_at",
        "created_by",
        "execution_summary",
        "id",
        "immutable",
        "meta",
        "revision",
        "rule_id",
        "rule_source",
        "updated_at",
        "updated_by",
        "version",
    }
)
_DEFAULTS: Mapping[str, Any] = {
    "author": [],
    "false_positives": [],
    "license": "",
    "max_signals": 100,
    "output_index": "",
    "references": [],
    "related_integrations": [],
    "required_fields": [],
    "risk_score_mapping": [],
    "setup": "",
    "severity_mapping": [],
    "threat": [],
    "to": "now",
}
"""What Kibana fills in: left out where it has this value, to keep differences short."""

_OWNER = "managed-by:sigmawatch"
_PACK = "sigmawatch-pack:"


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

    def write(self, cluster: Cluster, artifact_id: str, body: Body) -> None:
        """Create the rule, or replace it with what analysts set taken along."""
        kibana = cluster.kibana
        space, rule_id = space_and_id(artifact_id)
        wanted = {**body, "rule_id": rule_id}
        live = self._read(kibana, space, rule_id)
        if live is None:
            try:
                kibana.in_space(space, "POST", _RULES, wanted, idempotent=False)
            except ClusterError as error:
                live = self._made_after_all(kibana, space, rule_id, error)
            else:
                return
        if self.normalise(live) == self.normalise(wanted) and self.marks_of(live) == self.marks_of(wanted):
            return  # our own request, whose answer got lost
        theirs = {name: live[name] for name in _ANALYSTS if live.get(name) is not None}
        kibana.in_space(space, "PUT", _RULES, {**wanted, **theirs})

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
        """Return what a rule detects and says, without what the server or an analyst adds."""
        left_out = _SERVERS | frozenset(_ANALYSTS)
        plain = {
            name: value
            for name, value in body.items()
            if name not in left_out and (name not in _DEFAULTS or value != _DEFAULTS[name])
        }
        plain["tags"] = [tag for tag in body.get("tags") or () if tag != _OWNER and not tag.startswith(_PACK)]
        return plain

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in `meta`, which editing in Kibana may overwrite, and with tags, which it leaves alone."""
        del info
        tags = [tag for tag in body.get("tags") or () if tag != _OWNER]
        meta = {**(body.get("meta") or {}), "sigmawatch": dict(marks)}
        return {**body, "tags": [*tags, _OWNER, f"{_PACK}{marks['pack']}"], "meta": meta}

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in `meta`, else what the tags say."""
        marks = (body.get("meta") or {}).get("sigmawatch")
        if isinstance(marks, dict):
            return marks
        packs = [tag.removeprefix(_PACK) for tag in body.get("tags") or () if tag.startswith(_PACK)]
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
