"""Guards and the warden, run here in the test's own process, with the test as their engine."""

import array
import marshal
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import process_survivors as survivors
import pytest

from runwright.adapters.warden import guard as guards
from runwright.adapters.warden import main as wardens
from runwright.adapters.warden import tree
from runwright.adapters.warden.channel import Bell, Inbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper")
BASE = {"PATH": os.environ["PATH"]}


def frame(order: tuple[object, ...]) -> bytes:
    data = marshal.dumps(order)
    return len(data).to_bytes(4, "little") + data


def command(text: str, cwd: str = "/") -> bytes:
    return frame((("/bin/sh", "-c", text), cwd, {}, (), False))


@contextmanager
def subreaper() -> Iterator[None]:
    import ctypes

    tree.become_subreaper()
    try:
        yield
    finally:
        ctypes.CDLL(None).prctl(tree.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def play(engine: Callable[[socket.socket, int], None], engine_fd: int = -1) -> None:
    """Be a guard in this thread while `engine` plays the other side in another, with the reading end of stdout."""
    ours, theirs = socket.socketpair()
    out, out_writer = os.pipe()
    handler = signal.getsignal(signal.SIGCHLD)

    def other_side() -> None:
        try:
            ours.sendall(frame((BASE, {"MARK": "1"})))
            engine(ours, out)
        finally:
            ours.close()

    thread = threading.Thread(target=other_side)
    with subreaper():
        guard = guards.Guard(theirs.fileno(), out_writer, out_writer, engine_fd)
        thread.start()
        try:
            guard.serve()
        finally:
            thread.join(10)
            guard.bell.close()
            signal.signal(signal.SIGCHLD, handler)
            theirs.close()
            os.close(out)
            os.close(out_writer)


def answers(*orders: bytes) -> list[bytes]:
    found: list[bytes] = []

    def engine(sock: socket.socket, _out: int) -> None:
        for order in orders:
            sock.sendall(order)
            found.append(sock.recv(4096))

    play(engine)
    return found


def test_reports() -> None:
    stop = frame((0.0,))
    assert answers(command("exit 3"), stop + command("kill -9 $$"), command("true")) == [
        b"768\n",
        b"9\n",
        b"0\n",
    ]
    assert answers(command("true", "/no/such"), frame((("no-such-program",), "/", {}, (), False))) == [
        b"!2 cwd\n",
        b"!2 exec\n",
    ]


def test_an_engine_that_goes_away_first() -> None:
    play(lambda sock, _out: sock.close())


@pytest.mark.parametrize("grace", [0.0, 0.05])
def test_stop_goes_on_to_the_harder_means(tmp_path: Path, grace: float) -> None:
    def engine(sock: socket.socket, out: int) -> None:
        sock.sendall(command("trap '' TERM; echo ready; while :; do sleep 0.01; done", str(tmp_path)))
        assert os.read(out, 100) == b"ready\n"
        sock.sendall(frame((60.0,)))
        sock.sendall(frame((grace,)))
        assert sock.recv(100) == b"9\n"
        assert survivors.alive_in(tmp_path) == []

    play(engine)


def test_remains_are_ended_before_the_report(tmp_path: Path) -> None:
    def engine(sock: socket.socket, _out: int) -> None:
        sock.sendall(command("(trap '' TERM; setsid sleep 3600 & sleep 3600) & exit 2", str(tmp_path)))
        assert sock.recv(100) == b"512\n"
        assert survivors.alive_in(tmp_path) == []

    play(engine)


def test_the_end_of_the_engine_ends_the_command(tmp_path: Path) -> None:
    def engine(sock: socket.socket, out: int) -> None:
        sock.sendall(command("(setsid sleep 3600 &); echo ready; sleep 3600", str(tmp_path)))
        assert os.read(out, 100) == b"ready\n"

    play(engine)
    assert survivors.alive_in(tmp_path) == []


def test_the_end_of_the_engine_shows_even_if_a_copy_of_its_socket_lives(tmp_path: Path) -> None:
    dead = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {})
    pidfd = os.pidfd_open(dead)
    copies = []

    def engine(sock: socket.socket, _out: int) -> None:
        copies.append(sock.dup())
        sock.sendall(command("sleep 3600", str(tmp_path)))

    play(engine, pidfd)
    os.close(pidfd)
    copies[0].close()
    assert survivors.alive_in(tmp_path) == []


