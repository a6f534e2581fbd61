"""Functions and a program that the executors under test run."""

# ruff: noqa: ASYNC110, ASYNC240, SIM115 - the files tell what lives, and no event can

import asyncio
import fcntl
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

HOLD = """
import fcntl, os, sys, time
file = open(sys.argv[1], "ab", buffering=0)
fcntl.flock(file, fcntl.LOCK_EX)
file.write(b"x")
while not os.path.exists(sys.argv[1] + ".release"):
    time.sleep(0.005)
"""


def answer() -> dict[str, Any]:
    print("a word")
    return {"a": [1, "two", None]}


async def answer_soon() -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"a": [1, "two", None]}


def fail(text: str) -> None:
    raise ValueError(text)


async def fail_soon(text: str) -> None:
    await asyncio.sleep(0)
    raise ValueError(text)


def _taken(path: str) -> IO[bytes]:
    file = Path(path).open("ab", buffering=0)
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(b"x")
    return file


def hold(path: str) -> None:
    with _taken(path):
        while not Path(f"{path}.release").exists():
            time.sleep(0.005)


async def hold_loop(path: str) -> None:
    with _taken(path):
        while not Path(f"{path}.release").exists():
            await asyncio.sleep(0.005)


def abandon(path: str) -> None:
    subprocess.Popen([sys.executable, "-S", "-c", HOLD, path], start_new_session=True)
    while not Path(path).exists() or not Path(path).stat().st_size:
        time.sleep(0.005)


def ask() -> Any:
    from runwright import Result, Task

    return Result(value={"n": 1}, followups=(Task(id="x", executor="python", args={"function": "f"}),))


async def ask_soon() -> Any:
    await asyncio.sleep(0)
    return ask()
