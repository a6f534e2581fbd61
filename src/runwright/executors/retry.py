"""Another attempt for tasks that failed."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from runwright.core.errors import TaskFailed
from runwright.core.retry import RetryPolicy, delay_after, is_worth_another
from runwright.core.task import Result, SessionId, Task
from runwright.ports.executor import Executor, Session
from runwright.ports.system import Clock


class Retry:
    """Tries a failed task again, as a policy says; the last failure comes out as it is.

    Args:
        inner: Runs the attempts.
        policy: How often and how patiently.
        clock: Time; that of the event loop if there is none.
        draw: Draws a random number in [0, 1) for jitter.
    """

    def __init__(
        self,
        inner: Executor,
        policy: RetryPolicy,
        clock: Clock | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._inner = inner
        self._policy = policy
        self._sleep: Callable[[float], Awaitable[None]] = asyncio.sleep if clock is None else clock.sleep
        self._draw = draw

    async def open_session(self, session: Session) -> None:
        """Open the session on the inner executor."""
        await self._inner.open_session(session)

    async def execute(self, session: Session, task: Task) -> Result:
        """Run a task, several times if it fails.

        Raises:
            TaskFailed: The failure of the last attempt.
        """
        made = 0
        while True:
            made += 1
            try:
                return await self._inner.execute(session, task)
            except TaskFailed as error:
                if not is_worth_another(self._policy, made=made, failure=error.failure):
                    raise
            await self._sleep(delay_after(self._policy, made=made, draw=self._draw()))

    async def close_session(self, session_id: SessionId) -> None:
        """Close the session on the inner executor."""
        await self._inner.close_session(session_id)
