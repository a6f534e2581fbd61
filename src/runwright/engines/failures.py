"""Errors of hooks: what is recorded of them, and what their author is told."""

from collections.abc import Callable
from typing import Final

from msgspec import structs

from runwright.core.errors import Failure, FatalError, RunwrightError, TaskFailed

BROKEN_OFF: Final = TaskFailed(Failure(code="E_CANCELLED", message="it was broken off"))
"""What comes of work that was stopped."""


TASK_CANCELLED = "its task was cancelled"
"""Why a run stops whose own task is cancelled, as happens when an event loop ends."""


def to_failure(error: Exception) -> Failure:
    """Return an error as data."""
    if isinstance(error, TaskFailed):
        return error.failure
    cause = error.__cause__
    if isinstance(error, FatalError) and isinstance(cause, TaskFailed):
        return structs.replace(cause.failure, code=error.code, message=str(error))
    if isinstance(error, RunwrightError):
        return Failure(code=error.code, message=str(error))
    return Failure(code="E_EXCEPTION", message=f"{type(error).__name__}: {error}".rstrip(": "))


def redacted(failure: Failure, redact: Callable[[str], str]) -> Failure:
    """Return a failure with its texts redacted."""
    return structs.replace(failure, message=redact(failure.message), stderr_tail=redact(failure.stderr_tail))


def told(error: Exception) -> Exception:
    """Return the error that the author of a hook knows: what it raised, not what we made of it."""
    cause = error.__cause__
    return cause if isinstance(error, TaskFailed) and isinstance(cause, Exception) else error


def exited(error: BaseException) -> Exception:
    """Return what it means that a hook left by an exception that is no `Exception`."""
    return TaskFailed(Failure(code="E_EXCEPTION", message=f"it left by {type(error).__name__}: {error}"))


def cancelled_itself() -> Exception:
    """Return what it means that a hook raised `CancelledError` though nobody had cancelled it."""
    return TaskFailed(Failure(code="E_EXECUTOR", message="it cancelled itself without being asked to"))


def fatal_in(error: Exception) -> FatalError | None:
    """Return the `FatalError` that an error is, or that is in a group; None if there is none."""
    if isinstance(error, ExceptionGroup):
        return next(filter(None, map(fatal_in, error.exceptions)), None)
    return error if isinstance(error, FatalError) else None
