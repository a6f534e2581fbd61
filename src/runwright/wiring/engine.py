"""The engine of the library, with everything it needs put together.

Imports that a path does not need stay inside functions, because the start of a run is measured.
"""

import sys
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Union

from msgspec import Struct

from runwright.adapters.project import StateLocation, find_workflow, list_workflows, state_location
from runwright.core.errors import Problem, UsageError
from runwright.core.options import ResumePlan, RunOptions, Strategy
from runwright.core.run import Run
from runwright.engines.work import Work
from runwright.ports.stores import RunStore
from runwright.ports.system import Logs
from runwright.wiring.definitions import (
    decode_workflow,
    executor_args,
    kind_of,
    load,
    load_any,
    load_flow,
    load_goal,
    load_plan,
    load_workflow,
)
from runwright.wiring.early import take_early
from runwright.wiring.isolation import Isolation
from runwright.wiring.runs import Runs, is_flow
from runwright.wiring.stack import executor_stack

if TYPE_CHECKING:
    from runwright.engines.plan_prepare import Resumption
    from runwright.engines.progress import Listener
    from runwright.wiring.flow import Workflow

Definition = Union[Struct, str, Path, "Workflow"]
"""A workflow made in code, the record of a workflow, a plan or a goal, a file that was read, or the path of one.

A text may also be ``module:name`` or ``file.py:name`` of a workflow made in code.
"""


__all__ = [
    "Engine",
    "StateLocation",
    "decode_workflow",
    "executor_args",
    "executor_stack",
    "find_workflow",
    "kind_of",
    "list_workflows",
    "load",
    "load_any",
    "load_flow",
    "load_goal",
    "load_plan",
    "load_workflow",
    "make_engine",
    "open_logs",
    "open_store",
    "state_location",
]


def open_store(location: "StateLocation | str | Path | None" = None, *, read_only: bool = False) -> RunStore:
    """Open the durable store of a project; the caller closes it.

    Args:
        location: Where it is; None means where `state_location` finds it.
        read_only: Write nothing at all; a store that is not there is an empty one.

    Raises:
        UsageError: If its URL is not well formed, or asks for an extra that is not installed.
        StoreError: If it can't be used.
    """
    where = location if isinstance(location, StateLocation) else state_location(_text(location))
    if where.is_server:
        from runwright.wiring.servers import open_postgres

        return open_postgres(where.store_url, read_only=read_only)
    from runwright.adapters.sqlite import SqliteStore

    return SqliteStore.open(where.database, read_only=read_only)


def _text(location: str | Path | None) -> str | None:
    return None if location is None else str(location)


def open_logs(location: StateLocation) -> Logs:
    """Return the logs of a project."""
    from runwright.adapters.logs import FileLogs

    return FileLogs(location.logs_dir)


# -- running ---------------------------------------------------------------------------------------------------


