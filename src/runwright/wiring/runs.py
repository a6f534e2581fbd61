"""Runs of every kind on one store, each driven by the engine of its kind.

Imports that a path does not need stay inside functions, because the start of a run is measured.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from msgspec import structs

from runwright.core.errors import DefinitionError, Problem, UsageError
from runwright.core.options import ResumePlan, RunOptions, Strategy
from runwright.core.run import Run
from runwright.core.workflow import Workflow
from runwright.engines.parent import DEEPEST, NO_PARENT, Parent
from runwright.engines.prepare import Doors
from runwright.engines.work import Work
from runwright.ports.executor import Executor
from runwright.ports.stores import RunStore
from runwright.ports.system import Logs, Processes, Workspaces
from runwright.wiring.definitions import load, load_flow, load_goal, load_plan
from runwright.wiring.doors import make_doors
from runwright.wiring.isolation import Isolation
from runwright.wiring.stack import (
    NO_FUNCTIONS,
    Functions,
    executor_stack,
    executors_with_env,
    executors_with_values,
    shell_stack,
)

if TYPE_CHECKING:
    from runwright.core.plan import PlanDefinition
    from runwright.engines.plan import MakeHooks, PlanEngine
    from runwright.engines.plan_prepare import Resumption
    from runwright.engines.progress import Listener
    from runwright.engines.reconcile import GoalEngine, MakePerformer
    from runwright.engines.workflow import WorkflowEngine


class _Stoppable(Protocol):
    def stop(self, reason: str) -> None: ...


E = TypeVar("E", bound=_Stoppable)


class Runs:
    """Starts and continues runs, those too that are the work of tasks of others.

    Args:
        store: Where they are recorded.
        logs: Where their output goes.
        workspaces: Where their files are.
        processes: Starts commands.
        values_dir: Where values of functions are that are too large for a record; None if there is no place.
        listener: Told every progress event.
        strategy: Of workflows that are not a part of another run; None means the usual.
        workers: Most tasks at a time in those; None means the usual.
        isolation: Makes sandboxes and containers.
        cache_dir: Where the outcomes of cached tasks are kept; None for nowhere.
    """

    def __init__(
        self,
        store: RunStore,
        logs: Logs,
        workspaces: Workspaces,
        processes: Processes,
        values_dir: Path | None = None,
        listener: "Listener | None" = None,
        strategy: Strategy | None = None,
        workers: int | None = None,
        isolation: Isolation | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self.store = store
        self._cache_dir = cache_dir
        self._logs = logs
        self._workspaces = workspaces
        self._processes = processes
        self._values_dir = values_dir
        self._listener = listener
        self._strategy = strategy
        self._workers = workers
        self._isolation = isolation
        self._known: dict[str, Callable[..., Any]] = {}
        self._engines: set[_Stoppable] = set()
        self._stop_reason = ""

    def stop(self, reason: str) -> None:
        """Stop all runs: the first call asks tasks to end, the second ends them at once."""
        self._stop_reason = reason
        for engine in tuple(self._engines):
            engine.stop(reason)

    def load(self, kind: str, path: Path, given: Collection[str]) -> Work:
        """Read a definition of that kind; see `InnerRuns`."""
        if kind == "plan":
            plan = load_plan(path)
            return Work(definition=plan.definition, source=plan.source_text, path=str(path.absolute()))
        if kind == "goal":
            goal = load_goal(path, given)
            return Work(definition=goal.definition, source=goal.source_text, path=str(path.absolute()))
        workflow = load(path, given)
        return Work(definition=workflow.definition, source=workflow.source_text, path=str(path.absolute()))

    async def execute(
        self, work: Work, options: RunOptions, parent: Parent = NO_PARENT, workers: int | None = None
    ) -> Run:
        """Run a definition to its end; see `InnerRuns`."""
        definition = work.definition
        self._known.update(work.known)
        if isinstance(definition, Workflow):
            with self._driving(self._workflow_engine(definition, work.path, workers)) as engine:
                return await engine.execute(
                    definition, options, source=work.source, path=work.path, parent=parent
                )
        from runwright.core.goal import GoalDefinition

        if isinstance(definition, GoalDefinition):
            return await self._execute_goal(work, options, parent)
        return await self._execute_plan(work, options, parent)

    async def resume(
        self,
        run: Run,
        work: Work | None,
        options: RunOptions,
        parent: Parent = NO_PARENT,
        *,
        go_on: bool = True,
    ) -> Run:
        """Continue a run to its end.

        Args:
            run: Which.
            work: What its file holds now; None means what is recorded.
            options: What differs from the options it was started with.
            parent: The outer run, if this one is the work of a task of it.
            go_on: Continue a plan; else only its cleanups are run.
        """
        if run.parent_id and not parent.run_id:
            parent = await self._masking(run)
        if run.kind == "plan":
            return await self._resume_plan(run, work, options, parent, go_on)
        if run.kind == "goal":
            return await self._resume_goal(run, work, options, parent)
        current = None if work is None else work.definition
        source = "" if work is None else work.source
        used = current if current is not None else await self._pinned(run)
        if work is not None:
            self._known.update(work.known)
        elif is_flow(run.path):
            self._make_importable(run)
        with self._driving(self._workflow_engine(used, run.path)) as engine:
            return await engine.resume(run.id, options, current, source=source, parent=parent)

    async def plan_resume(self, run: Run, work: Work | None, options: RunOptions) -> ResumePlan:
        """Say what a resume of a workflow's run would reuse and run again, and why; writes nothing."""
        current = None if work is None else work.definition
        with self._driving(self._workflow_engine(Workflow(name=""), run.path)) as engine:
            return await engine.plan_resume(run.id, options, current)

    async def plan_cleanup(
        self, run: Run, work: Work | None, options: RunOptions, *, go_on: bool
    ) -> "Resumption":
        """Say what a resume of a plan's run would clean up and run; writes nothing."""
        current = None if work is None else work.definition
        with self._driving(self._plan_engine(shell_stack(self._processes))) as engine:
            found = await engine.plan_resume(run.id, current, options, go_on=go_on)
        _require_commands(found)
        return found

    async def _masking(self, run: Run) -> Parent:
        """Return a parent that only knows the secrets of the runs that a run is a part of."""
        import os

        from runwright.core.redact import Redactor

        secrets: list[str] = []
        for _ in range(DEEPEST):
            if not run.parent_id:
                break
            run = await self.store.find_run(run.parent_id)
            pinned = msgspec.json.decode((await self.store.definition(run.definition)).content)
            secrets += (os.environ.get(name, "") for name in pinned.get("secrets", ()))
        return Parent(redactor=Redactor(secrets))

    def current(self, run: Run, options: RunOptions) -> Work | None:
        """Return what the run's file says now; None if there is no file or the pinned text is asked for.

        Raises:
            DefinitionError: If the file has become wrong.
        """
        path = Path(run.path)
        if not run.path or options.pinned or not (path.is_file() or is_flow(run.path)):
            return None
        given = {**run.options.get("variables", {}), **options.variables}
        try:
            if not path.is_file():
                return load_flow(run.path, _directory(run), given).work
            return self.load(run.kind, path, given)
        except DefinitionError as error:
            advice = "mend the file, or resume with --pinned to use the definition as it was"
            *others, last = error.problems
            suggestion = f"{last.suggestion}; {advice}" if last.suggestion else advice
            raise DefinitionError([*others, structs.replace(last, suggestion=suggestion)]) from None

    # Workflows

    async def _pinned(self, run: Run) -> Workflow:
        from runwright.core.definition import unpin

        return unpin(await self.store.definition(run.definition))

    def _workflow_engine(self, workflow: Workflow, path: str, workers: int | None = None) -> "WorkflowEngine":
        from runwright.engines.workflow import WorkflowEngine

        base = Path(path).parent if path and not is_flow(path) else Path.cwd()
        stack = executor_stack(
            workflow, self._processes, self, base, self._isolation, self._cache_dir, self._functions(workflow)
        )
        return WorkflowEngine(
            self._doors(stack, executors_with_env(workflow), executors_with_values(workflow)),
            strategy=self._strategy if workers is None else None,
            workers=workers or self._workers,
            listener=self._listener,
        )

    def _functions(self, workflow: Workflow) -> Functions:
        if self._values_dir is None or all(task.executor == "shell" for task in workflow.tasks.values()):
            return NO_FUNCTIONS
        from runwright.adapters.values import DirectoryValues

        return Functions(values=DirectoryValues(self._values_dir), known=self._known)

    def _make_importable(self, run: Run) -> None:
        from runwright.wiring.flow_loading import make_importable

        make_importable(run.path, _directory(run))

    # Plans

    async def _execute_plan(self, work: Work, options: RunOptions, parent: Parent) -> Run:
        from runwright.core.planstate import State

        stack = shell_stack(self._processes)
        with self._driving(self._plan_engine(stack)) as engine:
            hooks = _command_hooks(work.definition, stack, options)
            outcome = await engine.execute(
                work.definition, hooks, State(), options, source=work.source, path=work.path, parent=parent
            )
        return await self.store.find_run(outcome.run_id)

    async def _resume_plan(
        self, run: Run, work: Work | None, options: RunOptions, parent: Parent, go_on: bool
    ) -> Run:
        from runwright.core.planstate import State

        stack = shell_stack(self._processes)
        current = None if work is None else work.definition
        with self._driving(self._plan_engine(stack)) as engine:
            found = await engine.plan_resume(run.id, current, options, go_on=go_on)
            _require_commands(found)
            hooks = _command_hooks(found.definition, stack, options)
            await engine.resume(run.id, current, hooks, State(), options, go_on=go_on, parent=parent)
        return await self.store.find_run(run.id)

    def _plan_engine(self, stack: Executor) -> "PlanEngine":
        from runwright.engines.plan import PlanEngine

        return PlanEngine(self._doors(stack), listener=self._listener)

    # Goals

    async def _execute_goal(self, work: Work, options: RunOptions, parent: Parent) -> Run:
        stack = shell_stack(self._processes)
        with self._driving(self._goal_engine(stack)) as engine:
            outcome = await engine.execute(
                work.definition,
                _command_performer(stack),
                options,
                source=work.source,
                path=work.path,
                parent=parent,
            )
        return await self.store.find_run(outcome.run_id)

    async def _resume_goal(self, run: Run, work: Work | None, options: RunOptions, parent: Parent) -> Run:
        stack = shell_stack(self._processes)
        current = None if work is None else work.definition
        source = "" if work is None else work.source
        await self._require_a_command(run)
        with self._driving(self._goal_engine(stack)) as engine:
            await engine.resume(
                run.id, current, _command_performer(stack), options, source=source, parent=parent
            )
        return await self.store.find_run(run.id)

    async def _require_a_command(self, run: Run) -> None:
        """Refuse a goal made in code, which would seem to need nothing because there is no command to ask.

        Raises:
            UsageError: If it is made of functions.
        """
        from runwright.core.definition import unpin_as
        from runwright.core.goal import GoalDefinition

        if not unpin_as(await self.store.definition(run.definition), GoalDefinition).plan:
            message = f"goal {run.name} is made of functions, which only its own program has"
            advice = f'resume it there: await reconciler.resume(goal, "{run.id}")'
            raise UsageError((Problem(message=message, suggestion=advice),))

    def _goal_engine(self, stack: Executor) -> "GoalEngine":
        from runwright.engines.reconcile import GoalEngine

        return GoalEngine(self._doors(stack), listener=self._listener)

    # All

    def _doors(
        self,
        executor: Executor,
        with_env: frozenset[str] = frozenset(),
        with_values: frozenset[str] = frozenset(),
    ) -> Doors:
        skip_grace = self._processes.skip_grace
        return make_doors(
            self.store, self._logs, self._workspaces, executor, skip_grace, with_env, with_values
        )

    @contextmanager
    def _driving(self, engine: E) -> Iterator[E]:
        """Let an engine be stopped with the others while it drives."""
        if self._stop_reason:
            engine.stop(self._stop_reason)
        self._engines.add(engine)
        try:
            yield engine
        finally:
            self._engines.discard(engine)


