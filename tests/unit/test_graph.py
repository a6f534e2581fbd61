"""The graph of a workflow: expansion, edges, levels, selection, longest paths."""

import itertools
from collections.abc import Mapping, Sequence
from time import perf_counter

import pytest

from runwright.core import graph as graph_module
from runwright.core.errors import DefinitionError, InternalError
from runwright.core.graph import Graph, build, critical_path, find_cycle, node_id, split_node_id
from runwright.core.workflow import TaskDefinition, TaskType, Workflow


def task(key: str, *after: str, **fields: object) -> TaskDefinition:
    return TaskDefinition(key=key, name=key, cmd="true", depends_on=after, **fields)  # type: ignore[arg-type]


def graph_of(*tasks: TaskDefinition) -> Graph:
    return build(Workflow(name="w", tasks={one.key: one for one in tasks}))


def ids(graph: Graph, nodes: Sequence[int] | set[int]) -> list[str]:
    return [graph.ids[node] for node in sorted(nodes)]


SYSTEMS: Mapping[str, tuple[str, ...]] = {"os": ("linux", "mac"), "py": ("3.11", "3.12")}


def test_node_ids_name_dimensions_in_the_order_given() -> None:
    assert node_id("build", (), ()) == "build"
    assert node_id("build", ("os", "py"), ("linux", "3.12")) == "build[os=linux,py=3.12]"


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("build", "build", {}),
        ("build[os=linux]", "build", {"os": "linux"}),
        ("build[ py = 3.12 , os=mac ]", "build", {"py": "3.12", "os": "mac"}),
        ("build[url=a=b]", "build", {"url": "a=b"}),
    ],
)
def test_node_ids_are_split_again(text: str, key: str, values: dict[str, str]) -> None:
    assert split_node_id(text) == (key, values)


def test_an_empty_workflow_has_an_empty_graph() -> None:
    graph = graph_of()

    assert len(graph) == 0
    assert list(graph.first) == [0]
    assert critical_path(graph, {}) == []


def test_groups_are_numbered_by_level_and_key_and_nodes_side_by_side() -> None:
    graph = graph_of(task("z"), task("b", "a", matrix=SYSTEMS), task("c", "z"), task("a"))

    assert [one.key for one in graph.groups] == ["a", "z", "b", "c"]
    assert list(graph.level) == [0, 0, 1, 1]
    assert list(graph.first) == [0, 1, 2, 6, 7]
    assert graph.ids[2:6] == [
        "b[os=linux,py=3.11]",
        "b[os=linux,py=3.12]",
        "b[os=mac,py=3.11]",
        "b[os=mac,py=3.12]",
    ]
    assert graph.matrix(3) == {"os": "linux", "py": "3.12"}
    assert graph.matrix(0) == {}
    assert graph.definition(5).key == "b"


def test_nodes_of_a_matrix_are_sorted_by_id_whatever_the_order_of_values() -> None:
    graph = graph_of(task("a", matrix={"n": ("10", "9", "1")}))

    assert graph.ids == ["a[n=10]", "a[n=1]", "a[n=9]"]  # "0" sorts before "]"
    assert [graph.matrix(node)["n"] for node in range(3)] == ["10", "1", "9"]


def test_a_group_waits_for_groups_and_for_single_nodes() -> None:
    graph = graph_of(
        task("build", matrix=SYSTEMS),
        task("all", "build"),
        task("one", "build[py=3.12,os=mac]"),
    )

    assert graph.sources == [(), (0,), (-1 - 3,)]
    assert graph.dependents == [(1,), (), ()]
    assert graph.node_dependents == {3: (2,)}
    assert ids(graph, list(graph.dependencies(4))) == graph.ids[:4]
    assert ids(graph, list(graph.dependencies(5))) == ["build[os=mac,py=3.12]"]


def test_a_dependency_named_twice_counts_once() -> None:
    graph = graph_of(task("a"), task("b", "a", "a"))

    assert graph.sources[1] == (0,)
    assert graph.dependents[0] == (1,)


