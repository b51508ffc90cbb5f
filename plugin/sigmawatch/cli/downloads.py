"""Progress of the engine's download and start, for all commands that may need one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmawatch.cli.terminal import progress_bar

if TYPE_CHECKING:
    from contextlib import ExitStack

    from rich.progress import Progress, TaskID

    from sigmawatch.engine import OnProgress

__all__ = ["reporter"]


def reporter(display: ExitStack) -> OnProgress:
    """Return a callback that opens a progress bar in `display` with the first news, if there ever is any."""
    bar: Progress | None = None
    tasks: dict[str, TaskID] = {}

    def report(description: str, done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = display.enter_context(progress_bar(download=True))
        if description not in tasks:
            tasks[description] = bar.add_task(description, total=total)
        bar.update(tasks[description], completed=done)

    return report
