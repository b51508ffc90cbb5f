"""Folders and users: by convention, by variable, and where root needs another user's."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from sigmawatch.engine.places import Account, account, new_work_dir, state_dir, store_dir
from sigmawatch.engine.state import remove_work_dir
from sigmawatch.errors import EngineError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the engine as another user")
ME = Account("me", os.geteuid(), os.getegid(), switch=False)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("SIGMAWATCH_CACHE", "SIGMAWATCH_STATE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)


def test_folders_follow_the_conventions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_dir(ME) == tmp_path / ".cache/sigmawatch"
    assert state_dir() == tmp_path / ".local/state/sigmawatch"
    assert stat.S_IMODE(state_dir().stat().st_mode) == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert store_dir(ME) == tmp_path / "c/sigmawatch"
    assert state_dir() == tmp_path / ".local/state/sigmawatch"
    monkeypatch.setenv("SIGMAWATCH_CACHE", str(tmp_path / "own"))
    assert store_dir(ME) == tmp_path / "own"


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIGMAWATCH_CACHE", str(tmp_path / "file/below"))
    with pytest.raises(EngineError, match="cannot be created") as caught:
        store_dir(ME)
    assert "SIGMAWATCH_CACHE" in caught.value.hint


def test_only_a_nodes_folder_is_ever_deleted(tmp_path: Path) -> None:
    kept = tmp_path / "precious"
    kept.mkdir()
    node = tmp_path / "sigmawatch-node-1"
    node.mkdir()
    for path in (kept, node / "../precious", Path("sigmawatch-node-1")):
        remove_work_dir(path)
    assert kept.is_dir()
    assert node.is_dir()
    remove_work_dir(node)
    assert not node.exists()


@as_root
def test_roots_closed_home_is_no_place_for_what_another_user_runs(tmp_path: Path) -> None:
    assert account().name == "nobody"
    assert store_dir(account()) == Path("/var/cache/sigmawatch")
    assert tmp_path not in new_work_dir(account()).parents


@as_root
def test_roots_own_private_cache_is_opened_for_passing_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("SIGMAWATCH_CACHE", folder)
        assert store_dir(account()) == Path(folder)
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o711
