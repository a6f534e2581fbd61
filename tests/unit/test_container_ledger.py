"""The ledger of containers and its helper, without an engine of containers."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from runwright.adapters import container_ledger, container_reaper
from runwright.adapters.container_ledger import Entry, FileLedger, owner_text, sweep_containers
from runwright.adapters.owner import current_owner
from runwright.core.errors import Failure, TaskFailed
from runwright.core.run import Owner
from runwright.ports.system import Command, Exit
from runwright.testing.processes import FakeProcesses, Script

HERE = current_owner()
DEAD = msgspec.structs.replace(HERE, process_started="0@" + HERE.process_started.partition("@")[2])
BEFORE = msgspec.structs.replace(HERE, boot_id="another-boot")
ELSEWHERE = msgspec.structs.replace(DEAD, host="another-host")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state/containers"


def wait_ended(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# -- the ledger


def test_a_file_for_each_container_while_it_may_exist(folder: Path) -> None:
    ledger = FileLedger(folder, HERE)
    try:
        ledger.enter("docker", "one")
        ledger.enter("docker", "two")
        assert sorted(path.name for path in folder.iterdir()) == ["one", "two"]
        assert folder.stat().st_mode & 0o777 == 0o700
        entry = msgspec.json.decode((folder / "one").read_bytes(), type=Entry)
        assert entry == Entry(engine="docker", name="one", owner=HERE)
        ledger.leave("one")
        assert folder.exists()
        ledger.leave("two")
        assert not folder.exists()
        ledger.leave("two")
    finally:
        ledger.close()
    assert ledger.owner == owner_text(HERE) == f"{HERE.host}:{HERE.boot_id}:{HERE.pid}:{HERE.process_started}"


def test_the_helper_starts_with_the_first_container_and_goes_with_a_goodbye(folder: Path) -> None:
    ledger = FileLedger(folder, HERE)
    ledger.close()
    ledger.enter("docker", "one")
    assert ledger._helper is not None
    pid, _ = ledger._helper
    os.kill(pid, 0)
    ledger.enter("podman", "two")
    assert ledger._helper[0] == pid
    ledger.close()
    wait_ended(pid)
    ledger.close()


def test_a_helper_that_was_killed_does_no_harm(folder: Path) -> None:
    ledger = FileLedger(folder, HERE)
    ledger.enter("docker", "one")
    assert ledger._helper is not None
    os.kill(ledger._helper[0], 9)
    os.waitpid(ledger._helper[0], 0)
    ledger.enter("podman", "two")
    ledger.close()
    assert len(list(folder.iterdir())) == 2


def test_a_helper_that_can_t_start_leaves_no_descriptor(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(container_ledger.sys, "executable", "/nonexistent/python")
    with pytest.raises(FileNotFoundError):
        FileLedger(folder, HERE).enter("docker", "one")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# -- the sweep


def note(folder: Path, name: str, owner: Owner, engine: str = "docker") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(msgspec.json.encode(Entry(engine=engine, name=name, owner=owner)))


def sweep(folder: Path, *scripts: Script) -> list[tuple[str, ...]]:
    plays = iter(scripts)
    processes = FakeProcesses(lambda _: next(plays))
    asyncio.run(sweep_containers(folder, processes))
    assert next(plays, None) is None
    return [command.argv for command in processes.ran]


def said(text: bytes, code: int = 0) -> Script:
    return Script(output=(("stdout" if not code else "stderr", text),), exit=Exit(code=code))


def test_nothing_is_asked_if_nothing_is_left(folder: Path) -> None:
    assert sweep(folder) == []


def test_only_what_has_certainly_died_is_removed(folder: Path) -> None:
    note(folder, "living", HERE)
    note(folder, "far", ELSEWHERE)
    (folder / "junk").write_text("no entry")
    assert sweep(folder) == []
    assert len(list(folder.iterdir())) == 3


def test_what_the_dead_left_is_told(folder: Path) -> None:
    ledger = FileLedger(folder, HERE)
    assert ledger.abandoned() == []
    folder.mkdir(parents=True)
    for name, engine, owner in (("a", "docker", DEAD), ("b", "docker", HERE), ("c", "podman", BEFORE)):
        entry = Entry(engine=engine, name=name, owner=owner)
        (folder / name).write_bytes(msgspec.json.encode(entry))
    assert sorted(ledger.abandoned()) == [("docker", "a"), ("podman", "c")]
    ledger.leave("a")
    ledger.leave("c")
    assert ledger.abandoned() == []
    assert [path.name for path in folder.iterdir()] == ["b"]


@pytest.mark.parametrize("owner", [DEAD, BEFORE])
def test_all_containers_of_a_dead_owner_are_removed(folder: Path, owner: Owner) -> None:
    note(folder, "one", owner)
    note(folder, "two", owner)
    label = f"label=runwright.owner={owner_text(owner)}"
    assert sweep(folder, said(b"id1\nid2\n"), said(b"")) == [
        ("docker", "ps", "--all", "--quiet", "--filter", label),
        ("docker", "rm", "--force", "--volumes", "id1", "id2"),
    ]
    assert not folder.exists()


def test_those_that_are_gone_already_are_forgotten(folder: Path) -> None:
    note(folder, "one", DEAD, "podman")
    assert len(sweep(folder, said(b""))) == 1
    assert not folder.exists()


def test_a_removal_under_way_counts(folder: Path) -> None:
    note(folder, "one", DEAD)
    sweep(folder, said(b"id\n"), said(b"removal of container id is already in progress", 1))
    assert not folder.exists()


@pytest.mark.parametrize(
    "scripts",
    [
        [said(b"the daemon does not run", 1)],
        [said(b"id\n"), said(b"busy", 1)],
        [Script(error=TaskFailed(Failure(code="E_SPAWN", message="command not found: docker")))],
    ],
)
def test_what_can_t_be_removed_is_kept_for_the_next_time(folder: Path, scripts: list[Script]) -> None:
    note(folder, "one", DEAD)
    sweep(folder, *scripts)
    assert (folder / "one").exists()


def test_an_engine_that_does_not_answer_holds_up_nobody(folder: Path) -> None:
    note(folder, "one", DEAD)
    processes = FakeProcesses(lambda _: Script(gate=asyncio.Event()))
    asyncio.run(sweep_containers(folder, processes, patience=0.01))
    assert processes.cancelled == processes.ran
    assert (folder / "one").exists()


# -- the helper


class Engines:
    """Answers what the helper asks: `rounds` are the ids of each list."""

    def __init__(self, *rounds: str) -> None:
        self.rounds = iter(rounds)
        self.asked: list[list[str]] = []
        self.slept: list[float] = []

    def ask(self, command: list[str]) -> str:
        self.asked.append(command)
        return next(self.rounds, "") if command[1] == "ps" else ""

    def main(self, *lines: str) -> None:
        container_reaper.main("runwright.owner", "me", lines, self.ask, self.slept.append)


def test_the_helper_does_nothing_after_a_goodbye_or_without_an_engine() -> None:
    for lines in (("docker\n", "bye\n"), ()):
        engines = Engines()
        engines.main(*lines)
        assert (engines.asked, engines.slept) == ([], [])


def test_the_helper_removes_what_is_there_and_what_comes_late() -> None:
    engines = Engines("a b\n", "", "c\n")
    engines.main("docker\n", "docker\n")
    assert engines.slept == list(container_reaper.PAUSES)
    found = ["docker", "ps", "--all", "--quiet", "--filter", "label=runwright.owner=me"]
    assert [command for command in engines.asked if command != found] == [
        ["docker", "kill", "a", "b"],
        ["docker", "rm", "--force", "--volumes", "a", "b"],
        ["docker", "kill", "c"],
        ["docker", "rm", "--force", "--volumes", "c"],
    ]


def test_the_helper_s_commands() -> None:
    assert container_reaper.run(["echo", "hello"]) == "hello\n"
    assert container_reaper.run(["/nonexistent/engine", "ps"]) == ""


def test_the_command_of_a_sweep_stands_in_no_project(folder: Path) -> None:
    note(folder, "one", DEAD)
    seen: list[Command] = []
    processes = FakeProcesses(lambda command: seen.append(command) or Script())
    asyncio.run(sweep_containers(folder, processes))
    assert [command.cwd for command in seen] == ["/"]
