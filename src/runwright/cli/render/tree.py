"""The tree of a run's tasks as lines, never more than there is room for."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from runwright.cli.render.names import said
from runwright.cli.render.progress import Progress
from runwright.cli.render.terminal import STATE_STYLES, Out, cell_width, clean, shorten
from runwright.cli.render.times import duration, elapsed
from runwright.core.states import TaskRole, TaskState

MOST_FOR_TREE = 2_000
"""Runs with more tasks show what runs and what failed, and the bar."""

SPINNER = ("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\")
GUIDES = (("├─ ", "╰─ ", "│  ", "   "), ("|- ", "`- ", "|  ", "   "))
BAR = (("━", "╸", "─"), ("=", ">", "-"))
FRAMES_A_SECOND = 10
LIVE = frozenset({TaskState.RUNNING})
TELLING = frozenset({TaskState.RUNNING, TaskState.FAILED})


class Tree:
    """Draws what a `Progress` knows.

    Args:
        out: What the lines are for.
        title: Text of the first line.
        tasks: Ids of ordinary tasks, nodes of one matrix side by side.
        progress: What to draw.
    """

    def __init__(self, out: Out, title: str, tasks: Sequence[str], progress: Progress) -> None:
        self._out = out
        self._title = title
        self._progress = progress
        self._spinner = SPINNER[not out.unicode]
        self._guides = GUIDES[not out.unicode]
        self._groups: dict[str, list[str]] = {}
        if len(tasks) <= MOST_FOR_TREE:
            for task in tasks:
                self._groups.setdefault(task.partition("[")[0], []).append(task)

    def frame(self, now: datetime, room: int) -> list[str]:
        """Return the lines to show now, `room` at most."""
        body = max(3, room - 3)
        lines = self._fitting(now, body)
        return [self._head(), *lines, "", self._bar(now)][: max(1, room)]

    def final(self, now: datetime, room: int) -> list[str]:
        """Return the lines to leave on the screen."""
        return [self._head(), *self._fitting(now, room), self._bar(now)]

    def _head(self) -> str:
        run = self._progress.run_id
        text = self._out.paint(clean(self._title), "strong")
        return f"{text}  {self._out.paint('run ' + run, 'dim')}" if run else text

    def _fitting(self, now: datetime, room: int) -> list[str]:
        """Draw every task, or less of inner runs, or with matrices folded, or what goes on alone: the first that fits."""
        if self._groups:
            nodes = sum(len(group) + (len(group) > 1) for group in self._groups.values())
            fits = nodes + len(self._others()) <= room
            ways = ((False, True), (False, False), (True, False)) if fits else ((True, False),)
            for folded, whole in ways:
                lines = list(self._tree(now, folded=folded, whole=whole))
                if len(lines) <= room:
                    return lines
        return self._active(now, room)

    def _others(self) -> list[str]:
        return [name for name, role in self._progress.roles.items() if role is not TaskRole.TASK]

    def _tree(self, now: datetime, *, folded: bool, whole: bool) -> Iterator[str]:
        entries: list[tuple[str, list[str]]] = list(self._groups.items())
        entries += [(name, [name]) for name in self._others()]
        for number, (key, nodes) in enumerate(entries):
            last = number == len(entries) - 1
            guide = self._out.paint(self._guides[last], "dim")
            if nodes == [key]:
                yield guide + self._node(self._progress, key, now)
                yield from self._inside(self._progress, key, self._guides[2 + last], now, whole=whole)
                continue
            yield guide + self._group(key, nodes, now)
            if not folded or self._going_on(nodes):
                yield from self._children(nodes, self._guides[2 + last], now, folded=folded, whole=whole)

    def _going_on(self, nodes: Sequence[str]) -> bool:
        return any(self._progress.states.get(node) in LIVE for node in nodes)

    def _children(
        self, nodes: Sequence[str], before: str, now: datetime, *, folded: bool, whole: bool
    ) -> Iterator[str]:
        shown = [n for n in nodes if not folded or self._progress.states.get(n) in LIVE]
        for number, node in enumerate(shown):
            last = number == len(shown) - 1
            inside = node[node.index("[") :] if "[" in node else node
            guide = self._out.paint(before + self._guides[last], "dim")
            yield guide + self._node(self._progress, node, now, inside)
            yield from self._inside(self._progress, node, before + self._guides[2 + last], now, whole=whole)

    def _inside(
        self, progress: Progress, node: str, before: str, now: datetime, *, whole: bool
    ) -> Iterator[str]:
        """Draw the run within a task that runs or has failed: all of it, or what runs and what failed."""
        inner = progress.inner.get(node)
        if inner is None or progress.states.get(node) not in TELLING:
            return
        shown = [name for name, state in inner.states.items() if whole or state in TELLING]
        for number, name in enumerate(shown):
            last = number == len(shown) - 1
            yield self._out.paint(before + self._guides[last], "dim") + self._node(inner, name, now)
            yield from self._inside(inner, name, before + self._guides[2 + last], now, whole=whole)

    def _group(self, key: str, nodes: Sequence[str], now: datetime) -> str:
        states = [self._progress.states.get(node, TaskState.PENDING) for node in nodes]
        done = sum(state not in {TaskState.PENDING, TaskState.RUNNING} for state in states)
        state = _worst(states)
        counts = self._out.paint(f"{done}/{len(nodes)}", "dim")
        return f"{self._mark(state, now)} {clean(key)}  {counts}"

    def _node(self, progress: Progress, node: str, now: datetime, text: str = "") -> str:
        out = self._out
        state = progress.states.get(node, TaskState.PENDING)
        name = clean(text or said(node, progress.roles.get(node, TaskRole.TASK)))
        head = f"{self._mark(state, now)} {out.paint(name, 'dim') if state is TaskState.PENDING else name}"
        spent = elapsed(progress.running.get(node), None, now) if state in LIVE else progress.spent.get(node)
        tail = [out.paint(duration(spent), "dim")] if spent is not None else []
        if node in progress.reused and state is TaskState.SUCCEEDED and spent is None:
            tail.append(out.paint("reused", "dim"))
        again = progress.retries.get(node, 0)
        if again:
            tail.append(out.paint(f"{out.mark('retry')}{again}", "warn"))
        why = progress.errors.get(node, "")
        room = out.width - cell_width(name) - 26 if out.width else 0
        if why and (room > 8 or not out.width):
            tail.append(out.paint(shorten(clean(why), room, out.mark("ellipsis")), STATE_STYLES[state.value]))
        return "  ".join([head, *tail])

    def _mark(self, state: TaskState, now: datetime) -> str:
        if state not in LIVE:
            return self._out.state_mark(state.value)
        tick = int(now.timestamp() * FRAMES_A_SECOND) % len(self._spinner)
        return self._out.paint(self._spinner[tick], "live")

    def _active(self, now: datetime, room: int) -> list[str]:
        """Draw what failed last and what has run longest."""
        progress = self._progress
        bad = progress.failed[-max(1, room // 3) :]
        running = list(progress.running)[: max(1, room - len(bad) - 1)]
        hidden = len(progress.running) - len(running)
        more = (
            [self._out.paint(f"  {self._out.mark('ellipsis')} {hidden} more running", "dim")]
            if hidden > 0
            else []
        )
        lines = []
        for name in (*bad, *running):
            lines.append(f"  {self._node(progress, name, now)}")
            lines += self._inside(progress, name, "  ", now, whole=False)
        return lines[: room - len(more)] + more

    def _bar(self, now: datetime) -> str:
        progress, out = self._progress, self._out
        full, tip, rest = BAR[not out.unicode]
        width = max(10, min(40, (out.width or 80) - 44))
        done = progress.done
        filled = width * done // progress.total if progress.total else 0
        failed = progress.counts.get(TaskState.FAILED, 0)
        line = out.paint(full * filled, "bad" if failed else "good")
        if filled < width:
            line += out.paint(tip, "live") + out.paint(rest * (width - filled - 1), "dim")
        parts = [f"{done}/{progress.total}" if progress.total else f"{done}", *self._numbers()]
        spent = elapsed(progress.started_at, None, now)
        return "  ".join([line, *parts, out.paint(duration(spent), "dim")])

    def _numbers(self) -> Iterator[str]:
        for state in ("succeeded", "failed", "skipped", "cancelled"):
            number = self._progress.counts.get(TaskState(state), 0)
            if number:
                yield f"{self._out.state_mark(state)} {number}"
        again = sum(self._progress.retries.values())
        if again:
            yield f"{self._out.paint(self._out.mark('retry'), 'warn')} {again}"


def _worst(states: Sequence[TaskState]) -> TaskState:
    """Return the one state that stands for several."""
    for state in (TaskState.RUNNING, TaskState.FAILED, TaskState.CANCELLED):
        if state in states:
            return state
    if TaskState.PENDING in states:
        begun = any(state is not TaskState.PENDING for state in states)
        return TaskState.RUNNING if begun else TaskState.PENDING
    return TaskState.SUCCEEDED if TaskState.SUCCEEDED in states else TaskState.SKIPPED
