"""Say in a few lines why a run ended as it did, or why a task ran, was skipped, retried, cancelled or reused.

TASK may be OUTER/INNER: the task INNER of the run that is the work of the task OUTER.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from runwright.cli.arguments import Arguments, add_json, add_run
from runwright.cli.common import Reading, short_id, with_reading
from runwright.cli.explain_parts import (
    MOST_NAMES,
    action_facts,
    attempts_of,
    error_of,
    goal_facts,
    innermost,
    inside,
    names_of,
    plan_facts,
    resume_commands,
    step_facts,
)
from runwright.cli.goal_view import row_name
from runwright.cli.inspect import Everything, gather
from runwright.cli.nested import locate, way
from runwright.cli.records import Record, counted, counts_text, plural
from runwright.cli.render.names import CLEANUP, cause, said
from runwright.cli.render.times import duration, elapsed
from runwright.cli.summary import quoted
from runwright.core.events import RunResumed, TaskEnded, TaskRetrying
from runwright.core.run import TaskRow
from runwright.core.states import RESUMABLE_RUN_STATES, RunState, TaskRole, TaskState
from runwright.core.workflow import Workflow

MOST_LINES = 10
MOST_ATTEMPTS = 3
FALSE = "its condition is false: "


class Explanation(Struct, frozen=True, kw_only=True):
    """What to say: facts in order, most telling first, and commands to go on with."""

    subject: str
    state: str
    facts: Sequence[str]
    next: Sequence[str] = ()


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `explain`."""
    add_run(parser)
    parser.add_argument(
        "task", nargs="?", metavar="TASK", help="id of a task, key of all nodes of a matrix, or OUTER/INNER"
    )
    add_json(parser)


def execute(args: Arguments) -> int:
    """Explain a run or a task."""

    async def work(state: Reading) -> tuple[Everything, str]:
        run = await state.store.find_run(args.run)
        return await gather(state.store, run), await short_id(state.store, run.id)

    found, short = with_reading(args, work)
    explanation = explain_task(found, args.task, short) if args.task else explain_run(found, short)
    if args.json:
        args.out.json(explanation_record(found, args.task, explanation))
    else:
        _print(args, explanation)
    return 0


def explanation_record(found: Everything, task: str | None, explanation: Explanation) -> Record:
    """Return an explanation as data."""
    return {
        "run_id": found.run.id,
        "task": task,
        "state": explanation.state,
        "facts": list(explanation.facts),
        "next": list(explanation.next),
    }


def _print(args: Arguments, explanation: Explanation) -> None:
    out = args.out
    room = MOST_LINES - 1 - len(explanation.next)
    out.line(f"{out.paint(out.clean(explanation.subject), 'strong')} {out.state(explanation.state)}")
    for fact in explanation.facts[:room]:
        out.line(f"  {out.clean(fact)}")
    for command in explanation.next:
        out.line(f"{out.paint(out.mark('arrow'), 'dim')} {out.clean(command)}")


def explain_run(found: Everything, short: str) -> Explanation:
    """Return why a run is in its state."""
    run = found.run
    ordinary = [row for row in found.tasks if row.role is TaskRole.TASK]
    failed = [row for row in ordinary if row.state is TaskState.FAILED]
    facts = [counted(run)]
    if run.reason and not (run.state is RunState.FAILED and failed and run.kind != "goal"):
        facts.append(run.reason)
    if run.state is RunState.INTERRUPTED:
        facts.append("its engine died before the run had ended; nothing of it runs any more")
    if run.kind == "goal":
        facts += goal_facts(found)
    else:
        facts += _failures(found, failed)
        facts += plan_facts(found) if run.kind == "plan" else ()
        facts += _by_reason(ordinary)
    facts += [_resumed(event) for event in _resumes(found)[-1:]]
    return Explanation(
        subject=f"{run.name} {short}",
        state=run.state.value,
        facts=facts,
        next=list(_next(found, failed, short)),
    )


def _failures(found: Everything, failed: Sequence[TaskRow]) -> Iterator[str]:
    """Yield what failed and why, each with the innermost failure of the runs within it."""
    for row in failed[:MOST_NAMES]:
        yield f"{row.id} failed: {error_of(row)}{attempts_of(row)}"
        yield from list(inside(found, row))[1:]
    if len(failed) > MOST_NAMES:
        yield f"{len(failed) - MOST_NAMES} more failed"


