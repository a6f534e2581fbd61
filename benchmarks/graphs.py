"""The graphs that all contestants are given, and what theory says of them."""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """One task: a shell text or an argv, and the positions of what it depends on.

    `sleeps` is how long its command sleeps, in seconds.
    """

    name: str
    command: str | tuple[str, ...]
    needs: tuple[int, ...] = ()
    sleeps: float = 0.0


Graph = Sequence[Node]


def independent(count: int, command: str | tuple[str, ...] = "true") -> list[Node]:
    """Return `count` tasks without an edge."""
    return [Node(f"t{index}", command) for index in range(count)]


def chain(count: int, command: str | tuple[str, ...] = "true") -> list[Node]:
    """Return `count` tasks, each after the one before."""
    return [Node(f"t{i}", command, (i - 1,) if i else ()) for i in range(count)]


def layered(layers: int, width: int, needs: int = 3, longest: float = 0.020, seed: int = 20) -> list[Node]:
    """Return layers of sleeping tasks, each with random dependencies in the layer before.

    Sleeps are uniform in [0, `longest`] s, cut to 0.1 ms; the same seed gives the same graph.
    """
    dice = random.Random(seed)
    nodes: list[Node] = []
    for layer in range(layers):
        for column in range(width):
            before = range((layer - 1) * width, layer * width)
            chosen = sorted(dice.sample(before, min(needs, width))) if layer else []
            sleeps = round(dice.uniform(0, longest), 4)
            name = f"l{layer}c{column}"
            nodes.append(Node(name, ("sleep", f"{sleeps:.4f}"), tuple(chosen), sleeps))
    return nodes


def noted(graph: Graph, log: str) -> list[Node]:
    """Return the graph with commands that append their name to a file, to check order and count."""
    return [Node(n.name, ("sh", "-c", f"echo {n.name} >> {log}"), n.needs) for n in graph]


def levels(graph: Graph) -> list[list[int]]:
    """Return positions by level: 0 without dependencies, else 1 + that of the deepest one."""
    depth: list[int] = []
    out: list[list[int]] = []
    for index, node in enumerate(graph):
        level = 1 + max((depth[need] for need in node.needs), default=-1)
        depth.append(level)
        if level == len(out):
            out.append([])
        out[level].append(index)
    return out


def critical_path(graph: Graph) -> float:
    """Return the longest sum of sleeps along a path, in seconds."""
    ends: list[float] = []
    for node in graph:
        ends.append(node.sleeps + max((ends[need] for need in node.needs), default=0.0))
    return max(ends, default=0.0)


def lower_bound(graph: Graph, slots: int) -> float:
    """Return max(critical path, total sleep / slots): no schedule at all is shorter."""
    return max(critical_path(graph), sum(node.sleeps for node in graph) / slots)


def list_schedule(graph: Graph, slots: int) -> float:
    """Return the makespan when a free slot takes the oldest ready task and nothing costs anything."""
    missing = [len(node.needs) for node in graph]
    after: list[list[int]] = [[] for _ in graph]
    for index, node in enumerate(graph):
        for need in node.needs:
            after[need].append(index)
    ready = [index for index, count in enumerate(missing) if not count]
    running: list[tuple[float, int]] = []
    now, taken = 0.0, 0
    while taken < len(ready) or running:
        while taken < len(ready) and len(running) < slots:
            heapq.heappush(running, (now + graph[ready[taken]].sleeps, ready[taken]))
            taken += 1
        now, done = heapq.heappop(running)
        for index in after[done]:
            missing[index] -= 1
            if not missing[index]:
                ready.append(index)
    return now


def barrier_schedule(graph: Graph, slots: int) -> float:
    """Return the makespan with a barrier after each level and nothing costing anything."""
    total = 0.0
    for level in levels(graph):
        free = [0.0] * slots
        for index in level:
            heapq.heapreplace(free, free[0] + graph[index].sleeps)
        total += max(free)
    return total
