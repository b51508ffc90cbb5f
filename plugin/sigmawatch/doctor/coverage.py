"""Whether rules have something to look at: indices, the fields that they name, of the types they were compiled for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import url_path
from sigmawatch.compile.asked import fields_of_plan
from sigmawatch.compile.fieldtypes import FieldKind, FieldTypes, kind_of
from sigmawatch.doctor.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["check_rules"]

_LONGEST = 3_000
_ALIKE = {FieldKind.FLATTENED: FieldKind.KEYWORD, FieldKind.FLOAT: FieldKind.INTEGER}
"""Kinds whose queries find the same in each other."""


def check_rules(
    cluster: Cluster,
    plans: Sequence[DetectionPlan],
    dataset_types: Mapping[str, str],
    *,
    scoping: Collection[str] = (),
) -> Iterator[Finding]:
    """Yield what stands between rules and what they are to find. Raises ClusterError.

    `dataset_types`: mapping types of the datasets' fields, which the rules were compiled for. `scoping`: fields that
    tell log sources of one dataset apart; where that is not deployed, rules look at the others.
    """
    types = FieldTypes({}, dataset_types)
    by_indices: dict[tuple[str, ...], list[DetectionPlan]] = {}
    for plan in plans:
        by_indices.setdefault(plan.indices, []).append(plan)
    blind: list[str] = []
    missing: list[str] = []
    mistyped: list[str] = []
    for indices, mine in sorted(by_indices.items()):
        wanted = {plan.rule.title: fields_of_plan(plan) for plan in mine}
        found = _live_types(cluster, indices, set().union(*wanted.values()))
        if found is None:
            blind += [f"{title}: no index matches {', '.join(indices)}" for title in sorted(wanted)]
            continue
        for title, fields in sorted(wanted.items()):
            absent = sorted(name for name in fields if name not in found and name not in scoping)
            if absent:
                missing.append(f"{title}: {', '.join(absent)}")
            mistyped += [
                f"{title}: {name} {wrong}"
                for name in sorted(fields & found.keys())
                if (wrong := _wrong(types, name, found[name]))
            ]
    rules = f"{len(plans)} rule{'' if len(plans) == 1 else 's'}"
    if not plans:
        return
    if blind:
        hint = "Deploy the datasets and let logs come in; without events these rules find nothing."
        yield Finding("indices", Verdict.WARNING, f"{len(blind)} of {rules} have none", hint, tuple(blind))
    else:
        yield Finding("indices", Verdict.FINE, f"there for all {rules}")
    if missing:
        hint = "No document had them yet, or the log comes from another pipeline and names them differently."
        told = f"{len(missing)} of {rules} name some that no index has"
        yield Finding("fields", Verdict.WARNING, told, hint, tuple(missing))
    elif len(blind) < len(plans):
        yield Finding("fields", Verdict.FINE, "all that rules name are mapped")
    if mistyped:
        hint = "Queries are made for the other type and find nothing, or too much; deploy the datasets' templates."
        told = f"{len(mistyped)} fields have types that rules were not compiled for"
        yield Finding("types", Verdict.PROBLEM, told, hint, tuple(mistyped))
    elif len(blind) < len(plans):
        yield Finding("types", Verdict.FINE, "as the rules were compiled for")


def _wrong(types: FieldTypes, name: str, live: frozenset[str]) -> str:
    """Return how the live types of a field differ from what it was compiled for; empty when they do not."""
    declared = types.mapping_type(name.removesuffix(".keyword")) or "keyword"
    expected = FieldKind.KEYWORD if name.endswith(".keyword") else kind_of(declared)
    kinds = {_ALIKE.get(kind, kind) for kind in map(kind_of, live - {"unmapped", "object", "nested"})}
    if not kinds or kinds == {_ALIKE.get(expected, expected)}:
        return ""
    return f"is {' and '.join(sorted(live))}, expected {expected}"


def _live_types(
    cluster: Cluster, indices: tuple[str, ...], fields: Iterable[str]
) -> dict[str, frozenset[str]] | None:
    """Return the types of those fields that are mapped; None where no index matches."""
    found: dict[str, frozenset[str]] = {}
    any_index = False
    for some in _in_parts(sorted(fields)):
        params: dict[str, Any] = {
            "fields": ",".join(some),
            "ignore_unavailable": "true",
            "allow_no_indices": "true",
        }
        path = f"/{','.join(url_path(one)[1:] for one in indices)}/_field_caps"
        answer = cluster.request("GET", path, params=params)
        any_index = any_index or bool(answer.get("indices"))
        found |= {name: frozenset(types) for name, types in answer.get("fields", {}).items()}
    return found if any_index else None


def _in_parts(fields: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for name in fields or ["@timestamp"]:
        if part and sum(map(len, part)) + len(part) + len(name) > _LONGEST:
            yield part
            part = []
        part.append(name)
    yield part
