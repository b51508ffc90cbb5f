"""Entry point of `sigmawatch`: finds commands, turns errors into messages and exit codes."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from typing import Any

import click

from sigmawatch import __version__
from sigmawatch.cli import commands
from sigmawatch.cli.terminal import report_error
from sigmawatch.errors import SigmawatchError

__all__ = ["main"]

EXIT_INTERRUPTED = 130


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


def main(argv: list[str] | None = None) -> Any:
    """Run the command line and leave the process with its exit code."""
    try:
        code = _sigmawatch.main(args=argv, prog_name="sigmawatch", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except SigmawatchError as error:
        report_error(error)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("Interrupted.\n")
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`| head`): not an error; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
