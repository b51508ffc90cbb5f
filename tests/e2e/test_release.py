"""scripts/release, as a maintainer runs it: the same revision gives the same files, and a signature holds."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def release(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts/release"), str(folder)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("signing is not tested here: there is no ssh-keygen")
    path = tmp_path_factory.mktemp("key") / "release"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=180)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "dist"
    done = release(folder, SIGMAWATCH_SIGNING_KEY="")
    assert done.returncode == 0, done.stderr
    return folder


def test_it_holds_what_can_be_installed_what_is_in_it_and_checksums_of_both(made: Path) -> None:
    names = {path.name for path in made.iterdir()}
    assert {name.rpartition(".")[2] for name in names} == {"json", "SHA256SUMS", "whl", "gz"}
    sums = [line.split("  ") for line in (made / "SHA256SUMS").read_text().splitlines()]
    assert sorted(name for _, name in sums) == sorted(names - {"SHA256SUMS"})
    for digest, name in sums:
        assert hashlib.sha256((made / name).read_bytes()).hexdigest() == digest


def test_the_bill_of_materials_names_every_package_with_its_version_and_hashes(made: Path) -> None:
    bill = json.loads((made / "sbom.cdx.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "sigmawatch")
    locked = {
        line.split(" ")[0]
        for line in (ROOT / "scripts/requirements/run.txt").read_text().splitlines()
        if line[:1].isalnum()
    }
    assert {f"{one['name']}=={one['version']}" for one in bill["components"]} == locked
    assert all(one["externalReferences"][0]["hashes"] for one in bill["components"])


def test_a_second_build_gives_the_same_files_and_is_signed(made: Path, key: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    done = release(again, SIGMAWATCH_SIGNING_KEY=str(key))
    assert done.returncode == 0, done.stderr
    sums = (again / "SHA256SUMS").read_bytes()
    assert sums == (made / "SHA256SUMS").read_bytes()
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"maintainer {key.with_suffix('.pub').read_text()}", encoding="utf-8")
    command = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "maintainer", "-n", "sigmawatch"]
    command += ["-s", str(again / "SHA256SUMS.sig")]
    assert subprocess.run(command, input=sums, capture_output=True, timeout=180, check=False).returncode == 0
    other = sums.replace(b"sbom", b"sbon")
    assert subprocess.run(command, input=other, capture_output=True, timeout=180, check=False).returncode != 0


def test_a_folder_that_holds_something_is_refused(made: Path) -> None:
    refused = release(made)
    message = f"error: {made} is not empty; a release goes to a folder of its own\n"
    assert (refused.returncode, refused.stderr) == (2, message)