def test_processes_of_others_are_named_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root nothing is refused, so refusal is played."""
    monkeypatch.setattr(guards, "send", lambda pid, number: False)
    found: list[bytes] = []

    def engine(sock: socket.socket, out: int) -> None:
        sock.sendall(command("setsid sleep 3600 & exit 2", str(tmp_path)))
        found.append(sock.recv(100))
        survivors.kill_all_in(tmp_path)

    play(engine)
    status, _, pids = found[0].decode().partition(" ")
    assert status == "512"
    assert pids.strip().isdigit()
    os.waitpid(int(pids), 0)


def test_a_signal_that_may_not_be_sent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int, _number: int) -> None:
        raise PermissionError

    assert tree.send(2**22 + 1, signal.SIGTERM), "who is gone needs no signal"
    monkeypatch.setattr(os, "kill", refuse)
    assert not tree.send(1, signal.SIGTERM)


def test_children_without_help_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    child = os.posix_spawn("/bin/sleep", ["sleep", "3600"], {}, setsid=True)
    try:
        assert child in tree.children()
        assert child in tree.groups_below()
        monkeypatch.setattr(tree, "HAS_PROC", False)
        assert tree.processes()[child] == (os.getpid(), child)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("name", "path", "found"),
    [
        ("/any/where", "", "/any/where"),
        ("sh", "/nonexistent:/bin", "/bin/sh"),
        ("passwd", "/etc", PermissionError),
        ("no-such-program", "/bin", FileNotFoundError),
    ],
)
def test_where_a_program_is_looked_for(name: str, path: str, found: str | type[OSError]) -> None:
    if isinstance(found, str):
        assert guards.find_program(name, {"PATH": path}) == found
    else:
        with pytest.raises(found):
            guards.find_program(name, {"PATH": path})


def test_frames_may_come_in_pieces() -> None:
    ours, theirs = socket.socketpair()
    data = frame(("x" * 100_000,)) + frame((1,))
    threading.Thread(target=lambda: (ours.sendall(data[:3]), ours.sendall(data[3:]), ours.close())).start()
    inbox = Inbox(theirs.fileno())
    assert inbox.take() == ("x" * 100_000,)
    assert inbox.take() == (1,)
    assert inbox.take() is None
    theirs.close()


def test_the_warden_forks_guards_and_clears_what_they_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard is a process that leaves an orphan and dies."""
    monkeypatch.setattr(
        wardens, "run_guard", lambda *_fds: os.execv("/bin/sh", ["sh", "-c", "sleep 3600 & exec true"])
    )
    handler = signal.getsignal(signal.SIGCHLD)
    ours, theirs = socket.socketpair()
    guard_end, guard_other = socket.socketpair()
    out, out_writer = os.pipe()
    with subreaper():
        warden = wardens.Warden(theirs.fileno(), -1)
        fds = array.array("i", [guard_other.fileno(), out_writer, out_writer])
        ours.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        guard_other.close()
        os.close(out_writer)
        ours.close()
        warden.serve()
        assert tree.children() == []
    assert guard_end.recv(1) == b"", "the engine sees the end of the guard when nothing of it is left"
    assert os.read(out, 1) == b""
    warden.bell.close()
    warden.door.detach()
    signal.signal(signal.SIGCHLD, handler)
    for thing in (theirs, guard_end):
        thing.close()
    os.close(out)


def test_a_bell_is_hushed() -> None:
    handler = signal.getsignal(signal.SIGCHLD)
    bell = Bell()
    os.kill(os.getpid(), signal.SIGCHLD)
    bell.hush()
    with pytest.raises(BlockingIOError):
        os.read(bell.fd, 1)
    bell.hush()
    bell.close()
    signal.signal(signal.SIGCHLD, handler)
