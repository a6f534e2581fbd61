"""Goals that are made of functions: coroutine functions are awaited in the loop, plain ones called in a thread."""

from collections.abc import Mapping, Sequence
from typing import Any

from runwright.core.errors import FatalError, TaskFailed
from runwright.core.goal import ActionHook
from runwright.core.goalplace import Place
from runwright.engines.actions import GoalFunction, checked_actions, checked_goal, hook_of
from runwright.engines.functions import call, log_traceback, raised
from runwright.engines.goal_driver import Named
from runwright.engines.goal_recorder import ATTEMPT
from runwright.engines.session import AttemptLog, RunSession
from runwright.ports.system import Threads

_PERFORM = ActionHook.PERFORM


class FunctionPerformer:
    """Calls the functions of a goal and of its actions.

    Args:
        goal: Any object with a `plan`.
        threads: Call the plain functions, one for each worker.
        session: Where tracebacks are logged; None if the goal is not recorded.
        max_log_bytes: Size past which a log keeps head and tail only.

    Raises:
        UsageError: If it is no goal.
    """

    def __init__(
        self,
        goal: object,
        threads: Mapping[int, Threads],
        session: RunSession | None = None,
        max_log_bytes: int = 1 << 30,
    ) -> None:
        self._plan = checked_goal(goal)
        self._threads = threads
        self._session = session
        self._max_log_bytes = max_log_bytes

    async def plan(self, place: Place) -> Sequence[Named]:
        """Return the actions that the goal still needs, in order.

        Raises:
            TaskFailed: With code ``E_EXCEPTION`` or ``E_FATAL``, caused by what `plan` raised.
            UsageError: If it returned something else than actions.
        """
        found = await self._called(place, "plan", self._plan)
        return checked_actions(found, "plan()")

    async def call(self, place: Place, hook: ActionHook) -> Sequence[Named]:
        """Call a hook of an action, if it has it; `perform` returns the children.

        Raises:
            TaskFailed: With code ``E_EXCEPTION`` or ``E_FATAL``, caused by what it raised.
            UsageError: If `perform` returned something else than actions.
        """
        function = hook_of(place.action, hook)
        if function is None:
            return ()
        found = await self._called(place, hook, function)
        if found is None or hook is not _PERFORM:
            return ()
        return checked_actions(found, f"perform() of {place.name!r}")

    def close_log(self, place: Place) -> AttemptLog | None:
        """Close a log, if there is one."""
        return None if self._session is None else self._session.end(place.id)

    async def _called(self, place: Place, what: str, function: GoalFunction) -> Any:
        try:
            return await call(function, self._threads[place.worker])
        except TaskFailed:
            raise
        except (Exception, SystemExit) as error:
            raise self._failed(place, what, error) from error

    def _failed(self, place: Place, what: str, error: BaseException) -> TaskFailed:
        tail = ""
        if self._session is not None:
            tail = log_traceback(self._session, place.id, ATTEMPT, self._max_log_bytes, error)
        code = FatalError.code if isinstance(error, FatalError) else "E_EXCEPTION"
        return raised(what, code, error, tail)
