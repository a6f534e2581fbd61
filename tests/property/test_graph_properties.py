"""Graphs drawn at random, against definitions taken literally."""

import itertools
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.core.errors import DefinitionError
from runwright.core.graph import Graph, build, critical_path
from runwright.core.workflow import TaskDefinition, Workflow

VALUES = ("1", "2", "3")


@st.composite
def workflows(draw: st.DrawFn, acyclic: bool = True) -> Workflow:
    count = draw(st.integers(1, 7))
    keys = draw(st.permutations([f"t{n}" for n in range(count)]))
    sizes = [draw(st.integers(0, 3)) for _ in keys]
    tasks = {}
    for place, key in enumerate(keys):
        others = range(place if acyclic else count)
        chosen = draw(st.lists(st.sampled_from(others), max_size=3)) if others else []
        names = []
        for other in chosen:
            single = sizes[other] and draw(st.booleans())
            value = draw(st.sampled_from(VALUES[: sizes[other]])) if single else ""
            names.append(f"{keys[other]}[v={value}]" if single else keys[other])
        tasks[key] = TaskDefinition(
            key=key,
            name=key,
            cmd="true",
            depends_on=tuple(names),
            matrix={"v": VALUES[: sizes[place]]} if sizes[place] else {},
        )
    return Workflow(name="w", tasks=tasks)


def literal_dependencies(graph: Graph) -> dict[str, set[str]]:
    """Every node's dependencies by id, straight from the definitions."""
    nodes_of = {
        one.key: [i for n, i in enumerate(graph.ids) if graph.definition(n) is one] for one in graph.groups
    }
    return {
        text: {
            other
            for name in graph.definition(node).depends_on
            for other in ([name] if "[" in name else nodes_of[name])
        }
        for node, text in enumerate(graph.ids)
    }


@given(workflows())
@settings(max_examples=100, deadline=None)
def test_dependencies_levels_and_heights_are_what_their_definitions_say(workflow: Workflow) -> None:
    graph = build(workflow)
    literal = literal_dependencies(graph)
    keys = {one.key: {name.partition("[")[0] for name in one.depends_on} for one in graph.groups}

    @cache
    def level(key: str) -> int:
        return max((level(other) + 1 for other in keys[key]), default=0)

    @cache
    def height(key: str) -> int:
        return 1 + max((height(other) for other in keys if key in keys[other]), default=0)

    for node, text in enumerate(graph.ids):
        found = list(graph.dependencies(node))
        assert {graph.ids[other] for other in found} == literal[text]
        assert all(other < node for other in found)
    for group, one in enumerate(graph.groups):
        assert graph.level[group] == level(one.key)
        assert graph.height[group] == height(one.key)


@given(workflows(), st.data())
@settings(max_examples=100, deadline=None)
def test_downstream_is_what_reaches_back_to_the_start(workflow: Workflow, data: st.DataObject) -> None:
    graph = build(workflow)
    literal = literal_dependencies(graph)
    start = data.draw(st.sets(st.sampled_from(range(len(graph)))))
    expected = {graph.ids[node] for node in start}
    for text in graph.ids:  # numbers grow along dependencies, so one pass is enough
        if literal[text] & expected:
            expected.add(text)

    assert {graph.ids[node] for node in graph.downstream(start)} == expected


@given(workflows(), st.data())
@settings(max_examples=150, deadline=None)
def test_no_chain_of_dependencies_takes_longer_than_the_critical_path(
    workflow: Workflow, data: st.DataObject
) -> None:
    graph = build(workflow)
    durations = data.draw(st.dictionaries(st.sampled_from(range(len(graph))), st.integers(0, 20).map(float)))
    path = critical_path(graph, durations)

    def longest(node: int) -> float:
        return durations.get(node, 0.0) + max((longest(n) for n in graph.dependencies(node)), default=0.0)

    assert sum(durations.get(node, 0.0) for node in path) == max(longest(node) for node in range(len(graph)))
    assert all(left in set(graph.dependencies(right)) for left, right in itertools.pairwise(path))


@given(workflows(acyclic=False))
@settings(max_examples=100, deadline=None)
def test_a_graph_is_built_or_its_cycle_is_a_real_one(workflow: Workflow) -> None:
    needs = {key: {n.partition("[")[0] for n in one.depends_on} for key, one in workflow.tasks.items()}
    reach = {key: set(found) for key, found in needs.items()}
    for _ in needs:
        for found in reach.values():
            found.update(*(reach[other] for other in tuple(found)))
    has_cycle = any(key in found for key, found in reach.items())
    try:
        build(workflow)
    except DefinitionError as error:
        circle = error.problems[0].message.partition(": ")[2].split(" -> ")
        assert circle[0] == circle[-1]
        assert all(right in needs[left] for left, right in itertools.pairwise(circle))
        assert has_cycle
    else:
        assert not has_cycle
