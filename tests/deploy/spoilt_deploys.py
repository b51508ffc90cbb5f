"""Deploys of which a proxy spoils requests, one after the other, each looked at and completed by another run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from cluster.fault_proxy import Fault, FaultProxy


class Deploying(Protocol):
    """What deploys one of two versions of a pack through a proxy."""

    @property
    def proxy(self) -> FaultProxy: ...

    def deploy(self, number: int) -> Exception | None: ...

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

        bench.proxy.reset(spoils)
        error = bench.deploy(number)
        spoilt = Spoilt(at, len(bench.proxy.seen), error)
        bench.proxy.reset()
        bench.check_truth(number)
        recover()
        assert error is None or bench.deploy(number) is None
        bench.check(number)
        yield spoilt
        if spoilt.was_spared:
            return
