"""Cancellation of a call at each of its awaits in turn."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any


def cancelled_at(
    number: int, call: Coroutine[Any, Any, Any]
) -> "tuple[Callable[[], bool], asyncio.Task[Any]]":
    """Begin a call in a task of its own that is cancelled when it comes to one of its awaits.

    Args:
        number: Which await, counted from 0 over everything that suspends, however deep.
        call: The call.

    Returns:
        Whether the call has come to that await, to be asked once the task is done; and the task.
    """
    counted = _Counted(call, number)
    task = asyncio.ensure_future(counted.run())
    counted.cancel = task.cancel
    return lambda: counted.reached, task


class _Counted:
    """A call whose awaits are counted; it is cancelled when it comes to one of them."""

    def __init__(self, call: Coroutine[Any, Any, Any], number: int) -> None:
        self._call = call
        self._number = number
        self.reached = False
        self.cancel: Callable[[], object] = lambda: None

    async def run(self) -> Any:
        return await self

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._call.__await__()
        waits = 0
        error: BaseException | None = None
        while True:
            try:
                future = steps.send(None) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value
            if waits == self._number:
                self.reached = True
                asyncio.get_running_loop().call_soon(self.cancel)
            waits += 1
            error = None
            try:
                yield future
            except BaseException as thrown:
                error = thrown
