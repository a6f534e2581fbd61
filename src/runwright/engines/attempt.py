"""One attempt at a task, a handler or a cleanup: fill in, execute, and turn what came of it into an outcome."""

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec
from msgspec import Struct, field

from runwright.core.body import Body
from runwright.core.errors import Failure, RunwrightError, StoreError, TaskFailed
from runwright.core.graph import Graph
from runwright.core.options import RunOptions
from runwright.core.runvars import VALUE_BYTES, RunVariables, named_values
from runwright.core.states import TaskState
from runwright.core.task import CacheUse, Result, Task, TaskId
from runwright.core.variables import Lookup
from runwright.core.workflow import TaskDefinition, Workflow
from runwright.engines.progress import Progress
from runwright.engines.session import RunSession
from runwright.ports.executor import Executor, Reuse


class Outcome(Struct, frozen=True, kw_only=True):
    """How an attempt ended.

    Attributes:
        reason: Why there was none, or why a cache let the task run, or did not.
        variables: Under their full names.
        details: As in `TaskEnded`.
        spared: As in `TaskEnded`.
    """

    state: TaskState
    reason: str = ""
    failure: Failure | None = None
    value: Any = None
    variables: Mapping[str, str] = field(default_factory=dict)
    details: tuple[str, ...] = ()
    spared: bool = False


