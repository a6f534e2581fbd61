"""Continue a failed, cancelled or interrupted run under its id.

What has succeeded is reused; what is reused, what will run and why is printed before anything is done.
Options of the original run carry over unless they are given again. Of a plan the cleanups that it has left are run, or
with --continue every step that does not stand. A goal is asked again what it needs.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from runwright import wiring
from runwright.cli import schedule, values
from runwright.cli.arguments import Arguments, add_run
from runwright.cli.common import EXIT_FAILED, not_cleaned, reading, short_id
from runwright.cli.drive import Engine, Setup, Shown, drive, is_live
from runwright.cli.records import Record, plural
from runwright.cli.render.terminal import Out
from runwright.core.errors import Problem, UsageError
from runwright.core.options import FailurePolicy, ResumePlan, RunOptions, Strategy
from runwright.core.run import Run, TaskRow

if TYPE_CHECKING:
    import argparse

MOST_LINES = 40


def configure(parser: "argparse.ArgumentParser") -> None:
    """Add the arguments of `resume`."""
    add_run(parser)
    parser.add_argument("-n", "--dry-run", action="store_true", help="stop after showing what would be done")
    parser.add_argument(
        "--continue",
        action="store_true",
        dest="go_on",
        help="continue a plan, instead of only cleaning up what it has left",
    )
    parser.add_argument(
        "--from",
        action="append",
        default=[],
        metavar="TASK",
        dest="start_from",
        help="run this task and all that depends on it again; may be repeated",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="TASK", help="run this task alone; may be repeated"
    )
    parser.add_argument(
        "--pinned", action="store_true", help="use the stored definition even if the file has changed"
    )
    schedule.add_schedule(parser)
    schedule.add_variables(parser)
    schedule.add_policy(parser)
    parser.add_argument(
        "--timeout",
        type=values.seconds,
        default=0.0,
        metavar="DURATION",
        help="most time for the rest of the run",
    )
    schedule.add_display(parser)


def execute(args: Arguments) -> int:
    """Continue a run to its end, or show what would be done."""
    schedule.check_display(args)
    return asyncio.run(_dry_run(args) if args.dry_run else _resume(args))


def options_of(args: Arguments) -> RunOptions:
    """Return what the command line overrides."""
    return RunOptions(
        variables=schedule.variables(args),
        print_output=args.print_output,
        timeout=args.timeout,
        failure_policy=FailurePolicy(args.policy) if args.policy else FailurePolicy.FINISH,
        only=tuple(args.only),
        start_from=tuple(args.start_from),
        pinned=args.pinned,
    )


async def _dry_run(args: Arguments) -> int:
    location = wiring.state_location(args.store)
    store = wiring.open_store(location, read_only=True)
    try:
        run = await store.find_run(args.run)
        engine = wiring.make_engine(
            location, store, wiring.open_logs(location), strategy=None, workers=None, listener=None
        )
        async with engine:
            intent = await intent_of(engine, run, args)
        if args.json or args.events:
            args.out.json(intent.record)
        else:
            args.out.lines(intent.lines(await short_id(store, run.id), args.out))
            args.out.line("nothing was run")
    finally:
        await store.close()
    return 0


async def _resume(args: Arguments) -> int:
    run = await _find(args)
    options = options_of(args)
    left: list[str] = []

    async def prepare(engine: Engine) -> Shown:
        intent = await intent_of(engine, run, args)
        if not args.quiet:
            out = args.err if args.json or args.events else args.out
            out.lines(intent.lines(run.id, out))
            out.flush()
        rows = await engine.store.tasks(run.id) if is_live(args) else []
        return Shown(in_order((*intent.reused, *intent.run), rows), intent.reused)

    async def work(engine: Engine) -> Run:
        ended = await engine.resume(run.id, options, go_on=args.go_on)
        if run.kind == "plan":
            left.extend(await not_cleaned(engine.store, ended))
        return ended

    def judge(status: int) -> int:
        if run.kind == "plan" and not args.go_on and status == EXIT_FAILED:
            return int(bool(left))  # it was to clean up, and has
        return status or int(bool(left))

    strategy, workers = chosen_schedule(args)
    setup = Setup(title=run.name, strategy=strategy, workers=workers, prepare=prepare, judge=judge)
    return await drive(args, setup, work)


class Intent(Struct, frozen=True, kw_only=True):
    """What a resume is going to do.

    Attributes:
        run: Ids of the tasks that run, in any order.
        reused: Ids of those whose outcome stands.
        record: The same as data.
        lines: The same as lines, given the run's id to show.
    """

    run: Sequence[str] = ()
    reused: Sequence[str] = ()
    record: Record
    lines: Callable[[str, Out], Iterator[str]]


async def intent_of(engine: Engine, run: Run, args: Arguments) -> Intent:
    """Return what a resume of a run is going to do.

    Raises:
        UsageError: If options were given that its kind has not.
    """
    if run.kind == "plan":
        from runwright.cli.resume_plan import intent_of_plan  # noqa: PLC0415 - only for plans

        return await intent_of_plan(engine, run, options_of(args), go_on=args.go_on)
    if args.go_on:
        message = "--continue is for plans; other runs continue anyway"
        raise UsageError((Problem(message=message, suggestion="leave it out"),))
    if run.kind == "goal":
        return Intent(
            record={"run_id": run.id},
            lines=lambda shown, out: iter((head_line(run, shown, out), "  ask the goal again what it needs")),
        )
    plan = await engine.plan_resume(run.id, options_of(args))
    return Intent(
        run=tuple(plan.redo),
        reused=tuple(plan.reuse),
        record=plan_record(plan),
        lines=lambda shown, out: plan_lines(run, plan, shown, out),
    )


def in_order(ids: Sequence[str], rows: Sequence[TaskRow]) -> list[str]:
    """Return ids of tasks, known ones in the order of the run."""
    place = {row.id: number for number, row in enumerate(rows)}
    return sorted(ids, key=lambda name: place.get(name, len(place)))


async def _find(args: Arguments) -> Run:
    async with reading(args) as state:
        return await state.store.find_run(args.run)


def chosen_schedule(args: Arguments) -> tuple[Strategy | None, int | None]:
    """Return what the command line overrides of strategy and workers; None means as before."""
    if args.strategy is None and (args.workers or 0) > 1:
        return Strategy.WORK_STEALING, args.workers
    strategy = Strategy(args.strategy) if args.strategy else None
    return strategy, 1 if strategy is Strategy.SEQUENTIAL else args.workers


def plan_record(plan: ResumePlan) -> Record:
    """Return what a resume would do."""
    return {
        "run_id": plan.run_id,
        "reuse": dict(plan.reuse),
        "redo": dict(plan.redo),
        "added": list(plan.added),
        "removed": list(plan.removed),
        "changed": {key: list(fields) for key, fields in plan.changed.items()},
    }


def plan_lines(run: Run, plan: ResumePlan, shown_id: str, out: Out) -> Iterator[str]:
    """Yield what a resume reuses, what it runs, and why."""
    yield head_line(run, shown_id, out)
    yield from section("reuse", plan.reuse, "good", out)
    yield from section("run", plan.redo, "live", out)
    if plan.removed:
        names = ", ".join(plan.removed)
        yield f"  {plural(len(plan.removed), 'task')} no longer in the workflow: {out.clean(names)}"


def head_line(run: Run, shown_id: str, out: Out) -> str:
    """Return the first line of what a resume is going to do."""
    mark = out.paint(out.mark("start"), "live")
    name = out.paint(out.clean(run.name), "strong")
    return f"{mark} resuming {name}, {out.state(run.state.value)}  run {shown_id}"


def section(title: str, tasks: Mapping[str, str], style: str, out: Out, word: str = "task") -> Iterator[str]:
    """Yield what happens to some tasks, each with its reason."""
    yield f"  {out.paint(title, style)} {plural(len(tasks), word)}"
    for task, reason in list(tasks.items())[:MOST_LINES]:
        yield f"    {out.clean(task)}  {out.paint(out.clean(reason), 'dim')}"
    if len(tasks) > MOST_LINES:
        yield f"    and {len(tasks) - MOST_LINES} more"
