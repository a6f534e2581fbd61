"""The floors of the queue: ``queue_sql.py URL enqueue|work COUNT BATCH WORKERS``.

What somebody writes who needs a durable queue and nothing else: one table, one partial index, and an exchange that ends
what was claimed before and claims what is next, fenced by the attempt, in one transaction and so with one fsync.
"""

import json
import sys
import threading
import time

PAYLOAD = b'{"version":2,"dockerSteps":[{"image":"i","commands":["true"]}]}'
LEASE_SECONDS = 25


class Sqlite:
    """A connection to the queue in a file of SQLite."""

    def __init__(self, url):
        import apsw  # noqa: PLC0415 - the other floor does without

        self.connection = apsw.Connection(url.removeprefix("sqlite:///"))
        self.connection.set_busy_timeout(60_000)
        self.connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").fetchall()

    def create(self):
        self.connection.execute(
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY, queue TEXT NOT NULL, state TEXT NOT NULL,"
            " priority INTEGER NOT NULL, attempt INTEGER NOT NULL, worker TEXT, lease_until REAL, finished_at REAL,"
            " payload BLOB NOT NULL) STRICT;"
            "CREATE INDEX jobs_queued ON jobs (queue, priority DESC, id) WHERE state = 'queued'"
        )

    def enqueue(self, count):
        with self.connection:
            self.connection.executemany(
                "INSERT INTO jobs (queue, state, priority, attempt, payload) VALUES ('q', 'queued', 0, 0, ?)",
                ((PAYLOAD,) for _ in range(count)),
            )

    def exchange(self, held, worker, count):
        now = time.time()
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "UPDATE jobs SET state = 'completed', finished_at = ?"
            " WHERE id = ? AND attempt = ? AND state = 'processing'",
            [(now, number, attempt) for number, attempt, _ in held],
        )
        found = self.connection.execute(
            "UPDATE jobs SET state = 'processing', attempt = attempt + 1, worker = ?, lease_until = ? WHERE id IN ("
            " SELECT id FROM jobs WHERE queue = 'q' AND state = 'queued' ORDER BY priority DESC, id LIMIT ?"
            ") RETURNING id, attempt, payload",
            (worker, now + LEASE_SECONDS, count),
        ).fetchall()
        self.connection.execute("COMMIT")
        return found


class Postgres:
    """A connection to the queue in a database of PostgreSQL; an exchange is one statement."""

    ENDED = (
        "WITH said AS (SELECT * FROM unnest(%b::BIGINT[], %b::INTEGER[]) AS said (id, attempt)), ended AS ("
        " UPDATE jobs SET state = 'completed', finished_at = now() FROM said"
        " WHERE jobs.id = said.id AND jobs.attempt = said.attempt AND state = 'processing') "
    )
    CLAIM = (
        "UPDATE jobs SET state = 'processing', attempt = attempt + 1, worker = %b,"
        " lease_until = now() + INTERVAL '25 s' WHERE id = ANY (ARRAY ("
        " SELECT id FROM jobs WHERE queue = 'q' AND state = 'queued'"
        " ORDER BY priority DESC, id LIMIT %b FOR UPDATE SKIP LOCKED"
        ")) RETURNING id, attempt, payload"
    )

    def __init__(self, url):
        import psycopg  # noqa: PLC0415 - the other floor does without

        self.connection = psycopg.connect(url, autocommit=True)

    def create(self):
        self.connection.execute(
            "CREATE TABLE jobs (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue TEXT NOT NULL,"
            " state TEXT NOT NULL, priority INTEGER NOT NULL, attempt INTEGER NOT NULL, worker TEXT,"
            " lease_until TIMESTAMPTZ, finished_at TIMESTAMPTZ, payload BYTEA NOT NULL) WITH (fillfactor = 80);"
            "CREATE INDEX jobs_queued ON jobs (queue, priority DESC, id) WHERE state = 'queued'"
        )

    def enqueue(self, count):
        self.connection.execute(
            "INSERT INTO jobs (queue, state, priority, attempt, payload)"
            " SELECT 'q', 'queued', 0, 0, payload FROM unnest(%b::BYTEA[]) AS payload",
            ([PAYLOAD] * count,),
            prepare=True,
        )

    def exchange(self, held, worker, count):
        said = [number for number, _, _ in held], [attempt for _, attempt, _ in held]
        cursor = self.connection.cursor(binary=True)
        return cursor.execute(self.ENDED + self.CLAIM, (*said, worker, count), prepare=True).fetchall()


def work(connection, worker, batch, counts):
    held = connection.exchange([], worker, batch)
    done = 0
    while held:
        done += len(held)
        held = connection.exchange(held, worker, batch)
    counts.append(done)


def enqueue(connection, share, batch, counts):
    for _ in range(share // batch):
        connection.enqueue(batch)
    counts.append(share)


def main(url, what, count, batch, workers):
    kind = Sqlite if url.startswith("sqlite:") else Postgres
    connections = [kind(url) for _ in range(workers)]
    connections[0].create()
    counts = []
    if what == "work":
        for _ in range(0, count, 1000):
            connections[0].enqueue(min(count, 1000))
        todo = [(work, (one, f"w{place}", batch, counts)) for place, one in enumerate(connections)]
    else:
        todo = [(enqueue, (one, count // workers, batch, counts)) for one in connections]
    threads = [threading.Thread(target=target, args=args) for target, args in todo]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    assert sum(counts) == count, counts
    return seconds


if __name__ == "__main__":
    url, what, *numbers = sys.argv[1:]
    print(json.dumps({"seconds": main(url, what, *map(int, numbers)), "tasks": int(numbers[0])}))
