"""Saved objects of Kibana: what all their types have in common.

An artifact's id is `SPACE/ID`: one cluster may have several spaces with the same content. Most types have ids that are
unique in all of Kibana: an import of one that another space has already is given a new id, and that counts as a failure
here. Written by `_import` and read by `_export`, since the APIs for single objects are deprecated; `_import` answers
200 whatever happened, so its answer is read (https://www.elastic.co/docs/api/doc/kibana, "Saved objects").
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from sigmawatch.artifact import ArtifactKey
from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.compare import covers
from sigmawatch.deploy.kind import Body, ChangedMeanwhile, Kind, Write
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sigmawatch.cluster import Cluster, ClusterInfo, Kibana

__all__ = ["SavedObjects", "by_space", "in_space", "space_and_id", "tag_id"]

PAGE = 500
"""Objects asked for at once."""

CORE_VERSION = "8.8.0"
"""Of the envelope; with the types' own versions the oldest that every Kibana from 8.9 on takes and migrates."""

_JSON_TEXTS = frozenset(
    {
        "controlsJSON",
        "fieldAttrs",
        "fieldFormatMap",
        "fields",
        "ignoreParentSettingsJSON",
        "layerListJSON",
        "mapStateJSON",
        "optionsJSON",
        "panelsJSON",
        "runtimeFieldMap",
        "searchSourceJSON",
        "sourceFilters",
        "uiStateJSON",
        "visState",
    }
)
"""Attributes that hold JSON as text. They may be written as they mean, and are compared so."""

_DATED = frozenset(
    {"created_at", "created_by", "updated_at", "updated_by", "version", "managed", "namespaces"}
)
_TAG = "tag"


def in_space(space: str, object_id: str) -> str:
    """Return the id of an artifact: the space and the object's own id."""
    return f"{space}/{object_id}"


def space_and_id(artifact_id: str) -> tuple[str, str]:
    """Return space and object id of an artifact."""
    space, _, object_id = artifact_id.partition("/")
    return space, object_id


