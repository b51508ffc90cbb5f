"""What rule tests leave behind on somebody's cluster (nothing), and how much they ask of it (little)."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from cli.command_line import contents, rule_text, started
from cluster.http_stand_in import Answer, HttpStandIn, Seen
from sigmawatch.cluster import Cluster, CompatibleNode, ConnectionSettings, ResponseError, connect
from sigmawatch.datasets import load_datasets
from sigmawatch.errors import ClusterError
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.testing.ruletests import prepare_rule_tests, run_rule_tests
from sigmawatch.testing.workspace import uninterrupted
from testing.bench import correlation, run, write_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.engine

FLOW = "2 123456789010 eni-0a1b2c3d 203.0.113.9 10.0.1.20 50123 22 6 1 44 1772359200 1772359260 REJECT OK"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Tests that need everything: pipelines, templates, stored scripts, streams, several indices."""
    write_case(
        tmp_path / "raw",
        f'tests:\n  - {{logs: {{dataset: flow.aws_vpc, lines: ["{FLOW}"]}}, alerts: 1}}\n'
        "  - {name: wrong, events: [{source.ip: 10.0.0.1}], alerts: 1}\n",
        r=rule_text("source.ip: 203.0.113.9", "product: aws, service: vpcflow"),
    )
    write_case(
        tmp_path / "count",
        "mapping: {source.ip: keyword}\nrule: [r.yml, base.yml]\n"
        "tests:\n  - {events: [{repeat: 3, event: {app.action: delete, source.ip: a}}], alerts: 1}\n",
        r=correlation(),
        base=rule_text(head="name: base"),
    )
    return tmp_path


@pytest.fixture
def somebodys(cluster_url: str) -> Iterator[str]:
    """The address of a cluster that holds indices, templates, a pipeline and a script of somebody else's."""
    with connect(ConnectionSettings(cluster_url)) as cluster:
        cluster.request("PUT", "/somebodys-1", {"mappings": {"properties": {"source.ip": {"type": "text"}}}})
        cluster.request("PUT", "/_ingest/pipeline/somebodys", {"processors": [{"drop": {}}]})
        # It catches every index that is made, ours too: it must not change what tests see.
        template = {
            "index_patterns": ["*"],
            "priority": 1,
            "template": {"settings": {"index.default_pipeline": "somebodys"}},
        }
        cluster.request("PUT", "/_index_template/somebodys", template)
        script = {"script": {"lang": "painless", "source": "1"}}
        cluster.request("PUT", "/_scripts/somebodys", script)
        yield cluster_url
        for path in (
            "/somebodys-1",
            "/_index_template/somebodys",
            "/_ingest/pipeline/somebodys",
            "/_scripts/somebodys",
        ):
            cluster.request("DELETE", path)


def watched(url: str, before: Callable[[str, str], None]) -> Cluster:
    """Return a client that calls a function with method and path of each request before it is sent."""

    class Watching(CompatibleNode):
        def perform_request(self, method: str, target: str, *args: Any, **kwargs: Any) -> Any:
            before(method, target)
            return super().perform_request(method, target, *args, **kwargs)

    return connect(ConnectionSettings(url), node_class=Watching)


def run_tests(cluster: Cluster, folder: Path, *, own: bool = False) -> list[str | None]:
    datasets = load_datasets(builtin_pack().ingest_pipelines)
    prepared = prepare_rule_tests(sorted(folder.rglob("*.test.yml")), datasets)
    return [
        result.error
        for result in run_rule_tests(cluster, prepared, datasets, own=own, on_step=lambda step: None)
    ]


def test_a_cluster_is_afterwards_as_it_was(somebodys: str, files: Path) -> None:
    before = contents(somebodys)
    ran = run(files, "--url", somebodys)
    assert (ran.code, ran.json["passed"], ran.json["failed"]) == (1, 2, 1)
    assert contents(somebodys) == before


def test_everything_that_is_made_has_a_random_name(somebodys: str, files: Path) -> None:
    made: list[list[str]] = []
    for _ in range(2):
        names: list[str] = []
        made.append(names)
        with watched(
            somebodys, lambda method, path: made[-1].append(path) if method == "PUT" else None
        ) as one:
            assert run_tests(one, files) == [None, None, "expected 1 alert, got 0"]
        names.sort()
    assert len(made[0]) == len(made[1]) > 8
    assert all("sigmawatch-test-" in path for path in [*made[0], *made[1]])
    assert not set(made[0]) & set(made[1])


def test_what_an_engine_of_ours_gets_is_removed_too(cluster_url: str, files: Path) -> None:
    before = contents(cluster_url)
    with connect(ConnectionSettings(cluster_url)) as cluster:
        run_tests(cluster, files, own=True)
    assert contents(cluster_url) == before