def is_flow(path: str) -> bool:
    """Tell whether what a run came from is a workflow made in code, by its name, and not the path of a file."""
    module, colon, name = path.rpartition(":")
    return bool(colon) and "/" not in name and (module.endswith(".py") or "/" not in module)


def _directory(run: Run) -> Path:
    return Path(run.options.get("directory", "") or Path.cwd())


def _command_hooks(plan: "PlanDefinition", stack: Executor, options: RunOptions) -> "MakeHooks":
    from runwright.executors.plan_hooks import CommandHooks

    return lambda session, state: CommandHooks(plan, stack, session, state, clean_env=options.clean_env)


def _command_performer(stack: Executor) -> "MakePerformer":
    from runwright.executors.goal_commands import CommandPerformer

    return lambda session, goal, options: CommandPerformer(goal, stack, session, options)


def _require_commands(found: "Resumption") -> None:
    """Refuse a plan made in code, whose hooks would seem to succeed because there is nothing to run.

    Raises:
        UsageError: If hooks of it are functions.
    """
    from runwright.core.plan import StepDefinition

    steps = (element for element in found.definition.elements if isinstance(element, StepDefinition))
    if any(not commands for step in steps for commands in step.hooks.values()):
        message = f"the steps of plan {found.run.name} are functions, which only its own program has"
        advice = f'resume it there: await plan.resume("{found.run.id}")'
        raise UsageError((Problem(message=message, suggestion=advice),))
