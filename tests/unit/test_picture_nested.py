"""Pictures of plans, of goals, and of runs inside the tasks whose work they are."""

import asyncio
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from cli_state import at
from nested_state import PLAN, RELEASE, SERVERS, TIDY, a_run, add, project
from picture_cases import HOSTILE, ROOMY
from test_cli_nested import Cli
from test_picture_formats import FORBIDDEN, RENDERERS, joined, out

from runwright.adapters.sqlite import SqliteStore
from runwright.cli.inspect import Everything, gather
from runwright.cli.render import graph_ascii, graph_json, timeline
from runwright.cli.render.drafting import draft_subject
from runwright.cli.render.graph_svg import drawing_of
from runwright.cli.render.layout import Rect
from runwright.cli.render.picture import Limits, Picture, Wishes, everything_in
from runwright.cli.render.schedule import schedule
from runwright.cli.render.subject import Subject
from runwright.cli.subjects import plan_subject, subject_of
from runwright.core.definition import pin
from runwright.core.plan import Hook, PlanDefinition, StepDefinition
from runwright.core.run import Run, TaskRow
from runwright.core.states import RunState, TaskState
from runwright.core.workflow import TaskDefinition, Workflow

SVG = "{http://www.w3.org/2000/svg}"
TIDIED = ("1", "1.mv a b", "1.mkdir c", "1.mkdir c.chmod c", "2", "3", "3.mv a b", "4", "4.mv b a")
SMALL = Limits(fold=6, cells=100, width=100, levels=100, blocks=10_000, edges=10_000, depth=1, inner=2)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def release(path: Path) -> Subject:
    return subject(path, RELEASE)


def subject(path: Path, run_id: str) -> Subject:
    async def work() -> Everything:
        store = SqliteStore.open(path)
        try:
            return await gather(store, await store.find_run(run_id))
        finally:
            await store.close()

    return subject_of(asyncio.run(work()), at(100))


def drawn(what: Subject, limits: Limits = ROOMY) -> Picture:
    return draft_subject(what, Wishes(critical=True, handlers=True, detail=True), limits)


# -- plans and goals --------------------------------------------------------------------------------------------


def test_a_plan_is_a_chain_that_tells_of_cleanups(path: Path) -> None:
    picture = drawn(subject(path, SERVERS))
    assert [block.label for block in picture.blocks] == ["network", "wait_1 (2.0 s)", "database", "report"]
    assert [(edge.source, edge.target) for edge in picture.edges] == [(0, 1), (1, 2), (2, 3)]
    assert [block.undo for block in picture.blocks] == ["cleanup succeeded", "", "cleanup not run", ""]
    assert (picture.tasks, picture.kind) == (4, "plan")


def test_a_plan_without_a_run_tells_which_steps_have_a_cleanup() -> None:
    blocks = drawn(plan_subject(PLAN)).blocks
    assert [bool(block.undo) for block in blocks] == [True, False, True, False]
    assert blocks[0].state is None
    assert ("cleanup", "net down") in blocks[0].facts


def test_a_step_made_in_code_with_a_bracket_in_its_name() -> None:
    steps = tuple(StepDefinition(name=f"a[{n}]", hooks={Hook.EXEC: (), Hook.CLEANUP: ()}) for n in (1, 2))
    picture = drawn(plan_subject(PlanDefinition(name="p", elements=steps)))
    assert [block.label for block in picture.blocks] == ["a[1]", "a[2]"]
    assert ("runs", "a function") in picture.blocks[0].facts


def test_a_goal_is_a_row_of_rounds(path: Path) -> None:
    picture = drawn(subject(path, TIDY))
    names = [block.label for block in picture.blocks]
    edges = {(names[edge.source], names[edge.target]) for edge in picture.edges}
    assert {("round 1", "mkdir c"), ("mkdir c", "chmod c"), ("chmod c", "round 2")} <= edges
    assert {("mv a b", "round 2"), ("round 2", "round 3"), ("round 3", "mv a b")} <= edges
    assert ("mkdir c", "round 2") not in edges
    assert (picture.tasks, picture.levels) == (5, 4)
    assert picture.blocks[names.index("round 2")].facts[1] == ("about", "plan: exit status 9")


def test_a_run_whose_definition_is_gone_or_strange_has_no_blocks() -> None:
    run = Run(id="r", name="p", kind="plan", created_at=at(0), state=RunState.FAILED)
    for definition in (None, pin(Workflow(name="w"))):
        found = Everything(run, [TaskRow(id="a", key="a", name="a")], [], [], [], definition)
        assert drawn(subject_of(found, at(1))).title in {"p", "w"}


