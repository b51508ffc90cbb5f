"""The detections that are deployed in a cluster, as the runner reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import AlertSpec, alert_spec
from sigmawatch.cluster import url_path
from sigmawatch.compile.plan import DetectionPlan
from sigmawatch.errors import ContentError, Problem
from sigmawatch.render.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["DETECTIONS", "Detection", "Detections", "Unreadable", "read_detections", "version_of"]

DETECTIONS = "sigmawatch-detections"


@dataclass(frozen=True)
class Detection:
    """A deployed plan."""

    plan: DetectionPlan
    spec: AlertSpec

    @property
    def id(self) -> str:
        """The rule's id, under which its checkpoint is kept."""
        return self.plan.rule.id

    @property
    def interval(self) -> int:
        """How often it is evaluated, in milliseconds."""
        return self.plan.interval * 1000


@dataclass(frozen=True)
class Unreadable:
    """A deployed document that is no plan of ours, e.g. one of another version."""

    spec: AlertSpec
    """What can be said of it in a health note."""
    reason: str


@dataclass(frozen=True)
class Detections:
    """All that is deployed."""

    readable: tuple[Detection, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


def read_detections(cluster: Cluster, *, tenant: str = "") -> Detections:
    """Return the detections deployed in the cluster, or those of one tenant, in order of their ids.

    Raises ContentError when there is none, ClusterError when the cluster fails.
    """
    readable: list[Detection] = []
    unreadable: list[Unreadable] = []
    mine = f"{tenant}." if tenant else ""
    hits = [hit for hit in cluster.scan(DETECTIONS) if str(hit["_id"]).startswith(mine)]
    for hit in sorted(hits, key=lambda hit: str(hit["_id"])):
        data = hit["_source"].get("plan")
        namespace = data.get("namespace") if isinstance(data, dict) else None
        namespace = namespace if isinstance(namespace, str) else "default"
        try:
            readable.append(_detection(data, namespace))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = f"the detection cannot be read ({error!r}): deploy it again with this version"
            unreadable.append(
                Unreadable(AlertSpec(hit["_id"], {"rule": {}}, (), (), {}, "", namespace), reason)
            )
    if not readable and not unreadable:
        hint = "run `sigmawatch deploy --target runner` first"
        of = f" for the tenant {tenant}" if tenant else ""
        raise ContentError([Problem(f"no detections are deployed in {cluster.url}{of}", hint=hint)])
    return Detections(tuple(readable), tuple(unreadable))


def _detection(data: Mapping[str, Any], namespace: str) -> Detection:
    plan = DetectionPlan.from_dict(data)
    if not isinstance(plan.interval, int) or plan.interval < 1:
        raise ValueError(f"interval {plan.interval!r}")
    return Detection(plan, alert_spec(plan, target=Target.RUNNER, namespace=namespace))


def version_of(cluster: Cluster) -> object:
    """Return what changes whenever a detection is deployed, changed or deleted; None without any."""
    # Numbers begin anew in an index that was created anew, hence its identity.
    path = f"{url_path(DETECTIONS)}/_settings"
    index = cluster.request("GET", path, params={"filter_path": "*.settings.index.uuid"}, ignore=(404,))
    body = {
        "size": 1,
        "sort": [{"_seq_no": "desc"}],
        "_source": False,
        "seq_no_primary_term": True,
        "track_total_hits": True,
    }
    found = cluster.request("POST", f"{url_path(DETECTIONS)}/_search", body, ignore=(404,))
    hits = found["hits"]["hits"] if found else []
    # Deleting changes the number, everything else the last change; both may not be seen before a refresh.
    return (index, found["hits"]["total"]["value"], hits[0]["_seq_no"]) if hits else None
