"""Our processing pipelines, for use with other backends; ours applies the first by itself."""

from sigma.processing.pipeline import ProcessingPipeline

from sigmawatch.bundle import bindings_of
from sigmawatch.compile.taxonomy import ecs_pipeline, integration_bindings
from sigmawatch.datasets import load_datasets
from sigmawatch.pack.layout import builtin_pack

__all__ = ["sigmawatch_ecs_pipeline", "sigmawatch_integrations_pipeline"]


def sigmawatch_ecs_pipeline() -> ProcessingPipeline:
    """Return the pipeline from Sigma's taxonomy to ECS, as our datasets have it."""
    return ecs_pipeline(bindings_of(load_datasets(builtin_pack().ingest_pipelines)))


def sigmawatch_integrations_pipeline() -> ProcessingPipeline:
    """Return the same for logs that Elastic's integrations collect: `sigma convert -p sigmawatch_integrations`.

    With our backend, rules then search the data streams of the integrations beside those of our datasets.
    """
    pipeline = ecs_pipeline(integration_bindings())
    pipeline.name = "sigmawatch: logs of Elastic's integrations"
    return pipeline
