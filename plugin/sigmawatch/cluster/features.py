"""What a cluster can do: asked of the cluster, not concluded from its version; each lack with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.cluster.failures import ResponseError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sigmawatch.cluster.client import Cluster

__all__ = ["Features", "probe"]

_REQUIRED: dict[str, dict[str, Any]] = {
    "scaled_float": {"scaling_factor": 10},
    "constant_keyword": {"value": "x"},  # OpenSearch wants it, Elasticsearch takes it
}
"""Parameters without which a type is refused although it exists."""
_PROBED_TYPES = ("wildcard", "constant_keyword", "match_only_text", "scaled_float")


_LIFECYCLE_SINCE = (8, 14, 0)


@dataclass(frozen=True)
class Features:
    """What a cluster can do. `reasons` says for each lack, by the name of the fact, why."""

    has_watcher: bool
    """Watcher is there, licensed and switched on."""
    has_data_streams: bool
    has_ilm: bool
    """Index lifecycle management (Elasticsearch)."""
    has_alerting: bool
    """The alerting plugin (OpenSearch)."""
    flattened_type: str | None
    """Field type for objects of unknown keys: `flattened`, `flat_object`, or None where there is neither."""
    has_wildcard: bool
    has_constant_keyword: bool
    has_match_only_text: bool
    has_scaled_float: bool
    has_geoip: bool = False
    """The geoip processor; also its databases, where the engine brings them along instead of fetching them."""
    has_user_agent: bool = False
    """The user_agent processor."""
    has_ism: bool = False
    """Index state management (a plugin of OpenSearch)."""
    has_lifecycle: bool = False
    """Lifecycles of data streams (Elasticsearch 8.14 and later)."""
    licence: str = ""
    """Type of the Elastic licence (`basic`, `trial`, `platinum`, …), empty where there is none."""
    processors: frozenset[str] = frozenset()
    """Ingest processors that every ingest node has; empty when the cluster does not tell."""
    reasons: Mapping[str, str] = field(default_factory=dict)

    def why_not(self, name: str) -> str:
        """Return why `has_<name>` is False (or `flattened_type` None), in a sentence; else empty."""
        return self.reasons.get(name, "")


def probe(cluster: Cluster) -> Features:
    """Ask a cluster what it can do, in about ten small requests that change nothing.

    What may not be asked (403) is taken to be there, so that the real request can say what it lacks. Raises
    ClusterError when the cluster does not answer at all.
    """
    reasons: dict[str, str] = {}
    elastic = cluster.info.distribution == "elasticsearch"
    licence = _licence(cluster) if elastic else ""
    xpack = _xpack(cluster) if elastic else {}
    flattened = "flattened" if elastic else "flat_object"
    plugins = () if elastic else _plugins(cluster)
    refused = _refused_types(cluster, (flattened, *_PROBED_TYPES))
    for name in refused:
        reasons["flattened" if name == flattened else name] = f"{cluster.info} has no field type {name}"

    def note(name: str, reason: str) -> bool:
        if reason:
            reasons[name] = reason
        return not reason

    processors = _processors(cluster)
    return Features(
        has_watcher=note("watcher", _no_watcher(cluster, xpack, licence)),
        has_data_streams=note("data_streams", _no_data_streams(cluster)),
        has_ilm=note("ilm", _no_ilm(cluster, xpack)),
        has_alerting=note("alerting", _no_plugin(cluster, plugins, "opensearch-alerting")),
        flattened_type=None if flattened in refused else flattened,
        has_wildcard="wildcard" not in refused,
        has_constant_keyword="constant_keyword" not in refused,
        has_match_only_text="match_only_text" not in refused,
        has_scaled_float="scaled_float" not in refused,
        has_ism=note("ism", _no_plugin(cluster, plugins, "opensearch-index-management")),
        has_lifecycle=note("lifecycle", _no_lifecycle(cluster)),
        licence=licence,
        has_geoip=note("geoip", _no_processor(cluster, processors, "geoip") or _no_databases(cluster)),
        has_user_agent=note("user_agent", _no_processor(cluster, processors, "user_agent")),
        processors=processors,
        reasons=reasons,
    )


def _licence(cluster: Cluster) -> str:
    try:
        answer = cluster.request("GET", "/_license", ignore=(404,))
    except ResponseError:
        return ""
    return str(((answer or {}).get("license") or {}).get("type", ""))


def _xpack(cluster: Cluster) -> dict[str, Any] | None:
    """Return the features of Elasticsearch, or None when they are not told."""
    try:
        answer = cluster.request("GET", "/_xpack", params={"categories": "features"})
    except ResponseError:
        return None
    features = answer.get("features")
    return features if isinstance(features, dict) else None


def _no_watcher(cluster: Cluster, xpack: dict[str, Any] | None, licence: str) -> str:
    if cluster.info.distribution != "elasticsearch":
        return f"{cluster.info} has no Watcher; it is part of Elasticsearch"
    if cluster.info.serverless:
        return "Elastic Cloud Serverless has no Watcher"
    if xpack is None:
        return f"{cluster.info} does not tell its features (GET _xpack), so Watcher cannot be relied upon"
    watcher = xpack.get("watcher")
    if not isinstance(watcher, dict):
        return f"{cluster.info} is built without Watcher"
    if not watcher.get("available"):
        return (
            f"the licence of {cluster.info} is {licence or 'unknown'}; "
            "Watcher needs Standard, Gold, Platinum, Enterprise or a trial"
        )
    if not watcher.get("enabled"):
        return f"Watcher is switched off in {cluster.info} (xpack.watcher.enabled)"
    return ""


def _no_ilm(cluster: Cluster, xpack: dict[str, Any] | None) -> str:
    if cluster.info.distribution != "elasticsearch":
        return f"{cluster.info} has no index lifecycle management (its own is ISM)"
    ilm = (xpack or {}).get("ilm")
    if not isinstance(ilm, dict):
        return f"{cluster.info} is built without index lifecycle management"
    if not (ilm.get("available") and ilm.get("enabled")):
        return f"index lifecycle management is not available in {cluster.info}"
    return ""


def _no_data_streams(cluster: Cluster) -> str:
    try:
        cluster.request("GET", "/_data_stream")
    except ResponseError as error:
        # Without data streams it is taken for the name of an index, which one may not be allowed to see.
        if error.status != 403 or "indices [_data_stream]" in error.reason:
            return f"{cluster.info} is built without data streams"
    return ""


def _no_lifecycle(cluster: Cluster) -> str:
    if cluster.info.distribution != "elasticsearch":
        return f"{cluster.info} has no lifecycles of data streams; they are part of Elasticsearch"
    if not cluster.info.serverless and cluster.info.version < _LIFECYCLE_SINCE:
        return f"{cluster.info} has lifecycles of data streams as a preview only; they came with 8.14"
    try:
        cluster.request("GET", "/_data_stream/*/_lifecycle", params={"filter_path": "global_retention"})
    except ResponseError as error:
        if error.status != 403:
            return f"{cluster.info} is built without lifecycles of data streams"
    return ""


def _plugins(cluster: Cluster) -> frozenset[str] | None:
    """Return the plugins of OpenSearch's nodes; None when they are not told, and may be there."""
    try:
        plugins = cluster.request("GET", "/_cat/plugins", params={"format": "json", "h": "component"})
    except ResponseError as error:
        return None if error.status == 403 else frozenset()
    return frozenset(str(plugin.get("component")) for plugin in plugins or ())


