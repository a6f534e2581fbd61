"""Random workflows built in code: they equal their file, survive the store, and every value arrives equal."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import rtoml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runwright import Engine, RunOptions, Workflow
from runwright.adapters.toml import parse_workflow
from runwright.core.definition import pin, unpin
from runwright.testing import MemoryStore
from runwright.wiring import executor_args
from runwright.wiring.flow import Workflow as Flow

TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["{{.a.value}}", "{{!.a}}", "{{.x!raw}}", "{{", "}}{{.y}}", "$stored", "\0"]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(-1e15, 1e15) | TEXTS
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


class Call:
    """One call of a random workflow: plain data, and the numbers of earlier calls whose values it takes."""

    def __init__(self, literal: Any, takes: list[int], after: list[int]) -> None:
        self.literal, self.takes, self.after = literal, takes, after

    def __repr__(self) -> str:
        return f"Call({self.literal!r}, {self.takes}, {self.after})"


@st.composite
def calls(draw: st.DrawFn, literals: st.SearchStrategy[Any]) -> list[Call]:
    made = []
    for number in range(draw(st.integers(1, 8))):
        earlier = st.lists(st.integers(0, number - 1), max_size=3) if number else st.just([])
        made.append(Call(draw(literals), draw(earlier), draw(earlier)))
    return made


def built(made: list[Call]) -> Flow:
    """Return a workflow of these calls; each returns what it was given."""
    flow = Workflow("random")

    @flow.task
    async def give(literal: Any, values: dict[str, Any]) -> Any:
        return {"literal": literal, "values": values}

    references: list[Any] = []
    for call in made:
        task = give.after(*(references[n] for n in call.after))
        references.append(task(call.literal, {f"v{n}": [references[n]] for n in call.takes}))
    return flow


def expected(made: list[Call]) -> list[Any]:
    values: list[Any] = []
    for call in made:
        values.append({"literal": call.literal, "values": {f"v{n}": [values[n]] for n in call.takes}})
    return values


def without_none(value: Any) -> Any:
    """Return data without what TOML has not, and without what its writer gets wrong."""
    if isinstance(value, dict):
        return {
            name.encode("ascii", "replace").decode().replace("\0", ""): without_none(v)
            for name, v in value.items()
        }
    if isinstance(value, list):
        return [without_none(inner) for inner in value if inner is not None]
    return 0 if value is None else value


@settings(deadline=None, print_blob=True)
@given(made=calls(PLAIN.map(without_none)))
def test_a_workflow_equals_its_file(made: list[Call]) -> None:
    flow = built(made)
    text = rtoml.dumps(flow.data)
    assert parse_workflow(text, "random", executor_args=executor_args()) == flow.definition


@settings(deadline=None, print_blob=True)
@given(made=calls(PLAIN))
def test_a_definition_survives_the_store(made: list[Call]) -> None:
    definition = built(made).definition
    assert unpin(pin(definition)) == definition


@settings(deadline=None, max_examples=40, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(made=calls(PLAIN.filter(lambda value: "$stored" not in repr(value))))
def test_every_value_arrives_equal(made: list[Call]) -> None:
    async def scenario(folder: str) -> list[Any]:
        async with Engine(MemoryStore(), workers=3) as engine:
            run = await engine.execute(built(made), RunOptions(directory=folder))
            assert run.state == "succeeded", run.reason
            return [row.value for row in await engine.store.tasks(run.id)]

    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(scenario(folder))
    assert sorted(map(repr, found)) == sorted(map(repr, expected(made)))
    assert Path(folder).name not in repr(found)
