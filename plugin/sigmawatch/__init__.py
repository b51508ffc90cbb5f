"""Sigma detection content for Elasticsearch and OpenSearch: compile, test, deploy, watch."""

__version__ = "0.1.0"