# -- inside -----------------------------------------------------------------------------------------------------


def test_runs_stand_inside_the_tasks_whose_work_they_are(release: Subject) -> None:
    picture = drawn(release)
    deploy = next(block for block in picture.blocks if block.id == "deploy")
    (rollout,) = deploy.inner
    (servers,) = rollout.blocks[0].inner
    assert (rollout.kind, rollout.title, rollout.place) == ("workflow", "rollout", "")
    assert (servers.kind, servers.place, servers.run_id) == ("plan", "2 runs, the last:", SERVERS)
    assert [one.title for one in everything_in(picture)] == ["release", "rollout", "servers", "tidy"]


def test_what_is_too_deep_or_too_much_is_told(release: Subject) -> None:
    picture = drawn(release, SMALL)
    assert [one.title for one in everything_in(picture)] == ["release", "rollout", "tidy"]
    assert picture.notes[-1] == "1 inner run left out; --format json has them all."


@pytest.mark.parametrize("kind", RENDERERS)
def test_every_format_shows_what_is_inside(release: Subject, kind: str) -> None:
    text = RENDERERS[kind](drawn(release))
    for name in ("rollout", "servers", "network", "cleanup succeeded", "round 3", "chmod c"):
        assert name in text
    assert text == RENDERERS[kind](drawn(release))


def test_the_tree_indents_inner_runs(release: Subject) -> None:
    lines = joined(graph_ascii.render(drawn(release), out())).splitlines()
    deploy = next(n for n, line in enumerate(lines) if "Deploy" in line)
    inner = next(line for line in lines[deploy:] if "workflow rollout" in line)
    step = next(line for line in lines[deploy:] if "network" in line and "cleanup" in line)
    assert inner.index("┊") < step.index("✓")
    assert step.count("┊ ") == 2
    plain = joined(graph_ascii.render(drawn(release), out(fine=False)))
    assert plain.isascii()


def test_json_nests_the_runs_of_a_node(release: Subject) -> None:
    found = json.loads(graph_json.render_subject(release, critical=True))
    assert found["kind"] == "workflow"
    deploy = next(node for node in found["nodes"] if node["id"] == "deploy")
    servers = deploy["runs"][0]["nodes"][0]["runs"]
    assert [one["run"]["state"] for one in servers] == ["interrupted", "failed"]
    assert servers[1]["cleanups"][0]["id"] == "network.cleanup"
    assert [node["id"] for node in servers[1]["nodes"]] == ["network", "wait_1", "database", "report"]


def test_edges_reach_into_clusters_and_braces_match(release: Subject) -> None:
    dot = RENDERERS["dot"](drawn(release))
    assert dot.count("{") == dot.count("}")
    assert re.search(r"n0 -> n1i0n0i0n0 \[.*lhead=cluster_n1\]", dot)
    assert re.search(r"n1i0n0i0n3 -> n1i0n1 \[ltail=cluster_n1i0n0", dot)
    mermaid = RENDERERS["mermaid"](drawn(release)).splitlines()
    assert sum(line.strip().startswith("subgraph") for line in mermaid) == 6
    assert sum(line.strip() == "end" for line in mermaid) == 6
    assert "  classDef cancelled" in "\n".join(mermaid)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_it(release: Subject) -> None:
    done = subprocess.run(
        ["dot", "-Tsvg"], input=RENDERERS["dot"](drawn(release)), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def holds(outer: Rect, inner: Rect) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width + 0.01
        and inner.y + inner.height <= outer.y + outer.height + 0.01
    )


def test_boxes_hold_what_is_inside_and_do_not_overlap(release: Subject) -> None:
    drawing = drawing_of(drawn(release))
    for block, place, inner in zip(drawing.picture.blocks, drawing.layout.places, drawing.inner, strict=True):
        assert len(place.inner) == len(inner) == len(block.inner)
        for rect, one in zip(place.inner, inner, strict=True):
            assert holds(place.rect, rect)
            assert (one.layout.width, one.layout.height) < (rect.width, rect.height)
    rects = sorted((place.rect for place in drawing.layout.places[1:]), key=lambda rect: rect.y)
    assert rects[0].y + rects[0].height < rects[1].y


def test_a_wide_inner_picture_does_not_stretch_its_neighbours(path: Path) -> None:
    inner = subject(path, SERVERS)
    tasks = {key: TaskDefinition(key=key, name=key) for key in ("wide", "narrow")}
    from runwright.core.graph import build

    whole = Subject(graph=build(Workflow(name="w", tasks=tasks)), inner={"wide": [inner]})
    narrow, wide = (place.rect for place in drawing_of(drawn(whole)).layout.places)
    assert narrow.width < 200 < wide.width


