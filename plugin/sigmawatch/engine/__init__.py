"""A real engine, found, fetched, started and stopped: for the demo, rule tests and CI.

    distribution   which engines there are and where they come from
    places         folders, the user it runs as, locks
    fetch, home    from Maven Central to an unpacked engine in the cache
    java           a runtime for it
    launch         a node's folder, configuration and command line
    process        its process, and lifeline.py that holds it
    state          what is noted of running nodes
    node           start, stop, status, temporary

Each imports only from those above it.
"""

from __future__ import annotations

from sigmawatch.engine.distribution import Engine
from sigmawatch.engine.fetch import OnProgress
from sigmawatch.engine.java import MissingJavaError
from sigmawatch.engine.node import NodeState, NodeStatus, start, status, stop, temporary
from sigmawatch.engine.state import Node

__all__ = [
    "Engine",
    "MissingJavaError",
    "Node",
    "NodeState",
    "NodeStatus",
    "OnProgress",
    "start",
    "status",
    "stop",
    "temporary",
]