class Attempts:
    """Performs attempts for one run.

    Args:
        workflow: What runs.
        graph: Its nodes.
        options: The run's options.
        variables: The run's variables.
        session: Open on `executor`.
        executor: Runs everything; routes by name.
        with_env: Names of executors whose args take `env`, `clean_env`, `working_dir` and `kill_grace`.
    """

    def __init__(
        self,
        workflow: Workflow,
        graph: Graph,
        options: RunOptions,
        variables: RunVariables,
        session: RunSession,
        executor: Executor,
        with_env: frozenset[str],
    ) -> None:
        self.variables = variables
        self._workflow = workflow
        self._graph = graph
        self._options = options
        self._session = session
        self._executor = executor
        self._reuse = executor if isinstance(executor, Reuse) else None
        self._with_env = with_env
        self._bodies: dict[str, Body] = {}
        self._run_env = {"RUNWRIGHT_RUN_ID": session.id, "RUNWRIGHT_WORKFLOW": workflow.name}

    def node(self, node: int, attempt: int) -> Awaitable[Outcome]:
        """Perform one attempt at an ordinary task."""
        definition = self._graph.definition(node)
        own = self._graph.matrix(node) if definition.matrix else {}
        return self.task(self._graph.ids[node], definition, attempt, own)

    def sweep(self) -> AbstractContextManager[None]:
        """Return a scope in which `spared` is asked about many tasks, and nothing is awaited."""
        return _NOTHING if self._reuse is None else self._reuse.sweep()

    def spared(self, node: int) -> Outcome | None:
        """Return the outcome of a task that is known to be up to date, without an attempt; None if it must be tried.

        What is wrong with the task is left for the attempt to find.
        """
        if self._reuse is None:
            return None
        definition = self._graph.definition(node)
        if not definition.cache or self._options.no_cache:
            return None
        row_id = self._graph.ids[node]
        own = self._graph.matrix(node) if definition.matrix else {}
        body = self._body(definition)
        lookup = self.variables.seen_by(row_id, own)
        try:
            task = self._task_of(row_id, definition, 1, own, lookup)
            result = self._reuse.at_once(self._session, task)
            if result is None:
                return None
            outcome = self._succeeded(row_id, definition, body.register(lookup), result)
        except RunwrightError:
            return None
        return self._decided(outcome, task.id)

    def task(
        self,
        row_id: str,
        definition: TaskDefinition,
        attempt: int,
        own: Mapping[str, str],
    ) -> Awaitable[Outcome]:
        """Perform one attempt at a task or handler within its `timeout`.

        Args:
            row_id: Under which it is recorded and logged.
            definition: What it is.
            attempt: From 1.
            own: Variables that only it sees: its matrix values, or what a handler is told.
        """
        self._session.begin(row_id, attempt, self._log_limit(definition))
        work = self._work(row_id, definition, attempt, own)
        return self._guarded(work, definition.timeout)

    async def cleanup(
        self,
        row_id: str,
        node_id: str,
        definition: TaskDefinition,
        attempt: int,
        own: Mapping[str, str],
        limit: float,
    ) -> Outcome:
        """Perform the cleanup commands of a task, all of them, whatever becomes of each."""
        self._session.begin(row_id, attempt, self._log_limit(definition))
        work = self._cleanup(row_id, node_id, definition, attempt, own)
        return await self._guarded(work, limit)

    def close_log(self, row_id: str, attempt: int, outcome: Outcome, progress: Progress) -> Outcome:
        """Close the log of an attempt and tell what it printed; output that can't be kept is a failure."""
        try:
            log = self._session.end(row_id)
        except StoreError as error:
            return self._broken(error.code, str(error))
        if log is not None and log.captured:
            progress.output(row_id, attempt, log)
        return outcome

    async def _guarded(self, work: Awaitable[Outcome], limit: float) -> Outcome:
        timer: asyncio.Timeout | None = None
        try:
            if not limit:
                return await work
            async with asyncio.timeout(limit) as timer:
                return await work
        except TaskFailed as error:
            return Outcome(state=TaskState.FAILED, failure=self._redacted(error.failure))
        except RunwrightError as error:
            return self._broken(error.code, str(error))
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            return self._broken("E_EXECUTOR", "its executor cancelled it without being asked to")
        except Exception as error:
            if isinstance(error, TimeoutError) and timer is not None and timer.expired():
                return self._broken("E_TIMEOUT", f"took longer than its limit of {limit:g} s")
            return self._broken("E_EXECUTOR", f"{type(error).__name__}: {error}")

    def _broken(self, code: str, message: str) -> Outcome:
        failure = Failure(code=code, message=self._session.redact(message))
        return Outcome(state=TaskState.FAILED, failure=failure)

    async def _work(
        self,
        row_id: str,
        definition: TaskDefinition,
        attempt: int,
        own: Mapping[str, str],
    ) -> Outcome:
        body = self._body(definition)
        lookup = self.variables.seen_by(row_id, own)
        task = self._task_of(row_id, definition, attempt, own, lookup)
        register = body.register(lookup)
        if body.is_plain:
            result = await self._executor.execute(self._session, task)
        else:
            surroundings = self._surroundings(row_id, body, attempt, own, lookup)
            await self._commands(row_id, "pre", body.pre(lookup), surroundings)
            result = await self._executor.execute(self._session, task)
            await self._commands(row_id, "post", body.post(lookup), surroundings)
        outcome = self._succeeded(row_id, definition, register, result)
        return self._decided(outcome, task.id) if definition.cache else outcome

    def _task_of(
        self,
        row_id: str,
        definition: TaskDefinition,
        attempt: int,
        own: Mapping[str, str],
        lookup: Lookup,
    ) -> Task:
        """Return what an attempt executes."""
        body = self._body(definition)
        args = body.args(lookup)
        if definition.executor in self._with_env:
            args = _with_surroundings(args, self._surroundings(row_id, body, attempt, own, lookup))
        if not definition.cache:
            return Task(
                id=TaskId(row_id),
                executor=definition.executor,
                args=args,
                inputs=body.inputs(lookup),
                outputs=body.outputs(lookup),
                cache=CacheUse.OFF,
            )
        return Task(
            id=TaskId(row_id),
            executor=definition.executor,
            args=args,
            inputs=body.inputs(lookup),
            outputs=body.outputs(lookup),
            env=body.env_names,
            cache=CacheUse.KEEP if self._options.no_cache else CacheUse.USE,
        )

    def _decided(self, outcome: Outcome, task_id: TaskId) -> Outcome:
        """Add to an outcome what a cache has decided about the task, if there is one."""
        decision = self._reuse.decision(self._session.id, task_id) if self._reuse is not None else None
        if decision is None:
            return outcome
        redact = self._session.redact
        return msgspec.structs.replace(
            outcome,
            reason=redact(decision.reason),
            details=tuple(map(redact, decision.details)),
            spared=decision.spared,
        )

    def _succeeded(self, row_id: str, definition: TaskDefinition, register: str, result: Result) -> Outcome:
        """Check what a task hands on before it is recorded; a command's last line is kept only if it is asked for."""
        value = result.value if register or not definition.is_command else None
        if value is None and not result.variables and not register:
            return _PLAIN_SUCCESS
        value = _plain(value)
        named = named_values(row_id, definition, register, value, result.variables)
        self.variables.check(row_id, named)
        self._refuse_secrets(named)
        return Outcome(state=TaskState.SUCCEEDED, value=value, variables=named)

    def _refuse_secrets(self, named: Mapping[str, str]) -> None:
        finds = self._session.redactor.finds
        for name, text in named.items():
            if finds(text) or finds(name):
                shown = self._session.redact(name)
                message = (
                    f'variable "{shown}" holds a secret of the run; hand it on by environment or file instead'
                )
                raise TaskFailed(Failure(code="E_SECRET", message=message))

    async def _commands(
        self, row_id: str, part: str, commands: list[str], surroundings: Mapping[str, Any]
    ) -> None:
        for command in commands:
            await self._command(f"{row_id}.{part}", row_id, command, surroundings)

    async def _command(
        self, task_id: str, row_id: str, command: str, surroundings: Mapping[str, Any]
    ) -> None:
        if task_id != row_id:
            self._session.alias(task_id, row_id)
        args = {"cmd": command, **surroundings}
        task = Task(id=TaskId(task_id), executor="shell", args=args, cache=CacheUse.OFF)
        await self._executor.execute(self._session, task)

    async def _cleanup(
        self, row_id: str, node_id: str, definition: TaskDefinition, attempt: int, own: Mapping[str, str]
    ) -> Outcome:
        body = self._body(definition)
        lookup = self.variables.seen_by(node_id, own)
        surroundings = self._surroundings(row_id, body, attempt, own, lookup)
        first: TaskFailed | None = None
        for command in body.cleanup(lookup):
            try:
                await self._command(row_id, row_id, command, surroundings)
            except TaskFailed as error:
                first = first or error
        if first is not None:
            raise first
        return _PLAIN_SUCCESS

    def _surroundings(
        self,
        row_id: str,
        body: Body,
        attempt: int,
        own: Mapping[str, str],
        lookup: Lookup,
    ) -> dict[str, Any]:
        """Return what every command of an attempt gets beside its own arguments."""
        env = self.variables.exported(own)
        env.update(body.environment(lookup))
        env.update(self._run_env)
        env["RUNWRIGHT_TASK_ID"] = row_id
        env["RUNWRIGHT_ATTEMPT"] = str(attempt)
        found: dict[str, Any] = {"env": env, "kill_grace": body.kill_grace}
        if body.clean_env or self._options.clean_env:
            found["clean_env"] = True
        if directory := body.working_dir(lookup):
            found["working_dir"] = directory
        return found

    def _body(self, definition: TaskDefinition) -> Body:
        body = self._bodies.get(definition.key)
        if body is None:
            body = Body(definition, self._workflow.env, self._workflow.kill_grace)
            self._bodies[definition.key] = body
        return body

    def _log_limit(self, definition: TaskDefinition) -> int:
        own = definition.max_log_bytes
        return self._workflow.max_log_bytes if own is None else own

    def _redacted(self, failure: Failure) -> Failure:
        redact = self._session.redact
        return msgspec.structs.replace(
            failure, message=redact(failure.message), stderr_tail=redact(failure.stderr_tail)
        )


_NOTHING: AbstractContextManager[None] = nullcontext()
_PLAIN_SUCCESS = Outcome(state=TaskState.SUCCEEDED)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _with_surroundings(args: Mapping[str, Any], surroundings: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**surroundings, **args}
    if "env" in args:
        merged["env"] = {**surroundings["env"], **args["env"]}
    return merged


def _plain(value: Any) -> Any:
    """Return a value as plain data.

    Raises:
        TaskFailed: With code ``E_VALUE`` if it is no plain data, or too large to be kept inline.
    """
    try:
        size = len(msgspec.json.encode(value))
    except (TypeError, ValueError) as error:
        raise TaskFailed(Failure(code="E_VALUE", message=f"its value is not plain data: {error}")) from None
    if size > VALUE_BYTES:
        message = (
            f"its value is {size} bytes as JSON, more than {VALUE_BYTES}; return a path to a file instead"
        )
        raise TaskFailed(Failure(code="E_VALUE", message=message))
    return msgspec.to_builtins(value)