def test_levels_are_the_longest_way_from_a_root_and_heights_to_an_end() -> None:
    graph = graph_of(task("a"), task("b", "a"), task("c", "b"), task("d", "a", "c"), task("e", "a"))

    by_key = {one.key: (graph.level[n], graph.height[n]) for n, one in enumerate(graph.groups)}
    assert by_key == {"a": (0, 4), "b": (1, 3), "c": (2, 2), "d": (3, 1), "e": (1, 1)}


def test_heights_pass_through_single_nodes() -> None:
    graph = graph_of(task("a", matrix={"n": ("1", "2")}), task("b", "a[n=2]"), task("c", "b"))

    assert list(graph.height) == [3, 2, 1]


def test_handlers_are_no_part_of_the_graph_but_can_be_listed() -> None:
    graph = graph_of(task("a"), task("alarm", type=TaskType.FORENSIC))

    assert graph.ids == ["a"]
    assert list(graph.handlers()) == ["alarm"]


@pytest.mark.parametrize("missing", ["nobody", "nobody[os=linux]", "alarm"])
def test_a_dependency_that_is_no_ordinary_task_is_refused(missing: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        graph_of(task("a", missing), task("alarm", type=TaskType.FORENSIC))

    (problem,) = caught.value.problems
    assert problem.path == ("tasks", "a", "depends_on")
    assert f'"{missing.partition("[")[0]}"' in problem.message


@pytest.mark.parametrize("wrong", ["b[os=beos,py=3.11]", "b[os=linux]", "b[os=linux,py=3.11,x=1]"])
def test_a_dependency_on_a_combination_that_does_not_exist_is_refused(wrong: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        graph_of(task("b", matrix=SYSTEMS), task("a", wrong))

    (problem,) = caught.value.problems
    assert problem.path == ("tasks", "a", "depends_on")
    assert wrong in problem.message


def test_a_cycle_is_named_in_full_and_without_what_merely_waits_for_it() -> None:
    with pytest.raises(DefinitionError) as caught:
        graph_of(task("root"), task("a", "root", "c"), task("b", "a"), task("c", "b"), task("late", "c"))

    (problem,) = caught.value.problems
    circle = problem.message.partition(": ")[2].split(" -> ")
    assert circle[0] == circle[-1]
    assert set(circle) == {"a", "b", "c"}
    needs = {"a": "c", "b": "a", "c": "b"}
    assert all(needs[left] == right for left, right in itertools.pairwise(circle))


def test_a_task_that_needs_itself_is_a_cycle() -> None:
    with pytest.raises(DefinitionError, match="a -> a"):
        graph_of(task("a", "a"))


def test_the_way_into_a_cycle_is_not_part_of_it() -> None:
    # 0 needs 1, and 1 and 2 need each other; the search starts at 0.
    assert find_cycle([(1,), (2,), (1,)], [1, 1, 1]) == [1, 2]


def test_a_cycle_of_ten_thousand_tasks_is_named_in_full_within_a_second() -> None:
    count = 10_000
    tasks = {f"t{n}": task(f"t{n}", f"t{(n + 1) % count}") for n in range(count)}

    began = perf_counter()
    with pytest.raises(DefinitionError) as caught:
        build(Workflow(name="w", tasks=tasks))
    took = perf_counter() - began

    circle = caught.value.problems[0].message.partition(": ")[2].split(" -> ")
    assert len(circle) == count + 1
    assert set(circle) == set(tasks)
    assert took < 1.0


def test_a_matrix_of_a_million_nodes_after_another_stays_linear() -> None:
    thousand = tuple(str(n) for n in range(1000))
    graph = graph_of(task("a", matrix={"x": thousand, "y": thousand}), task("b", "a", matrix={"x": thousand}))

    assert len(graph) == 1_001_000
    assert graph.sources == [(), (0,)]
    assert sum(1 for _ in graph.dependencies(1_000_000)) == 1_000_000
    assert graph.group_of[999_999] == 0
    assert graph.group_of[1_000_000] == 1


def test_downstream_follows_groups_and_single_nodes() -> None:
    graph = graph_of(
        task("a", matrix={"n": ("1", "2")}),
        task("one", "a[n=1]"),
        task("two", "a[n=2]"),
        task("all", "a"),
        task("last", "one", "two", "all"),
        task("other"),
    )
    first = graph.ids.index("a[n=1]")

    assert set(ids(graph, graph.downstream({first}))) == {"a[n=1]", "one", "all", "last"}
    assert graph.downstream(set()) == set()
    whole = graph.downstream(graph.select(["a"]))
    assert set(ids(graph, whole)) == {*graph.ids} - {"other"}


def test_downstream_keeps_the_given_nodes_of_a_matrix_apart_from_their_siblings() -> None:
    graph = graph_of(task("a"), task("b", "a", matrix={"n": ("1", "2")}))
    start = graph.select(["a", "b[n=1]"])

    assert set(ids(graph, graph.downstream(start))) == {"a", "b[n=1]", "b[n=2]"}
    assert ids(graph, graph.downstream(graph.select(["b[n=1]"]))) == ["b[n=1]"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], []),
        (["a"], ["a"]),
        (["b"], ["b[os=linux,py=3.11]", "b[os=linux,py=3.12]", "b[os=mac,py=3.11]", "b[os=mac,py=3.12]"]),
        (["b[os=mac,py=3.11]", "a"], ["a", "b[os=mac,py=3.11]"]),
        (["b[py=3.11,os=mac]"], ["b[os=mac,py=3.11]"]),
    ],
)
def test_select_takes_keys_and_ids_in_any_order_of_values(names: list[str], found: list[str]) -> None:
    graph = graph_of(task("a"), task("b", matrix=SYSTEMS))

    assert ids(graph, graph.select(names)) == found


