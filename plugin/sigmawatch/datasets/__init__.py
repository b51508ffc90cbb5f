"""Datasets: one kind of log each, described once as data, built into pipelines and templates.

reader, model      reading descriptions; what a dataset is
jsontext, envelopes   text in pieces, lines and JSON values; what transports put around events
script, painless/  writing Painless, and the functions that every script may use
parsers/           how a line is taken apart: one module a kind
values, structured how raw values become fields; those that are objects or lists
derive             what follows from several fields
enrich             what is added to events beyond what they say
writing            what types of value write alike
mapping            which raw value goes where
load               a folder to a `Dataset`, with every problem in it
settings           what a site wants of a dataset
pipeline           a `Dataset` to an ingest pipeline
templates          a `Dataset` to templates and data streams
check              samples against an engine
"""

from __future__ import annotations

from sigmawatch.datasets.enrich import with_enrichments
from sigmawatch.datasets.load import base_fields, load_dataset, load_datasets, samples
from sigmawatch.datasets.model import Dataset, FieldInfo, Sample
from sigmawatch.datasets.parsers.columns import FORMAT_FIELD
from sigmawatch.datasets.pipeline import build_pipeline, hook_id, without_hook
from sigmawatch.datasets.settings import DatasetSettings
from sigmawatch.datasets.templates import EngineTraits, artifacts, base_artifacts, mapping_of

__all__ = [
    "FORMAT_FIELD",
    "Dataset",
    "DatasetSettings",
    "EngineTraits",
    "FieldInfo",
    "Sample",
    "artifacts",
    "base_artifacts",
    "base_fields",
    "build_pipeline",
    "hook_id",
    "load_dataset",
    "load_datasets",
    "mapping_of",
    "samples",
    "with_enrichments",
    "without_hook",
]
