"""`sigmawatch explain`: what a rule looks for, in words and as what is executed; what a change of it changes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from sigma.correlations import SigmaCorrelationRule

from sigmawatch.bundle import compile_context
from sigmawatch.cli.content import datasets_around, pack_roots, rule_roots
from sigmawatch.cli.options import configuration_options, format_option, placeholders
from sigmawatch.cli.revision import checked_out
from sigmawatch.cli.terminal import print_json, print_problems, results
from sigmawatch.compile.compiler import compile_rules
from sigmawatch.compile.ruleinfo import rule_id
from sigmawatch.errors import Severity, UsageError
from sigmawatch.pack.library import RuleLibrary
from sigmawatch.render.explain import Base, differences, explanation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigma.rule import SigmaRule

    from sigmawatch.compile.plan import DetectionPlan
    from sigmawatch.datasets import Dataset

__all__ = ["command"]

MOST_FIELDS = 8
"""Fields of an alert that are named in the text; JSON has them all."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("rule", type=_FILE)
@click.option("--diff", "other", type=_FILE, help="Compare with another version of the rule, in this file.")
@click.option(
    "--git", "revision", metavar="REV", help="Compare with the rule as it was in this git revision."
)
@click.option("--full", is_flag=True, help="Show the whole watch, too.")
@configuration_options
@format_option("text", "json")
def command(
    rule: Path,
    other: Path | None,
    revision: str | None,
    full: bool,
    output_format: str,
    config_path: Path | None,
    environment: str | None,
) -> None:
    """Explain in words what a rule looks for, where and how often.

    RULE is a file; base rules of a correlation are found in its folder or pack. With --diff or --git it shows
    instead what is different between the other version and RULE in plan, search and watch; the exit code is then
    1 when anything is.

    \b
    Examples:
      sigmawatch explain rules/auth/ssh_brute_force.yml
      sigmawatch explain rules/auth/ssh_brute_force.yml --git origin/main
    """
    if other is not None and revision is not None:
        raise UsageError("--diff and --git exclude each other")
    values = placeholders(config_path, environment, pack_roots([rule]))
    version = _compiled(rule, values)
    if other is not None:
        # Datasets and base rules stay the same: only what differs between the files is of interest.
        before = _compiled(other, values, datasets=version.datasets, around=[other, rule])
        _compare(before, version, (str(other), str(rule)), output_format)
    elif revision is not None:
        with TemporaryDirectory(prefix="sigmawatch-") as folder:
            before = _compiled(checked_out(rule, revision, Path(folder)), values)
        _compare(before, version, (f"{revision}:{rule}", str(rule)), output_format)
    else:
        explained = [explanation(plan, bases) for plan, bases in version.plans]
        if output_format == "json":
            print_json({"rules": explained})
        else:
            for number, each in enumerate(explained):
                _print(each, full=full, first=number == 0)


@dataclass(frozen=True)
class _Version:
    """What a rule file compiles to."""

    plans: list[tuple[DetectionPlan, list[Base]]]
    """Plans of the file's own rules, and the rules behind their queries."""
    datasets: Sequence[Dataset]


def _compiled(
    path: Path,
    values: Mapping[str, Sequence[str]],
    *,
    datasets: Sequence[Dataset] | None = None,
    around: Sequence[Path] | None = None,
) -> _Version:
    """Compile a rule file with the base rules that it needs. Raises ContentError, or UsageError without a plan."""
    served = datasets_around([path]) if datasets is None else datasets
    rules = RuleLibrary(rule_roots(around or [path])).load([path])
    # Before the compiler maps fields and log sources.
    bases = {rule_id(item.rule): _bases(item.rule) for item in rules.rules if item.rule.id or item.rule.name}
    compiled = compile_rules(rules, compile_context(served, placeholders=values))
    own = [plan for plan in compiled.require() if plan.rule.source == path.as_posix()]
    print_problems(
        problem
        for problem in compiled.problems
        if problem.severity is Severity.WARNING and problem.path == path
    )
    if not own:
        raise UsageError(
            f"{path}: no rule in it raises alerts",
            hint="Base rules of a correlation raise none of their own.",
        )
    return _Version([(plan, bases[plan.rule.id]) for plan in own], served)


