"""SQLite databases: grow one, back one up, restore one. Needs Python's own sqlite3 alone."""

import hashlib
import os
import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def grow(path: str) -> None:
    """Add some hundred rows, in one transaction; the same ones on every machine."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE IF NOT EXISTS facts (id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount REAL, note BLOB)"
        )
        (before,) = db.execute("SELECT count(*) FROM facts").fetchone()
        dice = random.Random(f"{Path(path).stem} {before}")
        rows = [
            (f"name {dice.randrange(1000)}", dice.random(), dice.randbytes(20))
            for _ in range(dice.randint(200, 900))
        ]
        db.executemany("INSERT INTO facts (name, amount, note) VALUES (?, ?, ?)", rows)
        print(f"{before + len(rows)} rows")


def copy(source: str, target: str) -> None:
    """Copy a database page by page with SQLite's backup, which sees one state of it even while others write."""
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
        if new.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise SystemExit(f"{target} is damaged")
    rows, digest = content(target)
    with Path(os.environ["RUNWRIGHT_OUTPUT"]).open("a") as file:
        file.write(f"rows={rows}\n")
    print(digest)


def content(path: str) -> tuple[int, str]:
    """Return the number of rows, and a digest of what is in them: the same for the same content, however stored."""
    digest, count = hashlib.sha256(), 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for row in db.execute("SELECT * FROM facts ORDER BY id"):
            digest.update(repr(row).encode())
            count += 1
    return count, digest.hexdigest()[:16]


if __name__ == "__main__":
    try:
        {"grow": grow, "backup": copy, "restore": copy}[sys.argv[1]](*sys.argv[2:])
    except sqlite3.Error as error:
        sys.exit(f"{sys.argv[2]}: {error}")
