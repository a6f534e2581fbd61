"""A run as a Gantt chart in SVG."""

from collections.abc import Iterator

from runwright.cli.render.facts import plural
from runwright.cli.render.measuring import fit_text, text_width
from runwright.cli.render.record import Record
from runwright.cli.render.schedule import Bar, Lane, Scale, Schedule, schedule
from runwright.cli.render.subject import Subject
from runwright.cli.render.svg_parts import badge, document, number, text, xml
from runwright.cli.render.times import duration, instant
from runwright.core.graph import Graph
from runwright.core.states import TaskRole

MOST_LANES = 500
WIDTH = 860.0
MARGIN = 32.0
LANE = 26.0
BAR = 14.0
TOP = 126.0
SHORT = 44.0
TICK = 84.0
LEAST_BAR = 2.0
ROOM_RIGHT = 96.0
INDENT = 16.0


def render(graph: Graph, record: Record) -> str:
    """Return the chart of a run as a complete SVG document."""
    return _chart(graph, record, schedule(graph, record, MOST_LANES))


def render_subject(subject: Subject, record: Record) -> str:
    """Return the chart of a run of any kind, the attempts of the runs within it as indented rows."""
    return _chart(subject.graph, record, schedule(subject.graph, record, MOST_LANES, subject.inner))


def _chart(graph: Graph, record: Record, plan: Schedule) -> str:
    scale = Scale(plan.length, plan.idle, WIDTH, SHORT)
    left = MARGIN + _label_width(plan) + 16
    bottom = TOP + LANE * len(plan.lanes)
    notes = _notes(plan)
    words = summary(record, plan)
    body = [
        *_head(graph, record, words),
        *_grid(plan, scale, left, bottom),
        *(_lane(lane, n, scale, left) for n, lane in enumerate(plan.lanes)),
        *_legend(plan, left, bottom + 42),
        *(text(note, left, bottom + 64 + 17 * n, "small muted") for n, note in enumerate(notes)),
    ]
    width = max(left + WIDTH + ROOM_RIGHT, text_width(words, 13)) + MARGIN
    return document(width, bottom + 78 + 17 * len(notes), f"{graph.workflow.name}: {words}", body)


def summary(record: Record, plan: Schedule) -> str:
    """Return one line about the whole run: its end, its length, how parallel it was, its critical path."""
    worked = max(plan.worked, 1e-9)
    share = f" ({min(plan.critical_seconds / worked, 1):.0%})"
    idle = f", idle {duration(plan.length - plan.worked)}" if plan.idle else ""
    tasks = sum(lane.role is TaskRole.TASK and not lane.depth for lane in plan.lanes) + plan.left_out
    return " · ".join(
        [
            f"{record.run.state} in {duration(plan.length)}{idle}",
            f"{plural(tasks, 'task')}, {plural(plan.attempts, 'attempt')}",
            f"work {duration(plan.busy)}, {plan.busy / worked:.1f} at a time",
            f"critical path {duration(plan.critical_seconds)}{share}",
        ]
    )


def _notes(plan: Schedule) -> list[str]:
    notes = []
    if plan.left_out:
        notes.append(f"{plural(plan.left_out, 'shorter task')} left out; --format json has all.")
    if plan.never:
        notes.append(
            f"{plural(plan.never, 'task')} made no attempt and {'have' if plan.never > 1 else 'has'} no row."
        )
    return notes


def _label_width(plan: Schedule) -> float:
    return min(
        max((text_width(lane.label, 12) + 26 + INDENT * lane.depth for lane in plan.lanes), default=80.0),
        280.0,
    )


def _head(graph: Graph, record: Record, words: str) -> Iterator[str]:
    yield text(fit_text(graph.workflow.name, 20, WIDTH), MARGIN, MARGIN + 14, "h1 ink")
    run = record.run
    begun = f" · started {instant(run.started_at)}" if run.started_at else ""
    yield text(f"run {run.id}{begun}", MARGIN, MARGIN + 36, "sub muted num")
    yield badge(str(run.state), MARGIN + 8, MARGIN + 53.5)
    yield text(words, MARGIN + 24, MARGIN + 58, "sub ink num")


def _grid(plan: Schedule, scale: Scale, left: float, bottom: float) -> Iterator[str]:
    step, ticks = scale.ticks(plan.length, TICK)
    for tick in ticks:
        x = left + scale(tick)
        yield f'<path class="grid" d="M{number(x)} {number(TOP - 6)}V{number(bottom + 4)}"/>'
        yield text(moment(tick, step, plan.length), x, TOP - 12, "small muted num mid")
    for start, end in plan.idle:
        yield _break(left + scale(start), left + scale(end), end - start, bottom)


