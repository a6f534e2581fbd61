"""The warden: forks guards for the engine and cleans up after those that die."""

import _signal  # type: ignore[import-not-found]  # the module signal takes 5 ms to load
import _socket
import os
import select
import sys
import time

from .channel import Bell, ignore
from .guard import RESCAN, run_guard
from .tree import SIGKILL, become_subreaper, children, send

GUARDS_END = 1.0
"""Seconds that guards get to end what they have after the engine is gone."""

MOST_FILES = 1 << 16
ENDINGS = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT)


class Warden:
    """Forks guards and cleans up after those that die."""

    def __init__(self, sock: int, engine: int) -> None:
        self.sock = sock
        self.engine = engine
        self.door = _socket.socket(fileno=sock)
        self.bell = Bell()
        self.guards: dict[int, int] = {}

    def serve(self) -> None:
        """Fork a guard whenever the engine asks, until it is gone and so are all guards."""
        poll = select.poll()
        for fd in (self.sock, self.bell.fd, self.engine):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        alive = True
        while alive:
            for fd, _ in poll.poll():
                if fd == self.bell.fd:
                    self.bell.hush()
                    self.reap()
                else:
                    alive = fd == self.sock and self.admit()
        self.finish()

    def admit(self) -> bool:
        """Take one request for a guard; False if the engine is gone."""
        try:
            data, control, _, _ = self.door.recvmsg(1, _socket.CMSG_SPACE(12))
        except ConnectionError:
            return False
        if data and control:
            passed = control[0][2]
            fds = [int.from_bytes(passed[at : at + 4], sys.byteorder) for at in (0, 4, 8)]
            for fd in fds:
                os.set_inheritable(fd, False)  # what comes through a socket is not so by itself
            self.fork(*fds)
        return bool(data)

    def fork(self, sock: int, out: int, err: int) -> None:
        """Become two: the child is the guard.

        We keep the guard's end of its socket, so that the engine sees it close when we say so.
        """
        pid = os.fork()
        if pid == 0:
            self.bell.close()
            self.door.close()
            for other in self.guards.values():
                os.close(other)
            run_guard(sock, out, err, self.engine)
        self.guards[pid] = sock
        os.close(out)
        os.close(err)

    def reap(self) -> bool:
        """Collect ended guards and end what they left; True if no child is left."""
        try:
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                if pid in self.guards:
                    self.clear_remains()
                    os.close(self.guards.pop(pid))
        except ChildProcessError:
            return True
        return False

    def clear_remains(self) -> None:
        """Kill every child that is not a guard, round after round, until there is none."""
        while strays := [pid for pid in children() if pid not in self.guards]:
            if not sum(send(pid, SIGKILL) for pid in strays):
                return
            for pid in strays:
                os.waitpid(pid, 0)

    def finish(self) -> None:
        """Wait for the guards, which see the engine's end too, then kill what is left."""
        deadline = time.monotonic() + GUARDS_END
        poll = select.poll()
        poll.register(self.bell.fd, select.POLLIN)
        while not self.reap():
            late = time.monotonic() >= deadline
            if late and not sum(send(pid, SIGKILL) for pid in children()):
                return
            poll.poll(RESCAN * 1000 if late else GUARDS_END * 1000)
            self.bell.hush()


def _open_engine(pid: int) -> int:
    """Return a pidfd of the engine, or -1 where there is none; its end is seen even if a copy of a socket leaked."""
    if not hasattr(os, "pidfd_open"):
        return -1
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return -1
    if os.getppid() != pid:  # it died before we looked; the socket tells
        os.close(fd)
        return -1
    return fd


def main(engine_pid: int) -> None:
    """Be the warden; the socket to the engine is descriptor 0."""
    sock = os.dup(0)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, sock)
    os.closerange(sock + 1, MOST_FILES)  # what the engine itself was given by its parent
    os.chdir("/")
    for number in ENDINGS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, ignore)
    become_subreaper()
    Warden(sock, _open_engine(engine_pid)).serve()
    os._exit(0)
