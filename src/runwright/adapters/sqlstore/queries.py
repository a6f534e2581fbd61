"""What is read from a store, as functions of statements."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from msgspec import DecodeError
from msgspec.json import Decoder

from runwright.adapters.sqlstore.records import stamp
from runwright.adapters.sqlstore.statements import Statements, first
from runwright.core.audit import ChainCheck
from runwright.core.chain import decode, genesis
from runwright.core.errors import AmbiguousRunId, RunNotFound, StoreError
from runwright.core.run import Attempt, Definition, Run, TaskRow, Variable
from runwright.core.runids import LATEST, ambiguous_text, id_range, not_found_text
from runwright.ports.stores import Integrity, RunFilter, StoredEvent

_CHUNK = 8_192

T = TypeVar("T")

_TEXT: Decoder[str] = Decoder(str)
_RUNS: Decoder[list[Run]] = Decoder(list[Run])
_TASKS: Decoder[list[TaskRow]] = Decoder(list[TaskRow])
_ATTEMPTS: Decoder[list[Attempt]] = Decoder(list[Attempt])
_VARIABLES: Decoder[list[Variable]] = Decoder(list[Variable])


def run_by_id(statements: Statements, run_id: str) -> Run:
    """Return a run by its whole id, with the state of its row.

    Raises:
        RunNotFound: If there is none.
    """
    found = select_runs(statements, RunFilter(), None, run_id=run_id)
    if not found:
        raise RunNotFound(not_found_text(run_id))
    return found[0]


def find_run(statements: Statements, prefix: str) -> Run:
    """Return the one run whose id starts so, or the newest for ``latest``.

    Raises:
        RunNotFound: If there is none.
        AmbiguousRunId: If there are several.
    """
    if prefix.strip().lower() == LATEST:
        ids = [row[0] for row in statements.rows("latest_id", {})]
    else:
        start, end = id_range(prefix)
        exact = list(statements.rows("run_by_id", {"id": prefix}))
        between = {"first": start, "last": end}
        ids = [prefix] if exact else [row[0] for row in statements.rows("ids_between", between)]
    if not ids:
        raise RunNotFound(not_found_text(prefix))
    if len(ids) > 1:
        raise AmbiguousRunId(ambiguous_text(prefix, ids))
    return run_by_id(statements, ids[0])


def select_runs(
    statements: Statements,
    which: RunFilter,
    now: datetime | None,
    state: str | None = None,
    run_id: str | None = None,
) -> list[Run]:
    """Return runs with the states of their rows; `state` is one of them, or ``live`` for those that have not ended."""
    parameters = {
        "id": run_id,
        "name": which.name,
        "kind": which.kind,
        "tag": which.tag,
        "parent": which.parent,
        "since": stamp(which.since),
        "until": stamp(which.until),
        "min_duration": which.min_duration,
        "state": state,
        "sort": which.sort,
        "limit": which.limit or -1,
        "offset": which.offset,
        "now": stamp(now),
    }
    return _all(statements, "runs", parameters, _RUNS)


def cancel_reason(statements: Statements, run_id: str) -> str:
    """Return why a run was asked to stop, or an empty text."""
    found = first(statements, "cancel_reason", {"id": run_id})
    return "" if found is None else _TEXT.decode(found)


def select_tasks(statements: Statements, run_id: str) -> list[TaskRow]:
    """Return the tasks of a run in their order."""
    return _all(statements, "tasks", {"id": run_id}, _TASKS)


def select_attempts(statements: Statements, run_id: str) -> list[Attempt]:
    """Return the attempts of a run, oldest first."""
    return _all(statements, "attempts", {"id": run_id}, _ATTEMPTS)


def select_variables(statements: Statements, run_id: str) -> list[Variable]:
    """Return the variables of a run by name."""
    return _all(statements, "variables", {"id": run_id}, _VARIABLES)


def select_definition(statements: Statements, digest: str) -> Definition:
    """Return a definition.

    Raises:
        StoreError: If there is none.
    """
    for content, source in statements.rows("definition", {"digest": digest}):
        return Definition(digest=digest, content=content, source=source)
    raise StoreError(
        f"the store holds no definition {digest}; `runwright audit --verify` checks the run that names it"
    )


def select_events(statements: Statements, run_id: str, after: int, limit: int) -> list[StoredEvent]:
    """Return events in order."""
    found: list[StoredEvent] = []
    for seqs, bodies, hashes in event_chunks(statements, run_id, after, limit):
        found += [
            StoredEvent(seq=seq, event=event, hash=digest)
            for seq, event, digest in zip(seqs, decode(bodies), hashes, strict=True)
        ]
    return found


def event_chunks(
    statements: Statements, run_id: str, after: int = 0, limit: int = 0
) -> Iterator[tuple[list[int], list[bytes], list[str]]]:
    """Yield numbers, canonical JSON and links (hexadecimal) of events, some thousands at a time."""
    left = limit or (1 << 62)
    while left > 0:
        wanted = min(left, _CHUNK)
        rows = list(statements.rows("events", {"id": run_id, "after": after, "limit": wanted}))
        if not rows:
            return
        seqs, bodies, hashes = zip(*rows, strict=True)
        yield list(seqs), [bytes(body) for body in bodies], list(hashes)
        after, left = seqs[-1], left - len(rows)


def verify(statements: Statements, run_id: str) -> Integrity:
    """Check the chain of a run's events, and its rows against them.

    Raises:
        RunNotFound: If there is no such run.
    """
    with statements.snapshot():  # an engine may be writing
        run = run_by_id(statements, run_id)
        check = ChainCheck(run_id, genesis(run_id, run.created_at))
        for seqs, bodies, hashes in event_chunks(statements, run_id):
            if not check.follow(seqs, bodies, [bytes.fromhex(digest) for digest in hashes]):
                break
        if check.end(run.head_seq, bytes.fromhex(run.head_hash)):
            _compare(statements, run, check)
    return Integrity(ok=not check.problem, events=check.events, head=check.head.hex(), problem=check.problem)


def _compare(statements: Statements, run: Run, check: ChainCheck) -> None:
    """Hold the rows against the events."""
    try:
        tasks, attempts = select_tasks(statements, run.id), select_attempts(statements, run.id)
        check.compare(tasks, attempts, select_variables(statements, run.id), run.counts)
    except DecodeError as error:
        check.problem = f"a row can't be read ({error})"


def _all(
    statements: Statements, query: str, parameters: dict[str, Any], decoder: Decoder[list[T]]
) -> list[T]:
    """Return the records of a query that gives one JSON object a row; one decoding for many rows."""
    cursor = statements.rows(query, parameters)
    found: list[T] = []
    while rows := list(islice(cursor, _CHUNK)):
        found += decoder.decode("[" + ",".join([row[0] for row in rows]) + "]")
    return found
