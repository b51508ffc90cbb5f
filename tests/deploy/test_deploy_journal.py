"""The journal on this machine's disk: what it says after a deploy, after a crash, and when it cannot be kept."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.deploy_targets import PREFIX, Target, pipeline
from sigmawatch.artifact import Artifact, ArtifactKey, secret
from sigmawatch.cluster import ConnectionSettings
from sigmawatch.deploy import DeployIncomplete, Origin, apply, removal_plan
from sigmawatch.deploy.journal import KEPT_JOURNALS, Account, Journals, journals_at, read_journal
from sigmawatch.deploy.plan import Action, Change, Plan
from sigmawatch.deploy.releases import latest_release
from sigmawatch.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from sigmawatch.deploy.outcome import ArtifactResult

KEYS = [ArtifactKey("ingest_pipeline", f"n{number}") for number in range(4)]


class Somewhere:
    """As much of a cluster as a journal names."""

    class info:  # noqa: N801
        uuid = "u1"

        def __str__(self) -> str:
            return "Elasticsearch 9.4.3, cluster c"

    settings = ConnectionSettings("https://anna:secret@es.example.com:9200")


SOMEWHERE: Any = Somewhere()


def planned(pack: str = "p") -> Plan:
    changes = tuple(Change(key, Action.CREATE, sent_hash=f"hash-{key.id}") for key in KEYS)
    return Plan(pack, "c", changes, {})


def begun(journals: Journals, pack: str = "p") -> Any:
    return journals.begin(SOMEWHERE, planned(pack), Origin(by="anna@example.com"))


def only_account(journals: Journals) -> Account:
    (account,) = journals.unfinished(uuid="u1")
    return account


def test_a_journal_tells_written_refused_in_flight_and_not_begun_apart(tmp_path: Path) -> None:
    journals = Journals(tmp_path / "deploys")
    with begun(journals) as journal:
        journal.release(7)
        journal.begins(KEYS[:3])
        journal.outcome(written=[KEYS[0]], refused=[(KEYS[1], "400 no such processor")])
        assert journals.unfinished(uuid="u1") == [], "it is being written"
    account = only_account(journals)
    assert (account.release, account.pack, account.by, account.ended) == (7, "p", "anna@example.com", "")
    assert account.written == (KEYS[0],)
    assert account.refused == ((KEYS[1], "400 no such processor"),)
    assert account.in_flight == (KEYS[2],)
    assert account.not_begun == (KEYS[3],)
    assert journals.unfinished(uuid="another") == []
    assert journals.unfinished(urls=["https://es.example.com:9200"]) == [account]
    assert journals.unfinished(uuid="u1", pack="another") == []
    assert account.to_dict()["in_flight"] == [{"kind": "ingest_pipeline", "id": "n2"}]


def test_a_journal_is_its_owners_and_holds_no_secret(tmp_path: Path) -> None:
    journals = Journals(tmp_path / "state" / "deploys")
    with journals.begin(SOMEWHERE, planned(), Origin(), secret=["s3cret-key"]) as journal:
        journal.begins(KEYS[:1])
        journal.outcome(refused=[(KEYS[0], "400 cannot parse [s3cret-key]")])
    path = only_account(journals).path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert "s3cret" not in text
    assert "secret@" not in text
    assert "cannot parse […]" in text


def whole(folder: Path) -> bytes:
    """Return a journal in which everything was noted but its end."""
    journals = Journals(folder)
    with begun(journals) as journal:
        journal.release(1)
        for key in KEYS:
            journal.begins([key])
            journal.outcome(written=[key])
    path = only_account(journals).path
    data = path.read_bytes()
    path.unlink()
    return data


def test_a_journal_cut_off_at_any_byte_never_claims_too_much_or_too_little(tmp_path: Path) -> None:
    data = whole(tmp_path)
    journals = Journals(tmp_path)
    first = data.index(b"\n") + 1
    for length in range(len(data) + 1):
        (tmp_path / "1.jsonl").write_bytes(data[:length])
        found = journals.unfinished(uuid="u1")
        if length < first - 1:
            assert found == [], "nothing was begun before its first line was whole"
            continue
        (account,) = found
        assert account.damaged == 0
        lines = [json.loads(line) for line in data[:length].splitlines() if _is_json(line)]
        sent = {line["artifacts"][0][1] for line in lines if line["event"] == "writing"}
        done = {line["artifacts"][0][1] for line in lines if line["event"] == "written"}
        assert {key.id for key in account.written} == done
        assert {key.id for key in account.in_flight} == sent - done
        assert len(account.written + account.in_flight + account.not_begun) == 4


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("rubbish", [b"\0\0\0\n", b"[1]\n", b'{"event": "writ\n', b"\xff\xfe\n"])
def test_a_damaged_line_in_the_middle_is_counted(tmp_path: Path, rubbish: bytes) -> None:
    lines = whole(tmp_path).splitlines(keepends=True)
    (tmp_path / "1.jsonl").write_bytes(b"".join([*lines[:3], rubbish, *lines[3:]]))
    account = only_account(Journals(tmp_path))
    assert account.damaged == 1
    assert account.written == tuple(KEYS)


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b'{"event":"begun","format":1}\n', b"\xff" * 100])
def test_a_file_that_is_no_journal_is_left_out(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "1.jsonl").write_bytes(data)
    assert Journals(tmp_path).unfinished(uuid="u1") == []
    with begun(Journals(tmp_path)) as journal:
        journal.end("complete")


def test_old_journals_go_and_those_being_written_stay(tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    with begun(journals, "running"):
        for state in ("complete", "incomplete"):
            for _ in range(KEPT_JOURNALS + 5):
                with begun(journals) as journal:
                    journal.end(state)
        accounts = [read_journal(path) for path in sorted(tmp_path.iterdir())]
        ended = [account.ended for account in accounts if account is not None]
        assert (ended.count("complete"), ended.count("incomplete")) == (KEPT_JOURNALS - 1, KEPT_JOURNALS)
        assert ended[0] == "", "the oldest is still being written"


def test_a_journal_that_a_later_deploy_completed_is_no_longer_told_of(tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    with begun(journals) as journal:
        journal.begins(KEYS[:1])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])  # its last line was cut off
    journals.settle([only_account(journals)], 8)
    assert journals.unfinished(uuid="u1") == []


def test_a_folder_that_cannot_be_written_is_a_warning_unless_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("a file")
    monkeypatch.setenv("SIGMAWATCH_STATE", str(in_the_way))
    told: list[str] = []
    journals = journals_at(None, lambda message, hint: told.append(f"{message} {hint}"))
    with begun(journals) as journal:
        journal.begins(KEYS)
        journal.end("complete")
    assert len(told) == 1
    assert "no journal of this deploy can be kept on this machine" in told[0]
    assert "SIGMAWATCH_STATE" in told[0]
    assert "The deploy goes on" in told[0]
    assert journals.unfinished(uuid="u1") == []
    with pytest.raises(UsageError, match="no journal of this deploy can be kept") as caught:
        begun(journals_at(in_the_way))
    assert "--journal" in caught.value.hint


def test_without_a_home_the_deploy_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("SIGMAWATCH_STATE", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    told: list[str] = []
    with begun(journals_at(None, lambda message, hint: told.append(message))):
        assert "no home folder is known" in told[0]


def test_a_full_disk_removes_the_journal_rather_than_leave_a_wrong_one(tmp_path: Path) -> None:
    told: list[str] = []
    journals = Journals(tmp_path, on_trouble=lambda message, hint: told.append(message))
    with begun(journals) as journal:
        journal.begins(KEYS[:1])
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, journal._descriptor)
        os.close(full)
        journal.outcome(written=KEYS[:1])
        journal.begins(KEYS[1:])
    assert list(tmp_path.iterdir()) == []
    assert len(told) == 1
    assert "No space left on device; it was removed" in told[0]


# On an engine -----------------------------------------------------------------------------------------------

MANY = [pipeline(f"n{number:02}") for number in range(20)]


def deployed(target: Target, journals: Journals, *artifacts: Artifact, **options: Any) -> Any:
    return apply(target.cluster, target.plan(*artifacts), journals=journals, **options)


@pytest.mark.engine
def test_a_complete_deploy_leaves_a_finished_journal_of_all_it_wrote(target: Target, tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    deployed(target, journals, *MANY)
    (path,) = tmp_path.iterdir()
    account = read_journal(path)
    assert account is not None
    assert (account.ended, account.release, account.cluster_uuid) == ("complete", 1, target.cluster.info.uuid)
    assert set(account.written) == {one.key for one in MANY}
    assert (account.in_flight, account.not_begun, account.refused) == ((), (), ())
    assert journals.unfinished(uuid=target.cluster.info.uuid) == []
    deployed(target, journals, *MANY)
    assert list(tmp_path.iterdir()) == [path], "a deploy that changes nothing is not noted"


@pytest.mark.engine
def test_what_was_refused_is_told_and_the_next_deploy_completes_it(target: Target, tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    broken = Artifact("ingest_pipeline", f"{PREFIX}broken", {"processors": [{"no_such": {}}]})
    needs = pipeline("needs", depends_on=(broken.key,))
    with pytest.raises(DeployIncomplete):
        deployed(target, journals, pipeline("fine"), broken, needs)
    (account,) = journals.unfinished(uuid=target.cluster.info.uuid)
    assert account.ended == "incomplete"
    assert [key.id for key in account.written] == [f"{PREFIX}fine"]
    assert account.refused[0][0] == broken.key
    assert "no_such" in account.refused[0][1]
    assert account.not_begun == (needs.key,)
    result = deployed(target, journals, pipeline("fine"), pipeline("broken"), pipeline("needs"))
    assert [one.release for one in result.completed] == [1]
    assert journals.unfinished(uuid=target.cluster.info.uuid) == []


@pytest.mark.engine
def test_an_interrupted_deploy_and_its_completion_elsewhere(target: Target, tmp_path: Path) -> None:
    def on_progress(result: ArtifactResult, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    here, elsewhere = Journals(tmp_path / "here"), Journals(tmp_path / "elsewhere")
    with pytest.raises(KeyboardInterrupt):
        deployed(target, here, *MANY, on_progress=on_progress)
    (account,) = here.unfinished(uuid=target.cluster.info.uuid)
    assert account.ended == "interrupted"
    live = target.cluster.request("GET", f"/_ingest/pipeline/{PREFIX}*")
    assert {key.id for key in account.written} == set(live)
    newest = latest_release(target.cluster, "p")
    assert newest is not None
    assert not account.is_settled_by(newest)
    result = deployed(target, elsewhere, *MANY)
    assert result.completed == ()
    newest = latest_release(target.cluster, "p")
    assert newest is not None
    assert account.is_settled_by(newest)


@pytest.mark.engine
def test_a_removal_is_noted_as_such(target: Target, tmp_path: Path) -> None:
    journals = Journals(tmp_path)
    target.deploy(*MANY)
    apply(target.cluster, removal_plan(target.cluster, pack="p"), journals=journals)
    (path,) = tmp_path.iterdir()
    account = read_journal(path)
    assert account is not None
    assert account.removal
    assert set(account.written) == {one.key for one in MANY}
    assert "destroy --pack p" in account.next_step


@pytest.mark.engine
def test_a_deploy_that_never_began_to_write_is_not_told_of(target: Target, tmp_path: Path) -> None:
    target.deploy(pipeline("one"))
    plan = target.plan(pipeline("one", "2"))
    target.cluster.request("PUT", "/sigmawatch-releases/_settings", {"index.blocks.write": True})
    try:
        with pytest.raises(ClusterError):
            apply(target.cluster, plan, journals=Journals(tmp_path))
    finally:
        target.cluster.request("PUT", "/sigmawatch-releases/_settings", {"index.blocks.write": None})
    assert Journals(tmp_path).unfinished(uuid=target.cluster.info.uuid) == []


@pytest.mark.engine
def test_no_secret_that_is_sent_comes_into_the_journal(target: Target, tmp_path: Path) -> None:
    body = {"processors": [{"set": {"field": "a", "value": "1"}}, {"no_such": {"key": secret("k")}}]}
    keyed = Artifact("ingest_pipeline", f"{PREFIX}keyed", body)
    with pytest.raises(DeployIncomplete):
        deployed(target, Journals(tmp_path), keyed, secrets={"k": "TOP-SECRET-KEY"})
    (path,) = tmp_path.iterdir()
    assert "TOP-SECRET-KEY" not in path.read_text()


def test_writers_at_once_do_not_mix_their_lines(tmp_path: Path) -> None:
    with begun(Journals(tmp_path)) as journal:
        threads = [
            threading.Thread(target=lambda: [journal.begins(KEYS * 50) for _ in range(20)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    account = only_account(Journals(tmp_path))
    assert account.damaged == 0
    assert set(account.in_flight) == set(KEYS)
