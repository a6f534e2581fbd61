"""The order in which ready nodes are handed out."""

import pytest

from runwright.core.graph import Graph, build
from runwright.core.options import Strategy
from runwright.core.strategy import Frontier
from runwright.core.workflow import TaskDefinition, Workflow


def graph_of(matrix: dict[str, tuple[str, ...]] | None = None, **needs: str) -> Graph:
    """``b="a c"`` makes b depend on a and c; `matrix` gives tasks a dimension ``m``."""
    tasks = {
        key: TaskDefinition(
            key=key,
            name=key,
            depends_on=tuple(names.split()),
            matrix={"m": matrix[key]} if matrix and key in matrix else {},
        )
        for key, names in needs.items()
    }
    return build(Workflow(name="w", tasks=tasks))


def waves(graph: Graph, strategy: Strategy, left_out: frozenset[str] = frozenset()) -> list[list[str]]:
    """Take whatever may start, then settle all of it, until nothing comes."""
    frontier = Frontier(graph, strategy, {n for n, text in enumerate(graph.ids) if text in left_out})
    found = []
    while wave := take_all(frontier):
        found.append([graph.ids[node] for node in wave])
        for node in wave:
            frontier.settle(node)
    return found


def take_all(frontier: Frontier) -> list[int]:
    wave = []
    while (node := frontier.take()) is not None:
        wave.append(node)
    return wave


DIAMOND = {"a": "", "b": "a", "c": "a", "d": "b c", "e": ""}


def test_sequential_hands_out_one_at_a_time_level_by_level() -> None:
    assert waves(graph_of(**DIAMOND), Strategy.SEQUENTIAL) == [["a"], ["e"], ["b"], ["c"], ["d"]]


def test_levels_hand_out_a_level_at_once() -> None:
    assert waves(graph_of(**DIAMOND), Strategy.LEVELS) == [["a", "e"], ["b", "c"], ["d"]]


def test_levels_wait_for_the_slowest_of_the_level_below() -> None:
    graph = graph_of(a="", b="", c="a")
    frontier = Frontier(graph, Strategy.LEVELS, set())
    a, b = take_all(frontier)
    frontier.settle(a)
    assert frontier.take() is None
    frontier.settle(b)
    assert [graph.ids[n] for n in take_all(frontier)] == ["c"]


def test_work_stealing_waits_for_nothing_but_dependencies() -> None:
    graph = graph_of(a="", b="", c="a")
    frontier = Frontier(graph, Strategy.WORK_STEALING, set())
    a, b = take_all(frontier)
    frontier.settle(a)
    assert [graph.ids[n] for n in take_all(frontier)] == ["c"]
    assert graph.ids[b] == "b"


def test_work_stealing_begins_with_the_longest_way_to_an_end() -> None:
    graph = graph_of(a="", b="", c="b", d="c", e="a")
    assert waves(graph, Strategy.WORK_STEALING)[0] == ["b", "a"]


@pytest.mark.parametrize("strategy", Strategy)
def test_another_attempt_is_handed_out_again_before_what_follows(strategy: Strategy) -> None:
    graph = graph_of(a="", b="a")
    frontier = Frontier(graph, strategy, set())
    assert frontier.take() == 0
    frontier.put_back(0)
    assert (frontier.take(), frontier.take()) == (0, None)
    frontier.settle(0)
    assert frontier.take() == 1


@pytest.mark.parametrize("strategy", Strategy)
def test_what_is_left_out_counts_as_settled(strategy: Strategy) -> None:
    found = waves(graph_of(**DIAMOND), strategy, frozenset({"a", "b", "d"}))
    assert sorted(name for wave in found for name in wave) == ["c", "e"]
    if strategy is Strategy.LEVELS:
        assert found == [["e"], ["c"]]


@pytest.mark.parametrize("strategy", Strategy)
def test_everything_left_out_or_nothing_there_ends_at_once(strategy: Strategy) -> None:
    assert waves(graph_of(**DIAMOND), strategy, frozenset(DIAMOND)) == []
    assert waves(graph_of(), strategy) == []


@pytest.mark.parametrize("strategy", Strategy)
def test_a_single_node_of_a_matrix_is_enough_for_who_names_it(strategy: Strategy) -> None:
    graph = graph_of({"a": ("1", "2")}, a="", b="a[m=2]", c="a")
    frontier = Frontier(graph, strategy, set())
    order = []
    while (node := frontier.take()) is not None:
        order.append(graph.ids[node])
        frontier.settle(node)
    assert sorted(order) == ["a[m=1]", "a[m=2]", "b", "c"]
    other = Frontier(graph, Strategy.WORK_STEALING, set())
    take_all(other)
    other.settle(graph.ids.index("a[m=2]"))
    assert [graph.ids[n] for n in take_all(other)] == ["b"]
