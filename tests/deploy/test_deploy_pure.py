"""The parts of the deployer that need no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from deploy.deploy_targets import pipeline
from sigmawatch.artifact import Artifact, ArtifactKey
from sigmawatch.deploy import Action, ApplyResult, ArtifactResult, Change, DeployIncomplete, Plan, render_plan
from sigmawatch.deploy import kinds as kinds_package
from sigmawatch.deploy.compare import covers, unified_diff
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.kinds._shapes import flat_settings, name_lists
from sigmawatch.deploy.order import waves
from sigmawatch.deploy.plan import Refusal
from sigmawatch.errors import ContentError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


def test_every_module_of_kinds_is_a_kind() -> None:
    folder = Path(kinds_package.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert set(all_kinds()) == files
    assert {name for name, kind in all_kinds().items() if kind.name != name} == set()


@pytest.mark.parametrize("name", ["planner", "applier", "plan", "present"])
def test_planner_and_applier_know_no_kind_by_name(name: str) -> None:
    source = (Path(kinds_package.__file__).parent.parent / f"{name}.py").read_text()
    assert [kind for kind in all_kinds() if f'"{kind}"' in source] == []


def test_waves_follow_dependencies_and_then_rank() -> None:
    ranks = {"a": 10, "b": 20}
    first, second = Artifact("b", "1", {}), Artifact("a", "2", {}, depends_on=(ArtifactKey("b", "1"),))
    third = Artifact("a", "3", {}, depends_on=(ArtifactKey("elsewhere", "x"),))
    order = waves([second, first, third], lambda artifact: ranks[artifact.kind])
    assert [[one.id for one in wave] for wave in order] == [["3"], ["1"], ["2"]]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=15))
def test_waves_hold_everything_once_and_dependencies_first(edges: list[tuple[int, int]]) -> None:
    needs = {n: {low for high, low in edges if high == n and low < n} for n in range(10)}
    artifacts = [
        Artifact("k", str(n), {}, depends_on=tuple(ArtifactKey("k", str(d)) for d in needs[n]))
        for n in range(10)
    ]
    order = [one.id for wave in waves(artifacts, lambda _: 0) for one in wave]
    assert sorted(order) == sorted(str(n) for n in range(10))
    assert all(order.index(str(low)) < order.index(str(n)) for n in range(10) for low in needs[n])


def test_a_circle_is_named() -> None:
    with pytest.raises(ContentError, match="k a → k b → k a"):
        waves(
            [
                Artifact("k", "a", {}, depends_on=(ArtifactKey("k", "b"),)),
                Artifact("k", "b", {}, depends_on=(ArtifactKey("k", "a"),)),
                Artifact("k", "c", {}, depends_on=(ArtifactKey("k", "a"),)),
            ],
            lambda _: 0,
        )


@given(JSON)
def test_a_body_covers_itself(body: object) -> None:
    assert covers(body, body)


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"a": 1, "added": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "removed": 2}, False),
        ({"a": [{"b": 1, "added": 2}]}, {"a": ({"b": 1},)}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"password": "::es_redacted::"}, {"password": "secret"}, True),
        ({"a": 1}, {"a": 2}, False),
        ([], {}, False),
    ],
)
def test_what_covers_what(live: object, wanted: object, expected: bool) -> None:
    assert covers(live, wanted) is expected


def test_scripts_are_compared_line_by_line() -> None:
    diff = unified_diff({"source": "one;\ntwo;\nthree;"}, {"source": "one;\nTWO;\nthree;"})
    assert "-    two;\n+    TWO;" in diff
    assert unified_diff({"a": 1}, {"a": 1}) == ""
    assert unified_diff({"a": "back\\nslash"}, {"a": "x"}).splitlines()[2] == '-  "a": "back\\\\nslash"'


def test_settings_compare_however_they_are_written() -> None:
    assert flat_settings({"number_of_shards": 1, "index": {"hidden": True}}) == flat_settings(
        {"index.number_of_shards": "1", "index.hidden": "true"}
    )


def test_names_are_split_into_urls_that_servers_take() -> None:
    names = [f"index-{number:04}" for number in range(2_000)]
    lists = list(name_lists(names))
    assert [name for part in lists for name in part] == names
    assert max(len(",".join(part)) for part in lists) < 4_000
    assert list(name_lists([])) == []


@pytest.mark.parametrize(
    ("kind", "sent", "returned"),
    [
        (
            "index_template",
            {"index_patterns": "a-*", "data_stream": {}, "template": {"settings": {"number_of_shards": 1}}},
            {
                "index_patterns": ["a-*"],
                "composed_of": [],
                "data_stream": {"hidden": False, "allow_custom_routing": False},
                "template": {"settings": {"index": {"number_of_shards": "1"}}},
                "created_date_millis": 5,
                "_meta": {"sigmawatch": {"pack": "p"}},
            },
        ),
        (
            "stored_script",
            {"script": {"lang": "mustache", "source": {"query": {"match_all": {}}}}},
            {
                "script": {
                    "lang": "mustache",
                    "source": '{"query":{"match_all":{}}}',
                    "options": {"content_type": "application/json;charset=utf-8"},
                }
            },
        ),
        (
            "index",
            {
                "settings": {"x": 1},
                "mappings": {"dynamic": True, "properties": {"o": {"type": "object", "properties": {}}}},
            },
            {"mappings": {"dynamic": "true", "properties": {"o": {"properties": {}}}}},
        ),
        ("detection", {"plan": 1}, {"plan": {"plan": 1}, "marks": {"pack": "p"}}),
        ("data_stream", {}, {"anything": 1}),
    ],
)
def test_what_is_sent_and_what_comes_back_compare_equal(
    kind: str, sent: dict[str, object], returned: dict[str, object]
) -> None:
    before = json.dumps([sent, returned])
    assert all_kinds()[kind].normalise(sent) == all_kinds()[kind].normalise(returned)
    assert json.dumps([sent, returned]) == before, "bodies are not changed in place"


def sample_plan() -> Plan:
    def change(name: str, action: Action, **more: object) -> Change:
        return Change(ArtifactKey("ingest_pipeline", name), action, artifact=pipeline(name), **more)  # type: ignore[arg-type]

    return Plan(
        pack="builtin",
        cluster="OpenSearch 3.7.0, cluster test",
        changes=(
            change("new", Action.CREATE, after={"a": 1}),
            change("mine", Action.UPDATE, before={"a": 1}, after={"a": "[bold]2"}),
            change("theirs", Action.DRIFTED, reason="changed outside", before={"a": 3}, after={"a": 1}),
            change("same", Action.UNCHANGED),
            Change(ArtifactKey("watch", "old"), Action.DELETE, "no longer in the pack", before={"a": 1}),
        ),
        registry={},
        refusals=(Refusal("21 artifacts would be deleted", "--max-deletes 21"),),
        notes=("something to know",),
    )


def rendered(plan: Plan, **options: bool) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(render_plan(plan, **options))
    return capture.get()


def test_a_plan_reads_like_a_list_of_changes() -> None:
    text = rendered(sample_plan())
    assert "+ create ingest_pipeline new\n" in text
    assert "~ update ingest_pipeline mine\n" in text
    assert '    +  "a": "[bold]2"\n' in text, "bodies are no markup"
    assert "! restore ingest_pipeline theirs  (changed outside)\n" in text
    assert "- delete watch old  (no longer in the pack)\n" in text
    assert "same" not in text
    assert "Note: something to know" in text
    assert "Refused: 21 artifacts would be deleted" in text
    assert text.endswith(
        "Plan: 1 to create, 1 to update, 1 changed outside, to restore, 1 to delete, 1 unchanged.\n"
    )


def test_long_differences_are_cut_unless_asked_for() -> None:
    body = {f"k{number}": number for number in range(300)}
    change = Change(ArtifactKey("watch", "w"), Action.UPDATE, before={}, after=body)
    plan = Plan("p", "c", (change,), {})
    assert "more lines" in rendered(plan)
    assert "more lines" not in rendered(plan, full=True)


@pytest.mark.parametrize(
    "body",
    [
        {"rule": {"title": "Port scan"}},
        {"metadata": {"rule": {"title": "Port scan"}}},
        {"name": "Port scan", "rule": "none"},
    ],
    ids=["detection", "watch", "monitor"],
)
def test_what_has_a_title_is_told_by_it_also_when_it_goes(body: dict[str, object]) -> None:
    key = ArtifactKey("any", "0b9e2a44")
    comes = Change(key, Action.CREATE, artifact=Artifact("any", "0b9e2a44", body), after=body)
    goes = Change(key, Action.DELETE, reason="no longer in the pack", before=body)
    text = rendered(Plan("p", "c", (comes, goes), {}))
    assert "+ create any 0b9e2a44  Port scan\n" in text
    assert "- delete any 0b9e2a44  Port scan  (no longer in the pack)\n" in text
    assert Change(key, Action.DELETE, before={"name": "0b9e2a44"}).title == ""


def test_a_plan_is_data() -> None:
    data = json.loads(json.dumps(sample_plan().to_dict()))
    assert data["counts"] == {"create": 1, "update": 1, "drifted": 1, "unchanged": 1, "delete": 1}
    assert data["changes"][0]["after"] == pipeline("new").body
    assert data["changes"][0]["source"] == "new.yml"


def test_an_incomplete_deploy_lists_what_failed() -> None:
    results = [
        ArtifactResult(ArtifactKey("watch", str(n)), Action.CREATE, ok=False, error="no") for n in range(25)
    ]
    error = DeployIncomplete(ApplyResult(tuple(results)))
    assert error.exit_code == 4
    assert "25 of 25 artifacts failed" in error.message
    assert "… and 5 more" in error.message