def by_space(ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the object ids of artifacts, by their spaces."""
    found: dict[str, list[str]] = {}
    for artifact_id in ids:
        space, object_id = space_and_id(artifact_id)
        found.setdefault(space, []).append(object_id)
    return found


def tag_id(space: str, pack: str) -> str:
    """Return the id of the tag that says which pack owns an object."""
    return f"{_tag_prefix(space)}{pack}"


def _tag_prefix(space: str) -> str:
    return f"sigmawatch-{space}-"


class SavedObjects(Kind):
    """One type of saved objects."""

    object_type: ClassVar[str]
    """As Kibana calls it."""
    type_version: ClassVar[str]
    """The oldest version of the type's attributes that Kibana 8.9 to 9 take."""

    rank = 70
    batch_size = 100
    spaced = True

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read by `_export`."""
        found: dict[str, Body] = {}
        for space, wanted in by_space(ids).items():
            kibana = cluster.kibana
            kibana.require_space(space)
            for start in range(0, len(wanted), PAGE):
                for one in self._exported(kibana, space, wanted[start : start + PAGE]):
                    found[in_space(space, one["id"])] = _readable(space, one)
        return found

    def _exported(self, kibana: Kibana, space: str, ids: Sequence[str]) -> list[Body]:
        """Return those of the objects that exist. One that does not makes Kibana refuse all: the answer names it."""
        wanted = list(ids)
        while wanted:
            body = {
                "objects": [{"type": self.object_type, "id": one} for one in wanted],
                "excludeExportDetails": True,
            }
            try:
                return self.exported(kibana, space, body)
            except ResponseError as error:
                missing = _missing(error)
                if not missing:
                    raise
                wanted = [one for one in wanted if one not in missing]
        return []

    def exported(self, kibana: Kibana, space: str, body: Body) -> list[Body]:
        """Return the objects of an export. Raises ClusterError."""
        path = "/api/saved_objects/_export"
        return _lines(kibana.in_space(space, "POST", path, body, idempotent=True, text=True))

    def write(self, cluster: Cluster, one: Write) -> None:
        """Import one object."""
        for error in self.write_batch(cluster, [one]).values():
            raise error

    def write_batch(self, cluster: Cluster, batch: Sequence[Write]) -> Mapping[str, ClusterError]:
        """Import objects together. An object that cannot be makes Kibana leave out the others: they go again.

        New ones are imported without overwriting, so that Kibana refuses what somebody made meanwhile; an import names
        no version, so what is overwritten is looked at right before.
        """
        errors: dict[str, ClusterError] = {}
        groups: dict[tuple[str, bool], dict[str, Body]] = {}
        try:
            live = self.read_all(cluster, [one.id for one in batch if not one.is_new])
        except ClusterError as error:
            return {one.id: error for one in batch}
        for one in batch:
            space, object_id = space_and_id(one.id)
            try:
                if not one.is_new:
                    self.require_basis(one, live.get(one.id))
            except ClusterError as error:
                errors[one.id] = error
            else:
                groups.setdefault((space, not one.is_new), {})[object_id] = one.body
        for (space, overwrite), mine in groups.items():
            try:
                failed = self._import(cluster.kibana, space, mine, overwrite=overwrite)
                self._settle_conflicts(cluster, space, mine, failed)
            except ClusterError as error:
                failed = dict.fromkeys(mine, error)
            errors.update({in_space(space, object_id): error for object_id, error in failed.items()})
        return errors

    def _settle_conflicts(
        self, cluster: Cluster, space: str, bodies: Mapping[str, Body], failed: dict[str, ClusterError]
    ) -> None:
        """Take out the conflicts with what we imported ourselves, when the answer to that got lost."""
        conflicts = [object_id for object_id, error in failed.items() if isinstance(error, ChangedMeanwhile)]
        if conflicts:
            live = self.read_all(cluster, [in_space(space, object_id) for object_id in conflicts])
            for object_id in conflicts:
                found = live.get(in_space(space, object_id))
                if found is not None and covers(self.normalise(found), self.normalise(bodies[object_id])):
                    del failed[object_id]

    def _import(
        self, kibana: Kibana, space: str, bodies: Mapping[str, Body], *, overwrite: bool
    ) -> dict[str, ClusterError]:
        """Return the errors by object."""
        errors: dict[str, ClusterError] = {}
        waiting = dict(bodies)
        while waiting:
            lines = [self._line(space, object_id, body) for object_id, body in waiting.items()]
            content_type, data = _form(b"".join(orjson.dumps(line) + b"\n" for line in lines))
            answer = kibana.in_space(
                space,
                "POST",
                "/api/saved_objects/_import",
                data,
                params={"overwrite": "true"} if overwrite else None,
                headers={"content-type": content_type},
                idempotent=True,  # ids of ours, and overwritten: twice is once
            )
            done = {one["id"]: one for one in answer.get("successResults") or ()}
            for one in answer.get("errors") or ():
                if one["id"] in waiting:
                    errors[one["id"]] = self._refused(kibana, space, one)
            for object_id, one in done.items():
                if object_id in waiting and one.get("destinationId", object_id) != object_id:
                    errors[object_id] = self._undone(kibana, space, object_id, one["destinationId"])
            rest = {
                object_id: body
                for object_id, body in waiting.items()
                if object_id not in done and object_id not in errors
            }
            if rest and len(rest) == len(waiting):
                reason = "Kibana imported none of it and does not say why"
                errors.update(dict.fromkeys(rest, ClusterError(reason)))
                break
            waiting = rest
        return errors

    def _undone(self, kibana: Kibana, space: str, object_id: str, copy: str) -> ClusterError:
        """Delete the copy that Kibana made because another space has the id; return the error to report."""
        self._delete(kibana, space, copy)
        return ClusterError(
            f"another space of {kibana} has a {self.object_type} {object_id}",
            hint="Ids are unique in all spaces of a Kibana: give it another one.",
        )

    def _refused(self, kibana: Kibana, space: str, failure: Mapping[str, Any]) -> ClusterError:
        if (failure.get("error") or {}).get("type") in {"conflict", "ambiguous_conflict"}:
            return ChangedMeanwhile(ArtifactKey(self.name, in_space(space, failure["id"])))
        return _refused(kibana, failure)

    def _line(self, space: str, object_id: str, body: Body) -> Body:
        """Return an object as a line of an import, with the tag that says who owns it."""
        references = [*(body.get("references") or ())]
        pack = body.get("marks", {}).get("pack")
        if pack and self.object_type != _TAG:
            owner = tag_id(space, pack)
            references.append({"type": _TAG, "id": owner, "name": f"tag-ref-{owner}"})
        return {
            "id": object_id,
            "type": self.object_type,
            "attributes": _encoded(body.get("attributes") or {}),
            "references": references,
            "coreMigrationVersion": body.get("coreMigrationVersion", CORE_VERSION),
            "typeMigrationVersion": body.get("typeMigrationVersion", self.type_version),
        }

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete an object."""
        self._delete(cluster.kibana, *space_and_id(artifact_id))

    def _delete(self, kibana: Kibana, space: str, object_id: str) -> None:
        path = url_path("api", "saved_objects", self.object_type, object_id)
        kibana.in_space(space, "DELETE", path, params={"force": "true"}, ignore=(404,))

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return attributes and references: JSON as what it means, without our tag and without versions."""
        references = [
            one
            for one in body.get("references") or ()
            if not (one.get("type") == _TAG and str(one.get("id", "")).startswith("sigmawatch-"))
        ]
        return {
            "attributes": _decoded(body.get("attributes") or {}),
            "references": sorted(references, key=lambda one: (one.get("name", ""), one.get("id", ""))),
        }

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Keep the marks beside the body; the pack becomes a tag, more there is no place for."""
        del info
        return {**body, "marks": dict(marks)}

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the pack that the tag names."""
        marks = body.get("marks")
        return marks if isinstance(marks, dict) else {}


def _readable(space: str, line: Body) -> Body:
    """Return an exported object with the owner that its tag names."""
    prefix = _tag_prefix(space)
    tags = [one["id"] for one in line.get("references") or () if one.get("type") == _TAG]
    tags += [line["id"]] if line.get("type") == _TAG else []
    owners = [one.removeprefix(prefix) for one in tags if one.startswith(prefix)]
    kept = {name: value for name, value in line.items() if name not in _DATED}
    return {**kept, "marks": {"pack": owners[0]} if owners else {}}


def _missing(error: ResponseError) -> set[str]:
    """Return the objects that an export failed for because they do not exist; none when it failed otherwise."""
    body = error.body if isinstance(error.body, dict) else {}
    attributes = body.get("attributes")
    objects = attributes.get("objects", ()) if isinstance(attributes, dict) else ()
    statuses = {one["id"]: (one.get("error") or {}).get("statusCode") for one in objects}
    if error.status != 400 or not statuses or set(statuses.values()) != {404}:
        return set()
    return set(statuses)


def _refused(kibana: Kibana, failure: Mapping[str, Any]) -> ClusterError:
    """Return one error of an import in words."""
    error = failure.get("error") or {}
    kind = str(error.get("type", "unknown"))
    if kind == "missing_references":
        names = ", ".join(f"{one['type']} {one['id']}" for one in error.get("references") or ())
        return ClusterError(
            f"{kibana} does not have what it refers to: {names}", hint="Bring that along, or correct the id."
        )
    if kind == "unsupported_type":
        return ClusterError(f"{kibana} has no saved objects of type {failure.get('type')}")
    told = error.get("message") or error.get("reason") or "no reason given"
    return ClusterError(f"{kibana} refuses it ({kind}): {told}")


def _lines(text: str) -> list[Body]:
    """Return the objects of an export."""
    try:
        return [orjson.loads(line) for line in text.split("\n") if line.strip()]
    except orjson.JSONDecodeError as error:
        raise ClusterError(
            "the export of Kibana cannot be read: a line of it is no JSON", hint="Was the answer cut off?"
        ) from error


def _form(data: bytes) -> tuple[str, bytes]:
    """Return content type and body of a form with one file (RFC 7578). Kibana wants a name that ends in .ndjson."""
    boundary = f"sigmawatch-{secrets.token_hex(16)}"
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="sigmawatch.ndjson"\r\n'
        "Content-Type: application/ndjson\r\n\r\n"
    )
    return (
        f"multipart/form-data; boundary={boundary}",
        head.encode() + data + f"\r\n--{boundary}--\r\n".encode(),
    )


def _encoded(value: Any, name: str = "") -> Any:
    """Return attributes as Kibana keeps them: JSON within JSON as text, from the inside out."""
    if isinstance(value, dict):
        value = {key: _encoded(inner, key) for key, inner in value.items()}
    elif isinstance(value, list):
        value = [_encoded(inner) for inner in value]
    if name in _JSON_TEXTS and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def _decoded(value: Any, name: str = "") -> Any:
    """Return attributes with JSON as what it means."""
    if name in _JSON_TEXTS and isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return {key: _decoded(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_decoded(inner) for inner in value]
    return value
