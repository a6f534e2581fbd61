"""The floors of plans and goals: ``steps_loop.py COUNT plain|sql plan|goal``.

A plan awaits a function to do and one to undo for each step, a goal one for each action. `sql` also commits a row before
each of them, as any engine must that promises to know after power loss what had begun.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import apsw


async def nothing(state):
    """Do nothing."""


def keep_rows():
    database = apsw.Connection(str(Path("floor.db")))
    database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").fetchall()
    database.execute("CREATE TABLE log (at REAL, what TEXT)")

    def record(what):
        database.execute("INSERT INTO log VALUES (?, ?)", (time.time(), what))

    return record


async def main(count, record, undoes):
    state = {}
    started = time.perf_counter()
    for number in range(count):
        record(f"begin {number}")
        await nothing(state)
    for number in reversed(range(count if undoes else 0)):
        record(f"undo {number}")
        await nothing(state)
    return time.perf_counter() - started


if __name__ == "__main__":
    count = int(sys.argv[1])
    record = keep_rows() if sys.argv[2] == "sql" else lambda what: None
    print(json.dumps({"seconds": asyncio.run(main(count, record, sys.argv[3] == "plan")), "tasks": count}))
