"""From a dataset to what a cluster needs to index it: component templates, index template, data stream.

No document may be refused because of its content: mappings are not dynamic, values that do not fit a number, date or
address are ignored (and kept in the document), and texts beyond what Lucene takes as a term are not indexed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import Artifact, ArtifactKey
from sigmawatch.datasets.enrich import threat_intel_id
from sigmawatch.datasets.load import base_fields
from sigmawatch.datasets.pipeline import build_pipeline, hook_id
from sigmawatch.datasets.settings import DatasetSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.datasets.model import Dataset, FieldInfo

__all__ = [
    "BARE_ELASTICSEARCH",
    "BASE_TEMPLATE",
    "ELASTICSEARCH",
    "OPENSEARCH",
    "EngineTraits",
    "artifacts",
    "base_artifacts",
    "mapping_of",
    "properties_of",
]

BASE_TEMPLATE = "sigmawatch-base"
"""Component template with the fields that all datasets share."""

PRIORITY = 250
"""Above the built-in `logs` template (100) and the integrations of others (200)."""

TENANT_PRIORITY = PRIORITY + 10
"""A tenant's own template wins over the one for everybody."""

IGNORE_ABOVE = 8191
"""Characters: four bytes each is the most UTF-8 needs, and 32,766 bytes the longest term that Lucene takes."""

_INDEXED_ELSEWHERE = frozenset({"event.original"})
"""Fields that are stored with the document but not indexed, as ECS has it."""


@dataclass(frozen=True)
class EngineTraits:
    """What an engine's mappings can do, where engines differ."""

    flattened_type: str = "flattened"
    """What the type for objects with unknown members is called."""
    has_wildcard: bool = True
    """Whether to use the wildcard type. OpenSearch has it, but refuses rules with many patterns on it."""
    has_match_only_text: bool = True
    has_constant_keyword: bool = True
    has_scaled_float: bool = True
    has_data_streams: bool = True
    lacks: frozenset[str] = frozenset()
    """Enrichments that it has no processor for."""


ELASTICSEARCH = EngineTraits()
"""Elasticsearch 8 and 9 with their usual modules, any licence."""
OPENSEARCH = EngineTraits(
    flattened_type="flat_object", has_wildcard=False, has_match_only_text=False, has_constant_keyword=False
)
"""OpenSearch 2 and 3. Early releases of 2 lack match_only_text and constant_keyword; text and keyword do as well."""
BARE_ELASTICSEARCH = EngineTraits(
    has_wildcard=False,
    has_match_only_text=False,
    has_constant_keyword=False,
    has_scaled_float=False,
    has_data_streams=False,
)
"""An Elasticsearch without the modules of its default distribution, as the embedded one is."""


def mapping_of(name: str, mapping_type: str, traits: EngineTraits) -> dict[str, Any]:
    """Return the mapping of a field of an ECS type on an engine."""
    if name == "@timestamp":
        # A data stream allows no leniency for its time; pipelines only write times that parse.
        return {"type": "date", "ignore_malformed": False}
    if name in _INDEXED_ELSEWHERE:
        return {"type": "keyword", "index": False, "doc_values": False}
    if mapping_type == "flattened":
        flattened: dict[str, Any] = {"type": traits.flattened_type}
        if traits.flattened_type == "flattened":
            flattened["ignore_above"] = IGNORE_ABOVE
        return flattened
    if mapping_type == "wildcard" and traits.has_wildcard:
        return {"type": "wildcard"}
    if mapping_type in ("keyword", "wildcard") or (
        mapping_type == "constant_keyword" and not traits.has_constant_keyword
    ):
        return {"type": "keyword", "ignore_above": IGNORE_ABOVE}
    if mapping_type == "match_only_text":
        text: dict[str, Any] = {"type": "match_only_text" if traits.has_match_only_text else "text"}
        if name == "message":
            # Rules search messages for parts of words, which the words of a text field cannot answer.
            text["fields"] = {"keyword": mapping_of("message.keyword", "wildcard", traits)}
        return text
    if mapping_type == "scaled_float":
        return (
            {"type": "scaled_float", "scaling_factor": 1000} if traits.has_scaled_float else {"type": "float"}
        )
    return {"type": mapping_type}


def properties_of(fields: Mapping[str, FieldInfo], traits: EngineTraits) -> dict[str, Any]:
    """Return the `properties` of a mapping with these fields on an engine."""
    root: dict[str, Any] = {}
    for name in sorted(fields):
        parts = name.split(".")
        level = root
        for part in parts[:-1]:
            level = level.setdefault(part, {}).setdefault("properties", {})
        level.setdefault(parts[-1], {}).update(mapping_of(name, fields[name].type, traits))
    return root


def base_artifacts(traits: EngineTraits) -> list[Artifact]:
    """Return the component template that every dataset builds on."""
    body = {
        "template": {
            "settings": {
                "index": {
                    "auto_expand_replicas": "0-1",
                    "mapping": {"ignore_malformed": True},
                }
            },
            "mappings": {"dynamic": False, "properties": properties_of(base_fields(), traits)},
        },
    }
    return [Artifact("component_template", BASE_TEMPLATE, body, source="datasets/base.yml", shared=True)]


def artifacts(
    dataset: Dataset,
    *,
    namespace: str = "default",
    traits: EngineTraits = ELASTICSEARCH,
    settings: DatasetSettings = DatasetSettings(),  # noqa: B008  # immutable
) -> list[Artifact]:
    """Return all that a cluster needs for a dataset, beside `base_artifacts`, in the order of creation.

    `settings`: what a site wants of it. The hooks (pipeline and component template `…@custom`) are created empty
    and belong to the user from then on. An engine without data streams gets a template for plain indices instead.
    """
    source = f"ingest_pipelines/{dataset.name}"
    name = dataset.pipeline_id
    hook = Artifact(
        "ingest_pipeline",
        hook_id(dataset),
        {"description": f"Yours: called after {name}", "processors": []},
        source=source,
        seed=True,
    )
    pipeline = Artifact(
        "ingest_pipeline",
        name,
        build_pipeline(
            dataset, options=settings.build_options(without=traits.lacks), privacy=settings.privacy
        ),
        depends_on=(hook.key,),
        source=source,
    )
    if settings.makes("threat_intel"):
        needs = (*pipeline.depends_on, ArtifactKey("ingest_pipeline", threat_intel_id(dataset.tenant)))
        pipeline = replace(pipeline, depends_on=needs)
    own = Artifact(
        "component_template",
        name,
        # The index template would win over `…@custom`: what a user may want otherwise stands here.
        {
            "template": {
                **settings.template,
                "mappings": {"properties": properties_of(dataset.field_info, traits)},
            }
        },
        source=source,
    )
    custom = Artifact("component_template", f"{name}@custom", {"template": {}}, source=source, seed=True)
    template_body: dict[str, Any] = {
        "index_patterns": [dataset.index_pattern],
        "priority": TENANT_PRIORITY if dataset.tenant else PRIORITY,
        "composed_of": [BASE_TEMPLATE, own.id, custom.id],
        "template": {"settings": {"index": {"default_pipeline": name}}},
    }
    if traits.has_data_streams:
        template_body["data_stream"] = {}
    template = Artifact(
        "index_template",
        dataset.template_id,
        template_body,
        depends_on=(ArtifactKey("component_template", BASE_TEMPLATE), own.key, custom.key, pipeline.key),
        source=source,
    )
    found = [hook, pipeline, own, custom, template]
    if traits.has_data_streams:
        found.append(
            Artifact(
                "data_stream", dataset.data_stream(namespace), {}, depends_on=(template.key,), source=source
            )
        )
    return found
