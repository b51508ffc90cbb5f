"""Entry point of `sigmawatch`: finds commands, turns errors into messages and exit codes."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sigmawatch import __version__
from sigmawatch.cli import commands
from sigmawatch.cli.streams import prepare_streams
from sigmawatch.cli.terminal import report_error
from sigmawatch.errors import SigmawatchError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

EXIT_INTERRUPTED = 130
EXIT_UNFORESEEN = 70
"""A mistake of ours (EX_SOFTWARE), told apart from all that users can do something about."""

_OBJECTS = 100_000
"""New objects from which on Python looks for garbage among them."""

DEBUG = "SIGMAWATCH_DEBUG"
"""Environment variable with which such a mistake shows its traceback."""


class _Commands(click.Group):
    """A group that imports a command only when it is run or listed in help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all modules in `commands`."""
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of that name and return its command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"sigmawatch.cli.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sigmawatch")
def _sigmawatch() -> None:
    """Sigma detection content for Elasticsearch and OpenSearch: compile, test, deploy, watch.

    \b
    Example: try everything on an embedded engine, nothing else installed:
      sigmawatch demo

    Exit codes: 0 done, 1 findings, 2 wrong usage or invalid content, 3 changes pending,
    4 partly applied, 5 cluster unreachable or refused.
    """


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    prepare_streams()
    _end_in_order()
    # A rule set is a million objects of which hardly any become garbage: by default they are looked through again
    # and again, for a sixth of the time that compiling takes.
    gc.set_threshold(_OBJECTS, 20, 20)
    code = _exit_code(lambda: _sigmawatch.main(args=argv, prog_name="sigmawatch", standalone_mode=False))
    # What is still to be written may fail as well; that must be told, and must not be taken for success.
    sys.exit(_exit_code(sys.stdout.flush) or code)


def _end_in_order() -> None:
    """Let what is asked to end (`kill`, a closed terminal) clean up behind it."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda got, _: sys.exit(128 + got))


def _exit_code(function: Callable[[], Any]) -> int:
    """Call a function and return the exit code that what became of it has; errors are told in words."""
    try:
        code = function()
    except SystemExit as error:
        code = error.code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except SigmawatchError as error:
        report_error(error)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("Interrupted.\n")
        code = EXIT_INTERRUPTED
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        report_error(_unforeseen(error))
        code = EXIT_UNFORESEEN
    return code if isinstance(code, int) else 0


def _unforeseen(error: Exception) -> SigmawatchError:
    """Return a mistake of ours in a form that can be reported."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "sigmawatch" in frame.filename] or frames
    place = f" ({Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""
    what = " ".join(str(error).split())
    return SigmawatchError(
        f"a mistake in sigmawatch: {type(error).__name__}: {what}{place}",
        hint=f"Please report it; {DEBUG}=1 shows the details.",
    )
