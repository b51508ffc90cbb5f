"""Fetching and unpacking an engine: whole or not at all, whatever the network, the disk and others do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from child import python
from engine.repository_stand_in import CONTENT, DISTRIBUTION, FILES, repository
from sigmawatch.engine.fetch import REPOSITORY_VARIABLE
from sigmawatch.engine.home import installed
from sigmawatch.errors import EngineError

INSTALL = """
import sys, pathlib
from engine.repository_stand_in import DISTRIBUTION
from sigmawatch.engine.home import installed
from sigmawatch.errors import EngineError
try:
    print(installed(DISTRIBUTION, pathlib.Path(sys.argv[1])))
except EngineError as error:
    sys.exit(error.message)
"""


def left_over(store: Path) -> list[str]:
    """All that lies in the store besides the finished home and the locks."""
    return sorted(
        str(path.relative_to(store))
        for path in store.rglob("*")
        if path.is_file() and DISTRIBUTION.home_name not in path.parts and path.suffix != ".lock"
    )


def check_home(home: Path) -> None:
    assert (home / "lib/a.jar").read_bytes() == FILES["thing-1/lib/a.jar"]
    assert (home / "modules/m/m.jar").read_bytes() == FILES["thing-1/modules/m/m.jar"]
    found = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert found == {"lib/a.jar", "modules/m/m.jar", "manifest.json"}
    assert (home / "bin").is_dir()
    assert all(path.stat().st_mode & 0o004 for path in (home, *home.rglob("*")))


def test_an_engine_is_fetched_once_and_only_what_is_needed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    news: list[tuple[str, int, int | None]] = []
    with repository() as served:
        monkeypatch.setenv(REPOSITORY_VARIABLE, served.url)
        previous = os.umask(0o077)  # must not decide what another user may read
        try:
            home = installed(DISTRIBUTION, tmp_path, lambda *args: news.append(args))
        finally:
            os.umask(previous)
        assert installed(DISTRIBUTION, tmp_path) == home
        assert served.requests == 1
    check_home(home)
    assert left_over(tmp_path) == []
    assert ("Fetching Thing 1", len(CONTENT), len(CONTENT)) in news
    assert news[-1] == ("Unpacking Thing 1", 8000, 8000)


def test_a_home_that_lost_a_file_is_unpacked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with repository() as served:
        monkeypatch.setenv(REPOSITORY_VARIABLE, served.url)
        home = installed(DISTRIBUTION, tmp_path)
        (home / "lib/a.jar").unlink()
        check_home(installed(DISTRIBUTION, tmp_path))
        assert served.requests == 2


@pytest.mark.parametrize("bad", ["truncated", "altered"])
def test_a_bad_download_is_removed_and_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    with repository(bad) as served:
        monkeypatch.setenv(REPOSITORY_VARIABLE, served.url)
        check_home(installed(DISTRIBUTION, tmp_path))
        assert served.requests == 2
    assert left_over(tmp_path) == []


def test_a_download_that_is_corrupt_twice_is_refused_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repository("altered", "altered") as served:
        monkeypatch.setenv(REPOSITORY_VARIABLE, served.url)
        with pytest.raises(EngineError, match=r"fetched twice and is corrupt: SHA-256 \w+ instead of"):
            installed(DISTRIBUTION, tmp_path)
        assert served.requests == 2
    assert left_over(tmp_path) == []


def test_a_network_that_keeps_failing_is_reported_after_three_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repository("truncated", "truncated", "truncated") as served:
        monkeypatch.setenv(REPOSITORY_VARIABLE, served.url)
        with pytest.raises(EngineError, match="cannot be fetched") as caught:
            installed(DISTRIBUTION, tmp_path)
        assert served.requests == 3
    assert REPOSITORY_VARIABLE in caught.value.hint
    assert left_over(tmp_path) == []


def test_a_file_that_the_repository_lacks_is_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repository("missing") as served:
        monkeypatch.setenv(REPOSITORY_VARIABLE, served.url)
        with pytest.raises(EngineError, match=r"org\.example:thing:1:zip cannot be fetched"):
            installed(DISTRIBUTION, tmp_path)
        assert served.requests == 1


def test_an_archive_put_there_by_hand_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPOSITORY_VARIABLE, "http://127.0.0.1:9")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/thing-1.zip").write_bytes(CONTENT)
    check_home(installed(DISTRIBUTION, tmp_path))


def test_a_corrupt_archive_in_the_cache_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/thing-1.zip").write_bytes(CONTENT[:-100])
    with repository() as served:
        monkeypatch.setenv(REPOSITORY_VARIABLE, served.url)
        check_home(installed(DISTRIBUTION, tmp_path))
        assert served.requests == 1


def test_two_processes_fetch_once(tmp_path: Path) -> None:
    with repository("hanging") as served:
        environment = os.environ | {REPOSITORY_VARIABLE: served.url}
        command = python(INSTALL, str(tmp_path))
        first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert served.halfway.wait(180)
        second = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        served.released.set()  # cut off: the first one tries again, the second one waits for it
        answers = {process.communicate(timeout=180)[0].strip() for process in (first, second)}
        assert answers == {str(tmp_path / DISTRIBUTION.home_name)}
        assert served.requests == 2
    check_home(tmp_path / DISTRIBUTION.home_name)


def test_a_fetch_that_was_killed_leaves_nothing_that_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repository("hanging") as served:
        environment = os.environ | {REPOSITORY_VARIABLE: served.url}
        killed = subprocess.Popen(python(INSTALL, str(tmp_path)), env=environment)
        assert served.halfway.wait(180)
        killed.kill()
        killed.wait()
        monkeypatch.setenv(REPOSITORY_VARIABLE, served.url)
        check_home(installed(DISTRIBUTION, tmp_path))
    assert left_over(tmp_path) == []


def test_too_little_space_is_reported_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - stand-in for the system's answer
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 20_000, 20_000))
    with repository() as served:
        monkeypatch.setenv(REPOSITORY_VARIABLE, served.url)
        too_large = replace(DISTRIBUTION, unpacked_size=5_000_000)
        with pytest.raises(EngineError, match=r"needs 5 MB in .*, but only 0 MB are free"):
            installed(too_large, tmp_path)
        assert served.requests == 0
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(("limit", "what"), [(2000, "cannot be written"), (4000, "cannot be unpacked")])
def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_written(
    tmp_path: Path, limit: int, what: str
) -> None:
    # A limit on the size of files is how a full disk looks to a program, without filling one.
    if what == "cannot be unpacked":
        (tmp_path / "downloads").mkdir()
        (tmp_path / "downloads/thing-1.zip").write_bytes(CONTENT)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n{INSTALL}"
    with repository() as served:
        done = subprocess.run(
            python(limited, str(tmp_path)),
            env=os.environ | {REPOSITORY_VARIABLE: served.url, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("the disk is full: ")
    assert what in done.stderr
    assert [name for name in left_over(tmp_path) if not name.endswith("thing-1.zip")] == []
    assert not (tmp_path / DISTRIBUTION.home_name).exists()
