"""A data stream with events of every kind, of which one index was rolled over, and what its archive must then hold."""

from __future__ import annotations

import dataclasses
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from elastic_transport import HttpHeaders

from sigmawatch.archive.artifacts import archive_artifacts
from sigmawatch.archive.holdings import read_archives
from sigmawatch.bundle import traits_of
from sigmawatch.cluster import BulkItem, Cluster, CompatibleNode, ConnectionSettings, connect
from sigmawatch.datasets import artifacts, base_artifacts, load_dataset
from sigmawatch.datasets.privacy import Privacy
from sigmawatch.deploy.kind import Write
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.retention import Archive, Kept, Mechanism, Retention

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DATASET = "auth.sshd"
NAMESPACE = "default"
STREAM = f"logs-{DATASET}-{NAMESPACE}"
COPIES = "sigmawatch-archive-*"
EVENTS, FAILED, FOREIGN = 30, 4, 2
PARTLY_READ = 1
TOTAL = EVENTS + FAILED + FOREIGN
KEEP = Archive(after=0, delete=400, rate=100_000, keep=("log.file.path",), drop=("source.port",))


class StreamsStandIn(CompatibleNode):
    """What `GET _data_stream` answers, where an engine is built without data streams; all else is the engine's own.

    The Elasticsearch of the tests has none. Plain indices named as backing indices are stand in for those.
    """

    def perform_request(self, method: str, target: str, *args: Any, **kwargs: Any) -> Any:
        if not target.startswith("/_data_stream/logs-*"):
            return super().perform_request(method, target, *args, **kwargs)
        answer = super().perform_request(
            "GET", "/logs-*/_settings?filter_path=*.settings.index.uuid", *args, **kwargs
        )
        streams: dict[str, list[str]] = {}
        for index in sorted(orjson.loads(answer.body or b"{}")):
            if found := re.fullmatch(r"(.+)-\d{4}\.\d\d\.\d\d-\d{6}", index):
                streams.setdefault(found[1], []).append(index)
        body = {
            "data_streams": [
                {"name": name, "indices": [{"index_name": index} for index in indices]}
                for name, indices in streams.items()
            ]
        }
        headers = HttpHeaders({**answer.meta.headers, "content-type": "application/json"}).freeze()
        meta = dataclasses.replace(answer.meta, headers=headers, status=200)
        return answer._replace(meta=meta, body=orjson.dumps(body))


def connected(url: str, **options: Any) -> Cluster:
    """Return a cluster that has data streams, or seems to."""
    with connect(ConnectionSettings(url)) as plain:
        streams = plain.features().has_data_streams
    settings = options.pop("settings", None) or ConnectionSettings(url)
    return connect(settings, node_class=CompatibleNode if streams else StreamsStandIn, **options)


def document(number: int) -> dict[str, Any]:
    """Return an event as a pipeline leaves it: the last ones could not be read, or came past the pipeline."""
    base = {
        "@timestamp": f"2026-03-01T10:00:{number % 60:02}Z",
        "message": f"Accepted password for anna from 198.51.100.{number} port 22 ssh2",
        "log": {"file": {"path": "/var/log/auth.log"}, "offset": number},
        "agent": {"name": "web1", "version": "9.0.0"},
    }
    if number >= EVENTS + FAILED:
        return base
    if number >= EVENTS:
        failed = {"kind": "pipeline_error", "original": f"no line of sshd {number}", "dataset": DATASET}
        return {**base, "event": failed, "error": {"message": ["patterns: not an sshd line"]}}
    return {
        **base,
        "event": {
            "kind": "event",
            "original": "the line",
            "action": "ssh_login",
            "outcome": "success",
            "dataset": DATASET,
        },
        "source": {"ip": f"198.51.100.{number}", "port": 22},
        "user": {"name": "anna"},
        "sshd": {"auth_method": "password", "session": "closed"},
        **({"error": {"message": ["source.port: no number"]}} if number == PARTLY_READ else {}),
    }


