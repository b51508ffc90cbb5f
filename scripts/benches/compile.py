"""Speed of the compiler over a folder of Sigma rules, stage by stage, and beside sigma-cli.

The whole is `sigmawatch compile FOLDER --format watch --output DIR --keep-going` as a process of its own, files
written: with an empty cache into a folder that is not there yet, and once more with nothing changed. The stages are
timed in another process, one after the other and without the collector of garbage, by the functions that the command
calls.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BIN = Path(sys.executable).parent
STAGES = "--only-stages"


@dataclass(frozen=True)
class Run:
    """What one process took."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    """Most memory that it, or the largest of its own children, held at a time."""
    exit_code: int


@dataclass(frozen=True)
class Measured:
    """What several runs of the same command took."""

    command: str
    median_seconds: float
    best_seconds: float
    cpu_seconds: float
    peak_mib: float
    rules: int
    """Rules that came out."""
    rules_per_second: float


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench compile", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="Sigma rules")
    parser.add_argument("--runs", type=int, default=3, help="how often each command is run [default: 3]")
    parser.add_argument("--json", action="store_true", help="print figures for machines")
    parser.add_argument(
        "--against-sigma-cli", action="store_true", help="also run `sigma convert` on the same files"
    )
    parser.add_argument(
        "--sigma", type=Path, default=BIN / "sigma", help="which sigma-cli [default: this environment's]"
    )
    parser.add_argument("--sigma-target", default="sigmawatch", help="its target [default: sigmawatch]")
    parser.add_argument("--sigma-format", default="watch", help="its format [default: watch]")
    parser.add_argument(STAGES, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is no folder")
    if options.only_stages:
        sys.stdout.buffer.write(orjson.dumps(_stages(options.folder)))
        return 0
    found = _measure(options)
    if options.json:
        sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    else:
        _print(Console(), found)
    return 0


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    files = sum(1 for path in options.folder.rglob("*.y*ml") if path.suffix in (".yml", ".yaml"))
    with TemporaryDirectory(prefix="sigmawatch-bench-") as name:
        scratch = Path(name)
        whole, unchanged = _compile(options, scratch)
        found: dict[str, Any] = {
            "folder": str(options.folder),
            "files": files,
            "machine": {
                "processors": os.cpu_count(),
                "python": ".".join(map(str, sys.version_info[:3])),
                "pysigma": version("pysigma"),
            },
            "sigmawatch": asdict(whole),
            "unchanged": asdict(unchanged),
            "stages": _timed_stages(options.folder, options.runs),
        }
        if options.against_sigma_cli:
            peer = _sigma_cli(options, scratch)
            found["sigma_cli"] = asdict(peer)
            found["ratio"] = {
                "seconds": round(peer.median_seconds / whole.median_seconds, 2),
                "peak_mib": round(peer.peak_mib / whole.peak_mib, 2),
            }
    return found


def _compile(options: argparse.Namespace, scratch: Path) -> tuple[Measured, Measured]:
    """Measure our command: with nothing from before, and once more."""
    first: list[Run] = []
    again: list[Run] = []
    rules = 0
    command: list[str | Path] = [BIN / "sigmawatch", "compile", options.folder, "--format", "watch"]
    for number in range(options.runs):
        output, cache = scratch / f"watches-{number}", scratch / f"cache-{number}"
        for runs in (first, again):
            runs.append(
                _run(
                    [*command, "--output", output, "--keep-going"],
                    scratch,
                    environment={"SIGMAWATCH_CACHE": str(cache)},
                )
            )
        rules = sum(1 for _ in output.glob("*.json"))
        shutil.rmtree(output)
        shutil.rmtree(cache)
    shown = f"sigmawatch compile {options.folder} --format watch --output DIR --keep-going"
    return _summary(shown, first, rules), _summary("the same again, nothing changed", again, rules)


def _sigma_cli(options: argparse.Namespace, scratch: Path) -> Measured:
    output = scratch / "sigma-cli.out"
    target = [
        "-t",
        options.sigma_target,
        "-f",
        options.sigma_format,
        "--skip-unsupported",
        "--without-pipeline",
    ]
    command = [options.sigma, "convert", *target, "--output", output, options.folder]
    runs = [_run(command, scratch) for _ in range(options.runs)]
    with output.open("rb") as lines:
        rules = sum(1 for line in lines if line.strip())
    return _summary(f"sigma convert {' '.join(target)} {options.folder}", runs, rules)


def _run(
    command: Sequence[str | Path], scratch: Path, *, environment: Mapping[str, str] | None = None
) -> Run:
    """Run a process to its end. What it prints is not looked at, except where it fails."""
    messages = scratch / "messages"
    started = time.perf_counter()
    with messages.open("wb") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=sink, env={**os.environ, **(environment or {})}
        )
        # Unlike Popen.wait, tells what this one process and its children used.
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    # 2: rules that are invalid or refused, which the public rule sets have.
    if process.returncode not in (0, 2):
        sys.stderr.buffer.write(messages.read_bytes()[-4000:])
        raise SystemExit(f"{' '.join(map(str, command))} ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    cpu = usage.ru_utime + usage.ru_stime
    return Run(seconds, cpu, usage.ru_maxrss * unit / 2**20, process.returncode)


def _summary(command: str, runs: Sequence[Run], rules: int) -> Measured:
    median = statistics.median(run.seconds for run in runs)
    return Measured(
        command=command,
        median_seconds=round(median, 3),
        best_seconds=round(min(run.seconds for run in runs), 3),
        cpu_seconds=round(statistics.median(run.cpu_seconds for run in runs), 3),
        peak_mib=round(max(run.peak_mib for run in runs), 1),
        rules=rules,
        rules_per_second=round(rules / median, 1),
    )


def _timed_stages(folder: Path, runs: int) -> dict[str, Any]:
    """Return the median of each stage, of which each run is a process of its own."""
    found = [
        orjson.loads(
            subprocess.run(
                [sys.executable, __file__, STAGES, folder], stdout=subprocess.PIPE, check=True
            ).stdout
        )
        for _ in range(runs)
    ]
    seconds = {
        name: statistics.median(each["seconds"][name] for each in found) for name in found[0]["seconds"]
    }
    whole = sum(seconds.values())
    return {
        name: {
            "seconds": round(taken, 3),
            "share": round(taken / whole, 3),
            "rules_per_second": round(found[0]["rules"] / taken, 1),
        }
        for name, taken in seconds.items()
    }


def _stages(folder: Path) -> dict[str, Any]:
    """Time the stages in this process, which must not have imported sigmawatch yet."""
    gc.disable()
    seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[stage] = time.perf_counter() - started

    with timed("start"):
        from sigmawatch.bundle import compile_context, known_datasets
        from sigmawatch.compile.compiler import compile_rules
        from sigmawatch.pack.layout import rule_files
        from sigmawatch.pack.rules import load_rules
        from sigmawatch.render.formats import FORMATS
        from sigmawatch.render.refusal import RenderRefused

        context = compile_context(known_datasets([]))
    with timed("load"):
        rules = load_rules(rule_files([folder]))
    with timed("compile"):
        compiled = compile_rules(rules, context)
    bodies = []
    with timed("render"):
        for plan in compiled.plans:
            with contextlib.suppress(RenderRefused):
                bodies.append(FORMATS["watch"].render(plan))
    with timed("write"), TemporaryDirectory(prefix="sigmawatch-bench-") as name:
        for number, body in enumerate(bodies):
            text = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            Path(name, f"{number}.json").write_bytes(text)
    return {"rules": len(rules.rules), "seconds": seconds}


def _print(console: Console, found: dict[str, Any]) -> None:
    machine = found["machine"]
    console.print(
        f"{found['folder']}: {found['files']} files; {machine['processors']} processors, "
        f"Python {machine['python']}, pySigma {machine['pysigma']}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    table = Table("command", "seconds", "best", "CPU s", "peak MiB", "rules", "rules/s")
    for name in ("sigmawatch", "unchanged", "sigma_cli"):
        if name in found:
            row = found[name]
            figures = (
                "median_seconds",
                "best_seconds",
                "cpu_seconds",
                "peak_mib",
                "rules",
                "rules_per_second",
            )
            table.add_row(row["command"], *(str(row[key]) for key in figures))
    console.print(table)
    if "ratio" in found:
        ratio = found["ratio"]
        console.print(
            f"sigma-cli takes {ratio['seconds']} times as long, and {ratio['peak_mib']} of the memory"
        )
    table = Table("stage", "seconds", "share", "rules/s")
    for name, row in found["stages"].items():
        table.add_row(name, str(row["seconds"]), f"{row['share']:.0%}", str(row["rules_per_second"]))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
