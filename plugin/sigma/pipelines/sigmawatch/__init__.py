"""Our processing pipelines, for use with other backends; ours applies them by itself."""

from sigma.processing.pipeline import ProcessingPipeline

from sigmawatch.bundle import bindings_of
from sigmawatch.compile.taxonomy import ecs_pipeline
from sigmawatch.datasets import load_datasets
from sigmawatch.pack.layout import builtin_pack

__all__ = ["sigmawatch_ecs_pipeline"]


def sigmawatch_ecs_pipeline() -> ProcessingPipeline:
    """Return the pipeline from Sigma's taxonomy to ECS, as our datasets have it."""
    return ecs_pipeline(bindings_of(load_datasets(builtin_pack().ingest_pipelines)))
