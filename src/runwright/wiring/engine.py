"""The engine of the library, with everything it needs put together.

Imports that a path does not need stay inside functions, because the start of a run is measured.
"""

from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from msgspec import structs

from runwright.adapters.project import StateLocation, find_workflow, list_workflows, state_location
from runwright.core.errors import DefinitionError, UsageError
from runwright.core.options import ResumePlan, RunOptions, Strategy
from runwright.core.run import Run
from runwright.core.workflow import Workflow
from runwright.ports.executor import Executor
from runwright.ports.stores import RunStore
from runwright.ports.system import Logs, Processes
from runwright.wiring.definitions import (
    decode_workflow,
    executor_args,
    kind_of,
    load,
    load_any,
    load_goal,
    load_plan,
    load_workflow,
)
from runwright.wiring.early import take_early

if TYPE_CHECKING:
    from runwright.adapters.toml import LoadedWorkflow
    from runwright.engines.progress import Listener
    from runwright.engines.workflow import WorkflowEngine


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
    "load_goal",
    "load_plan",
    "load_workflow",
    "make_engine",
    "open_logs",
    "open_store",
    "state_location",
]


def executor_stack(workflow: Workflow, processes: Processes) -> Executor:
    """Return what runs the tasks of a workflow: the one place where executors are put together."""
    from runwright.executors.router import Router
    from runwright.executors.shell import Shell

    router = Router({"shell": Shell(processes)})
    used = {task.executor.partition(".")[0] for task in workflow.tasks.values()}
    bases = {str(table.get("executor", name)) for name, table in workflow.executors.items() if name in used}
    if "python" in used | bases:
        from runwright.executors.python import Python

        router.register("python", Python(processes))
    for name in sorted(used.intersection(workflow.executors)):
        from runwright.executors.configured import Configured

        defaults = {key: value for key, value in workflow.executors[name].items() if key != "executor"}
        inner = router.executor(str(workflow.executors[name].get("executor", name)))
        router.replace(name, Configured(inner, defaults))
    return router


def open_store(location: "StateLocation | str | Path | None" = None, *, read_only: bool = False) -> RunStore:
    """Open the durable store of a project; the caller closes it.

    Args:
        location: Where it is; None means where `state_location` finds it.
        read_only: Write nothing at all; a store that is not there is an empty one.
    """
    from runwright.adapters.sqlite import SqliteStore

    where = location if isinstance(location, StateLocation) else state_location(_text(location))
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
        from runwright.adapters.process import WardenProcesses
        from runwright.adapters.workspace import DirectoryWorkspaces

        is_place = store is None or isinstance(store, str | Path)
        self._location = location or state_location(_text(store) if is_place else None)  # type: ignore[arg-type]
        self._owns_store = is_place
        self.store: RunStore = open_store(self._location) if is_place else store  # type: ignore[assignment]
        self._strategy = None if strategy is None else _strategy(strategy)
        self._workers = None if workers is None else _at_least_one(workers)
        self._listener = listener
        self._logs = logs or open_logs(self._location)
        self._processes = WardenProcesses(take_early())
        self._workspaces = DirectoryWorkspaces(self._location.work_dir)
        self._engines: set[WorkflowEngine] = set()
        self._stop_reason = ""

    async def __aenter__(self) -> "Engine":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def execute(
        self, workflow: "Workflow | LoadedWorkflow | str | Path", options: RunOptions | None = None
    ) -> Run:
        """Run a workflow to its end and return its record; a failed run is a record, not an exception.

        Args:
            workflow: What to run: a checked definition, a file that was read, or the path of one.
            options: Choices for this run.

        Raises:
            DefinitionError: If the definition, the options or a variable is wrong.
            StoreError: If the run can't be recorded.
        """
        options = options or RunOptions()
        definition, source, path = self._definition(workflow, options.variables)
        self._workspaces.sweep()
        engine = self._engine(definition)
        try:
            return await engine.execute(definition, options, source=source, path=path)
        finally:
            self._engines.discard(engine)

    async def plan_resume(self, run_id: str, options: RunOptions | None = None) -> ResumePlan:
        """Say what `resume` would reuse and run again, and why; writes nothing."""
        options = options or RunOptions()
        current, _ = await self._current(run_id, options)
        engine = self._engine(current)
        try:
            return await engine.plan_resume(run_id, options, current)
        finally:
            self._engines.discard(engine)

    async def resume(self, run_id: str, options: RunOptions | None = None) -> Run:
        """Continue a failed, cancelled or interrupted run under the same id, and return its record.

        Args:
            run_id: Id of the run, an unambiguous beginning of it, or ``latest``.
            options: What differs from the options it was started with.

        Raises:
            RunIsActive: If another engine drives it.
            UsageError: If it has succeeded.
            DefinitionError: If its file has become wrong.
        """
        options = options or RunOptions()
        current, source = await self._current(run_id, options)
        self._workspaces.sweep()
        engine = self._engine(current or await self._pinned(run_id))
        try:
            return await engine.resume(run_id, options, current, source=source)
        finally:
            self._engines.discard(engine)

    def stop(self, reason: str) -> None:
        """Stop all runs: the first call asks tasks to end, the second ends them at once."""
        self._stop_reason = reason
        for engine in tuple(self._engines):
            engine.stop(reason)

    async def close(self) -> None:
        """End what still runs and free everything; safe to call twice."""
        await self._processes.close()
        if self._owns_store:
            await self.store.close()

    def _definition(
        self, workflow: "Workflow | LoadedWorkflow | str | Path", given: Collection[str]
    ) -> tuple[Workflow, str, str]:
        if isinstance(workflow, Workflow):
            return workflow, "", ""
        loaded = load(Path(workflow), given) if isinstance(workflow, str | Path) else workflow
        return loaded.workflow, loaded.source_text, str(Path(loaded.path).absolute())

    async def _current(self, run_id: str, options: RunOptions) -> tuple[Workflow | None, str]:
        """Return what the run's file says now; None if there is no file or the pinned text is asked for."""
        run = await self.store.find_run(run_id)
        if not run.path or options.pinned:
            return None, ""
        return _read_again(Path(run.path), {*run.options.get("variables", ()), *options.variables})

    async def _pinned(self, run_id: str) -> Workflow:
        from runwright.core.definition import unpin

        run = await self.store.find_run(run_id)
        return unpin(await self.store.definition(run.definition))

    def _engine(self, workflow: Workflow | None) -> "WorkflowEngine":
        from runwright.engines.workflow import WorkflowEngine
        from runwright.wiring.doors import make_doors

        doors = make_doors(
            self.store,
            self._logs,
            self._workspaces,
            executor_stack(workflow or Workflow(name=""), self._processes),
            self._processes.skip_grace,
            frozenset(("shell", "python", *(workflow.executors if workflow else ()))),
        )
        engine = WorkflowEngine(
            doors, strategy=self._strategy, workers=self._workers, listener=self._listener
        )
        if self._stop_reason:
            engine.stop(self._stop_reason)
        self._engines.add(engine)
        return engine


def _read_again(path: Path, given: Collection[str]) -> tuple[Workflow | None, str]:
    if not path.is_file():
        return None, ""
    try:
        loaded = load(path, given)
    except DefinitionError as error:
        advice = "mend the file, or resume with --pinned to use the definition as it was"
        *others, last = error.problems
        suggestion = f"{last.suggestion}; {advice}" if last.suggestion else advice
        raise DefinitionError([*others, structs.replace(last, suggestion=suggestion)]) from None
    return loaded.workflow, loaded.source_text


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
