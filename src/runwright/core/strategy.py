"""Which ready node starts next: the three strategies over one graph.

A `Frontier` knows which nodes are settled (ended in a way that lets others go on, or left out) and hands out ready
ones in the order of its strategy:

* sequential: level by level, by id inside a level; a node is never overtaken by a later one;
* levels: the same order, but all nodes of a level at once, and a barrier before the next level;
* work-stealing: whatever is ready, the longest way to an end first.
"""

from array import array
from collections.abc import Callable
from heapq import heappop, heappush

from runwright.core.graph import Graph
from runwright.core.options import Strategy


class Frontier:
    """The edge between what is settled and what still waits, for the nodes of one graph.

    Args:
        graph: Whose nodes.
        strategy: In which order ready nodes are handed out.
        settled: Nodes that are not to run at all: they count as settled from the start.
    """

    def __init__(self, graph: Graph, strategy: Strategy, settled: set[int]) -> None:
        self._graph = graph
        self._left_in_group = array("i", [len(graph.nodes(g)) for g in range(len(graph.groups))])
        self._waiting = array("i", [len(sources) for sources in graph.sources])
        self._left_out = settled
        self._order = _ORDERS[strategy](graph, settled)
        self._release_roots()
        for node in sorted(settled):
            self._settle(node)

    def take(self) -> int | None:
        """Return the node that starts next, or None if nothing may start before something settles."""
        return self._order.take()

    def put_back(self, node: int) -> None:
        """Hand a node out again, after another attempt became due."""
        self._order.offer(node)

    def settle(self, node: int) -> None:
        """Note that a node that was handed out has ended, so that what waits for it may follow."""
        self._order.settled(node)
        self._settle(node)

    def _release_roots(self) -> None:
        for group, count in enumerate(self._waiting):
            if count:
                break  # groups are numbered by level: the first that waits ends the roots
            self._release(group)

    def _settle(self, node: int) -> None:
        group = self._graph.group_of[node]
        self._left_in_group[group] -= 1
        if not self._left_in_group[group]:
            self._notify(self._graph.dependents[group])
        if self._graph.node_dependents:
            self._notify(self._graph.node_dependents.get(node, ()))

    def _notify(self, groups: tuple[int, ...]) -> None:
        for group in groups:
            self._waiting[group] -= 1
            if not self._waiting[group]:
                self._release(group)

    def _release(self, group: int) -> None:
        for node in self._graph.nodes(group):
            if node not in self._left_out:
                self._order.offer(node)


class _Sequential:
    """Nodes by number, none before all smaller ones have been handed out, one at a time."""

    def __init__(self, graph: Graph, left_out: set[int]) -> None:
        self._ready: list[int] = []
        self._next = 0
        self._count = len(graph)
        self._left_out = left_out
        self._skip()

    def _skip(self) -> None:
        while self._next < self._count and self._next in self._left_out:
            self._next += 1

    def offer(self, node: int) -> None:
        heappush(self._ready, node)

    def settled(self, node: int) -> None:
        self._next = node + 1  # only one is ever out
        self._skip()

    def take(self) -> int | None:
        if not self._ready or self._ready[0] != self._next:
            return None
        return heappop(self._ready)


class _Levels:
    """Nodes by number, none before every node of the levels below has settled."""

    def __init__(self, graph: Graph, left_out: set[int]) -> None:
        self._level_of = graph.level
        self._group_of = graph.group_of
        levels = graph.level[-1] + 1 if graph.level else 0
        self._left = array("i", bytes(4 * levels))
        for node in range(len(graph)):
            if node not in left_out:
                self._left[self._level(node)] += 1
        self._ready: list[int] = []
        self._current = 0
        self._advance()

    def _level(self, node: int) -> int:
        return self._level_of[self._group_of[node]]

    def _advance(self) -> None:
        while self._current < len(self._left) and not self._left[self._current]:
            self._current += 1

    def offer(self, node: int) -> None:
        heappush(self._ready, node)

    def settled(self, node: int) -> None:
        self._left[self._level(node)] -= 1
        self._advance()

    def take(self) -> int | None:
        if not self._ready or self._level(self._ready[0]) > self._current:
            return None
        return heappop(self._ready)


class _WorkStealing:
    """Whatever is ready, the longest way to an end first, then by number."""

    def __init__(self, graph: Graph, left_out: set[int]) -> None:
        size = len(graph)
        self._key = [size * -graph.height[group] for group in graph.group_of]
        self._size = size
        self._ready: list[int] = []

    def offer(self, node: int) -> None:
        heappush(self._ready, self._key[node] + node)

    def settled(self, node: int) -> None:
        """Need nothing: only readiness counts."""

    def take(self) -> int | None:
        return heappop(self._ready) % self._size if self._ready else None


_Order = _Sequential | _Levels | _WorkStealing
_ORDERS: dict[Strategy, Callable[[Graph, set[int]], _Order]] = {
    Strategy.SEQUENTIAL: _Sequential,
    Strategy.LEVELS: _Levels,
    Strategy.WORK_STEALING: _WorkStealing,
}
