"""The page of all datasets."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from datasets.dataset_server import ROOT

if TYPE_CHECKING:
    from sigmawatch.datasets import Dataset

SCRIPT = ROOT.parent / "scripts" / "pages" / "datasets.py"


def test_the_page_is_up_to_date() -> None:
    ran = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_page_lists_every_dataset_once_with_links_that_lead_somewhere(datasets: list[Dataset]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"^\| \[`(.+?)`\]\((.+?)\)", text, re.MULTILINE)
    assert sorted(name for name, _ in links) == [dataset.name for dataset in datasets]
    for _, target in links:
        assert (ROOT / target).is_file()
