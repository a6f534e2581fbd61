"""Calling the functions that hooks are, and what is logged when one fails."""

from collections.abc import Awaitable, Callable
from inspect import CO_COROUTINE, iscoroutinefunction
from traceback import format_exception
from typing import Any

from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import TaskId
from runwright.engines.session import RunSession
from runwright.ports.system import Threads

TRACEBACK_BYTES = 4096
"""Most of a traceback that a failure keeps; all of it is in the log."""


def log_traceback(
    session: RunSession, row: str, attempt: int, max_log_bytes: int, error: BaseException
) -> str:
    """Write the traceback of an error into the log of an attempt; return its end."""
    data = "".join(format_exception(error)).encode("utf-8", "replace")
    session.begin(row, attempt, max_log_bytes)
    session.log(TaskId(row)).write("stderr", data)
    return data[-TRACEBACK_BYTES:].decode("utf-8", "ignore")


def raised(what: str, code: str, error: BaseException, tail: str = "") -> TaskFailed:
    """Return that a function failed by what it raised.

    Args:
        what: Name of the function, for instance ``perform``.
        code: Of the failure.
        error: What it raised.
        tail: The end of its traceback.
    """
    message = f"{what} raised {type(error).__name__}: {error}".rstrip(": ")
    return TaskFailed(Failure(code=code, message=message, stderr_tail=tail))


async def call(function: Callable[[], Any], threads: Threads) -> Any:
    """Call a function: a coroutine function in the loop, a plain one in a thread; what it returns is awaited if need be."""
    code = getattr(function, "__code__", None)  # the quick way to see it, for most functions
    if (code is not None and code.co_flags & CO_COROUTINE) or iscoroutinefunction(function):
        return await function()
    value = await threads.call(function)
    return await value if isinstance(value, Awaitable) else value
