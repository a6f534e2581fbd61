"""Whatever is fed to the readers of plans, goals and actions, they answer or raise `DefinitionError` with a place."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.adapters.toml import load_any, load_goal, load_plan
from runwright.core.errors import DefinitionError
from runwright.core.goal import GoalDefinition
from runwright.core.goal_document import GoalTable, decode_actions, decode_goal
from runwright.core.plan import PlanDefinition
from runwright.core.plan_document import PlanTable, StepTable, decode_plan

KEYS = st.sampled_from(
    sorted(
        {
            *PlanTable.__struct_encode_fields__,
            *StepTable.__struct_encode_fields__,
            *GoalTable.__struct_encode_fields__,
            *("perform", "step", "cmd", "tasks", "a", "LD_PRELOAD"),
        }
    )
)
TEXTS = st.one_of(
    st.text(max_size=12),
    KEYS,
    st.sampled_from(["{{.x}}", "'{{.x}}", "`{{.x}}`", "{{!.x}}", "5s", "1MiB", "true", "/proc", "\0", "a b"]),
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
DATA = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(KEYS, TEXTS), inner, max_size=5)
    ),
    max_leaves=20,
)
TABLES = st.dictionaries(KEYS, DATA, max_size=7)
COMMANDS = st.sampled_from(["true", "echo {{.x}}", "echo '{{.x}}'", ["a", "b {{.y}}"], "echo '{{.x}}"])
NEARLY_STEPS = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "c", "pause-1"]), "exec": COMMANDS},
    optional={"retries": st.integers(0, 3), "cleanup": COMMANDS, "env": st.just({"A": "{{.x}}"})},
)
NEARLY_PAUSES = st.fixed_dictionaries(
    {"pause": st.sampled_from([1, "2s", 0])}, optional={"name": st.sampled_from(["d", "pause-2"])}
)
NEARLY_PLANS = st.fixed_dictionaries(
    {"steps": st.lists(st.one_of(NEARLY_STEPS, NEARLY_PAUSES), min_size=1, max_size=4)},
    optional={"name": TEXTS, "state": st.dictionaries(st.sampled_from(["x", "y z"]), DATA, max_size=1)},
)
NEARLY_GOALS = st.fixed_dictionaries(
    {"plan": COMMANDS},
    optional={"variables": st.just({"x": "1", "y": "2"}), "workers": st.integers(0, 2), "name": TEXTS},
)
STEPS = st.lists(st.one_of(NEARLY_STEPS, NEARLY_PAUSES, TABLES, DATA), max_size=5)
PLANS = st.one_of(NEARLY_PLANS, TABLES, st.builds(lambda top, steps: {**top, "steps": steps}, TABLES, STEPS))
GOALS = st.one_of(
    NEARLY_GOALS,
    TABLES,
    st.builds(lambda top, plan: {**top, "plan": plan}, TABLES, st.one_of(TEXTS, DATA)),
)
LINES = st.sampled_from(
    [
        "[[steps]]",
        "[steps]",
        'name = "a"',
        'name = "é"',
        'exec = "x {{.y}}"',
        'exec = """',
        "exec = ['a', \"'{{.y}}\"]",
        "pause = 1",
        'pause = "0s"',
        "[state]",
        "x = 2026-01-01",
        'plan = "./x {{.y}}"',
        "plan = [",
        "]",
        "workers = 0",
        "[variables]",
        'y = "1"',
        "tasks = 1",
        "{",
        "=",
        "# note",
        "steps = [{ pause = 1 }, 2,",
        "cleanup_timeout = 0",
    ]
)
NEARLY_ACTIONS = st.fixed_dictionaries(
    {"name": st.sampled_from("abcdefgh"), "perform": COMMANDS},
    optional={"timeout": st.sampled_from([0, "5s", "x"]), "env": st.just({"A": "1"})},
)
RUBBISH = st.one_of(
    st.text(max_size=30),
    st.dictionaries(
        st.sampled_from(["name", "perform", "pre", "post", "env", "timeout", "x"]), DATA, max_size=5
    ).map(lambda data: msgspec.json.encode(data).decode()),
)
ACTION_LINES = NEARLY_ACTIONS.map(lambda data: msgspec.json.encode(data).decode())
OUTPUTS = st.one_of(
    st.lists(ACTION_LINES, max_size=4), st.lists(st.one_of(ACTION_LINES, RUBBISH), max_size=6)
)


def refusal(action: Callable[[], Any]) -> DefinitionError | None:
    try:
        action()
    except DefinitionError as error:
        return error
    return None


def check(error: DefinitionError | None, found: list[Any]) -> None:
    """Either there is a result, or there are problems that say what is wrong, where and what to do."""
    assert (error is None) == bool(found)
    for problem in error.problems if error else ():
        assert problem.message
        assert problem.suggestion
        assert isinstance(problem.path, tuple)


@given(PLANS)
@settings(max_examples=300, deadline=None)
def test_any_data_is_a_plan_or_a_definition_error(data: dict[str, Any]) -> None:
    found: list[PlanDefinition] = []
    error = refusal(lambda: found.append(decode_plan(data, default_name="fuzz")))
    check(error, found)
    for plan in found:
        names = [element.name for element in plan.elements]
        assert len(set(names)) == len(names) > 0
        assert all(names)
        assert msgspec.json.decode(msgspec.json.encode(plan), type=PlanDefinition) == plan
    for problem in error.problems if error else ():
        if problem.path[:1] == ("steps",) and len(problem.path) > 1 and "steps" in data:
            assert problem.path[1] in range(len(data["steps"]))


@given(GOALS, st.sets(st.sampled_from(["x", "y"])))
@settings(max_examples=300, deadline=None)
def test_any_data_is_a_goal_or_a_definition_error(data: dict[str, Any], names: set[str]) -> None:
    found: list[GoalDefinition] = []
    error = refusal(lambda: found.append(decode_goal(data, default_name="fuzz", given=names)))
    check(error, found)
    for goal in found:
        assert all(goal.plan)
        assert msgspec.json.decode(msgspec.json.encode(goal), type=GoalDefinition) == goal


@pytest.mark.parametrize("load", [load_plan, load_goal, load_any])
@given(text=st.one_of(st.text(max_size=120), st.lists(LINES, max_size=12).map("\n".join)))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_definition_or_has_placed_problems(load: Callable[[Path], Any], text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzz.toml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        found: list[Any] = []
        error = refusal(lambda: found.append(load(path)))
    check(error, found)
    for problem in error.problems if error else ():
        assert problem.file == str(path)
        assert problem.line >= 1
        assert problem.column >= 1


@given(OUTPUTS.map("\n".join))
@settings(max_examples=400, deadline=None)
def test_any_output_is_actions_or_names_its_wrong_lines(text: str) -> None:
    error = refusal(lambda: decode_actions(text))
    whole = text.split("\n")
    for problem in error.problems if error else ():
        assert problem.message.startswith(f"line {problem.line}: ")
        assert problem.suggestion
        assert problem.source_line == whole[problem.line - 1].removesuffix("\r")
    if error is None:
        names = [action.name for action in decode_actions(text)]
        assert len(names) == len(set(names)) == sum(1 for line in whole if line.strip())
