"""What is read from a store, as functions of a connection."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import apsw
from msgspec import DecodeError
from msgspec.json import Decoder

from runwright.adapters.sqlite.connection import value
from runwright.adapters.sqlite.records import SQL, stamp
from runwright.core.audit import ChainCheck
from runwright.core.chain import decode, genesis
from runwright.core.errors import AmbiguousRunId, RunNotFound, StoreError
from runwright.core.run import Attempt, Definition, Run, TaskRow, Variable
from runwright.core.runids import LATEST, ambiguous_text, id_range, not_found_text
from runwright.ports.stores import Integrity, RunFilter, StoredEvent

_CHUNK = 8_192

T = TypeVar("T")

_RUNS: Decoder[list[Run]] = Decoder(list[Run])
_TASKS: Decoder[list[TaskRow]] = Decoder(list[TaskRow])
_ATTEMPTS: Decoder[list[Attempt]] = Decoder(list[Attempt])
_VARIABLES: Decoder[list[Variable]] = Decoder(list[Variable])


def run_by_id(connection: apsw.Connection, run_id: str) -> Run:
    """Return a run by its whole id, with the state of its row.

    Raises:
        RunNotFound: If there is none.
    """
    found = select_runs(connection, RunFilter(), None, run_id=run_id)
    if not found:
        raise RunNotFound(not_found_text(run_id))
    return found[0]


def find_run(connection: apsw.Connection, prefix: str) -> Run:
    """Return the one run whose id starts so, or the newest for ``latest``.

    Raises:
        RunNotFound: If there is none.
        AmbiguousRunId: If there are several.
    """
    if prefix.strip().lower() == LATEST:
        ids = [row[0] for row in connection.execute(SQL["latest_id"])]
    else:
        first, last = id_range(prefix)
        exact = connection.execute(SQL["run_by_id"], {"id": prefix}).fetchall()
        between = {"first": first, "last": last}
        ids = [prefix] if exact else [row[0] for row in connection.execute(SQL["ids_between"], between)]
    if not ids:
        raise RunNotFound(not_found_text(prefix))
    if len(ids) > 1:
        raise AmbiguousRunId(ambiguous_text(prefix, ids))
    return run_by_id(connection, ids[0])


def select_runs(
    connection: apsw.Connection,
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
    return _all(connection, "runs", parameters, _RUNS)


def cancel_reason(connection: apsw.Connection, run_id: str) -> str:
    """Return why a run was asked to stop, or an empty text."""
    return str(value(connection, SQL["cancel_reason"], {"id": run_id}) or "")


def select_tasks(connection: apsw.Connection, run_id: str) -> list[TaskRow]:
    """Return the tasks of a run in their order."""
    return _all(connection, "tasks", {"id": run_id}, _TASKS)


def select_attempts(connection: apsw.Connection, run_id: str) -> list[Attempt]:
    """Return the attempts of a run, oldest first."""
    return _all(connection, "attempts", {"id": run_id}, _ATTEMPTS)


def select_variables(connection: apsw.Connection, run_id: str) -> list[Variable]:
    """Return the variables of a run by name."""
    return _all(connection, "variables", {"id": run_id}, _VARIABLES)


def select_definition(connection: apsw.Connection, digest: str) -> Definition:
    """Return a definition.

    Raises:
        StoreError: If there is none.
    """
    for content, source in connection.execute(SQL["definition"], {"digest": digest}):
        return Definition(digest=digest, content=content, source=source)
    raise StoreError(
        f"the store holds no definition {digest}; `runwright audit --verify` checks the run that names it"
    )


def select_events(connection: apsw.Connection, run_id: str, after: int, limit: int) -> list[StoredEvent]:
    """Return events in order."""
    found: list[StoredEvent] = []
    for seqs, bodies, hashes in event_chunks(connection, run_id, after, limit):
        found += [
            StoredEvent(seq=seq, event=event, hash=digest)
            for seq, event, digest in zip(seqs, decode(bodies), hashes, strict=True)
        ]
    return found


def event_chunks(
    connection: apsw.Connection, run_id: str, after: int = 0, limit: int = 0
) -> Iterator[tuple[list[int], list[bytes], list[str]]]:
    """Yield numbers, canonical JSON and links (hexadecimal) of events, some thousands at a time."""
    left = limit or (1 << 62)
    while left > 0:
        wanted = min(left, _CHUNK)
        rows = connection.execute(SQL["events"], {"id": run_id, "after": after, "limit": wanted}).fetchall()
        if not rows:
            return
        seqs, bodies, hashes = zip(*rows, strict=True)
        yield list(seqs), [bytes(body) for body in bodies], list(hashes)
        after, left = seqs[-1], left - len(rows)


def verify(connection: apsw.Connection, run_id: str) -> Integrity:
    """Check the chain of a run's events, and its rows against them.

    Raises:
        RunNotFound: If there is no such run.
    """
    connection.execute("BEGIN")  # one view of everything, while an engine may be writing
    try:
        run = run_by_id(connection, run_id)
        check = ChainCheck(run_id, genesis(run_id, run.created_at))
        for seqs, bodies, hashes in event_chunks(connection, run_id):
            if not check.follow(seqs, bodies, [bytes.fromhex(digest) for digest in hashes]):
                break
        if check.end(run.head_seq, bytes.fromhex(run.head_hash)):
            _compare(connection, run, check)
    finally:
        connection.execute("ROLLBACK")
    return Integrity(ok=not check.problem, events=check.events, head=check.head.hex(), problem=check.problem)


def _compare(connection: apsw.Connection, run: Run, check: ChainCheck) -> None:
    """Hold the rows against the events."""
    try:
        tasks, attempts = select_tasks(connection, run.id), select_attempts(connection, run.id)
        check.compare(tasks, attempts, select_variables(connection, run.id), run.counts)
    except DecodeError as error:
        check.problem = f"a row can't be read ({error})"


def _all(
    connection: apsw.Connection, query: str, parameters: dict[str, Any], decoder: Decoder[list[T]]
) -> list[T]:
    """Return the records of a query that gives one JSON object a row; one decoding for many rows."""
    cursor = connection.execute(SQL[query], parameters)
    found: list[T] = []
    while rows := list(islice(cursor, _CHUNK)):
        found += decoder.decode("[" + ",".join([row[0] for row in rows]) + "]")
    return found
