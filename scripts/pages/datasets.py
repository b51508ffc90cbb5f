"""Writes the page of all datasets, ingest_pipelines/README.md. Run by scripts/dataset_page."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch.datasets import load_datasets, samples
from sigmawatch.datasets.pipeline import options_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets import Dataset

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "ingest_pipelines" / "README.md"
SPEED = Path(__file__).parents[1] / "benches" / "results" / "ingest.json"

GROUPS = {
    "flow": "Network flows",
    "dns": "DNS",
    "api": "API activity",
    "lb": "Load balancers",
    "web": "Web servers",
    "waf": "Web application firewalls",
    "auth": "Logins and accounts",
    "firewall": "Firewalls",
    "proxy": "Proxies",
    "ids": "Intrusion detection and packet capture",
    "finding": "Findings of cloud services",
    "findings": "Findings of cloud services",
}
"""First part of a dataset's name -> what the group is called; others are called by that part."""

TARGET = 0.6
AIMED = ("flow", "dns", "waf", "auth")
"""The ratio that is aimed at, and the groups for which it is."""

SLOW = {
    "auth.ivanti_connect_secure": "two formats, of which both are tried, and messages looked up in a list of templates",
    "waf.azure": "five forms of record, keys in any case, and the members of what matched",
}
"""Datasets below it -> why."""

SWITCHES = {
    "enrich": "what is added to its events (`docs/enrichment.md`)",
    "format": "the order of columns, where a log's format is its owner's choice",
    "networks": "what is inside, for `network.direction`",
    "timezone": "of stamps that have none",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/dataset_page", description="Write ingest_pipelines/README.md, the page of all datasets."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 when it is not up to date"
    )
    options = parser.parse_args()
    text = page(load_datasets(ROOT / "ingest_pipelines"), measured())
    if options.check:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(f"error: {PAGE.relative_to(ROOT)} is not up to date; run scripts/dataset_page\n")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


def measured() -> Mapping[str, Any]:
    """Return the figures of `scripts/bench ingest --json` that are kept with the project."""
    found: dict[str, Any] = orjson.loads(SPEED.read_bytes()) if SPEED.is_file() else {"datasets": {}}
    return found


def page(datasets: Sequence[Dataset], speed: Mapping[str, Any]) -> str:
    """Return the page."""
    groups: dict[str, list[Dataset]] = {}
    for dataset in datasets:
        prefix = dataset.name.partition(".")[0]
        groups.setdefault(GROUPS.get(prefix, prefix), []).append(dataset)
    order = list(dict.fromkeys(GROUPS.values()))
    used = sorted({option for dataset in datasets for option in options_of(dataset)})
    lines = [
        "# Datasets",
        "",
        "<!-- Made by scripts/dataset_page: change the datasets, not this page. -->",
        "",
        *_wrapped(
            f"{len(datasets)} kinds of log that become ECS events: each a folder here with its description, its "
            "fields, samples with the documents that must come of them, and a page on how the log is switched on "
            "and shipped. How a dataset is described says `plugin/sigmawatch/datasets/README.md`; `registry.yml` "
            "has the types of all fields."
        ),
        "",
        *_legend(used, speed),
    ]
    for title in sorted(
        groups, key=lambda title: (order.index(title) if title in order else len(order), title)
    ):
        lines += [
            "",
            f"## {title}",
            "",
            "| dataset | log | Sigma log sources | options | fields | samples | lines/s | CPU µs | ratio |",
            "|---|---|---|---|---:|---:|---:|---:|---:|",
        ]
        lines += [_row(dataset, speed["datasets"].get(dataset.name)) for dataset in groups[title]]
    return "\n".join([*lines, ""])


def _legend(used: Sequence[str], speed: Mapping[str, Any]) -> list[str]:
    lines = ["**Options** with which pipelines can be built, as the page of each dataset says:", ""]
    lines += [
        f"- `{option}`: {SWITCHES.get(option, 'see the pages of the datasets that have it')}"
        for option in used
    ]
    lines += [
        "",
        *_wrapped(
            "**Fields** are those of the dataset itself, beside the ones that all have. **Samples** are lines with an "
            "expected document."
        ),
    ]
    if speed["datasets"]:
        lines += [
            "",
            *_wrapped(
                f"**Speed** is that of `scripts/bench ingest` on {speed['date']} with {speed['engine']}, one node on "
                "a machine of two processors that did other work as well: lines indexed a second, the node's CPU for "
                "a line, and how much of it indexing the finished document alone takes (the ratio: 1 would be a "
                "pipeline that costs nothing). Without figures: not measured. The CPU is counted in "
                "hundredths of a second, so that a ratio is good to about 0.05."
            ),
            "",
            *_wrapped(_below(speed["datasets"])),
        ]
    return lines


def _below(speed: Mapping[str, Mapping[str, Any]]) -> str:
    """Return which of the datasets that are to reach a ratio do not, and why that is."""
    low = {
        name: one["ratio"]
        for name, one in speed.items()
        if one["ratio"] < TARGET and name.partition(".")[0] in AIMED
    }
    groups = ", ".join(f"`{group}`" for group in AIMED)
    if not low:
        return f"All datasets of the groups {groups} reach the ratio of {TARGET} that is aimed at there."
    named = "; ".join(
        f"`{name}` {ratio:.2f}" + (f" ({SLOW[name]})" if name in SLOW else "")
        for name, ratio in sorted(low.items(), key=lambda pair: pair[1])
    )
    return f"Of the groups {groups}, for which a ratio of {TARGET} is aimed at, below it are: {named}."


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 119, break_long_words=False, break_on_hyphens=False)


def _row(dataset: Dataset, speed: Mapping[str, Any] | None) -> str:
    lines = sum(len(sample.expected or ()) for sample in samples(dataset))
    sources = "; ".join(
        ", ".join(f"{key}: {source[key]}" for key in ("product", "service", "category") if key in source)
        for source in dataset.logsources
    )
    options = ", ".join(f"`{option}`" for option in sorted(options_of(dataset)))
    figures = ["", "", ""]
    if speed is not None:
        figures = [
            f"{speed['lines_per_second']:,.0f}",
            f"{speed['pipeline_us']:.0f}",
            f"{speed['ratio']:.2f}",
        ]
    cells = [
        f"[`{dataset.name}`]({dataset.name}/README.md)",
        dataset.title,
        sources,
        options,
        str(len(dataset.field_info)),
        str(lines),
        *figures,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
