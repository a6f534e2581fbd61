"""List runs, newest first: which, how they stand, how long they took.

Runs that are the work of a task of another run are left out, unless --all asks for them.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from runwright.cli import values
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import Reading, now, short_ids, with_reading
from runwright.cli.records import Record, plural, run_record
from runwright.cli.render.tables import Cell, Column, table
from runwright.cli.render.terminal import STATE_STYLES, Out
from runwright.cli.render.times import duration, elapsed, instant
from runwright.core.kinds import FileKind
from runwright.core.run import Run
from runwright.core.states import RunState
from runwright.ports.stores import RunFilter

DEFAULT_LIMIT = 20
SORTS = ("time", "name", "duration", "tasks", "state")

COLUMNS = (
    Column("run"),
    Column("name", least=8),
    Column("kind"),
    Column("part of", least=8),
    Column("state"),
    Column("started", optional=True),
    Column("duration", right=True),
    Column("tasks", right=True, optional=True),
    Column("ok", right=True, optional=True),
    Column("failed", right=True, optional=True),
    Column("tags", least=4, optional=True),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `runs`."""
    states = [state.value for state in RunState]
    parser.add_argument("-a", "--all", action="store_true", help="also runs that are parts of other runs")
    parser.add_argument("-w", "--workflow", "--name", metavar="NAME", default="", help="runs of this name")
    parser.add_argument(
        "-k", "--kind", choices=[kind.value for kind in FileKind], default="", help="runs of this kind"
    )
    parser.add_argument(
        "-s", "--state", "--status", type=str.lower, choices=states, metavar="STATE", help=", ".join(states)
    )
    parser.add_argument("--tag", metavar="TAG", default="", help="runs with this tag")
    parser.add_argument(
        "--since",
        "--start-date",
        type=values.since,
        metavar="WHEN",
        help="started then or later: 2026-01-31, 7d, 12h, today",
    )
    parser.add_argument(
        "--until",
        "--end-date",
        type=values.until,
        metavar="WHEN",
        help="started before then; a date includes that day",
    )
    parser.add_argument(
        "--min-duration",
        type=values.seconds,
        default=0.0,
        metavar="DURATION",
        help="took at least so long: 90s, 5m",
    )
    parser.add_argument(
        "-l",
        "--limit",
        type=values.count,
        default=DEFAULT_LIMIT,
        metavar="N",
        help=f"most runs to list, 0 for all (default {DEFAULT_LIMIT})",
    )
    parser.add_argument(
        "-o", "--offset", type=values.count, default=0, metavar="N", help="leave out so many at the beginning"
    )
    parser.add_argument(
        "-S",
        "--sort",
        choices=SORTS,
        default="time",
        metavar="KEY",
        help=", ".join(SORTS) + " (default time)",
    )
    parser.add_argument(
        "--stats", action="store_true", help="sum up all matching runs instead of listing them"
    )
    add_json(parser)


def execute(args: Arguments) -> int:
    """List runs."""

    async def work(state: Reading) -> tuple[list[Run], Mapping[str, str]]:
        runs = await state.store.list_runs(which(args))
        if args.json or args.stats:
            return runs, {}
        named = dict.fromkeys(name for run in runs for name in (run.id, run.parent_id) if name)
        return runs, await short_ids(state.store, list(named))

    runs, shown = with_reading(args, work)
    if args.stats:
        show_stats(statistics(runs), args)
    elif args.json:
        args.out.json([run_record(run) for run in runs])
    elif runs:
        args.out.lines(run_table(runs, shown, args.out))
    else:
        args.out.line("no runs" if plain(args) else "no runs match")
    return 0


def plain(args: Arguments) -> bool:
    """Return whether nothing narrows the list."""
    narrowing = (args.workflow, args.kind, args.state, args.tag, args.since, args.until, args.min_duration)
    return not any(narrowing)


def which(args: Arguments) -> RunFilter:
    """Return what to ask the store for; statistics look at every matching run."""
    return RunFilter(
        name=args.workflow,
        kind=args.kind,
        parent=None if args.all else "",
        state=RunState(args.state) if args.state else None,
        tag=args.tag,
        since=args.since,
        until=args.until,
        min_duration=args.min_duration,
        sort=args.sort,
        limit=0 if args.stats else args.limit,
        offset=0 if args.stats else args.offset,
    )


def run_table(runs: Sequence[Run], shown: Mapping[str, str], out: Out) -> Iterator[str]:
    """Yield the lines of the table of runs; kinds are only told where they differ, outer runs where there are any."""
    at = now()
    left_out = set()
    if len({run.kind for run in runs}) == 1:
        left_out.add("kind")
    if not any(run.parent_id for run in runs):
        left_out.add("part of")
    kept = [number for number, column in enumerate(COLUMNS) if column.title not in left_out]
    rows = [_row(run, shown, at) for run in runs]
    return table([COLUMNS[number] for number in kept], [[row[n] for n in kept] for row in rows], out)


def _row(run: Run, shown: Mapping[str, str], at: datetime) -> tuple[Cell | str, ...]:
    live = run.state is RunState.RUNNING
    return (
        Cell(shown[run.id], "strong"),
        run.name,
        run.kind,
        f"{shown[run.parent_id]} {run.parent_task}" if run.parent_id else "",
        Cell(run.state.value, STATE_STYLES[run.state.value]),
        instant(run.started_at or run.created_at),
        duration(elapsed(run.started_at, run.ended_at, at if live else None)),
        str(run.counts.total),
        str(run.counts.succeeded),
        Cell(str(run.counts.failed), "bad" if run.counts.failed else ""),
        ", ".join(run.tags),
    )


def statistics(runs: Sequence[Run]) -> Record:
    """Return sums over runs; durations in seconds, null where there is none."""
    durations = sorted(
        seconds for run in runs if (seconds := elapsed(run.started_at, run.ended_at)) is not None
    )
    ended = sum(run.state in {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED} for run in runs)
    succeeded = sum(run.state is RunState.SUCCEEDED for run in runs)
    return {
        "runs": len(runs),
        "states": {state.value: sum(run.state is state for run in runs) for state in RunState},
        "success_rate": succeeded / ended if ended else None,
        "duration_median": _quantile(durations, 0.5),
        "duration_p90": _quantile(durations, 0.9),
        "duration_max": durations[-1] if durations else None,
        "tasks": sum(run.counts.total for run in runs),
    }


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def show_stats(found: Record, args: Arguments) -> None:
    """Print sums over runs."""
    if args.json:
        args.out.json(found)
        return
    out = args.out
    states = ", ".join(f"{number} {out.state(name)}" for name, number in found["states"].items() if number)
    out.line(f"{plural(found['runs'], 'run')}{': ' if states else ''}{states}")
    if found["success_rate"] is not None:
        out.line(f"success rate  {found['success_rate']:.0%} of those that ended")
    if found["duration_median"] is not None:
        out.line(
            f"duration      median {duration(found['duration_median'])},"
            f" 90 % within {duration(found['duration_p90'])}, longest {duration(found['duration_max'])}"
        )
    out.line(f"tasks         {found['tasks']}")