@pytest.mark.parametrize("name", ["nobody", "nobody[os=mac]", "b[os=mac]", "b[os=beos,py=3.11]", "a[os=mac]"])
def test_select_refuses_what_does_not_exist(name: str) -> None:
    graph = graph_of(task("a"), task("b", matrix=SYSTEMS))

    with pytest.raises(DefinitionError, match=r"no (task|node)"):
        graph.select([name])


def test_select_names_the_nearest_key() -> None:
    graph = graph_of(task("total"), task("sum"))

    with pytest.raises(DefinitionError) as caught:
        graph.select(["totl"])
    assert [problem.suggestion for problem in caught.value.problems] == ['did you mean "total"?']


def test_the_critical_path_is_the_chain_that_took_longest() -> None:
    graph = graph_of(task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c"))
    seconds = {"a": 1.0, "b": 2.0, "c": 5.0, "d": 1.0}
    durations = {node: seconds[text] for node, text in enumerate(graph.ids)}

    assert [graph.ids[node] for node in critical_path(graph, durations)] == ["a", "c", "d"]


def test_the_critical_path_goes_through_the_slowest_node_of_a_matrix_or_the_one_that_is_named() -> None:
    graph = graph_of(
        task("a", matrix={"n": ("1", "2")}), task("all", "a"), task("one", "a[n=1]"), task("end", "one")
    )
    slow = {graph.ids.index("a[n=2]"): 5.0, graph.ids.index("a[n=1]"): 1.0}

    assert next(graph.ids[node] for node in critical_path(graph, slow)) == "a[n=2]"
    longer_end = {**slow, graph.ids.index("end"): 9.0}
    assert [graph.ids[node] for node in critical_path(graph, longer_end)] == ["a[n=1]", "one", "end"]


def test_equal_ways_give_the_first_node() -> None:
    graph = graph_of(task("a"), task("b"), task("c", "a", "b"))
    durations = dict.fromkeys(range(3), 1.0)

    assert [graph.ids[node] for node in critical_path(graph, durations)] == ["a", "c"]


def test_an_order_that_contradicts_itself_is_our_bug() -> None:
    graph = graph_of(task("a"), task("b", "a"))
    graph.sources[0] = (1,)

    with pytest.raises(InternalError, match="not before"):
        graph_module._measure(graph)