def test_many_files_are_few_requests(cluster_url: str, tmp_path: Path) -> None:
    def requests(number: int) -> int:
        folder = tmp_path / str(number)
        for each in range(number):
            write_case(
                folder / str(each),
                "tests:\n"
                f"  - {{events: [{{app.action: delete, field.{each}: 1}}], alerts: 1}}\n"
                f'  - {{logs: {{dataset: flow.aws_vpc, lines: ["{FLOW}"]}}, alerts: none}}\n',
                r=rule_text(logsource="product: acme"),
            )
        sent: list[str] = []
        with watched(cluster_url, lambda method, path: sent.append(f"{method} {path}")) as cluster:
            assert run_tests(cluster, folder) == [None] * 2 * number
        return len(sent)

    assert requests(60) == requests(2) < 40


def test_an_interrupt_at_whatever_request_leaves_nothing_behind(somebodys: str, files: Path) -> None:
    before = contents(somebodys)
    sent: list[str] = []
    with watched(somebodys, lambda method, path: sent.append(method)) as cluster:
        run_tests(cluster, files)
    assert len(sent) > 20
    for at in range(0, len(sent), 3):
        number = iter(range(len(sent)))

        def interrupt(method: str, path: str, number: Any = number, at: int = at) -> None:
            if next(number, None) == at:
                signal.raise_signal(signal.SIGINT)

        with watched(somebodys, interrupt) as cluster, pytest.raises(KeyboardInterrupt):
            run_tests(cluster, files)
        assert contents(somebodys) == before, at


def test_a_second_interrupt_is_heeded_at_once() -> None:
    reached = []

    def impatient() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            reached.append(1)
            signal.raise_signal(signal.SIGINT)
            reached.append(2)

    with pytest.raises(KeyboardInterrupt):
        impatient()
    assert reached == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_failing_cluster_leaves_nothing_behind_that_can_be_removed(somebodys: str, files: Path) -> None:
    before = contents(somebodys)
    sent: list[str] = []
    with watched(somebodys, lambda method, path: sent.append(f"{method} {path}")) as cluster:
        run_tests(cluster, files)
    writes = [
        at for at, request in enumerate(sent) if request.startswith(("PUT", "POST /_bulk", "POST /_msearch"))
    ]
    for at in writes[::2]:
        number = iter(range(len(sent)))

        def fail(method: str, path: str, number: Any = number, at: int = at) -> None:
            if next(number, None) == at:
                raise ClusterError("it broke")

        with watched(somebodys, fail) as cluster, pytest.raises(ClusterError, match="it broke"):
            run_tests(cluster, files)
        assert contents(somebodys) == before, sent[at]


def test_what_was_made_although_a_gateway_gave_up_is_removed(cluster_url: str, files: Path) -> None:
    before = contents(cluster_url)

    class GivingUp(CompatibleNode):
        def perform_request(self, method: str, target: str, *args: Any, **kwargs: Any) -> Any:
            answer = super().perform_request(method, target, *args, **kwargs)
            if method == "PUT" and "-events-1" in target:
                raise ResponseError(method, target, 504, "too late")
            return answer

    cluster = connect(ConnectionSettings(cluster_url), node_class=GivingUp)
    with cluster, pytest.raises(ResponseError, match="too late"):
        run_tests(cluster, files)
    assert contents(cluster_url) == before


def test_what_cannot_be_removed_is_named(cluster_url: str, files: Path) -> None:
    def keep(method: str, path: str) -> None:
        if method == "DELETE" and "-events-" in path:
            raise ClusterError("not now")

    with watched(cluster_url, keep) as cluster, pytest.raises(ClusterError) as caught:
        run_tests(cluster, files)
    left = [name for name in contents(cluster_url)["indices"] if name.startswith("sigmawatch-test-")]
    assert len(left) == 2
    assert all(name in caught.value.message for name in left)
    assert "not now" in caught.value.message
    # Whatever else could be removed was.
    assert contents(cluster_url)["pipelines"] == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_cleans_up_and_says_so(
    number: signal.Signals, code: int, somebodys: str, files: Path
) -> None:
    before = contents(somebodys)
    process: Any = None
    ended: list[Any] = []
    too_early = threading.Event()

    def reply(seen: Seen) -> Answer:
        # Between the command and the cluster: the signal comes while an index is being made.
        if seen.method == "PUT" and "-events-" in seen.path and not ended:
            ended.append(process.send_signal(number))
            # Who does not wait for the answer removes the index before it is there.
            too_early.wait(0.7)
        headers = {name: value for name, value in seen.headers.items() if name in {"accept", "content-type"}}
        answer = urllib3.request(seen.method, somebodys + seen.path, headers=headers, body=seen.body)
        if seen.method == "DELETE" and "-events-" in seen.path:
            too_early.set()
        return Answer(answer.status, answer.data, {"content-type": answer.headers["content-type"]})

    with HttpStandIn(reply=reply) as proxy:
        process = started("test", files, "--url", proxy.url)
        out, err = process.communicate(timeout=180)
    assert ended
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert ("Interrupted." in err) == (code == 130)
    assert contents(somebodys) == before
