"""`sigmawatch engine`: the embedded engine, started and stopped by hand."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import click

from sigmawatch import engine
from sigmawatch.cli.downloads import reporter
from sigmawatch.cli.terminal import print_json, results
from sigmawatch.errors import UsageError

__all__ = ["command"]

_FORMAT = click.option(
    "--format", "output", type=click.Choice(["text", "json"]), default="text", help="For people or machines."
)


@click.group()
def command() -> None:
    """Start, stop and list embedded engines.

    They are real OpenSearch or Elasticsearch nodes on this machine, listen on the loopback interface only, need no
    installation, and leave nothing behind when stopped.

    \b
    Example:
      sigmawatch engine start
    """


@command.command()
@click.option(
    "--engine",
    "kind",
    type=click.Choice([each.value for each in engine.Engine]),
    default=engine.Engine.OPENSEARCH.value,
    show_default=True,
    help="What to run. Elasticsearch (9) and elasticsearch8 need a full JDK and a large download.",
)
@click.option("--name", default="default", show_default=True, help="To run several, each has a name.")
@click.option("--port", type=click.IntRange(1024, 65535), help="Where to listen. [default: a free one]")
@click.option("--heap", default="512m", show_default=True, help="Memory for the Java heap.")
@click.option("--security", is_flag=True, help="With users, roles and API keys; Elasticsearch only.")
@_FORMAT
def start(kind: str, name: str, port: int | None, heap: str, security: bool, output: str) -> None:
    """Start an engine and print its address; the one that runs already, if it does.

    \b
    Example:
      sigmawatch engine start --port 9200
      curl http://127.0.0.1:9200
      sigmawatch engine stop
    """
    with ExitStack() as display:
        node = engine.start(
            name,
            engine=engine.Engine(kind),
            port=port,
            heap=heap,
            security=security,
            on_progress=reporter(display),
        )
    if output == "json":
        login = {"user": node.user, "password": node.password} if node.password else {}
        print_json(_as_json(node) | login)
    else:
        text = f"{node.engine} {node.version} listens at {node.url} (process {node.pid})"
        results().print(text, markup=False)
        if node.password:
            results().print(f"user {node.user}, password {node.password}", markup=False)


@command.command()
@click.option("--name", help="Which one to stop. [default: default]")
@click.option("--all", "every", is_flag=True, help="Stop all of them.")
def stop(name: str | None, every: bool) -> None:
    """Stop an engine and delete its data.

    \b
    Example:
      sigmawatch engine stop --all
    """
    if name is not None and every:
        raise UsageError("--name and --all exclude each other")
    names = [each.name for each in engine.status()] if every else [name or "default"]
    for each in names:
        message = "stopped" if engine.stop(each) else "was not running"
        results().print(f"{each}: {message}", markup=False)
    if not names:
        results().print("nothing was running")


@command.command()
@_FORMAT
def status(output: str) -> None:
    """List the engines that were started.

    \b
    Example:
      sigmawatch engine status --format json
    """
    found = engine.status()
    if output == "json":
        nodes = [(each, _as_json(each.node) if each.node else {}) for each in found]
        print_json({"nodes": [{"name": each.name, "state": each.state} | node for each, node in nodes]})
        return
    if not found:
        results().print("no engine was started; start one with: sigmawatch engine start", markup=False)
    for each in found:
        what = f"{each.node.engine} {each.node.version} at {each.node.url}" if each.node else ""
        results().print(f"{each.name}: {each.state} {what}".rstrip(), markup=False)


def _as_json(node: engine.Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "engine": node.engine,
        "version": node.version,
        "url": node.url,
        "pid": node.pid,
        "started": node.started,
        "java": node.java,
        "work_dir": str(node.work_dir),
    }
