"""Who this process is, and whether another still lives."""

import os
import subprocess
import sys

import pytest
from msgspec import structs

from runwright.adapters import owner
from runwright.adapters.failpoints import FAILPOINTS, armed, failpoint
from runwright.adapters.owner import current_owner, is_alive, process_started


def test_this_process_lives():
    me = current_owner()
    assert me.pid == os.getpid()
    assert me == current_owner()
    assert is_alive(me) is True


def test_a_child_lives_until_it_has_been_killed():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = process_started(child.pid)
    other = structs.replace(
        current_owner(), pid=child.pid, process_started=f"{started}@{owner.process_space()}"
    )
    assert is_alive(other) is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_alive(other) is False  # a zombie holds nothing any more
    child.wait()
    assert is_alive(other) is False


def test_a_reused_number_is_another_process():
    me = current_owner()
    assert is_alive(structs.replace(me, process_started="1@" + owner.process_space())) is False


@pytest.mark.parametrize(
    "change", [{"host": "elsewhere"}, {"boot_id": "another"}, {"process_started": "1@pid:[1]"}]
)
def test_nobody_can_tell_about_another_place(change):
    assert is_alive(structs.replace(current_owner(), **change)) is None


def test_without_proc_the_system_is_asked(monkeypatch):
    """The way of systems without /proc, on a system that has `ps`."""

    class NoProc(type(owner.Path())):
        def read_bytes(self):
            raise FileNotFoundError(self)

        def read_text(self, *arguments, **options):
            raise FileNotFoundError(self)

        def readlink(self):
            raise FileNotFoundError(self)

        def exists(self, **options):
            return False

    monkeypatch.setattr(owner, "Path", NoProc)
    asked = []

    def ps(command, **options):
        asked.append(command)
        alive = command[-1] == str(os.getpid())
        return subprocess.CompletedProcess(
            command, 0 if alive else 1, "Sun Mar  1 12:00:00 2026\n" if alive else ""
        )

    monkeypatch.setattr(subprocess, "run", ps)
    me = current_owner()
    assert me.process_started == "Sun Mar  1 12:00:00 2026@"
    assert is_alive(me) is True
    gone = structs.replace(me, pid=(1 << 22) + 1)
    assert is_alive(gone) is False
    assert is_alive(structs.replace(me, pid=1)) is None
    assert asked[0] == ["ps", "-o", "lstart=", "-p", str(os.getpid())]


def test_failpoints_kill_only_when_armed(monkeypatch):
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    armed("")("store.before_commit")
    failpoint("store.before_commit")
    hook = armed("store.after_commit:2")
    for place in (*FAILPOINTS, "store.before_commit"):
        hook(place)
    assert killed == []
    hook("store.after_commit")
    assert killed == [(os.getpid(), 9)]


@pytest.mark.parametrize(
    "setting", ["store.after_commit", "nowhere:1", "store.after_commit:0", "store.after_commit:x"]
)
def test_a_wrong_setting_is_said(setting):
    with pytest.raises(ValueError, match="NAME:COUNT"):
        armed(setting)
