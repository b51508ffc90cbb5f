"""The one way to a user's cluster: Elasticsearch 8 and 9, OpenSearch 2 and 3, through one client."""

from sigmawatch.cluster.bulk import BulkFailure, BulkItem, bulk
from sigmawatch.cluster.client import Cluster, connect, url_path
from sigmawatch.cluster.failures import ResponseError
from sigmawatch.cluster.features import Features
from sigmawatch.cluster.info import ClusterInfo
from sigmawatch.cluster.kibana import DEFAULT_SPACE, Kibana
from sigmawatch.cluster.node import CompatibleNode
from sigmawatch.cluster.settings import ConnectionSettings, KibanaSettings

__all__ = [
    "DEFAULT_SPACE",
    "BulkFailure",
    "BulkItem",
    "Cluster",
    "ClusterInfo",
    "CompatibleNode",
    "ConnectionSettings",
    "Features",
    "Kibana",
    "KibanaSettings",
    "ResponseError",
    "bulk",
    "connect",
    "url_path",
]