_PLUGINS = {"opensearch-alerting": "alerting plugin", "opensearch-index-management": "index state management"}


def _no_plugin(cluster: Cluster, plugins: Collection[str] | None, name: str) -> str:
    if cluster.info.distribution != "opensearch":
        return f"{cluster.info} has no {_PLUGINS[name]}; it is part of OpenSearch"
    if plugins is None or name in plugins:
        return ""
    return f"the plugin {name} is not installed in {cluster.info}"


def _refused_types(cluster: Cluster, types: tuple[str, ...]) -> frozenset[str]:
    """Return which field types the cluster does not know, by simulating a template with them."""
    if _takes(cluster, types):
        return frozenset()
    return frozenset(name for name in types if not _takes(cluster, (name,)))


def _takes(cluster: Cluster, types: tuple[str, ...]) -> bool:
    fields = {name: {"type": name, **_REQUIRED.get(name, {})} for name in types}
    template = {
        "index_patterns": ["sigmawatch-probe-of-field-types"],
        "priority": 100_000,
        "template": {"mappings": {"properties": fields}},
    }
    try:
        cluster.request("POST", "/_index_template/_simulate", template)
    except ResponseError as error:
        return error.status == 403
    return True


def _no_processor(cluster: Cluster, processors: frozenset[str], name: str) -> str:
    # A cluster that does not tell its processors (403) may have it: the real request says so, or not.
    return f"{cluster.info} has no ingest processor {name}" if processors and name not in processors else ""


def _no_databases(cluster: Cluster) -> str:
    """Return why OpenSearch has no databases for geoip; Elasticsearch fetches them when a pipeline asks for them."""
    if cluster.info.distribution == "elasticsearch":
        return ""
    look = {"field": "ip", "ignore_missing": True}
    asn = {**look, "target_field": "as", "database_file": "GeoLite2-ASN.mmdb"}
    body = {"pipeline": {"processors": [{"geoip": look}, {"geoip": asn}]}, "docs": [{"_source": {}}]}
    try:
        cluster.request("POST", "/_ingest/pipeline/_simulate", body)
    except ResponseError as error:
        if error.status != 403:
            return f"{cluster.info} has no databases for geoip: {error.reason}"
    return ""


def _processors(cluster: Cluster) -> frozenset[str]:
    try:
        answer = cluster.request("GET", "/_nodes/ingest", params={"filter_path": "nodes.*.ingest.processors"})
    except ResponseError:
        return frozenset()
    nodes = [
        frozenset(processor["type"] for processor in node["ingest"]["processors"])
        for node in (answer.get("nodes") or {}).values()
    ]
    return frozenset.intersection(*nodes) if nodes else frozenset()
