"""Hooks that are functions: coroutine functions are awaited in the loop, plain ones called in a thread."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from runwright.core.errors import TaskFailed
from runwright.core.plan import Hook, StepDefinition
from runwright.core.planlog import row_id
from runwright.core.planstate import State
from runwright.engines.functions import log_traceback, raised
from runwright.engines.session import AttemptLog, RunSession
from runwright.ports.system import Threads

HookFunction = Callable[[State], Any]


class FunctionHooks:
    """Calls the functions of steps.

    Args:
        functions: By name of the step and hook.
        state: What they are given.
        threads: Calls the plain ones.
        session: Where tracebacks are logged; None if the plan is not recorded.
        max_log_bytes: Size past which a log keeps head and tail only.
    """

    def __init__(
        self,
        functions: Mapping[tuple[str, Hook], HookFunction],
        state: State,
        threads: Threads,
        session: RunSession | None = None,
        max_log_bytes: int = 1 << 30,
    ) -> None:
        self._functions = functions
        self._state = state
        self._threads = threads
        self._session = session
        self._max_log_bytes = max_log_bytes
        self._is_async = {key: inspect.iscoroutinefunction(function) for key, function in functions.items()}

    async def call(self, step: StepDefinition, hook: Hook, attempt: int) -> None:
        """Call a function.

        Raises:
            TaskFailed: With code ``E_EXCEPTION``, caused by what it raised.
        """
        try:
            await self._called(step.name, hook)
        except TaskFailed:
            raise
        except (Exception, SystemExit) as error:
            raise self._failed(step, hook, attempt, error) from error

    def close_log(self, step: StepDefinition, hook: Hook) -> AttemptLog | None:
        """Close the log of an attempt, if there is one."""
        return None if self._session is None else self._session.end(row_id(step, hook))

    async def _called(self, name: str, hook: Hook) -> None:
        function, state = self._functions[name, hook], self._state
        if self._is_async[name, hook]:
            await function(state)
            return
        value = await self._threads.call(lambda: function(state))
        if isinstance(value, Awaitable):
            await value

    def _failed(self, step: StepDefinition, hook: Hook, attempt: int, error: BaseException) -> TaskFailed:
        tail = ""
        if self._session is not None:
            row = row_id(step, hook)
            tail = log_traceback(self._session, row, attempt, self._max_log_bytes, error)
        return raised(hook.value, "E_EXCEPTION", error, tail)
