"""The public session on a plain directory: where things are, who can read them, and what is masked."""

import asyncio
import stat
from pathlib import Path

import pytest

from runwright import LocalSession, Router
from runwright.adapters.process import WardenProcesses
from runwright.core.events import ProgressEvent
from runwright.core.task import Task, TaskId
from runwright.executors.shell import Shell
from runwright.ports.executor import Session

STRANGE = [TaskId(text) for text in ("a.b", "a/../../b", "..", "x" * 3000, "[k=v]", "ö")]


def test_the_directory_is_the_source(tmp_path: Path) -> None:
    session: Session = LocalSession(tmp_path / "made" / "now")
    assert session.source == tmp_path / "made" / "now"
    assert list(session.source.iterdir()) == []
    assert LocalSession(str(tmp_path)).id != LocalSession(tmp_path).id


def test_outputs_are_below_and_private(tmp_path: Path) -> None:
    session = LocalSession(tmp_path)
    folders = [session.output_dir(name) for name in STRANGE]
    assert len(set(folders)) == len(STRANGE)
    root = tmp_path / ".runwright-sessions" / session.id
    assert {folder.parent for folder in folders} == {root / "outputs"}
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert session.output_dir(STRANGE[0]) == folders[0]


def test_they_can_be_kept_elsewhere(tmp_path: Path) -> None:
    session = LocalSession(tmp_path / "source", state=tmp_path / "state")
    session.output_dir(TaskId("a"))
    assert list(session.source.iterdir()) == []
    assert [path.name for path in (tmp_path / "state").iterdir()] == [session.id]


def test_logs_are_kept(tmp_path: Path) -> None:
    session = LocalSession(tmp_path)
    log = session.log(TaskId("a.b"))
    assert log.read() == b""
    log.write("stderr", b"err")
    log.write("stdout", b"one ")
    log.write("stdout", b"two")
    assert session.log(TaskId("a.b")) is log
    assert (log.read("stdout"), log.read("stderr"), log.read()) == (b"one two", b"err", b"one twoerr")
    assert log.path("stdout").read_bytes() == b"one two"
    assert stat.S_IMODE(log.path("stderr").stat().st_mode) == 0o600


def test_secrets_are_masked_across_writes(tmp_path: Path) -> None:
    with LocalSession(tmp_path, secrets=("very-secret",)) as session:
        log = session.log(TaskId("a"))
        log.write("stdout", b"it is very-s")
        assert log.path("stdout").read_bytes() == b"it is "
        assert log.read() == b"it is very-s", "what only looks like a beginning is shown"
        log.write("stdout", b"ecret, very-")
        assert session.redact("a very-secret") == "a ***"
    session.close()
    assert log.path("stdout").read_bytes() == log.read() == b"it is ***, very-"


@pytest.mark.parametrize("count", [0, 1])
def test_events_of_inner_runs_reach_the_listener(tmp_path: Path, count: int) -> None:
    heard: list[ProgressEvent] = []
    session = LocalSession(tmp_path, listener=heard.append if count else None)
    session.tell("event")  # type: ignore[arg-type]
    assert len(heard) == count


def test_a_command_reads_the_directory_and_its_output_is_kept(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("hello\n")

    async def run() -> object:
        processes = WardenProcesses()
        session = LocalSession(tmp_path)
        router = Router({"sh": Shell(processes)})
        await router.open_session(session)
        try:
            task = Task(id=TaskId("t"), executor="sh", args={"cmd": "cat in.txt"})
            value = (await router.execute(session, task)).value
        finally:
            await router.close_session(session.id)
            await processes.close()
        assert session.log(TaskId("t")).read() == b"hello\n"
        return value

    assert asyncio.run(run()) == "hello"
