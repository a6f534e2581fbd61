"""Inside the function of a task, or outside: there a call of another task's function is a plain call."""

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

_inside: ContextVar[bool] = ContextVar("inside the function of a task", default=False)


def is_inside() -> bool:
    """Tell whether the caller runs as a task, or as a part of one."""
    return _inside.get()


def body(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function, plain or of a coroutine, that does the same and knows that it runs as a task."""
    if inspect.iscoroutinefunction(function):

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            token = _inside.set(True)
            try:
                return await function(*args, **kwargs)
            finally:
                _inside.reset(token)

        return awaited

    def called(*args: Any, **kwargs: Any) -> Any:
        token = _inside.set(True)
        try:
            return function(*args, **kwargs)
        finally:
            _inside.reset(token)

    return called
