"""The keys of ``--json`` are those that the reference page documents."""

import asyncio
import re
from pathlib import Path

import pytest
from cli_state import FAILED, filled_store

from runwright.cli import records
from runwright.cli.inspect import everything_record, gather
from runwright.core.errors import Problem

PAGE = Path(__file__).parents[2] / "docs/reference/json-output.md"


def documented() -> dict[str, list[str]]:
    """Return the keys of each record, as the page lists them."""
    table = PAGE.read_text().partition("## The records")[2]
    rows = re.findall(r"^\| (\w+) \| (`.+`) \|$", table, re.MULTILINE)
    return {name: re.findall(r"`(\w+)`", cells) for name, cells in rows}


def actual() -> dict[str, list[str]]:
    store = filled_store()

    async def read() -> records.Record:
        return everything_record(await gather(store, await store.find_run(FAILED)))

    found = asyncio.run(read())
    run = asyncio.run(store.find_run(FAILED))
    failure = next(task["failure"] for task in found["tasks"] if task["failure"])
    return {
        "run": list(records.run_record(run)),
        "task": list(found["tasks"][0]),
        "attempt": list(found["attempts"][0]),
        "failure": list(failure),
        "variable": list(found["variables"][0]),
        "event": list(found["events"][0]),
        "problem": list(records.problem_record(Problem(message="m"))),
    }


@pytest.mark.parametrize("record", sorted(actual()))
def test_keys_are_documented(record: str) -> None:
    assert documented()[record] == actual()[record]


def test_no_record_is_forgotten() -> None:
    assert set(documented()) == set(actual())


def test_phrases() -> None:
    assert records.plural(1, "task") == "1 task"
    assert records.plural(0, "task") == "0 tasks"
    assert records.counts_text({"failed": 0, "succeeded": 2}) == "2 succeeded"
    assert records.counts_text({}) == "none"
