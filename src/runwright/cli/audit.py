"""Show the events of a run, or verify that none was edited, removed or reordered.

`audit --verify` without a run checks every run. Keep a run's digest elsewhere and give it to --expect later: it proves
that nothing was rewritten as a whole either. Exit status 1 if something does not hold.
"""

import argparse
from collections.abc import Iterator, Sequence

import msgspec

from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import Reading, with_reading
from runwright.cli.records import event_record, integrity_record, plural
from runwright.cli.render.events import in_words
from runwright.cli.render.tables import Cell, Column, table
from runwright.cli.render.terminal import Out
from runwright.cli.render.times import precise
from runwright.core.errors import Problem, UsageError
from runwright.ports.stores import Integrity, RunFilter, RunStore, StoredEvent

COLUMNS = (
    Column("seq", right=True),
    Column("time", optional=True),
    Column("event"),
    Column("task", least=8),
    Column("data", least=20, optional=True),
)

Checked = Sequence[tuple[str, Integrity]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `audit`."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="id of a run, or its beginning, or `latest`")
    parser.add_argument("--verify", action="store_true", help="check the chain instead of showing events")
    parser.add_argument("--expect", metavar="DIGEST", help="the chain must end with this digest")
    add_json(parser)


def execute(args: Arguments) -> int:
    """Show or verify events."""
    if args.run is None and not (args.verify and not args.expect):
        raise UsageError(
            (Problem(message="which run?", suggestion="name a run, or check all with `audit --verify`"),)
        )
    if args.verify or args.expect:
        return _verify(args)

    async def work(state: Reading) -> list[StoredEvent]:
        run = await state.store.find_run(args.run)
        return await state.store.events(run.id)

    events = with_reading(args, work)
    if args.json:
        args.out.json([event_record(event) for event in events])
    else:
        args.out.lines(table(COLUMNS, [_row(event) for event in events], args.out))
    return 0


def _row(stored: StoredEvent) -> tuple[Cell | str, ...]:
    record = event_record(stored)
    task, attempt = record["task_id"] or "", record["attempt"]
    data = in_words(stored.event) or (msgspec.json.encode(record["data"]).decode() if record["data"] else "")
    return (
        Cell(str(stored.seq), "dim"),
        precise(stored.event.at),
        record["kind"],
        f"{task} #{attempt}" if attempt else task,
        Cell(data, "dim"),
    )


def _verify(args: Arguments) -> int:
    async def work(state: Reading) -> Checked:
        return [(run_id, await state.store.verify(run_id)) for run_id in await _ids(args, state.store)]

    checked = [(run_id, expected(found, args.expect)) for run_id, found in with_reading(args, work)]
    if args.json:
        args.out.json([integrity_record(run_id, found) for run_id, found in checked])
    else:
        args.out.lines(verdict_lines(checked, args.out))
    return 0 if all(found.ok for _, found in checked) else 1


async def _ids(args: Arguments, store: RunStore) -> list[str]:
    if args.run is not None:
        return [(await store.find_run(args.run)).id]
    return [run.id for run in await store.list_runs(RunFilter())]


def expected(found: Integrity, digest: str | None) -> Integrity:
    """Return the result with the digest that somebody kept taken into account."""
    if not found.ok or not digest or digest == found.head:
        return found
    problem = f"the chain holds, but ends with {found.head}, not with {digest}"
    return Integrity(ok=False, events=found.events, head=found.head, problem=problem)


def verdict_lines(checked: Checked, out: Out) -> Iterator[str]:
    """Yield what came of checking chains; with many runs the good ones are counted only."""
    many = len(checked) > 1
    for run_id, found in checked:
        if not found.ok:
            yield f"{out.state_mark('failed')} {run_id}  {out.clean(found.problem)}"
        elif not many:
            yield f"{out.state_mark('succeeded')} {run_id}  {plural(found.events, 'event')}, chained to {found.head}"
    if many or not checked:
        bad = sum(not found.ok for _, found in checked)
        events = sum(found.events for _, found in checked)
        verdict = f"{bad} broken" if bad else "all chains hold"
        yield f"{plural(len(checked), 'run')}, {plural(events, 'event')}: {verdict}"
