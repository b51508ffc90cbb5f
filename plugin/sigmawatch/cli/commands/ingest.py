"""`sigmawatch ingest`: load logs."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sigmawatch.bundle import known_datasets, pack_datasets
from sigmawatch.cli.options import (
    DEFAULT_NAMESPACE,
    cluster_options,
    format_option,
    namespace_option,
    open_cluster,
    open_pack,
    pack_option,
    site_of,
)
from sigmawatch.cli.terminal import counted, errors, print_json, progress_bar, results, working
from sigmawatch.cluster import ResponseError
from sigmawatch.config import dataset_settings
from sigmawatch.errors import SigmawatchError, UsageError, similar_names
from sigmawatch.ingest.detect import Detector, Verdict
from sigmawatch.ingest.follow import Follower
from sigmawatch.ingest.generations import open_record
from sigmawatch.ingest.load import Loaded, Loader, RefusedLines, holds_refused, require_deployed
from sigmawatch.ingest.marked import Marked, last_ingested, marked_since
from sigmawatch.ingest.sender import PARALLEL, PATIENCE
from sigmawatch.ingest.sources import STDIN, Chunks, Source, find_sources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.datasets import Dataset

__all__ = ["command"]

POLL = 0.5
"""Seconds between two looks at followed files that nothing new was in."""

LISTED = 20
"""Files that are told one by one, beside those that something is wrong with."""


@click.command()
@click.argument("given", metavar="FILES...", nargs=-1, required=True)
@click.option("--dataset", "name", help="What kind of log it is, e.g. flow.aws_vpc. [default: found out]")
@namespace_option("Of the data streams.")
@click.option(
    "--follow",
    is_flag=True,
    help="Go on with what is written to the files, until interrupted; survives rotation.",
)
@click.option("--skip-unknown", is_flag=True, help="Leaving out files of unknown kinds is no finding.")
@click.option(
    "--failed",
    "failed_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the lines that the cluster refuses; it can be loaded as it is.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=PARALLEL,
    show_default=True,
    help="Requests in flight at most; fewer while the cluster is busy.",
)
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(min=0),
    default=PATIENCE,
    show_default=True,
    help="Seconds that a cluster may be busy or away.",
)
@pack_option
@cluster_options
@format_option("text", "json")
def command(
    given: tuple[str, ...],
    name: str | None,
    namespace: str | None,
    follow: bool,
    skip_unknown: bool,
    failed_path: Path | None,
    parallel: int,
    patience: float,
    pack_path: Path | None,
    output_format: str,
    config_path: Path | None,
    environment: str | None,
    **connection: Any,
) -> None:
    """Load logs, whatever they come in.

    FILES are files, folders, patterns, or - for standard input; plain, or packed by gzip, bzip2, xz or zstd. Events go
    into the data streams of their datasets, which must be deployed. Which dataset a file is of is found out by its
    lines, or said. Events are taken out of what they come in: JSON lists and Records, CloudWatch, Firehose, Kinesis,
    Pub/Sub, the objects of shippers. An event keeps its id, so loading it again adds nothing: what was interrupted is
    completed by the same command. Lines that cannot be parsed are kept and marked (event.kind: pipeline_error).

    \b
    Example:
      sigmawatch ingest --url http://127.0.0.1:9200 /var/log/remote flows.log.gz
      sigmawatch ingest --follow --dataset auth.sshd /var/log/auth.log
      zcat flows.gz | sigmawatch ingest --dataset flow.aws_vpc --failed refused.ndjson -
    """
    pack = open_pack(pack_path)
    known = {one.name: one for one in known_datasets(pack_datasets(pack))}
    if name is not None and name not in known:
        raise UsageError(f"unknown dataset {name}", hint=_capital(similar_names(name, known)))
    site = site_of(config_path, environment, [pack.root])
    settings = dataset_settings(site.datasets, known.values())
    if name is not None and not settings[name].enabled:
        raise UsageError(f"the dataset {name} is switched off", hint="By `datasets:` in sigmawatch.yml.")
    known = {
        one: replace(dataset, tenant=site.tenant) for one, dataset in known.items() if settings[one].enabled
    }
    sources = [] if follow else find_sources(given)
    refused = RefusedLines(failed_path, append=follow) if failed_path is not None else None
    with open_cluster(
        **connection, config_path=config_path, environment=environment, folders=[pack.root]
    ) as cluster:
        session = _Session(
            cluster,
            known,
            namespace=namespace or site.namespace or DEFAULT_NAMESPACE,
            parallel=parallel,
            patience=patience,
            refused=refused,
        )
        if follow:
            try:
                session.follow(given, known[name] if name is not None else None)
            finally:
                session.report(output_format, failed_path)
        with ExitStack() as opened:
            taken = session.detected(sources, name, opened)
            if len(taken) == 0 and session.unknown:
                raise _no_dataset(session.unknown)
            if name is None and output_format == "text" and len(sources) > 1:
                _print_table(taken)
            try:
                session.load(taken)
            except (KeyboardInterrupt, SystemExit, SigmawatchError):
                if any(loaded.total or loaded.unread for loaded in session.found.values()):
                    # What was done is worth knowing, and that it can be completed.
                    session.report(output_format, failed_path)
                    errors().print("Run the same command again to complete it: nothing is added twice.")
                raise
        session.count_marked()
        session.report(output_format, failed_path)
    if any(loaded.failed or loaded.unread for loaded in session.found.values()):
        sys.exit(4)
    if session.unreadable or (session.unknown and not skip_unknown):
        sys.exit(1)


@dataclass
class _Taken:
    """A source, and what it was taken for."""

    source: Source
    chunks: Chunks | None
    """Its text where that can be read only once."""
    dataset: Dataset | None
    """None: the lines say it themselves."""


@dataclass
class _Session:
    """One run of the command."""

    cluster: Cluster
    known: Mapping[str, Dataset]
    namespace: str
    parallel: int
    patience: float
    refused: RefusedLines | None
    found: dict[str, Loaded] = field(default_factory=dict)
    """What became of each source, by its label."""
    unknown: list[tuple[Source, str]] = field(default_factory=list)
    """Those of which there is no telling what they are, and why."""
    marked: dict[str, Marked | None] = field(default_factory=dict)
    """For each dataset the documents that could not be parsed; None where one may not look."""
    started: float = 0.0
    seconds: float = 0.0
    _before: dict[str, str | None] = field(default_factory=dict)
    """For each data stream when it was written to last, before this run."""

    def detected(self, sources: Sequence[Source], name: str | None, opened: ExitStack) -> list[_Taken]:
        """Return what each source is taken for. Raises UsageError where a named one is of no known kind."""
        taken: list[_Taken] = []
        detector: Detector | None = None
        checked: set[str] = set()
        with working("Looking at the files …") as say:
            for source in sources:
                say(f"Looking at {source.label} …")
                try:
                    with ExitStack() as looking:
                        chunks = looking.enter_context(source.open())
                        head = chunks.head()
                        dataset = self.known[name] if name is not None else None
                        refused = holds_refused(head)
                        if not refused and dataset is None:
                            detector = detector or Detector(self.cluster, list(self.known.values()))
                            verdict = detector.detect(head)
                            if verdict.empty:
                                self.found[source.label] = Loaded(unread=chunks.unread)
                                continue
                            if verdict.dataset is None:
                                self._leave_out(source, verdict)
                                continue
                            dataset = verdict.dataset
                        once = source.size is None
                        if once:
                            opened.push(looking.pop_all())
                except UsageError as error:
                    if source.named:
                        raise
                    self.unknown.append((source, error.message.removeprefix(f"{source.label} ")))
                    continue
                if dataset is not None and dataset.name not in checked:
                    require_deployed(self.cluster, dataset)
                    checked.add(dataset.name)
                taken.append(_Taken(source, chunks if once else None, None if refused else dataset))
        return taken

    def _leave_out(self, source: Source, verdict: Verdict) -> None:
        if source.named:
            raise _no_dataset([(source, verdict.reason)])
        self.unknown.append((source, verdict.reason))

    def load(self, taken: Sequence[_Taken]) -> None:
        """Load all of them. Raises ClusterError when the cluster does not take it."""
        for dataset in {one.dataset.name: one.dataset for one in taken if one.dataset}.values():
            self._look_before(dataset)
        self.started = time.monotonic()
        sizes = [one.source.size for one in taken]
        with (
            ExitStack() as closing,
            progress_bar(download=True, rate="events") as progress,
            Loader(
                self.cluster,
                namespace=self.namespace,
                parallel=self.parallel,
                patience=self.patience,
                refused=self.refused,
                on_wait=lambda reason: progress.update(task, description=_brief(reason or label)),
            ) as loader,
        ):
            if self.refused is not None:
                closing.callback(self.refused.close)
            label = "Loading"
            task = progress.add_task(label, total=None if None in sizes else sum(filter(None, sizes)), done=0)
            before = 0
            for one in taken:
                label = one.source.label
                progress.update(task, description=_brief(label))

                def on_bytes(done: int, before: int = before) -> None:
                    events = sum(loaded.total for loaded in self.found.values())
                    progress.update(task, completed=before + done, done=events)

                self._load_one(loader, one, on_bytes)
                before += one.source.size or 0
            label = "Waiting for answers"
            progress.update(task, description=label)
            loader.finish()
            on_all = sum(loaded.total for loaded in self.found.values())
            progress.update(task, completed=before, done=on_all, description="Loaded")
        self.seconds = time.monotonic() - self.started

    def follow(self, given: Sequence[str], dataset: Dataset | None) -> NoReturn:
        """Follow what the arguments name for ever. Raises UsageError, ClusterError."""
        if STDIN in given:
            raise UsageError(
                "standard input cannot be followed", hint="It is read to its end without --follow."
            )
        self.started = time.monotonic()
        detector: Detector | None = None

        def detect(head: str) -> Verdict:
            nonlocal detector
            detector = detector or Detector(self.cluster, list(self.known.values()))
            verdict = detector.detect(head)
            if verdict.dataset is not None:
                require_deployed(self.cluster, verdict.dataset)
            return verdict

        if dataset is not None:
            require_deployed(self.cluster, dataset)
        console = errors()

        def say(text: str) -> None:
            console.print(text, markup=False)

        waiting = ""

        def on_wait(reason: str | None) -> None:
            nonlocal waiting
            if reason is None or not waiting:
                say(f"waiting: {reason}" if reason is not None else "going on")
            waiting = reason or ""

        with ExitStack() as opened:
            if self.refused is not None:
                opened.callback(self.refused.close)
            arguments = dict.fromkeys(str(Path(argument).absolute()) for argument in given)
            records = [
                opened.enter_context(open_record([self.cluster.url, self.namespace, argument]))
                for argument in arguments
            ]
            say(f"Following {', '.join(arguments)} until interrupted …")
            loader = opened.enter_context(
                Loader(
                    self.cluster,
                    namespace=self.namespace,
                    parallel=self.parallel,
                    patience=None,
                    refused=self.refused,
                    on_wait=on_wait,
                )
            )
            followers = [
                Follower(argument, record, loader, self.known, detect, dataset, self.found, say)
                for argument, record in zip(arguments, records, strict=True)
            ]
            for follower in followers:
                opened.callback(follower.close)
            while True:
                sent = sum(follower.round() for follower in followers)
                loader.finish()
                for record in records:
                    record.save()
                if not sent:
                    time.sleep(POLL)

    def _load_one(self, loader: Loader, one: _Taken, on_bytes: Any) -> None:
        with ExitStack() as opened:
            chunks = one.chunks or opened.enter_context(one.source.open())
            if one.dataset is None:
                loader.load_refused(
                    self.known, chunks, lambda name: self._result(f"{one.source.label} ({name})", name)
                )
                return
            loader.load(one.dataset, chunks, self._result(one.source.label, ""), on_bytes=on_bytes)

    def _result(self, label: str, dataset: str) -> Loaded:
        return self.found.setdefault(label, Loaded(dataset))

    def _look_before(self, dataset: Dataset) -> None:
        stream = dataset.data_stream(self.namespace)
        try:
            self._before[stream] = last_ingested(self.cluster, stream)
        except ResponseError as error:
            if error.status != 403:
                raise

    def count_marked(self) -> None:
        """Find out which of the documents that were loaded could not be parsed."""
        for name in sorted({loaded.dataset for loaded in self.found.values() if loaded.created}):
            stream = self.known[name].data_stream(self.namespace)
            self.marked[name] = (
                marked_since(self.cluster, stream, self._before[stream]) if stream in self._before else None
            )

    @property
    def unreadable(self) -> set[str]:
        """Datasets that could read nothing of what was loaded as theirs."""
        return {
            name
            for name, total in self._totals().items()
            if (marked := self.marked.get(name)) is not None and 0 < total.created <= marked.count
        }

    def report(self, output_format: str, failed_path: Path | None) -> None:
        """Say what became of everything."""
        self.seconds = self.seconds or (time.monotonic() - self.started if self.started else 0.0)
        totals = self._totals()
        if output_format == "json":
            print_json(
                {
                    "files": {label: vars(loaded) for label, loaded in self.found.items()},
                    "datasets": {name: self._for_machines(name, total) for name, total in totals.items()},
                    "unknown": {source.label: reason for source, reason in self.unknown},
                    "seconds": round(self.seconds, 3),
                }
            )
        many = len(self.found) > LISTED
        for label, loaded in self.found.items():
            if output_format == "text" and (not many or loaded.failed or loaded.unread):
                results().print(f"{label}: {_spell(loaded)}", markup=False)
            for reason in loaded.reasons:
                errors().print(f"  {reason}", style="red", markup=False)
            if loaded.unread:
                errors().print(f"error: {loaded.unread}", style="red", markup=False)
        if output_format == "text":
            self._print_totals(totals)
        for source, reason in self.unknown:
            errors().print(f"not loaded: {source.label}: {reason}", style="yellow", markup=False)
        if self.unknown:
            errors().print("  Pass --dataset NAME to say what a file is.", markup=False)
        if failed_path is not None and any(loaded.failed for loaded in self.found.values()):
            errors().print(
                f"The refused lines are in {failed_path}; load it when the cause is gone.", markup=False
            )

    def _totals(self) -> dict[str, Loaded]:
        totals: dict[str, Loaded] = {}
        for loaded in self.found.values():
            if loaded.dataset:
                total = totals.setdefault(loaded.dataset, Loaded(loaded.dataset))
                for key in ("created", "existing", "dropped", "failed"):
                    setattr(total, key, getattr(total, key) + getattr(loaded, key))
        return dict(sorted(totals.items()))

    def _for_machines(self, name: str, total: Loaded) -> dict[str, Any]:
        counts = {key: getattr(total, key) for key in ("created", "existing", "dropped", "failed")}
        marked = self.marked.get(name)
        return {
            **counts,
            "pipeline_error": marked.count if marked else None if total.created else 0,
            "pipeline_error_reasons": marked.reasons if marked else {},
        }

    def _print_totals(self, totals: Mapping[str, Loaded]) -> None:
        for name, total in totals.items():
            if len(self.found) > 1:
                results().print(f"{name}: {_spell(total)}", markup=False)
            marked = self.marked.get(name)
            if marked is not None and marked.count:
                results().print(
                    f"{name}: {marked.count:,} of them cannot be parsed (event.kind: pipeline_error)",
                    markup=False,
                )
                for reason, count in marked.reasons.items():
                    results().print(f"  {count:,} × {reason}", markup=False)
            if name in self.unreadable:
                errors().print(
                    f"{name} can read none of these events: is this another dataset's log?",
                    style="yellow",
                    markup=False,
                )
                errors().print("  Without --dataset it is found out which one it is.", markup=False)
        number = sum(total.total for total in totals.values())
        if number and self.seconds >= 1:
            rate = number / self.seconds
            errors().print(
                f"{counted(number, 'event')} in {self.seconds:.1f} s, {rate:,.0f} a second", markup=False
            )


def _no_dataset(unknown: Sequence[tuple[Source, str]]) -> UsageError:
    source, reason = unknown[0]
    more = f", nor of {len(unknown) - 1} others" if len(unknown) > 1 else ""
    return UsageError(
        f"{source.label}: there is no telling which dataset it is of{more}: {reason}",
        hint="Pass --dataset NAME.",
    )


def _print_table(taken: Sequence[_Taken]) -> None:
    width = max((len(one.source.label) for one in taken), default=0)
    for one in taken:
        name = one.dataset.name if one.dataset else "refused lines, as what they were"
        errors().print(f"{one.source.label:{width}}  {name}", markup=False)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_LONGEST = 40


def _brief(text: str) -> str:
    """Return a text short enough to stand before a bar; of a path its end."""
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"


def _spell(loaded: Loaded) -> str:
    parts = [f"{counted(loaded.created, 'event')} loaded"]
    parts += [f"{loaded.existing:,} known before"] if loaded.existing else []
    parts += [f"{loaded.dropped:,} header lines"] if loaded.dropped else []
    parts += [f"{loaded.failed:,} refused"] if loaded.failed else []
    return ", ".join(parts)