class Engine:
    """Executes and resumes workflows, and keeps what happened.

    Usage::

        async with Engine(open_store(), workers=4) as engine:
            run = await engine.execute(load_workflow("pipeline.toml"))

    Args:
        store: Where runs are recorded: a store, a path or URL, or None for the project's own. A store that is given
            stays open; one opened here is closed with the engine.
        strategy: `sequential`, `levels` or `work-stealing`; None means work-stealing if there are several workers.
        workers: Most tasks at a time; None means 1, and for a resume what the run was started with.
        listener: Told every progress event, in order, from the event loop.
        logs: Where logs go; None means beside the store.
    """

    def __init__(
        self,
        store: RunStore | str | Path | None = None,
        *,
        strategy: Strategy | str | None = None,
        workers: int | None = None,
        listener: "Listener | None" = None,
        logs: Logs | None = None,
        location: StateLocation | None = None,
    ) -> None:
        _refuse_while_importing()
        from runwright.adapters.process import WardenProcesses
        from runwright.adapters.workspace import DirectoryWorkspaces

        is_place = store is None or isinstance(store, str | Path)
        self._location = location or state_location(_text(store) if is_place else None)  # type: ignore[arg-type]
        self._owns_store = is_place
        self.store: RunStore = open_store(self._location) if is_place else store  # type: ignore[assignment]
        self._logs = logs or open_logs(self._location)
        self._processes = WardenProcesses(take_early())
        self._workspaces = DirectoryWorkspaces(self._location.work_dir)
        self._isolation = Isolation(self._location.work_dir.parent / "containers")
        self._runs = Runs(
            self.store,
            self._logs,
            self._workspaces,
            self._processes,
            self._location.values_dir,
            listener,
            None if strategy is None else _strategy(strategy),
            None if workers is None else _at_least_one(workers),
            self._isolation,
            self._location.cache_dir,
        )

    async def __aenter__(self) -> "Engine":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def execute(self, definition: Definition, options: RunOptions | None = None) -> Run:
        """Run a workflow, a plan or a goal to its end and return its record; a failed run is a record, not an exception.

        Args:
            definition: What to run: a `Workflow`, a checked definition, a file that was read, or the path of a file of
                any kind.
            options: Choices for this run.

        Raises:
            DefinitionError: If the definition, the options or a variable is wrong.
            StoreError: If the run can't be recorded.
        """
        options = options or RunOptions()
        work = _work(definition, options.variables)
        await self._sweep()
        return await self._runs.execute(work, options)

    async def plan_resume(self, run_id: str, options: RunOptions | None = None) -> ResumePlan:
        """Say what `resume` of a workflow would reuse and run again, and why; writes nothing."""
        options = options or RunOptions()
        run = await self.store.find_run(run_id)
        return await self._runs.plan_resume(run, self._runs.current(run, options), options)

    async def plan_cleanup(
        self, run_id: str, options: RunOptions | None = None, *, go_on: bool = False
    ) -> "Resumption":
        """Say what `resume` of a plan would clean up and run again, and why; writes nothing."""
        options = options or RunOptions()
        run = await self.store.find_run(run_id)
        return await self._runs.plan_cleanup(run, self._runs.current(run, options), options, go_on=go_on)

    async def resume(self, run_id: str, options: RunOptions | None = None, *, go_on: bool = False) -> Run:
        """Continue a failed, cancelled or interrupted run under the same id, and return its record.

        Args:
            run_id: Id of the run, an unambiguous beginning of it, or ``latest``.
            options: What differs from the options it was started with.
            go_on: Continue a plan; else only the cleanups that it has left are run.

        Raises:
            RunIsActive: If another engine drives it.
            UsageError: If it has succeeded, or a plan has left nothing to clean up.
            DefinitionError: If its file has become wrong.
        """
        options = options or RunOptions()
        run = await self.store.find_run(run_id)
        work = self._runs.current(run, options)
        await self._sweep()
        return await self._runs.resume(run, work, options, go_on=go_on)

    async def _sweep(self) -> None:
        """Remove what engines that have died left behind."""
        self._workspaces.sweep()
        await self._isolation.sweep(self._processes)

    def stop(self, reason: str) -> None:
        """Stop all runs: the first call asks tasks to end, the second ends them at once."""
        self._runs.stop(reason)

    async def close(self) -> None:
        """End what still runs and free everything; safe to call twice."""
        await self._processes.close()
        self._isolation.close()
        if self._owns_store:
            await self.store.close()


def _refuse_while_importing() -> None:
    """Refuse to start an engine where a module is only imported to find something in it: it would start for ever.

    Raises:
        UsageError: Naming what is imported.
    """
    if name := getattr(sys, "_runwright_imports", ""):
        message = f'"{name}" is being imported, and starts an engine of its own'
        advice = 'put what starts it under `if __name__ == "__main__":`'
        raise UsageError((Problem(message=message, suggestion=advice),))


def _work(definition: Definition, given: Collection[str]) -> Work:
    if isinstance(definition, str | Path):
        is_module = is_flow(str(definition)) and not Path(definition).exists()
        here = Path.cwd()
        definition = load_flow(str(definition), here, given) if is_module else load_any(definition, given)
    loaded: Any = definition
    if hasattr(definition, "to_work"):
        made: Work = loaded.to_work(given)
        return made
    text = getattr(definition, "source_text", None)
    if text is None:
        return Work(definition=definition)
    return Work(definition=loaded.definition, source=text, path=str(Path(loaded.path).absolute()))


def make_engine(
    location: StateLocation,
    store: RunStore,
    logs: Logs,
    *,
    strategy: Strategy | None = None,
    workers: int | None = None,
    listener: "Listener | None" = None,
) -> Engine:
    """Return an engine on a store and logs that are open already."""
    return Engine(store, strategy=strategy, workers=workers, listener=listener, logs=logs, location=location)


def _strategy(name: Strategy | str) -> Strategy:
    try:
        return Strategy(name)
    except ValueError:
        known = ", ".join(Strategy)
        raise UsageError(f'there is no strategy "{name}"; use one of {known}') from None


def _at_least_one(workers: int) -> int:
    if workers < 1:
        raise UsageError(f"workers must be at least 1, not {workers}")
    return workers
