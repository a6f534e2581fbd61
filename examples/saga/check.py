"""Check what a run of saga.toml left: python3 check.py; after a resume with the carrier open, with --shipped."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

record = json.loads(subprocess.check_output(["runwright", "inspect", "latest", "--json"]))
states = {task["id"]: task["state"] for task in record["tasks"]}
shop = sqlite3.connect("out/shop.db")


def column(query: str) -> list[int]:
    return [row[0] for row in shop.execute(query)]


if "--shipped" in sys.argv:
    assert record["run"]["state"] == "succeeded", record["run"]
    assert set(states.values()) == {"succeeded"}, states
    assert column("SELECT pieces FROM stock") == [0], "the goods are with the customer"
    assert column("SELECT amount FROM ledger ORDER BY id") == [-30, 30, -30], "charged, refunded, charged"
    assert column("SELECT balance FROM accounts") == [70]
else:
    assert record["run"]["state"] == "failed", record["run"]
    assert states["hold"] == states["charge"] == "succeeded", states
    assert states["ship"] == "failed", states
    assert states["thank"] == "cancelled", states
    assert states["hold.cleanup"] == states["refund@*"] == "succeeded", states
    assert column("SELECT pieces FROM stock") == [1], "the goods are back"
    assert column("SELECT amount FROM ledger ORDER BY id") == [-30, 30], "charged and refunded, once each"
    assert column("SELECT balance FROM accounts") == [100], "the customer has the money back"

assert column("SELECT count(*) FROM holds") == [0], "no hold is left"
assert "ship: the carrier is closed" in Path("out/incidents.txt").read_text()
print("as it should be")
