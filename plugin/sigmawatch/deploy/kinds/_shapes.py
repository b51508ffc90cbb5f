"""Forms that several APIs share: marks in `_meta`, and settings that come back reshaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey
from sigmawatch.cluster import url_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.kind import Body

__all__ = [
    "MARKS",
    "attached_body",
    "called_names",
    "flat_settings",
    "kept_with_its_data",
    "marked",
    "marks_in",
    "name_lists",
    "unmarked",
]

MARKS = "sigmawatch"
"""The key of our marks in a `_meta` (or a watch's `metadata`), beside what others keep there."""

_LONGEST_NAMES = 3_000
"""Characters of names in one URL: servers refuse a request line beyond 4,096 bytes."""

_SERVER_DATES = frozenset({"created_date", "created_date_millis", "modified_date", "modified_date_millis"})
"""What Elasticsearch 9 adds to pipelines and templates."""


def marked(body: Mapping[str, Any], marks: Mapping[str, str], *, within: str = "_meta") -> Body:
    """Return a copy of a body with our marks."""
    return {**body, within: {**(body.get(within) or {}), MARKS: dict(marks)}}


def marks_in(body: Mapping[str, Any], *, within: str = "_meta") -> Mapping[str, str]:
    """Return our marks in a body."""
    meta = body.get(within)
    marks = meta.get(MARKS) if isinstance(meta, dict) else None
    return marks if isinstance(marks, dict) else {}


def unmarked(body: Mapping[str, Any], *, within: str = "_meta") -> Body:
    """Return a copy of a body without our marks, and without what the server dates."""
    copy = {key: value for key, value in body.items() if key not in _SERVER_DATES}
    meta = copy.get(within)
    if isinstance(meta, dict):
        copy[within] = {key: value for key, value in meta.items() if key != MARKS}
        if not copy[within]:
            del copy[within]
    return copy


def flat_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return index settings as servers store them: dotted names with the prefix `index.`, values as text."""
    flat: dict[str, Any] = {}
    for name, value in _leaves(settings, ""):
        full = name if name.startswith("index.") else f"index.{name}"
        flat[full] = _text(value)
    return flat


def _leaves(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{name}.")
        else:
            yield name, inner


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return [_text(one) for one in value]
    return value if value is None else str(value)


def called_names(body: Any, processor: str, key: str) -> Iterator[str]:
    """Yield what the processors of one type in a pipeline refer to by `key`, however deep they stand."""
    if isinstance(body, list):
        for one in body:
            yield from called_names(one, processor, key)
    elif isinstance(body, dict):
        options = body.get(processor)
        if isinstance(options, dict) and isinstance(options.get(key), str):
            yield options[key]
        for one in body.values():
            yield from called_names(one, processor, key)


def name_lists(names: Iterable[str]) -> Iterator[list[str]]:
    """Split names into lists that each fit into a URL."""
    part: list[str] = []
    length = 0
    for name in names:
        if part and length + len(name) > _LONGEST_NAMES:
            yield part
            part, length = [], 0
        part.append(name)
        length += len(name) + 1
    if part:
        yield part


def attached_body(policies: Iterable[str]) -> Body | None:
    """Return what indices have for policies: one name, or all that differ; None where none has any."""
    different = sorted(set(policies))
    if not any(different):
        return None
    return {"policy": different[0] if len(different) == 1 else different}


def kept_with_its_data(
    cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
) -> dict[str, str]:
    """Return which patterns of streams or indices still hold data although their index template goes, and what it is.

    How long data is kept does not end with the pack that brought it: it would be kept for ever, unnoticed. The
    template of a pattern is called as the pattern is, without its wildcard.
    """
    kept: dict[str, str] = {}
    for pattern in ids:
        if ArtifactKey("index_template", pattern.removesuffix("-*")) not in going:
            continue
        path = url_path("_resolve", "index", pattern).replace("%2A", "*")
        answer = cluster.request("GET", path, ignore=(404,)) or {}
        staying = [
            one["name"]
            for kind, found in (("data_stream", "data_streams"), ("index", "indices"))
            for one in answer.get(found, ())
            if ArtifactKey(kind, one["name"]) not in going
        ]
        if staying:
            kept[pattern] = f"{staying[0]} stays, and is still kept for as long"
    return kept
