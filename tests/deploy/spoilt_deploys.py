"""Deploys of which a proxy spoils requests, one after the other, each looked at and completed by another run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cluster.fault_proxy import Fault, FaultProxy
from sigmawatch.artifact import Artifact, ArtifactKey
from sigmawatch.cluster import Cluster
from sigmawatch.deploy.compare import covers
from sigmawatch.deploy.journal import Journals, read_journal
from sigmawatch.deploy.kinds import all_kinds


@dataclass
class Witness:
    """Sees what a cluster holds before and after a deploy, and whether this machine's journal agrees with it."""

    cluster: Cluster
    journals: Journals
    keys: Iterable[ArtifactKey]
    """Everything that may be there."""
    looked_at: set[Path] = field(default_factory=set)
    before: Mapping[ArtifactKey, Any] = field(default_factory=dict)

    def look(self) -> None:
        """Remember how everything is before a deploy."""
        self.looked_at = set(self._files())
        self.before = self._live()

    def _files(self) -> list[Path]:
        assert self.journals.folder is not None
        return list(self.journals.folder.glob("*.jsonl"))

    def _live(self) -> dict[ArtifactKey, Any]:
        kinds = all_kinds()
        names: dict[str, list[str]] = {}
        for key in self.keys:
            names.setdefault(key.kind, []).append(key.id)
        return {
            ArtifactKey(kind, name): kinds[kind].normalise(body)
            for kind, wanted in names.items()
            for name, body in kinds[kind].read_all(self.cluster, wanted).items()
        }

    def check(self, wanted: Iterable[Artifact]) -> None:
        """Assert that the journal knows everything that came into the cluster, and that what it calls done is there."""
        after = {one.key: all_kinds()[one.kind].normalise(one.body) for one in wanted}
        now = self._live()
        new = [path for path in self._files() if path not in self.looked_at]
        if not new:
            assert now == self.before, "there is no journal of what was done"
            return
        (path,) = new
        account = read_journal(path)
        assert account is not None
        assert not account.running
        assert account.damaged == 0
        begun = {*account.written, *account.in_flight}
        for key in self.keys:
            as_before = now.get(key) == self.before.get(key)
            done = covers(now[key], after[key]) if key in now and key in after else key not in now | after
            if key in account.written:
                assert done, f"{key} is noted as written, and is not"
            elif key in account.in_flight:
                assert as_before or done
            else:
                assert as_before, f"{key} changed, and the journal does not say so"
        if account.ended == "complete":
            assert begun == set(account.hashes)
            assert not account.in_flight
        elif account.ended == "nothing":
            assert not begun
        else:
            assert account in self.journals.unfinished(uuid=account.cluster_uuid)


class Deploying(Protocol):
    """What deploys one of two versions of a pack through a proxy."""

    @property
    def witness(self) -> Witness: ...

    @property
    def proxy(self) -> FaultProxy: ...

    def deploy(self, number: int) -> Exception | None: ...

    def version(self, number: int) -> list[Artifact]: ...

    def check_truth(self, number: int) -> None: ...

    def check(self, number: int) -> None: ...


@dataclass(frozen=True)
class Spoilt:
    """One deploy."""

    at: int
    """The request that was spoilt."""
    made: int
    """How many requests there were."""
    error: Exception | None

    @property
    def was_spared(self) -> bool:
        """Whether there was no such request."""
        return self.at > self.made


def spoilt_deploys(
    bench: Deploying,
    fault: Fault,
    *,
    first: int,
    stride: int,
    onwards: bool = False,
    recover: Callable[[], object] = lambda: None,
) -> Iterator[Spoilt]:
    """Deploy until the request to be spoilt is beyond the last; yield each deploy when the next run has completed it.

    The requests are `first` and every `stride`-th from there; `onwards`: and all that follow. `recover` is called
    before the run that completes.
    """
    number, at = 1, first - stride
    while True:
        at += stride
        number = 3 - number

        def spoils(request: int, at: int = at) -> Fault | None:
            return fault if request == at or (onwards and request > at) else None

        bench.witness.look()
        bench.proxy.reset(spoils)
        error = bench.deploy(number)
        spoilt = Spoilt(at, len(bench.proxy.seen), error)
        bench.proxy.reset()
        bench.witness.check(bench.version(number))
        bench.check_truth(number)
        recover()
        assert error is None or bench.deploy(number) is None
        assert bench.witness.journals.unfinished(uuid=bench.witness.cluster.info.uuid) == []
        bench.check(number)
        yield spoilt
        if spoilt.was_spared:
            return
