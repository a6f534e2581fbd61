"""Engines as executors: the work of a task is a run of its own, of a workflow, a plan or a goal.

A further attempt, or one after a crash, continues the inner run of the former attempt if that is made of the same
definition and variables and can be continued: a workflow and a goal always, a plan only if its engine died, because any
other end has cleaned it up. Otherwise it is a new run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta, Struct, field

from runwright.core.definition import pin
from runwright.core.errors import DefinitionError, Failure, Problem, TaskFailed
from runwright.core.options import RunOptions
from runwright.core.run import Run
from runwright.core.states import RESUMABLE_RUN_STATES, RunState
from runwright.core.task import Result, SessionId, Task
from runwright.engines.parent import DEEPEST, Parent, parent_of
from runwright.engines.work import Work
from runwright.executors.calls import Calls
from runwright.ports.executor import NoSessions, Session
from runwright.ports.stores import RunFilter, RunStore


class InnerArgs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of the executors ``workflow``, ``plan`` and ``reconcile``.

    Attributes:
        file: The inner definition; relative to the file that names it.
        variables: What the inner run is given; for a plan they are state values.
        outputs: Names of the inner run's variables, or of a plan's state values, that the task hands on as
            ``{{.task.NAME}}``.
        workers: Most tasks at a time in an inner workflow.
        working_dir: Where the inner run works; the outer run's directory if empty, which it may be relative to.
    """

    file: Annotated[str, Meta(examples=["inner.toml"], min_length=1)]
    variables: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    workers: Annotated[int, Meta(ge=1)] = 1
    working_dir: str = ""


class InnerRuns(Protocol):
    """Starts and continues runs of every kind."""

    store: RunStore

    def load(self, kind: str, path: Path, given: Mapping[str, str]) -> Work:
        """Read a definition of that kind.

        Raises:
            DefinitionError: With every fault of the file.
        """
        ...

    async def execute(self, work: Work, options: RunOptions, parent: Parent, workers: int) -> Run:
        """Run it to its end."""
        ...

    async def resume(self, run: Run, work: Work, options: RunOptions, parent: Parent) -> Run:
        """Continue a run to its end."""
        ...


class InnerRun(NoSessions):
    """Runs definitions of one kind, each as a run that is a part of the session's.

    Args:
        kind: ``workflow``, ``plan`` or ``goal``.
        runs: Starts and continues them.
        base: Directory that names of files are relative to.
    """

    Args = InnerArgs

    def __init__(self, kind: str, runs: InnerRuns, base: Path) -> None:
        self._kind = kind
        self._runs = runs
        self._base = base
        self._calls = Calls()

    async def execute(self, session: Session, task: Task) -> Result:
        """Run the definition to its end.

        Raises:
            TaskFailed: With code ``E_INNER`` if the inner run did not succeed, ``E_DEFINITION`` if its file is wrong,
                ``E_OUTPUT`` if it has not set an output, ``E_DEPTH`` if too many runs are inside one another,
                ``E_SESSION`` if its session was closed meanwhile.
        """
        with self._calls.of(session.id):
            return await self._execute(session, task)

    async def close_session(self, session_id: SessionId) -> None:
        """End what still runs."""
        await self._calls.end(session_id)

    async def _execute(self, session: Session, task: Task) -> Result:
        args = self._to_args(task)
        parent = parent_of(session, task)
        await self._check_depth(session.id)
        try:
            work = self._runs.load(self._kind, self._base / args.file, args.variables)
            run = await self._to_the_end(work, _options(session, args), parent, args.workers)
        except DefinitionError as error:
            raise TaskFailed(Failure(code="E_DEFINITION", message=_all_of(error))) from error
        if run.state is not RunState.SUCCEEDED:
            message = f"{self._kind} {run.name} {run.state.value}: {run.reason or 'no reason recorded'}"
            raise TaskFailed(Failure(code="E_INNER", message=message))
        return Result(variables=await self._outputs(run, args.outputs))

    async def _to_the_end(self, work: Work, options: RunOptions, parent: Parent, workers: int) -> Run:
        former = await self._former(parent)
        if former is not None and self._can_go_on(former, work, options):
            return await self._runs.resume(former, work, options, parent)
        return await self._runs.execute(work, options, parent, workers)

    async def _former(self, parent: Parent) -> Run | None:
        """Return the inner run of the attempt before this one."""
        children = await self._runs.store.list_runs(RunFilter(parent=parent.run_id))
        return next((run for run in children if run.parent_task == parent.task_id), None)

    def _can_go_on(self, run: Run, work: Work, options: RunOptions) -> bool:
        resumable = {RunState.INTERRUPTED} if self._kind == "plan" else RESUMABLE_RUN_STATES
        same_variables = run.options.get("variables", {}) == dict(options.variables)
        same = run.kind == self._kind and run.definition == pin(work.definition).digest and same_variables
        return same and run.state in resumable

    async def _check_depth(self, run_id: str) -> None:
        depth = 1
        run = await self._runs.store.find_run(run_id)
        while run.parent_id:
            depth += 1
            if depth > DEEPEST:
                message = (
                    f"runs are more than {DEEPEST} deep inside one another; does a file lead back to itself?"
                )
                raise TaskFailed(Failure(code="E_DEPTH", message=message))
            run = await self._runs.store.find_run(run.parent_id)

    async def _outputs(self, run: Run, names: tuple[str, ...]) -> dict[str, str]:
        if not names:
            return {}
        found = {variable.name: variable.value for variable in await self._runs.store.variables(run.id)}
        if missing := [name for name in names if name not in found]:
            message = f"{self._kind} {run.name} has set no {', '.join(missing)}"
            raise TaskFailed(Failure(code="E_OUTPUT", message=message))
        return {name: self._text(found[name]) for name in names}

    def _text(self, stored: str) -> str:
        """Return a stored value as the text of a variable: state values are stored as JSON."""
        if self._kind != "plan":
            return stored
        value = msgspec.json.decode(stored)
        return value if isinstance(value, str) else stored

    def _to_args(self, task: Task) -> InnerArgs:
        try:
            return msgspec.convert(task.args, InnerArgs)
        except msgspec.ValidationError as error:
            raise TaskFailed(
                Failure(code="E_ARGS", message=f"a task that runs a {self._kind}: {error}")
            ) from None


def _options(session: Session, args: InnerArgs) -> RunOptions:
    return RunOptions(
        variables=args.variables,
        directory=str(session.source / args.working_dir),
        print_output=session.captures,
    )


def _all_of(error: DefinitionError) -> str:
    return "; ".join(map(_one_of, error.problems))


def _one_of(problem: Problem) -> str:
    where = f"{problem.file}:{problem.line}: " if problem.file and problem.line else ""
    return f"{where}{problem.message}{f' ({problem.suggestion})' if problem.suggestion else ''}"
