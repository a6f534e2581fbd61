"""From options to the end of a run in this process: store, engine, signals, progress, summary, exit status."""

import gc
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import ExitStack

from msgspec import Struct

from runwright import wiring
from runwright.cli.arguments import Arguments
from runwright.cli.common import Ended, exit_status
from runwright.cli.render.progress import View
from runwright.cli.stop import Stopper, signals
from runwright.core.events import ProgressEvent
from runwright.core.options import Strategy
from runwright.core.run import Run
from runwright.ports.stores import RunStore

Engine = wiring.Engine


class Shown(Struct, frozen=True):
    """The ordinary tasks that the tree on a terminal shows: their ids in order, and those whose outcome is reused."""

    tasks: Sequence[str] = ()
    reused: Collection[str] = ()


def as_it_is(status: int) -> int:
    """Return the exit status that follows from the run's state."""
    return status


class Setup(Struct, frozen=True, kw_only=True):
    """How to drive.

    Attributes:
        title: What the progress is headed with.
        prepare: Called with the engine before anything runs; returns what a terminal is to show.
        strategy: Of a workflow; None means the one the run had (resume).
        workers: Most tasks at a time in it; None means as many as the run had.
        judge: Makes the exit status of what follows from the run's state; called once the run has ended.
    """

    title: str
    prepare: Callable[[Engine], Awaitable[Shown]]
    strategy: Strategy | None = None
    workers: int | None = None
    judge: Callable[[int], int] = as_it_is


class Relay:
    """A listener whose view begins later than the engine that it listens to."""

    def __init__(self) -> None:
        self.view: View | None = None

    def __call__(self, event: ProgressEvent) -> None:
        """Pass an event on."""
        if self.view is not None:
            self.view.event(event)


async def drive(args: Arguments, setup: Setup, work: Callable[[Engine], Awaitable[Run]]) -> int:
    """Run `work` on an engine, show its progress, and return the exit status."""
    if not gc.isenabled():
        gc.freeze()  # what has been imported stays
        gc.enable()
    location = wiring.state_location(args.store)
    store = wiring.open_store(location, read_only=False)
    held = ExitStack()  # signals are held until all is closed: a late one must not break into that
    try:
        relay = Relay()
        engine = wiring.make_engine(
            location,
            store,
            wiring.open_logs(location),
            strategy=setup.strategy,
            workers=setup.workers,
            listener=None if is_silent(args) else relay,
        )
        async with engine:
            view = choose_view(args, setup.title, await setup.prepare(engine))
            relay.view = view
            begun = time.monotonic()
            run, status = await watched(args, engine, view, work, held)
            status = setup.judge(status)
            spent = time.monotonic() - begun
        await finish(args, store, Ended(run, status, spent))
    finally:
        await store.close()
        held.close()
    return status


async def watched(
    args: Arguments,
    engine: Engine,
    view: View,
    work: Callable[[Engine], Awaitable[Run]],
    held: ExitStack,
) -> tuple[Run, int]:
    """Run `work` with signals, which stay `held`, and a view; returns the run and the exit status."""
    stopper = Stopper(engine.stop, lambda text: say(view, args, text), leave(view))
    held.enter_context(signals(stopper))
    try:
        run = await work(engine)
    finally:
        view.close()
    status = exit_status(run)
    return run, (stopper.exit_status or status) if status else 0


def is_silent(args: Arguments) -> bool:
    """Return whether no progress is shown."""
    return bool((args.quiet or args.json) and not args.events)


def is_live(args: Arguments) -> bool:
    """Return whether progress is drawn on a terminal."""
    return bool(args.out.ansi and not (args.plain or args.events or is_silent(args)))


def say(view: View, args: Arguments, text: str) -> None:
    """Tell the user something while the progress is shown."""
    if is_live(args):
        view.note(args.err.paint(text, "warn"))
        return
    try:
        args.err.line(text)
        args.err.flush()
    except OSError:
        return


def leave(view: View) -> Callable[[int], None]:
    """Return how to end the process at once, with the terminal's cursor shown again."""

    def at_once(status: int) -> None:
        import os  # noqa: PLC0415 - rarely needed

        view.abandon()
        os._exit(status)

    return at_once


def choose_view(args: Arguments, title: str, shown: Shown) -> View:
    """Return how the progress is shown: as events, not at all, live on a terminal, or as plain lines."""
    if args.events:
        from runwright.cli.render.progress_jsonl import JsonLines  # noqa: PLC0415

        return JsonLines(args.out)
    if is_silent(args):
        from runwright.cli.render.silence import Silence  # noqa: PLC0415

        return Silence()
    if is_live(args):
        from runwright.cli.common import now  # noqa: PLC0415
        from runwright.cli.render.progress_live import LiveView  # noqa: PLC0415 - rich only on a terminal

        return LiveView(args.out, title, shown.tasks, shown.reused, now)
    from runwright.cli.render.progress_plain import PlainView  # noqa: PLC0415

    return PlainView(args.out, title)


async def finish(args: Arguments, store: RunStore, ended: Ended) -> None:
    """Print the end of it; a reader that has gone away changes nothing about the run."""
    from runwright.cli.dispatch import silence  # noqa: PLC0415 - the module that called us
    from runwright.cli.summary import conclude  # noqa: PLC0415 - not needed before the end

    try:
        await conclude(args, store, ended)
        args.out.flush()
    except OSError:
        silence(args.out.stream)