def moment(seconds: float, step: float, length: float) -> str:
    """Return a moment on the axis, as exact as its step: ``0``, ``250 ms``, ``1.5 s``, ``12:30``, ``9:00:05``."""
    if not seconds:
        return "0"
    if length >= 60:
        whole = round(seconds)
        hours = f"{whole // 3600}:{whole // 60 % 60:02}" if length >= 3600 else f"{whole // 60}"
        return f"{hours}:{whole % 60:02}"
    if length < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.{2 if step < 0.1 else 1 if step < 1 else 0}f} s"


def _break(x0: float, x1: float, seconds: float, bottom: float) -> str:
    middle = (x0 + x1) / 2
    rows = int((bottom - TOP + 10) / 10)
    zigzag = "l4 5l-4 5" * rows
    lines = "".join(
        f'<path class="edge" d="M{number(middle + shift)} {number(TOP - 6)}{zigzag}"/>' for shift in (-5, 3)
    )
    return f"<g><title>idle for {duration(seconds)}</title>{lines}{text(duration(seconds), middle, bottom + 18, 'small muted mid')}</g>"


def _lane(lane: Lane, place: int, scale: Scale, left: float) -> str:
    y = TOP + LANE * place + LANE / 2
    crit = " accent" if lane.critical else ""
    stripe = (
        f'<rect class="faint" x="{number(MARGIN - 8)}" y="{number(y - LANE / 2)}" opacity=".45" rx="5" '
        f'width="{number(left + WIDTH - MARGIN + 8 + ROOM_RIGHT)}" height="{number(LANE)}"/>'
        if place % 2
        else ""
    )
    ends = left + scale(lane.bars[-1].end)
    again = f" · {len(lane.bars)} attempts" if len(lane.bars) > 1 else ""
    inset = MARGIN + min(INDENT * lane.depth, 96.0)
    label = fit_text(lane.label, 12, left - inset - 38)
    return "".join(
        [
            f'<g class="lane" data-id="{xml(lane.id)}"><title>{xml(_tooltip(lane))}</title>{stripe}',
            badge(str(lane.state), inset + 7, y, 0.7),
            text(label, inset + 20, y + 4, f"sub {crit.strip() or ('muted' if lane.depth else 'ink')}"),
            *_waits(lane, scale, left, y),
            *(_bar(bar, lane, scale, left, y) for bar in lane.bars),
            text(duration(lane.spent) + again, max(ends, left + LEAST_BAR) + 7, y + 4, "small muted num"),
            "</g>",
        ]
    )


def _tooltip(lane: Lane) -> str:
    waited = lane.bars[0].start - lane.ready
    parts = [f"{lane.label}: {lane.state}", f"{duration(lane.spent)} of work"]
    if waited >= 0.001:
        parts.append(f"waited {duration(waited)} for its turn")
    if lane.reason:
        parts.append(lane.reason)
    return ", ".join(parts)


def _waits(lane: Lane, scale: Scale, left: float, y: float) -> Iterator[str]:
    """Draw the time between ready and start, and between attempts, as a thin line."""
    starts = [lane.ready, *(bar.end for bar in lane.bars)]
    for start, bar in zip(starts, lane.bars, strict=False):
        x0, x1 = scale(start), scale(bar.start)
        if x1 - x0 >= 1:
            yield f'<path class="edge" d="M{number(left + x0)} {number(y)}H{number(left + x1)}" stroke-dasharray="1 3"/>'


def _bar(bar: Bar, lane: Lane, scale: Scale, left: float, y: float) -> str:
    x = scale(bar.start)
    width = max(scale(bar.end) - x, LEAST_BAR)
    role = ' opacity=".75"' if lane.role is not TaskRole.TASK or lane.depth else ""
    live = ' stroke-dasharray="3 2"' if bar.live else ""
    ring = f" crit{'' if not bar.live else ' live'}" if lane.critical else ""
    title = f"attempt {bar.number}: {bar.state}, {duration(bar.end - bar.start)}, from {duration(bar.start)}"
    return (
        f'<rect class="f-{bar.state}{ring}" x="{number(left + x)}" y="{number(y - BAR / 2)}" width="{number(width)}" '
        f'height="{number(BAR)}" rx="{number(min(4.0, width / 2))}" stroke-width="2"{role}{live}><title>{title}</title></rect>'
    )


def _legend(plan: Schedule, left: float, y: float) -> Iterator[str]:
    x = left
    states = dict.fromkeys(str(bar.state) for lane in plan.lanes for bar in lane.bars)
    for state in states:
        yield f'<rect class="f-{state}" x="{number(x)}" y="{number(y - 9)}" width="16" height="10" rx="3"/>'
        yield text(state, x + 23, y, "small muted")
        x += text_width(state, 11) + 44
    if any(lane.critical for lane in plan.lanes):
        yield f'<rect class="card crit" x="{number(x)}" y="{number(y - 9)}" width="16" height="10" rx="3"/>'
        yield text("critical path", x + 23, y, "small muted")
        x += text_width("critical path", 11) + 44
    yield f'<path class="edge" d="M{number(x)} {number(y - 4)}h16" stroke-dasharray="1 3"/>'
    yield text("waiting", x + 23, y, "small muted")
