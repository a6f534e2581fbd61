"""Check what a run of a shape left: python3 check.py FILE.toml, in this folder, after the run."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUT = Path("out")
CHECKS: dict[str, Callable[["Record"], None]] = {}


class Record:
    """The latest run, as `runwright inspect` tells it."""

    def __init__(self) -> None:
        record = json.loads(ask("inspect", "latest", "--json"))
        self.run: dict[str, Any] = record["run"]
        self.tasks: dict[str, dict[str, Any]] = {task["id"]: task for task in record["tasks"]}

    def state(self, task: str) -> str:
        return str(self.tasks[task]["state"])


def ask(*arguments: str) -> str:
    return subprocess.check_output(["runwright", *arguments], text=True)


def text(name: str) -> str:
    return (OUT / name).read_text("utf-8")


def of(name: str) -> Callable[[Callable[[Record], None]], Callable[[Record], None]]:
    return lambda check: CHECKS.setdefault(name, check)


@of("01-pipeline")
def pipeline(record: Record) -> None:
    names = text("names.txt").splitlines()
    assert "01-pipeline.toml" in names
    assert text("pipeline.txt") == f"{len(names)} files\n"


@of("02-fan-out-fan-in")
def fan(record: Record) -> None:
    assert text("total.txt") == f"{sum(range(1, 1001))}\n"
    assert sorted(path.name for path in (OUT / "parts").iterdir()) == [
        "1.txt",
        "251.txt",
        "501.txt",
        "751.txt",
    ]
    total = record.tasks["total"]
    assert all(
        node["ended_at"] <= total["started_at"] for node in record.tasks.values() if node["key"] == "sum"
    )


@of("03-diamond")
def diamond(record: Record) -> None:
    everything = text("all.txt")
    words = set(re.findall("[a-z]+", everything))
    found = re.fullmatch(r"(\d+) words in (\d+) lines\n", text("diamond.txt"))
    assert found
    assert int(found[2]) == everything.count("\n")
    assert int(found[1]) - len(words) in {0, 1}, "tr makes an empty word of what precedes the first one"


@of("04-ci")
def ci(record: Record) -> None:
    assert subprocess.check_output([sys.executable, "out/ci/app.pyz", "50"], text=True) == "100\n"
    assert not (OUT / "ci" / "broken.txt").exists()
    assert record.tasks["build"]["value"] == "out/ci/app.pyz"


@of("05-etl")
def etl(record: Record) -> None:
    raw = [line.split(",") for shop in ("north", "southern") for line in text(f"etl/{shop}.csv").splitlines()]
    kept = sorted(
        (shop, int(n), int(amount)) for shop, n, amount in raw if amount.isdigit() and int(amount) <= 100
    )
    assert 0 < len(kept) < len(raw) == 80
    rows = (
        sqlite3.connect(OUT / "etl" / "sales.db")
        .execute("SELECT * FROM sales ORDER BY shop, number")
        .fetchall()
    )
    assert rows == kept
    assert text("etl.txt") == f"{len(kept)} of 80 rows loaded\n"


@of("06-matrix-backup")
def backup(record: Record) -> None:
    for line in text("backup/MANIFEST").splitlines():
        name, *expected = line.split()
        with (OUT / "backup" / name).open("rb") as file:
            assert subprocess.check_output(["cksum"], stdin=file, text=True).split() == expected
    assert len(text("backup/MANIFEST").splitlines()) == 2
    assert record.state("verify[what=etc].cleanup") == "succeeded"
    assert not any((OUT / "backup" / "test").iterdir()), "the cleanups took the test copies away"


@of("07-retries")
def retries(record: Record) -> None:
    assert record.tasks["call"]["attempts"] == 3
    assert text("tries") == "try\n" * 3
    assert text("retries.txt") == "answered at attempt 3\n"
    assert record.tasks["call"]["duration"] >= 0.3, "100 ms and 200 ms of waiting"


@of("08-gates")
def gates(record: Record) -> None:
    assert record.state("production") == "skipped"
    assert record.state("announce") == "succeeded"
    assert text("gates.txt") == "staging\nannounced\n"


@of("09-ignore-failure")
def ignored(record: Record) -> None:
    assert record.state("cache") == "failed"
    assert record.run["state"] == "succeeded"
    assert text("ignored.txt") == "without a cache\nbuilt without a cache\n"


@of("10-handlers")
def handlers(record: Record) -> None:
    first = next(
        task["id"] for task in record.tasks.values() if task["key"] == "disk" and task["state"] == "failed"
    )
    lines = text("alerts.txt").splitlines()
    assert f"ticket for {first}, exit 5: {first[10:13]} has bad sectors" in lines
    assert lines[-1].startswith("page: disk[")
    assert len(lines) == 1 + sum(task["state"] == "failed" for task in record.tasks.values())


@of("11-timeouts")
def timeouts(record: Record) -> None:
    assert record.state("slow") == "failed"
    assert text("timeout.txt").startswith("slow: took longer than its limit")
    assert record.tasks["slow"]["duration"] < 5
    assert not (OUT / "finished").exists()


@of("12-variables")
def variables(record: Record) -> None:
    greeting = "Hello; echo pwned $(id) \"and\" 'so on' *"
    lines = ["the last line", "42", "6", "the last line", greeting, f"in quotes: {greeting}"]
    assert text("variables.txt").splitlines() == lines


@of("13-secrets")
def secrets(record: Record) -> None:
    token = os.environ.get("DEPLOY_TOKEN", "")
    assert int(text("secret-length.txt")) == len(token), "the task had it"
    shown = "***" if token else "none was given"
    assert f"token: {shown}" in ask("logs", "latest", "login")
    kept = b"".join(path.read_bytes() for path in Path(".runwright").rglob("*") if path.is_file())
    assert not token or token.encode() not in kept


@of("14-clean-env")
def clean_env(record: Record) -> None:
    inherited, clean = (set(text(f"env-{kind}.txt").split()) for kind in ("inherited", "clean"))
    assert {"PATH", "LANG"} <= inherited
    assert {"STAGE", "LANG", "RUNWRIGHT_RUN_ID"} <= clean
    assert not {"HOME", "USER"} & clean


if __name__ == "__main__":
    name = Path(sys.argv[1]).stem
    latest = Record()
    assert latest.run["name"] == name, f"the latest run is one of {latest.run['name']}"
    CHECKS[name](latest)
    print(f"{name}: as it should be")
