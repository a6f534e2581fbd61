"""Errors as answers: every one is JSON with an ``error``."""

import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.responses import Response

from runwright.core.errors import (
    ConflictError,
    DefinitionError,
    JobNotFound,
    LeaseLost,
    RunwrightError,
    StoreCorrupt,
    StoreError,
    TooMuchOutput,
)

JSON = "application/json"
RETRY_SECONDS = 2


class ProblemView(Struct, frozen=True, kw_only=True):
    """One fault: where it is in the request, what is wrong, and what to do."""

    path: str
    message: str
    suggestion: str = ""


class ErrorAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was refused; with all faults if it was a request that is wrong."""

    error: str
    problems: Sequence[ProblemView] = ()


class Refusal(Exception):
    """Ends a request with a status and a reason.

    Attributes:
        status: HTTP status.
        message: What is wrong and what to do.
        headers: More of the answer's headers.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        super().__init__(message)


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return plain data or a record as an answer."""
    return Response(msgspec.json.encode(value), status, dict(headers or {}), JSON)


def refusal_answer(error: Exception) -> Response:
    """Return what is answered to a request that ended with an error."""
    match error:
        case Refusal():
            return json_answer(ErrorAnswer(error=error.message), error.status, error.headers)
        case HTTPException():
            return json_answer(ErrorAnswer(error=error.detail), error.status_code, error.headers)
        case msgspec.ValidationError():
            return json_answer(ErrorAnswer(error=f"the request has not the right shape: {error}"), 422)
        case msgspec.DecodeError():
            return json_answer(ErrorAnswer(error=f"the body is no JSON: {error}"), 400)
        case RunwrightError():
            return _ours(error)
    report(error)
    return json_answer(ErrorAnswer(error="the server has a bug; its log says more"), 500)


def _ours(error: RunwrightError) -> Response:
    match error:
        case DefinitionError():
            return json_answer(ErrorAnswer(error=error.with_advice, problems=_views(error)), 422)
        case JobNotFound() | LeaseLost():
            return json_answer(ErrorAnswer(error=str(error)), 404)
        case TooMuchOutput():
            return json_answer(ErrorAnswer(error=str(error)), 413)
        case ConflictError():
            return json_answer(ErrorAnswer(error=str(error)), 409)
        case StoreError() if not isinstance(error, StoreCorrupt):
            report(error)
            answer = ErrorAnswer(error="the store can't be reached; try again")
            return json_answer(answer, 503, {"Retry-After": str(RETRY_SECONDS)})
    report(error)
    return json_answer(ErrorAnswer(error="the store is damaged; the server's log says more"), 500)


def _views(error: DefinitionError) -> tuple[ProblemView, ...]:
    return tuple(
        ProblemView(
            path=".".join(str(part) for part in problem.path),
            message=problem.message,
            suggestion=problem.suggestion,
        )
        for problem in error.problems
    )


def report(error: BaseException) -> None:
    """Write an error to the server's log, which is standard error; a bug with its traceback."""
    if isinstance(error, RunwrightError):
        print(f"runwright: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the log
    else:
        traceback.print_exception(error, file=sys.stderr)
