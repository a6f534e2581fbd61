"""A shop in one SQLite file. Each command is one transaction, and may be repeated within a run without harm."""

import os
import sqlite3
import sys
from pathlib import Path

SHOP = Path("out/shop.db")
CARRIER = Path("out/carrier-is-open")  # shipping works when this file is there
RUN = os.environ.get("RUNWRIGHT_RUN_ID", "by hand")

SCHEMA = """
CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, pieces INTEGER NOT NULL CHECK (pieces >= 0));
CREATE TABLE IF NOT EXISTS holds (run TEXT PRIMARY KEY, item TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (customer TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0));
CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY, run TEXT NOT NULL, customer TEXT NOT NULL, amount INTEGER);
CREATE TABLE IF NOT EXISTS shipments (run TEXT PRIMARY KEY, item TEXT NOT NULL);
"""


def open_shop(db: sqlite3.Connection, item: str, customer: str) -> str:
    db.executescript(SCHEMA)
    db.execute("INSERT OR IGNORE INTO stock VALUES (?, 1)", (item,))
    db.execute("INSERT OR IGNORE INTO accounts VALUES (?, 100)", (customer,))
    return f"{customer} is in a shop that has one {item}"


def hold(db: sqlite3.Connection, item: str) -> str:
    (free,) = db.execute(
        "SELECT pieces - (SELECT count(*) FROM holds WHERE item = ?1 AND run <> ?2) FROM stock WHERE item = ?1",
        (item, RUN),
    ).fetchone()
    if free < 1:
        raise SystemExit(f"no {item} is free")
    db.execute("INSERT OR IGNORE INTO holds VALUES (?, ?)", (RUN, item))
    return f"one {item} is held"


def release(db: sqlite3.Connection) -> str:
    return f"{db.execute('DELETE FROM holds WHERE run = ?', (RUN,)).rowcount} hold released"


def charge(db: sqlite3.Connection, customer: str, price: str) -> str:
    if paid(db) == 0:
        book(db, customer, -int(price))
    return price


def refund(db: sqlite3.Connection) -> str:
    amount = paid(db)
    if amount:
        (customer,) = db.execute("SELECT customer FROM ledger WHERE run = ?", (RUN,)).fetchone()
        book(db, customer, amount)
    return f"{amount} refunded"


def ship(db: sqlite3.Connection, item: str) -> str:
    if not CARRIER.exists():
        raise SystemExit("the carrier is closed")
    if db.execute("INSERT OR IGNORE INTO shipments VALUES (?, ?)", (RUN, item)).rowcount:
        db.execute("UPDATE stock SET pieces = pieces - 1 WHERE item = ?", (item,))
    return f"{item} shipped"


def paid(db: sqlite3.Connection) -> int:
    """Return what this run has charged and not refunded."""
    return -int(db.execute("SELECT coalesce(sum(amount), 0) FROM ledger WHERE run = ?", (RUN,)).fetchone()[0])


def book(db: sqlite3.Connection, customer: str, amount: int) -> None:
    db.execute("INSERT INTO ledger (run, customer, amount) VALUES (?, ?, ?)", (RUN, customer, amount))
    db.execute("UPDATE accounts SET balance = balance + ? WHERE customer = ?", (amount, customer))


COMMANDS = {
    "open": open_shop,
    "hold": hold,
    "release": release,
    "charge": charge,
    "refund": refund,
    "ship": ship,
}

if __name__ == "__main__":
    with sqlite3.connect(SHOP) as database:
        print(COMMANDS[sys.argv[1]](database, *sys.argv[2:]))
