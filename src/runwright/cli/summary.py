"""The end of a run: what came of it, what failed and why, and the next step."""

from collections.abc import Iterator, Sequence

from runwright.cli.arguments import Arguments
from runwright.cli.common import Ended, short_id
from runwright.cli.records import Record, counted, run_record, task_record
from runwright.cli.render.names import said
from runwright.cli.render.progress import visible
from runwright.cli.render.terminal import STATE_STYLES, Out
from runwright.cli.render.times import duration
from runwright.core.run import Run, TaskRow
from runwright.core.states import RESUMABLE_RUN_STATES, RunState, TaskRole, TaskState
from runwright.ports.stores import RunStore

MOST_FAILURES = 10
TAIL_LINES = 8


async def conclude(args: Arguments, store: RunStore, ended: Ended) -> None:
    """Print the summary of a run that has ended, in the form that was asked for."""
    run = ended.run
    if args.events or (args.quiet and not ended.status and not args.json):
        return
    failed = await failures(store, run)
    if args.json:
        args.out.json(summary_record(run, failed, ended.status))
        return
    out = args.err if args.quiet else args.out
    named = failed or run.state in RESUMABLE_RUN_STATES  # the lines name the run only then
    short = await short_id(store, run.id) if named else run.id
    out.lines(summary_lines(ended, failed, short, out))


async def failures(store: RunStore, run: Run) -> list[TaskRow]:
    """Return the tasks of a run that failed; the store is only asked if there may be any."""
    if run.kind == "workflow" and run.state is RunState.SUCCEEDED and not run.counts.failed:
        return []
    return [row for row in await store.tasks(run.id) if row.state is TaskState.FAILED]


def summary_record(run: Run, failed: Sequence[TaskRow], status: int) -> Record:
    """Return a run that has ended with its failed tasks."""
    return {
        **run_record(run),
        "exit_status": status,
        "failed_tasks": [task_record(row) for row in failed],
    }


def summary_lines(ended: Ended, failed: Sequence[TaskRow], short: str, out: Out) -> Iterator[str]:
    """Yield the lines of the summary."""
    run = ended.run
    mark = out.paint(out.mark("end"), STATE_STYLES[run.state.value])
    state = out.state(run.state.value)
    yield f"{mark} {out.clean(run.name)} {state} in {duration(ended.spent)}  run {run.id}"
    yield f"  {counted(run)}"
    told = run.state is RunState.FAILED and any(not row.ignored for row in failed)
    if run.reason and run.state is not RunState.SUCCEEDED and not told:
        yield f"  {out.clean(run.reason)}"
    for row in failed[:MOST_FAILURES]:
        yield from failure_lines(row, out)
    if len(failed) > MOST_FAILURES:
        yield f"  and {len(failed) - MOST_FAILURES} more that failed: `runwright inspect {short}`"
    yield from next_steps(run, failed, short, out)


def failure_lines(row: TaskRow, out: Out) -> Iterator[str]:
    """Yield what is known of why a task failed: its error and the end of its standard error."""
    failure = row.failure
    message = failure.message if failure else row.reason
    attempts = f" after {row.attempts} attempts" if row.attempts > 1 else ""
    ignored = " (ignored)" if row.ignored else ""
    yield f"{out.state_mark('failed')} {out.clean(said(row.id, row.role))}  {out.clean(message)}{attempts}{ignored}"
    tail = failure.stderr_tail.splitlines()[-TAIL_LINES:] if failure else []
    bar = out.paint(out.mark("bar"), "dim")
    for line in tail:
        yield f"  {bar} {visible(line, out)}"


def next_steps(run: Run, failed: Sequence[TaskRow], short: str, out: Out) -> Iterator[str]:
    """Yield the commands to go on with."""
    if run.state not in RESUMABLE_RUN_STATES:
        return
    arrow = out.paint(out.mark("arrow"), "dim")
    shown = next((row for row in failed if not row.ignored), None)
    if shown is not None:
        yield f"{arrow} runwright logs {short} {quoted(shown.id)}"
    if run.kind != "plan" or any(row.role is TaskRole.CLEANUP for row in failed):
        yield f"{arrow} runwright resume {short}"
    if run.kind == "plan":
        yield f"{arrow} runwright resume {short} --continue"


def quoted(text: str) -> str:
    """Return a word as it is typed in a shell; brackets of matrix nodes are quoted."""
    from shlex import quote  # noqa: PLC0415 - only for the summary of a failure

    return quote(text)