def _by_reason(rows: Sequence[TaskRow]) -> Iterator[str]:
    """Yield why tasks did not run, the most frequent reasons first."""
    for state in (TaskState.SKIPPED, TaskState.CANCELLED):
        reasons = Counter(row.reason for row in rows if row.state is state)
        for reason, number in reasons.most_common(2):
            example = next(row.id for row in rows if row.state is state and row.reason == reason)
            what = example if number == 1 else f"{number} tasks such as {example}"
            yield f"{what} {state.value}: {reason or 'no reason recorded'}"


def _next(found: Everything, failed: Sequence[TaskRow], short: str) -> Iterator[str]:
    if failed:
        first = failed[-1] if found.run.kind == "goal" else failed[0]
        worst = innermost(found, first)
        yield f"runwright logs {short} {quoted(worst[0] if worst else first.id)}"
    if found.run.state in RESUMABLE_RUN_STATES:
        yield from resume_commands(found, short)
    if found.run.state is RunState.RUNNING:
        yield f"runwright status {short} --follow"


def explain_task(found: Everything, name: str, short: str) -> Explanation:
    """Return why a task is in its state; for a key of several nodes, what came of each.

    Raises:
        UsageError: If the run has no such task.
    """
    chain, ids = locate(found, name)
    rows = [row for row in chain[-1].tasks if row.id in ids]
    return _one(chain, rows[-1], short) if _is_one(chain[-1], rows) else _several(chain, name, rows, short)


def _is_one(found: Everything, rows: Sequence[TaskRow]) -> bool:
    """Tell whether rows are one task; of an action in several rounds the last one stands for all."""
    return len(rows) == 1 or found.run.kind == "goal"


def _several(chain: Sequence[Everything], name: str, rows: Sequence[TaskRow], short: str) -> Explanation:
    telling = sorted(rows, key=lambda row: row.state is TaskState.SUCCEEDED)
    facts = [f"{row.id} {row.state.value}{f': {error_of(row)}' if error_of(row) else ''}" for row in telling]
    states = Counter(row.state.value for row in rows)
    return Explanation(
        subject=f"{name}, {plural(len(rows), 'node')}",
        state=counts_text(states),
        facts=facts,
        next=[f"runwright explain {short} {quoted(way(chain) + telling[0].id)}"],
    )


def _one(chain: Sequence[Everything], row: TaskRow, short: str) -> Explanation:
    found, before = chain[-1], way(chain)
    end = _end(found, row)
    facts = [_why(row, end), *_told_by_cache(end), *inside(found, row, before), *_of_kind(found, row)]
    return Explanation(
        subject=before + (row_name(row.id) if found.run.kind == "goal" else said(row.id, row.role)),
        state=row.state.value,
        facts=[fact for fact in facts if fact],
        next=list(_commands(chain, row, short)),
    )


def _of_kind(found: Everything, row: TaskRow) -> Iterator[str]:
    """Yield what there is to say of a task, a step or an action."""
    if found.run.kind == "goal":
        yield from action_facts(found, row)
        yield from _tries(found, row)
        return
    workflow = _workflow(found)
    yield from _needs(found, row, workflow)
    yield from _children(found, row)
    yield from step_facts(found, row) if found.run.kind == "plan" else ()
    yield from _tries(found, row)
    yield from _reuse(found, row)
    yield from _consequences(found, row, workflow)


def _commands(chain: Sequence[Everything], row: TaskRow, short: str) -> Iterator[str]:
    """Yield the commands to go on with; it is the outermost run that is resumed."""
    found, path = chain[-1], way(chain) + row.id
    worst = innermost(found, row)
    if worst is not None:
        yield f"runwright explain {short} {quoted(way(chain) + worst[0])}"
    elif row.attempts:
        yield f"runwright logs {short} {quoted(path)}"
    if chain[0].run.state not in RESUMABLE_RUN_STATES:
        return
    if row.state is not TaskState.SUCCEEDED or len(chain) > 1 or found.run.kind != "workflow":
        yield from resume_commands(chain[0], short)
    elif row.role is TaskRole.TASK:
        yield f"runwright resume {short} --from {quoted(row.id)}"


def _end(found: Everything, row: TaskRow) -> TaskEnded | None:
    """Return the event that brought a task to its end."""
    ends = (stored.event for stored in reversed(found.events) if isinstance(stored.event, TaskEnded))
    return next((event for event in ends if event.task_id == row.id), None)


def _told_by_cache(end: TaskEnded | None) -> Iterator[str]:
    """Yield what had changed since the task was up to date."""
    if end is not None and (len(end.details) > 1 or (end.details and end.spared)):
        yield from end.details


