"""One attempt at a task, a handler or a cleanup: fill in, execute, and turn what came of it into an outcome."""

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec

from runwright.core.body import Body, guarded
from runwright.core.errors import Failure, RunwrightError, StoreError, TaskFailed
from runwright.core.graph import Graph
from runwright.core.options import RunOptions
from runwright.core.runvars import RunVariables, Scope, is_typed, named_values
from runwright.core.states import TaskState
from runwright.core.task import CacheUse, Result, Task, TaskId, replace
from runwright.core.variables import Lookup, fill
from runwright.core.workflow import TaskDefinition, Workflow
from runwright.engines.groups import is_being_cancelled
from runwright.engines.outcome import PLAIN_SUCCESS, Outcome, fits, plain, success_of
from runwright.engines.progress import Progress
from runwright.engines.session import RunSession
from runwright.ports.executor import Executor, Reuse


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
        with_values: Names of executors whose args take values of tasks as they are.
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
        with_values: frozenset[str] = frozenset(),
    ) -> None:
        self.variables = variables
        self._workflow = workflow
        self._graph = graph
        self._options = options
        self._session = session
        self._executor = executor
        self._reuse = executor if isinstance(executor, Reuse) else None
        self._with_env = with_env
        self._with_values = with_values
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
        if not definition.cache or definition.for_each or self._options.no_cache:
            return None
        row_id = self._graph.ids[node]
        own = self._graph.matrix(node) if definition.matrix else {}
        body = self._body(definition)
        lookup = self.variables.seen_by(row_id, own)
        try:
            task = self._task_of(row_id, definition, 1, own, lookup)
            result = self._reuse.at_once(self._session, task)
            if result is None or result.followups:
                return None  # what follows needs an attempt that it follows from
            register = body.register(lookup)
            outcome = self._succeeded(row_id, definition, register, result, keeps=bool(register))
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

    def item(
        self,
        row_id: str,
        definition: TaskDefinition,
        attempt: int,
        own: Mapping[str, str],
        typed: Mapping[str, Any],
    ) -> Awaitable[Outcome]:
        """Perform one attempt at an item of a task; its value is kept for the list, and registered by nobody."""
        self._session.begin(row_id, attempt, self._log_limit(definition))
        return self._guarded(self._work(row_id, definition, attempt, own, typed), definition.timeout)

    def followup(self, task: Task, definition: TaskDefinition, attempt: int) -> Awaitable[Outcome]:
        """Perform one attempt at what the executor of a task asked for, within the `timeout` of that task."""
        self._session.begin(task.id, attempt, self._log_limit(definition))
        return self._guarded(self._followup(task, definition, attempt), definition.timeout)

    def list_of(self, node: int) -> str:
        """Return the text of the list that a task is mapped over.

        Raises:
            TaskFailed: With code ``E_TEMPLATE`` if it can't be filled in.
        """
        definition = self._graph.definition(node)
        lookup = self.variables.seen_by(self._graph.ids[node], self._graph.matrix(node))
        return guarded(lambda: fill(definition.for_each, lookup))

    def collected(self, node: int, values: list[Any]) -> Outcome:
        """Return the outcome of a task whose items have succeeded: their values are its own, unless all are None.

        A list that is too large to be kept is left out, if nobody registers it.
        """
        row_id, definition = self._graph.ids[node], self._graph.definition(node)
        try:
            register = self._body(definition).register(
                self.variables.seen_by(row_id, self._graph.matrix(node))
            )
            if not register and (not any(one is not None for one in values) or not fits(values)):
                return PLAIN_SUCCESS
            return self._succeeded(row_id, definition, register, Result(value=values), keeps=True)
        except TaskFailed as error:
            return Outcome(state=TaskState.FAILED, failure=self.redacted(error.failure))

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

    def keep(self, row_id: str, definition: TaskDefinition, outcome: Outcome) -> None:
        """Let others read what a task that has succeeded hands on."""
        self.variables.set(row_id, outcome.variables)
        if is_typed(definition, outcome.value):
            self.variables.set_value(row_id, outcome.value)

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
            return Outcome(state=TaskState.FAILED, failure=self.redacted(error.failure))
        except RunwrightError as error:
            return self._broken(error.code, str(error))
        except asyncio.CancelledError:
            if is_being_cancelled():
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
        item: Mapping[str, Any] | None = None,
    ) -> Outcome:
        body = self._body(definition)
        lookup = self.variables.seen_by(row_id, own, item or {})
        task = self._task_of(row_id, definition, attempt, own, lookup)
        register = body.register(lookup)
        if body.is_plain:
            result = await self._executor.execute(self._session, task)
        else:
            surroundings = self._surroundings(row_id, body, attempt, own, lookup)
            await self._commands(row_id, "pre", body.pre(lookup), surroundings)
            result = await self._executor.execute(self._session, task)
            await self._commands(row_id, "post", body.post(lookup), surroundings)
        name = register if item is None else ""
        outcome = self._succeeded(row_id, definition, name, result, keeps=bool(register))
        return self._decided(outcome, task.id) if definition.cache else outcome

    def _task_of(
        self,
        row_id: str,
        definition: TaskDefinition,
        attempt: int,
        own: Mapping[str, str],
        lookup: Scope,
    ) -> Task:
        """Return what an attempt executes."""
        body = self._body(definition)
        takes_values = definition.executor in self._with_values
        args = body.typed_args(lookup) if takes_values else body.args(lookup)
        if definition.executor in self._with_env:
            args = _with_surroundings(args, self._surroundings(row_id, body, attempt, own, lookup))
        return Task(
            id=TaskId(row_id),
            executor=definition.executor,
            args=args,
            inputs=body.inputs(lookup),
            outputs=body.outputs(lookup),
            env=body.env_names if definition.cache else (),
            cache=self._cache_use(definition),
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

    async def _followup(self, task: Task, definition: TaskDefinition, attempt: int) -> Outcome:
        if task.executor in self._with_env:
            lookup = self.variables.seen_by(task.id, {})
            surroundings = self._surroundings(task.id, self._body(definition), attempt, {}, lookup)
            task = replace(task, args=_with_surroundings(task.args, surroundings))
        use = self._cache_use(definition, task.cache)
        result = await self._executor.execute(self._session, replace(task, dependencies=(), cache=use))
        outcome = self._succeeded(task.id, definition, "", result, keeps=True)
        return outcome if use is CacheUse.OFF else self._decided(outcome, task.id)

    def _cache_use(self, definition: TaskDefinition, wanted: CacheUse = CacheUse.USE) -> CacheUse:
        """Return what a cache may do for a task, or for a follow-up of one, which may want less."""
        if not definition.cache:
            return CacheUse.OFF
        return CacheUse.KEEP if self._options.no_cache and wanted is CacheUse.USE else wanted

    def _succeeded(
        self, row_id: str, definition: TaskDefinition, register: str, result: Result, *, keeps: bool
    ) -> Outcome:
        """Check what a task hands on before it is recorded; a command's last line is kept only if it is asked for."""
        value = result.value if keeps or not definition.is_command else None
        if value is None and not result.variables and not register:
            return success_of(result)
        value = plain(value)
        named = named_values(row_id, definition, register, value, result.variables)
        self.variables.check(row_id, named)
        self._refuse_secrets(named)
        return Outcome(state=TaskState.SUCCEEDED, value=value, variables=named, followups=result.followups)

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
        return PLAIN_SUCCESS

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

    def redacted(self, failure: Failure) -> Failure:
        """Return a failure without any secret of the run."""
        redact = self._session.redact
        return msgspec.structs.replace(
            failure, message=redact(failure.message), stderr_tail=redact(failure.stderr_tail)
        )


_NOTHING: AbstractContextManager[None] = nullcontext()


def _with_surroundings(args: Mapping[str, Any], surroundings: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**surroundings, **args}
    if "env" in args:
        merged["env"] = {**surroundings["env"], **args["env"]}
    return merged
