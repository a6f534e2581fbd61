"""A plugin keeps the contract of what it wraps, through real gRPC, with and without files in common."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from test_executor_conformance import following, python_subject, routed, shell_subject

from runwright.adapters.plugin.remote import Remote
from runwright.adapters.process import WardenProcesses
from runwright.executors.followups import Followups
from runwright.executors.observe import Observe
from runwright.executors.router import Router
from runwright.ports.executor import Executor
from runwright.testing import CHECKS, Strict, run_check

SERVER = Path(__file__).with_name("plugin_server.py")


def remote(which: str, *, shared_files: bool = True) -> Callable[[], AbstractAsyncContextManager[Executor]]:
    @asynccontextmanager
    async def open_() -> AsyncIterator[Executor]:
        yield Strict(Remote([sys.executable, str(SERVER), which], shared_files=shared_files))

    return open_


@asynccontextmanager
async def deep() -> AsyncIterator[Executor]:
    """Wrappers on both sides, and a door for processes that is shared."""
    processes = WardenProcesses()
    try:
        inner = Remote([sys.executable, str(SERVER), "deep"], processes=processes)
        yield Strict(Observe(Router({"there": Strict(inner)})))
    finally:
        await processes.close()


@asynccontextmanager
async def followed() -> AsyncIterator[Executor]:
    """Follow-ups that come from a plugin, and go there again."""
    yield Followups(Strict(Remote([sys.executable, str(SERVER), "chains"])), 16)


SUBJECTS = {
    "shell": shell_subject(remote("shell")),
    "shell-sent": shell_subject(remote("shell", shared_files=False)),
    "python-async": python_subject(remote("python"), "async"),
    "python-process": python_subject(remote("python"), "process"),
    "python-thread": python_subject(remote("python"), "thread"),
    "followed": following(routed(python_subject(followed, "async"), "py")),
    "deep": routed(shell_subject(deep), "there.here.shell"),
}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_keeps_the_contract(subject: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SERVER.parent), prepend=":")
    asyncio.run(run_check(name, SUBJECTS[subject], tmp_path))
