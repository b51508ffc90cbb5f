"""Artifacts of Kibana in their space: ids that only they have there, and references that follow."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import Artifact, ArtifactKey
from sigmawatch.cluster import DEFAULT_SPACE
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.kinds._saved_objects import SavedObjects, in_space, tag_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["placed"]

_TAG_COLOUR = "#5A7FA8"


def placed(artifacts: Iterable[Artifact], *, space: str, pack: str) -> list[Artifact]:
    """Return artifacts with those of Kibana placed in a space, and the tag that says whose they are.

    Ids of saved objects are unique in all spaces of a Kibana. So outside of the default space they begin with it, and
    what refers to another artifact of the bundle refers to it by that id; other references stay as they are.
    """
    kinds = all_kinds()
    given = list(artifacts)
    saved = {one.key: kind for one in given if isinstance(kind := kinds.get(one.kind), SavedObjects)}
    renamed = {(kind.object_type, key.id): _object_id(space, key.id) for key, kind in saved.items()}
    keys = {(kind.object_type, key.id): key for key, kind in saved.items()}
    new_keys = {key: ArtifactKey(key.kind, in_space(space, _object_id(space, key.id))) for key in saved}
    tag = Artifact(
        "kibana_tag",
        in_space(space, tag_id(space, pack)),
        {
            "attributes": {
                "name": f"sigmawatch: {pack}",
                "description": f"Deployed by sigmawatch from the pack {pack}",
                "color": _TAG_COLOUR,
            },
            "references": [],
        },
    )
    found: list[Artifact] = [tag] if saved else []
    for one in given:
        kind = kinds.get(one.kind)
        if kind is None or not kind.spaced:
            found.append(one)
        elif one.key not in saved:
            found.append(replace(one, id=in_space(space, one.id)))
        else:
            body = _relocated(one.body, renamed)
            needs = [
                new_keys[keys[reference["type"], reference["id"]]]
                for reference in one.body.get("references") or ()
                if (reference.get("type"), reference.get("id")) in keys
            ]
            others = [new_keys.get(key, key) for key in one.depends_on]
            found.append(
                replace(
                    one,
                    id=new_keys[one.key].id,
                    body=body,
                    depends_on=tuple(dict.fromkeys([tag.key, *others, *needs])),
                )
            )
    return found


def _object_id(space: str, name: str) -> str:
    return name if space in {"", DEFAULT_SPACE} else f"{space}-{name}"


def _relocated(value: Any, renamed: Mapping[tuple[str, str], str]) -> Any:
    """Return a body in which references have the new ids, also those within JSON that is text."""
    if isinstance(value, list):
        return [_relocated(one, renamed) for one in value]
    if isinstance(value, str) and value[:1] in {"[", "{"} and '"references"' in value:
        try:
            inner = json.loads(value)
        except ValueError:
            return value
        return json.dumps(_relocated(inner, renamed), ensure_ascii=False, separators=(",", ":"))
    if not isinstance(value, dict):
        return value
    copy = {key: _relocated(inner, renamed) for key, inner in value.items()}
    if {"type", "id", "name"} == set(value) and (value["type"], value["id"]) in renamed:
        copy["id"] = renamed[value["type"], value["id"]]
    return copy
