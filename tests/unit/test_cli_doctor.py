"""What `doctor` says of machines that lack something."""

import asyncio
import os
from pathlib import Path

import pytest
from cli_state import pipe

from runwright.cli import doctor
from runwright.cli.doctor import Check
from runwright.core.errors import StoreError


def test_an_old_python_fails() -> None:
    assert doctor.python_check((3, 10, 4)).result == doctor.FAILURE
    assert doctor.python_check((3, 11, 0)).result == doctor.OK


@pytest.mark.parametrize(("version", "result"), [("3.40.1", doctor.FAILURE), ("3.51.3", doctor.OK)])
def test_an_old_sqlite_fails(version: str, result: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apsw.sqlite_lib_version", lambda: version)
    assert doctor.sqlite_check().result == result


def test_a_clock_that_was_never_set_is_told() -> None:
    assert doctor.clock_check(0.0).result == doctor.WARNING
    assert doctor.clock_check(1.8e9).result == doctor.OK


def test_subreaper(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        """A C library on a kernel that refuses."""

        def prctl(self, *arguments: object) -> int:
            return -1

    monkeypatch.setattr("ctypes.CDLL", lambda name: Refusing())
    monkeypatch.setattr("sys.platform", "linux")
    assert doctor.subreaper_check().result == doctor.FAILURE
    monkeypatch.setattr("sys.platform", "darwin")
    assert doctor.subreaper_check().result == doctor.WARNING


def test_control_groups_are_told_of(tmp_path: Path) -> None:
    assert doctor.cgroup_check(tmp_path).detail == "none; not needed"
    for folder in (tmp_path / "unified", tmp_path):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.procs").touch()
        (folder / "cgroup.controllers").touch()
        expected = "version 2" if folder == tmp_path else "version 2 beside version 1"
        assert doctor.cgroup_check(tmp_path).detail == f"{expected}, writable"


def test_the_store_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state" / "runs.db"
    assert doctor.store_check(path).result == doctor.OK
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    assert doctor.store_check(path).result == doctor.OK
    path.chmod(0o644)
    assert doctor.store_check(path).advice == f"chmod 600 {path}"
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)
    assert "another user" in doctor.store_check(path).detail


@pytest.mark.parametrize(
    ("free", "result"), [(1 << 20, doctor.FAILURE), (1 << 28, doctor.WARNING), (1 << 40, doctor.OK)]
)
def test_room_on_the_disk(free: int, result: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        """What a disk says."""

        def __init__(self) -> None:
            self.free = free

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage())
    assert doctor.disk_check(Path("/")).result == result


@pytest.mark.parametrize("error", [StoreError("broken"), PermissionError(13, "Permission denied")])
def test_what_cannot_be_tried_fails(error: Exception) -> None:
    async def work() -> Check:
        raise error

    found = asyncio.run(doctor.guarded("processes", work))
    assert (found.result, found.detail) == (doctor.FAILURE, str(error))


def test_lines() -> None:
    checks = [
        Check("a", doctor.OK, "fine"),
        Check("b", doctor.WARNING, "so so", "do this\nor that"),
        Check("c", doctor.FAILURE, "bad"),
    ]
    assert list(doctor.lines(checks, pipe())) == [
        "✓ a          fine",
        "↯ b          so so",
        "             → do this",
        "             → or that",
        "✗ c          bad",
        "1 essential check failed",
    ]
    assert os.sep not in str([doctor.check_record(check) for check in checks])
