"""Hooks that are commands: run by the `shell` executor, with the shared state in a file and in their environment."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from runwright.core.body import command_filler, directory_filled, guarded
from runwright.core.errors import Failure, TaskFailed
from runwright.core.plan import Hook, PlanDefinition, StepDefinition
from runwright.core.planlog import row_id
from runwright.core.planstate import State
from runwright.core.runvars import RunVariables, value_text
from runwright.core.task import Result, Task, TaskId
from runwright.core.variables import Lookup, fill
from runwright.engines.session import AttemptLog, RunSession
from runwright.executors.state_file import STATE, take_state, write_state
from runwright.ports.executor import Executor

STATE_FOLDER = TaskId(".state")
_numbers = count(1)


class StateLookup:
    """The values of a state as texts: a `Lookup` that knows its names."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __call__(self, name: str) -> str:
        """Return the text of a value; raises KeyError if there is none of that name."""
        return value_text(self._values[name])

    def __iter__(self) -> Iterator[str]:
        """Return the names there are."""
        return iter(self._values)


class CommandHooks:
    """Runs the commands of a plan's steps, one after another; the first that fails ends the hook.

    Args:
        plan: Whose steps.
        executor: Runs the commands, by the name ``shell``.
        session: Open on it.
        state: What the steps share.
        clean_env: Start every command from an empty environment.
    """

    def __init__(
        self,
        plan: PlanDefinition,
        executor: Executor,
        session: RunSession,
        state: State,
        *,
        clean_env: bool = False,
    ) -> None:
        self._plan = plan
        self._executor = executor
        self._session = session
        self._state = state
        self._clean_env = clean_env
        self._fillers: dict[str, Callable[[Lookup], str]] = {}

    async def call(self, step: StepDefinition, hook: Hook, attempt: int) -> None:
        """Run the commands of a hook.

        A cleanup runs all of them, whatever becomes of each.

        Raises:
            TaskFailed: If one did not succeed; the first that failed.
        """
        row = row_id(step, hook)
        self._session.begin(row, attempt, self._plan.max_log_bytes)
        first: TaskFailed | None = None
        for command in step.hooks[hook]:
            try:
                await self._command(step, hook, row, attempt, command)
            except TaskFailed as error:
                if hook is not Hook.CLEANUP:
                    raise
                first = first or error
        if first is not None:
            raise first

    def close_log(self, step: StepDefinition, hook: Hook) -> AttemptLog | None:
        """Close the log of an attempt, and return it if anything was logged.

        Raises:
            StoreError: If the output can't be kept.
        """
        return self._session.end(row_id(step, hook))

    async def _command(self, step: StepDefinition, hook: Hook, row: str, attempt: int, command: str) -> None:
        before = self._state.snapshot()
        file = self._session.output_dir(STATE_FOLDER) / str(next(_numbers))
        args = guarded(lambda: self._args(step, command, StateLookup(before)))
        args["env"] |= {
            "RUNWRIGHT_RUN_ID": self._session.id,
            "RUNWRIGHT_PLAN": self._plan.name,
            "RUNWRIGHT_TASK_ID": row,
            "RUNWRIGHT_HOOK": hook.value,
            "RUNWRIGHT_ATTEMPT": str(attempt),
            STATE: str(file),
        }
        write_state(file, before)
        try:
            task = Task(id=TaskId(row), executor="shell", args=args)
            result = await self._executor.execute(self._session, task)
        except BaseException:
            self._keep_what_is_readable(file, before)
            raise
        self._keep(file, before, result)

    def _args(self, step: StepDefinition, command: str, lookup: StateLookup) -> dict[str, Any]:
        if command not in self._fillers:
            self._fillers[command] = command_filler(command)
        asked = {**self._plan.env, **step.env}
        env = RunVariables({name: lookup(name) for name in lookup}, {}).exported({})
        args: dict[str, Any] = {
            "cmd": self._fillers[command](lookup),
            "env": {**env, **{name: fill(text, lookup) for name, text in asked.items()}},
            "kill_grace": self._plan.kill_grace,
        }
        if self._clean_env:
            args["clean_env"] = True
        if step.working_dir:
            args["working_dir"] = directory_filled(step.working_dir, lookup)
        return args

    def _keep(self, file: Path, before: Mapping[str, Any], result: Result) -> None:
        after = {**take_state(file, before), **result.variables}
        self._refuse_secrets(after)
        self._state.replace(after)

    def _keep_what_is_readable(self, file: Path, before: Mapping[str, Any]) -> None:
        """Take what a command had put down before it failed: a later attempt or cleanup may need it."""
        try:
            self._keep(file, before, Result())
        except TaskFailed:
            return  # that it failed matters more

    def _refuse_secrets(self, values: Mapping[str, Any]) -> None:
        redactor = self._session.redactor
        if not redactor:
            return
        for name, value in values.items():
            if redactor.finds(name) or redactor.finds(msgspec.json.encode(value).decode()):
                shown = redactor.text(name)
                message = f'state value "{shown}" holds a secret of the run; hand it on by environment or file instead'
                raise TaskFailed(Failure(code="E_SECRET", message=message))