def _bases(rule: SigmaRule | SigmaCorrelationRule) -> list[Base]:
    """Return the rules that select events, in the order in which the compiler numbers their queries."""
    found: list[SigmaRule] = []

    def visit(each: SigmaRule | SigmaCorrelationRule) -> None:
        if isinstance(each, SigmaCorrelationRule):
            for reference in each.referenced_rules:
                visit(reference.rule)
        elif not any(each is known for known in found):
            found.append(each)

    visit(rule)
    return [Base(each.name or each.title or str(each.id), _logsource(each)) for each in found]


def _logsource(rule: SigmaRule) -> str:
    source = rule.logsource
    named = {"category": source.category, "product": source.product, "service": source.service}
    return ", ".join(f"{key}: {value}" for key, value in named.items() if value is not None)


def _compare(before: _Version, after: _Version, labels: tuple[str, str], output_format: str) -> None:
    plans = [[plan for plan, _ in version.plans] for version in (before, after)]
    lines = differences(plans[0], plans[1], labels)
    if output_format == "json":
        print_json({"differs": bool(lines), "diff": lines})
    else:
        for line in lines or ["No difference: plan, search and watch are the same."]:
            results().print(line, style=_style(line), markup=False)
    if lines:
        sys.exit(1)


def _style(line: str) -> str:
    return "green" if line.startswith("+") else "red" if line.startswith("-") else ""


def _print(found: dict[str, Any], *, full: bool, first: bool) -> None:
    console = results()
    rule, schedule, correlation = found["rule"], found["schedule"], found["correlation"]
    if not first:
        console.print()
    console.print(rule.get("title") or rule["id"], style="bold", markup=False)
    if "description" in rule:
        console.print(rule["description"], markup=False)

    def say(what: str, *lines: str) -> None:
        for number, line in enumerate(lines):
            console.print(f"  {what if number == 0 else '':<14}{line}", markup=False)

    say("id", rule["id"])
    say("file", rule["source"])
    say("severity", f"{rule['level']}: {rule['severity']}, risk score {rule['risk_score']}")
    say("log source", *found["log_sources"])
    say("datasets", ", ".join(found["datasets"]) or "none serves this log source")
    say("indices", ", ".join(found["indices"]))
    for selection in found["selections"]:
        lines = selection["selects"]
        if correlation is None:
            say("selects", *lines)
        else:
            say("selects", f"{selection['rule']}:", *(f"  {line}" for line in lines))
    say("requires", *_required(found["requires"]))
    say("alerts when", found["alerts_when"])
    if correlation is not None:
        say(
            "window",
            f"{correlation['window']}, ending at every event; {correlation['lookback']} of events decide",
        )
    say(
        "evaluated",
        f"every {schedule['interval']}, looking {schedule['overlap']} further back for late events",
    )
    say("alert fields", _listed(found))
    for name, target in found["targets"].items():
        say(f"on {name}", f"no: {target['refused']}" if target["refused"] else "yes", *target["caveats"])
    say("query", json.dumps(found["query"], ensure_ascii=False))
    watch = found["watch"]
    cron = schedule["watch"]["cron"]
    say("watch", f"{watch['id']}, cron {cron}{'' if full else ' (--full shows it)'}")
    if full:
        print_json(watch["body"])


_WORDS = {"equals": "is", "prefix": "starts with", "suffix": "ends with", "contains": "contains"}
_SHOWN = 5


def _required(clauses: Sequence[Sequence[Sequence[str]]] | None) -> list[str]:
    """Return a line for each clause of literals, of which an event must have one, in any case of letters."""
    if clauses is None:
        return ["no text that could be looked for beforehand"]
    lines = []
    for clause in clauses:
        spelled = [
            f"{field} {_WORDS[how]} {json.dumps(text, ensure_ascii=False)}" for field, how, text in clause
        ]
        more = len(spelled) - _SHOWN
        listed = " or ".join(spelled[:_SHOWN]) + (f" or one of {more} more" if more > 0 else "")
        lines.append(listed or "what no event has: it never matches")
    return lines


def _listed(found: dict[str, Any]) -> str:
    fields = found["alert_fields"]
    if found["correlation"] is not None:
        return ", ".join(fields) or "none of the events' own"
    asked = [name for selection in found["selections"] for name in selection["fields"] if name in fields]
    shown = [*asked, *(name for name in fields if name not in asked)][: max(MOST_FIELDS, len(asked))]
    more = len(fields) - len(shown)
    return f"{', '.join(shown)} and {more} more, those that the event has" if more else ", ".join(shown)