@dataclass
class Streams:
    """A cluster with the dataset deployed, as its administrator sees it."""

    url: str
    cluster: Cluster

    @property
    def has_streams(self) -> bool:
        return self.cluster.info.distribution == "opensearch"

    def backing(self, generation: int) -> str:
        """Return the name of an index of the stream."""
        if self.has_streams:
            return f".ds-{STREAM}-{generation:06}"
        return f"{STREAM}-2026.11.01-{generation:06}"

    def deploy(
        self,
        archive: Archive | None = KEEP,
        *,
        delete: int | None = None,
        privacy: Privacy | None = None,
        tenant: str = "",
    ) -> None:
        """Write what a deploy writes for the dataset."""
        traits = traits_of(self.cluster.features())
        if not self.has_streams:
            traits = dataclasses.replace(traits, has_data_streams=False)
        dataset = dataclasses.replace(load_dataset(builtin_pack().ingest_pipelines / DATASET), tenant=tenant)
        kept = Kept(
            dataset.template_id,
            dataset.index_pattern,
            Mechanism.ILM,
            Retention(delete=delete, archive=archive),
        )
        made = [
            *base_artifacts(traits),
            *artifacts(dataset, namespace=tenant or NAMESPACE, traits=traits),
            *archive_artifacts(dataset, kept, traits=traits, privacy=privacy or Privacy()),
        ]
        # Documents come as pipelines leave them: none is needed, nor has the engine to compile its script.
        for artifact in (one for one in made if one.kind != "ingest_pipeline"):
            all_kinds()[artifact.kind].write(self.cluster, Write(artifact.id, dict(artifact.body)))

    def fill(self, documents: Mapping[str, Any] | None = None) -> str:
        """Write events, and roll over; return the index that they are in."""
        generation = self._newest()
        target = STREAM if self.has_streams else self.backing(generation)
        given = documents or {str(number): document(number) for number in range(TOTAL)}
        items = [BulkItem("create", target, name, body) for name, body in given.items()]
        params = {"pipeline": "_none", "refresh": "true"}
        lines = b"".join(
            orjson.dumps({"create": {"_index": item.index, "_id": item.id}})
            + b"\n"
            + orjson.dumps(item.document)
            + b"\n"
            for item in items
        )
        answer = self.cluster.request("POST", "/_bulk", lines, params=params)
        assert not answer["errors"], answer
        if self.has_streams:
            self.cluster.request("POST", f"/{STREAM}/_rollover", idempotent=False)
        else:
            self.cluster.request("PUT", f"/{self.backing(generation + 1)}")
        return self.backing(generation)

    def _newest(self) -> int:
        answer = self.cluster.request("GET", "/_data_stream/logs-*")
        mine = [one for one in answer["data_streams"] if one["name"] == STREAM]
        if not mine:
            self.cluster.request("PUT", f"/{self.backing(1)}")
            return 1
        return len(mine[0]["indices"])

    def copies(self) -> list[str]:
        """Return the indices of the archive."""
        params = {"filter_path": "*.settings.index.uuid", "expand_wildcards": "all"}
        return sorted(self.cluster.request("GET", f"/{COPIES}", params=params, ignore=(404,)) or {})

    def documents(self, index: str) -> dict[str, Any]:
        """Return what an index holds, by id."""
        self.cluster.request("POST", f"/{index}/_refresh")
        found = list(self.cluster.scan(index))
        assert len({hit["_id"] for hit in found}) == len(found)
        return {hit["_id"]: hit["_source"] for hit in found}

    def meta(self, copy: str) -> dict[str, Any]:
        """Return what a copy says of itself."""
        body = self.cluster.request("GET", f"/{copy}")[copy]
        found: dict[str, Any] = body["mappings"]["_meta"]["sigmawatch"]
        return found

    def closed(self, copy: str) -> bool:
        """Return whether a copy takes no more documents."""
        index = self.cluster.request("GET", f"/{copy}")[copy]["settings"]["index"]
        return bool(index.get("blocks", {}).get("write") == "true")

    def forget_copies(self) -> None:
        for copy in self.copies():
            self.cluster.request("DELETE", f"/{copy}")

    def clean(self) -> None:
        self.forget_copies()
        if self.has_streams:
            self.cluster.request("DELETE", f"/_data_stream/logs-{DATASET}-*", ignore=(404,))
        else:
            found = self.cluster.request("GET", f"/logs-{DATASET}-*", ignore=(404,))
            for index in found or ():
                self.cluster.request("DELETE", f"/{index}")
        for template in ("sigmawatch-archive-*", f"logs-{DATASET}-*"):
            self.cluster.request("DELETE", f"/_index_template/{template}", ignore=(404,))

    def check(self, source: str) -> None:
        """Assert that an index is archived: all of its events, once, and it is as it was."""
        entry = next(one for one in read_archives(self.cluster, now()).entries if one.index == source)
        original = self.documents(source)
        copied = self.documents(entry.copy_index)
        assert set(copied) == set(original)
        assert len(original) == TOTAL
        assert entry.state == "archived"
        assert self.meta(entry.copy_index)["archived"]["documents"] == TOTAL
        assert self.closed(entry.copy_index)


def now() -> int:
    """Return the present in milliseconds."""
    return int(time.time() * 1000)


@contextmanager
def streams_at(url: str) -> Iterator[Streams]:
    """Yield a cluster that is cleaned before and after."""
    with connected(url) as cluster:
        found = Streams(url, cluster)
        found.clean()
        yield found
        found.clean()