def _why(row: TaskRow, end: TaskEnded | None) -> str:
    error = error_of(row)
    if row.state is TaskState.SUCCEEDED and end is not None and end.spared:
        return f"it did not have to run: {row.reason}"
    spent = duration(elapsed(row.started_at, row.ended_at))
    if row.state is TaskState.SUCCEEDED:
        cause = f"; it ran because: {row.reason}" if row.reason else ""
        return f"it succeeded in attempt {row.attempts}{f' after {spent}' if spent else ''}{cause}"
    if row.state is TaskState.PENDING:
        return "it has not started"
    if row.state is TaskState.RUNNING:
        return f"attempt {row.attempts} is running"
    ignored = "; the failure is ignored, so the run went on" if row.ignored else ""
    return f"{row.state.value}: {error or 'no reason recorded'}{attempts_of(row)}{ignored}"


def _workflow(found: Everything) -> Workflow | None:
    if found.definition is None or found.run.kind != "workflow":
        return None
    try:
        return msgspec.json.decode(found.definition.content, type=Workflow)
    except msgspec.MsgspecError:
        return None


def _needs(found: Everything, row: TaskRow, workflow: Workflow | None) -> Iterator[str]:
    """Yield what the task waited for, and its condition."""
    definition = workflow.tasks.get(row.key) if workflow else None
    if row.role is not TaskRole.TASK:
        yield _role(row)
    if definition is None:
        return
    if definition.depends_on and row.role is TaskRole.TASK:
        states = Counter(
            other.state.value
            for other in found.tasks
            if other.key in {name.partition("[")[0] for name in definition.depends_on}
        )
        yield f"it needs {names_of(definition.depends_on)} ({counts_text(states)})"
    if definition.condition and row.role is not TaskRole.CLEANUP and not row.reason.startswith(FALSE):
        yield f"its condition is: {definition.condition}"


def _children(found: Everything, row: TaskRow) -> Iterator[str]:
    """Yield how many items or follow-ups the task has, and what came of them."""
    children = [one for one in found.tasks if one.role is TaskRole.CHILD and one.id.startswith(f"{row.id}.")]
    if children:
        number = "1 child" if len(children) == 1 else f"{len(children)} children"
        yield f"it has {number} ({counts_text(Counter(one.state.value for one in children))})"


def _role(row: TaskRow) -> str:
    if row.role is TaskRole.CLEANUP:
        return f"it is the cleanup of {row.id.removesuffix(CLEANUP)}"
    if row.role is TaskRole.CHILD:
        return f"it is a child of {row.id.rpartition('.')[0]}"
    return f"it is a handler; it was called for {cause(row.id.partition('@')[2])}"


def _tries(found: Everything, row: TaskRow) -> Iterator[str]:
    attempts = [attempt for attempt in found.attempts if attempt.task_id == row.id]
    if len(attempts) < 2:
        return
    delays = {
        stored.event.attempt: stored.event.delay
        for stored in found.events
        if isinstance(stored.event, TaskRetrying) and stored.event.task_id == row.id
    }
    for attempt in attempts[-MOST_ATTEMPTS:]:
        spent = duration(elapsed(attempt.started_at, attempt.ended_at))
        error = f": {attempt.failure.message}" if attempt.failure else ""
        again = f"; again after {duration(delays[attempt.number])}" if attempt.number in delays else ""
        yield f"attempt {attempt.number} {attempt.state.value}{f' after {spent}' if spent else ''}{error}{again}"


def _resumes(found: Everything) -> list[RunResumed]:
    return [stored.event for stored in found.events if isinstance(stored.event, RunResumed)]


def _resumed(event: RunResumed) -> str:
    redone = f"{len(event.redo)} to run" if event.redo else "none to run"
    return f"resume {event.resume_count} found it {event.from_state.value}: {event.reused} reused, {redone}"


def _reuse(found: Everything, row: TaskRow) -> Iterator[str]:
    for event in _resumes(found)[-1:]:
        if row.id in event.redo:
            yield f"resume {event.resume_count} ran it again: {event.redo[row.id]}"
        elif row.state is TaskState.SUCCEEDED and row.role is TaskRole.TASK:
            yield f"resume {event.resume_count} reused its outcome"


def _consequences(found: Everything, row: TaskRow, workflow: Workflow | None) -> Iterator[str]:
    """Yield what did not run because of this task."""
    if row.state not in {TaskState.FAILED, TaskState.CANCELLED} or workflow is None or row.ignored:
        return
    stopped = [
        other.id
        for other in found.tasks
        if other.state is TaskState.CANCELLED
        and other.key in workflow.tasks
        and any(name.partition("[")[0] == row.key for name in workflow.tasks[other.key].depends_on)
    ]
    if stopped:
        yield f"because of it {names_of(stopped)} did not run"
