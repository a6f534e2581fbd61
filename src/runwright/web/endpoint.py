"""An endpoint as plain data: from the same table the server is built and its description is written."""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from runwright.core.job_rows import TokenRow
from runwright.engines.queue import Queue
from runwright.engines.token_book import LeaseHolder
from runwright.web.limits import Bodies, BodyLimits
from runwright.web.metrics import Metrics


class Access(StrEnum):
    """Who may ask: anybody, a worker, whoever holds a job, or an admin."""

    OPEN = "open"
    WORKER = "worker"
    LEASE = "lease"
    ADMIN = "admin"


class Services(Struct, frozen=True):
    """What endpoints work with.

    Attributes:
        description: The OpenAPI description, as JSON.
        followers: A mark for each log that is followed.
    """

    queue: Queue
    metrics: Metrics
    bodies: Bodies
    limits: BodyLimits
    description: bytes
    followers: set[object]


class Call(Struct, frozen=True):
    """One request that has been let through.

    Attributes:
        body: The record that the endpoint asks for; None if it asks for none.
        query: Likewise.
        who: Whose token was shown.
    """

    services: Services
    request: Request
    body: Any = None
    query: Any = None
    who: LeaseHolder | TokenRow | None = None

    @property
    def queue(self) -> Queue:
        """The queue."""
        return self.services.queue

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])


Answers = Mapping[int, tuple[str, Any]]
"""What may be answered, by status: what it says, and the type of its body; None for none."""


class Endpoint(Struct, frozen=True, kw_only=True):
    """One thing that can be asked for.

    Attributes:
        method: Of HTTP.
        path: Parts in braces are names.
        access: Who may ask.
        handler: Answers.
        summary: What it does, in one line.
        body: Type of the body; None if there is none.
        body_optional: True if the body may be left out.
        query: Type of the query.
        answers: If it succeeds. Refusals are the same everywhere.
        refusals: Statuses of its own with which it may refuse.
        is_submit: True if bodies may be as large as a job.
        media: Kind of its answers.
    """

    method: str
    path: str
    access: Access
    handler: Callable[[Call], Awaitable[Response]]
    summary: str
    answers: Answers
    body: Any = None
    body_optional: bool = False
    query: Any = None
    refusals: tuple[int, ...] = ()
    is_submit: bool = False
    media: str = "application/json"
