"""Runners that die in the middle of their work: `run_driver.py URL` reads `MOMENT N` from each line.

It starts a process for each, which catches up with that moment and ends before its N-th request, and prints its
exit code. The processes are forks: what they have in common is imported once.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from sigmawatch.cluster import CompatibleNode, ConnectionSettings, connect
from sigmawatch.run.runner import Runner

KILLED = 137


def work(url: str, moment: int, last: int) -> None:
    sent = 0

    class MortalNode(CompatibleNode):
        def perform_request(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal sent
            sent += 1
            if sent == last:
                os._exit(KILLED)
            return super().perform_request(*args, **kwargs)

    cluster = connect(ConnectionSettings(url), node_class=MortalNode)
    Runner(cluster, clock=lambda: moment).catch_up()


def main() -> None:
    for line in sys.stdin:
        moment, last = map(int, line.split())
        child = os.fork()
        if child == 0:
            work(sys.argv[1], moment, last)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