def test_names_of_blocks_are_unique_all_over_the_paper(release: Subject) -> None:
    tree = ET.fromstring(RENDERERS["svg"](drawn(release)))
    numbers = [one.get("data-n") for one in tree.iter(f"{SVG}g") if one.get("class") == "b"]
    ends = {
        one.get(end)
        for one in tree.iter(f"{SVG}g")
        if one.get("class") == "e"
        for end in ("data-from", "data-to")
    }
    assert len(numbers) == len(set(numbers)) == 3 + 2 + 4 + 9
    assert ends <= set(numbers)


@pytest.mark.parametrize("kind", RENDERERS)
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_harmless_inside(tmp_path: Path, kind: str, name: str) -> None:
    async def work() -> None:
        store = SqliteStore.open(tmp_path / "runs.db")
        flow = Workflow(name=name, tasks={"a": TaskDefinition(key="a", name=name, matrix={"v": (name,)})})
        node = f"a[v={name}]"
        plan = PlanDefinition(
            name=name, elements=(StepDefinition(name=name, hooks={Hook.EXEC: (name,), Hook.CLEANUP: ()}),)
        )
        await add(store, a_run("aaaa", name, "workflow", 0), flow, [node], [])
        await add(store, a_run("bbbb", name, "plan", 1, "aaaa", node), plan, [name], [])
        await store.close()

    asyncio.run(work())
    picture = drawn(subject(tmp_path / "runs.db", "aaaa"))
    assert len(picture.blocks[0].inner) == 1
    assert not FORBIDDEN.search(RENDERERS[kind](picture))


# -- the timeline -----------------------------------------------------------------------------------------------


def test_attempts_of_inner_runs_are_rows_under_their_task(release: Subject) -> None:
    assert release.record is not None
    plan = schedule(release.graph, release.record, 100, release.inner)
    assert [(lane.depth, lane.id) for lane in plan.lanes] == [
        (0, "prepare"),
        (0, "deploy"),
        (1, "provision"),
        (2, "network"),
        (2, "network"),
        (2, "wait_1"),
        (2, "database"),
        (2, "network.cleanup"),
        (0, "heal"),
        *((1, name) for name in TIDIED),
    ]
    assert (plan.attempts, plan.busy) == (3, 49.0)
    assert all(lane.ready <= lane.bars[0].start for lane in plan.lanes)
    assert plan.lanes[2].ready == 2.0
    drawing = timeline.render_subject(release, release.record)
    assert "3 tasks, 3 attempts" in drawing
    ET.fromstring(drawing)


# -- the command ------------------------------------------------------------------------------------------------


class TestCommand:
    @pytest.fixture
    def cli(self, capsys: pytest.CaptureFixture[str], path: Path) -> Cli:
        return Cli(capsys, path)

    def test_runs_of_every_kind(self, cli: Cli) -> None:
        assert cli.lines("graph", SERVERS)[1] == "✗ failed in 13.0 s · 4 steps · critical path 7.0 s"
        assert (
            cli.lines("graph", TIDY)[1] == "✗ failed in 10.0 s · 5 actions · 4 rounds · critical path 6.0 s"
        )
        assert any("network" in line for line in cli.lines("graph", "latest"))
        assert cli.lines("graph", TIDY, "-f", "timeline")[0].startswith("<svg")

    def test_a_plan_file(self, cli: Cli, tmp_path: Path) -> None:
        file = tmp_path / "p.toml"
        file.write_text(
            'name = "p"\n[[steps]]\nname = "a"\nexec = "true"\ncleanup = "true"\n[[steps]]\npause = "2s"\n'
        )
        assert cli.lines("graph", str(file)) == [
            "p",
            "2 steps",
            "",
            "○ a  has cleanup",
            "↓ ○ pause-1 (2.0 s)",
        ]

    def test_a_goal_file_has_no_graph(self, cli: Cli, tmp_path: Path) -> None:
        file = tmp_path / "g.toml"
        file.write_text('name = "g"\nplan = "true"\n')
        status, _, err = cli("graph", str(file))
        assert status == 2
        assert "no graph before it runs" in err


def test_a_live_plan_tells_that_cleanups_are_to_come(path: Path) -> None:
    inner = subject(path, SERVERS)
    assert inner.record is not None
    run = Run(id="r", name="p", kind="plan", created_at=at(0), state=RunState.RUNNING)
    row = TaskRow(id="network", key="network", name="network", state=TaskState.SUCCEEDED)
    found = Everything(run, [row], [], [], [], pin(PLAN))
    assert drawn(subject_of(found, at(1))).blocks[0].undo == "has cleanup"
