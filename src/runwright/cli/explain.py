"""Say in a few lines why a run ended as it did, or why a task ran, was skipped, retried, cancelled or reused."""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from runwright.cli.arguments import Arguments, add_json, add_run
from runwright.cli.common import Reading, short_id, with_reading
from runwright.cli.inspect import Everything, gather
from runwright.cli.logs import select
from runwright.cli.records import Record, counts_text, plural, state_counts
from runwright.cli.render.names import CLEANUP, cause, said
from runwright.cli.render.times import duration, elapsed
from runwright.cli.summary import quoted
from runwright.core.events import RunResumed, TaskRetrying
from runwright.core.run import TaskRow
from runwright.core.states import RESUMABLE_RUN_STATES, RunState, TaskRole, TaskState
from runwright.core.workflow import Workflow

MOST_LINES = 10
MOST_ATTEMPTS = 3
MOST_NAMES = 3
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
        "task", nargs="?", metavar="TASK", help="id of a task, or key of all nodes of a matrix"
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
    facts = [f"{plural(run.counts.total, 'task')}: {counts_text(state_counts(run))}"]
    if run.reason and not (run.state is RunState.FAILED and failed):
        facts.append(run.reason)
    if run.state is RunState.INTERRUPTED:
        facts.append("its engine died before the run had ended; nothing of it runs any more")
    facts += [f"{row.id} failed: {_error(row)}{_attempts(row)}" for row in failed[:MOST_NAMES]]
    if len(failed) > MOST_NAMES:
        facts.append(f"{len(failed) - MOST_NAMES} more failed")
    facts += _by_reason(ordinary)
    facts += [_resumed(event) for event in _resumes(found)[-1:]]
    return Explanation(
        subject=f"{run.name} {short}",
        state=run.state.value,
        facts=facts,
        next=list(_next(found, failed, short)),
    )


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
        yield f"runwright logs {short} {quoted(failed[0].id)}"
    if found.run.state in RESUMABLE_RUN_STATES:
        yield f"runwright resume {short}"
    if found.run.state is RunState.RUNNING:
        yield f"runwright status {short} --follow"


def explain_task(found: Everything, name: str, short: str) -> Explanation:
    """Return why a task is in its state; for a key of several nodes, what came of each.

    Raises:
        UsageError: If the run has no such task.
    """
    ids = select(found.tasks, name)
    rows = [row for row in found.tasks if row.id in ids]
    return _one(found, rows[0], short) if len(rows) == 1 else _several(name, rows, short)


def _several(name: str, rows: Sequence[TaskRow], short: str) -> Explanation:
    telling = sorted(rows, key=lambda row: row.state is TaskState.SUCCEEDED)
    facts = [f"{row.id} {row.state.value}{f': {_error(row)}' if _error(row) else ''}" for row in telling]
    states = Counter(row.state.value for row in rows)
    return Explanation(
        subject=f"{name}, {plural(len(rows), 'node')}",
        state=counts_text(states),
        facts=facts,
        next=[f"runwright explain {short} {quoted(telling[0].id)}"],
    )


def _one(found: Everything, row: TaskRow, short: str) -> Explanation:
    workflow = _workflow(found)
    facts = [_why(row), *_needs(found, row, workflow), *_tries(found, row)]
    facts += _reuse(found, row)
    facts += _consequences(found, row, workflow)
    commands = [f"runwright logs {short} {quoted(row.id)}"] if row.attempts else []
    if found.run.state in RESUMABLE_RUN_STATES and row.state is not TaskState.SUCCEEDED:
        commands.append(f"runwright resume {short}")
    elif found.run.state in RESUMABLE_RUN_STATES and row.role is TaskRole.TASK:
        commands.append(f"runwright resume {short} --from {quoted(row.id)}")
    return Explanation(
        subject=said(row.id, row.role),
        state=row.state.value,
        facts=[fact for fact in facts if fact],
        next=commands,
    )


def _why(row: TaskRow) -> str:
    error = _error(row)
    spent = duration(elapsed(row.started_at, row.ended_at))
    if row.state is TaskState.SUCCEEDED:
        return f"it succeeded in attempt {row.attempts}{f' after {spent}' if spent else ''}"
    if row.state is TaskState.PENDING:
        return "it has not started"
    if row.state is TaskState.RUNNING:
        return f"attempt {row.attempts} is running"
    ignored = "; the failure is ignored, so the run went on" if row.ignored else ""
    return f"{row.state.value}: {error or 'no reason recorded'}{_attempts(row)}{ignored}"


def _workflow(found: Everything) -> Workflow | None:
    if found.definition is None:
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
        yield f"it needs {_names(definition.depends_on)} ({counts_text(states)})"
    if definition.condition and row.role is not TaskRole.CLEANUP and not row.reason.startswith(FALSE):
        yield f"its condition is: {definition.condition}"


def _role(row: TaskRow) -> str:
    if row.role is TaskRole.CLEANUP:
        return f"it is the cleanup of {row.id.removesuffix(CLEANUP)}"
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
        yield f"because of it {_names(stopped)} did not run"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"


def _error(row: TaskRow) -> str:
    return row.failure.message if row.failure else row.reason


def _attempts(row: TaskRow) -> str:
    return f" (attempt {row.attempts})" if row.attempts > 1 else ""
