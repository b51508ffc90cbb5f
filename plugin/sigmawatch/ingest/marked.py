"""Which of the documents just loaded their pipelines could not parse, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path

if TYPE_CHECKING:
    from sigmawatch.cluster import Cluster

__all__ = ["Marked", "last_ingested", "marked_since"]

_LOOKED_AT = 1_000
_TOP = 5
_SHOWN = 200
_MISSING = (404,)
_FORBIDDEN = 403


@dataclass(frozen=True)
class Marked:
    """Documents with `event.kind: pipeline_error`."""

    count: int
    reasons: dict[str, int]
    """The commonest reasons -> how many of the first thousand have them."""


def last_ingested(cluster: Cluster, stream: str) -> str | None:
    """Return when the newest document of a data stream was ingested, by the cluster's clock; None without any.

    Raises ResponseError where one may not look.
    """
    cluster.request("POST", f"{url_path(stream)}/_refresh", ignore=_MISSING, idempotent=True)
    body = {
        "size": 1,
        "sort": [{"event.ingested": {"order": "desc", "unmapped_type": "date"}}],
        "_source": ["event.ingested"],
    }
    answer = cluster.request("POST", f"{url_path(stream)}/_search", body, ignore=_MISSING)
    hits = answer["hits"]["hits"] if answer else []
    found: str | None = hits[0]["_source"].get("event", {}).get("ingested") if hits else None
    return found


def marked_since(cluster: Cluster, stream: str, since: str | None) -> Marked | None:
    """Return the documents of a data stream that were marked since then; None where one may not look.

    What somebody else loads into it at the same time is counted, too.
    """
    filters: list[dict[str, Any]] = [{"term": {"event.kind": "pipeline_error"}}]
    if since is not None:
        filters.append({"range": {"event.ingested": {"gt": since}}})
    body = {
        "size": _LOOKED_AT,
        "track_total_hits": True,
        "_source": ["error.message"],
        "query": {"bool": {"filter": filters}},
    }
    try:
        cluster.request("POST", f"{url_path(stream)}/_refresh", ignore=_MISSING, idempotent=True)
        answer = cluster.request("POST", f"{url_path(stream)}/_search", body, ignore=_MISSING)
    except ResponseError as error:
        if error.status != _FORBIDDEN:
            raise
        return None
    if not answer:
        return Marked(0, {})
    reasons: Counter[str] = Counter()
    for hit in answer["hits"]["hits"]:
        told = hit["_source"].get("error", {}).get("message") or "no reason given"
        for reason in told if isinstance(told, list) else [told]:
            reasons[" ".join(str(reason).split())[:_SHOWN]] += 1
    total = answer["hits"]["total"]
    count = total["value"] if isinstance(total, dict) else total
    return Marked(count, dict(reasons.most_common(_TOP)))
