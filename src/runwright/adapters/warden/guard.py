"""A guard: runs one command at a time and ends whatever is left of it."""

import _signal  # type: ignore[import-not-found]  # the module signal takes 5 ms to load
import errno
import os
import select
import time

from .channel import Bell, Inbox
from .tree import HAS_PROC, SIGKILL, become_subreaper, children, groups_below, send

LINGER = 0.1
"""Seconds that remains of an ended command get to finish by themselves, and again to heed SIGTERM.

Long enough for ``exec > >(tee log)``, whose `tee` outlives its shell by a moment."""

RESCAN = 0.01
"""Seconds between two rounds of SIGKILL; the end of a child cuts it short."""

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
IGNORED_BY_PYTHON = tuple(getattr(_signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(_signal, name))
SESSION: dict[str, object] = {"setsid": True} if HAS_PROC else {"setpgroup": 0}
Order = tuple[tuple[str, ...], str, dict[str, str], tuple[str, ...], bool]


class Guard:
    """Runs one command at a time and ends whatever is left of it."""

    def __init__(self, sock: int, out: int, err: int, engine: int = -1) -> None:
        self.sock = sock
        self.out = out
        self.err = err
        self.inbox = Inbox(sock)
        self.bell = Bell()
        self.poll = select.poll()
        for fd in (sock, self.bell.fd, engine):
            if fd >= 0:
                self.poll.register(fd, select.POLLIN)
        self.engine_gone = False
        self.env: dict[str, str] = {}
        self.mark: dict[str, str] = {}
        self.reset()

    def reset(self) -> None:
        """Make ready for the next command, which the engine prepares at the same time."""
        os.set_blocking(self.out, True)  # the last command may have changed what it shares with us
        os.set_blocking(self.err, True)
        self.bell.hush()
        self.leader = 0
        self.status: int | None = None
        self.deadline = 0.0
        self.stopping = False

    def serve(self) -> None:
        """Run commands until the engine closes its end; nothing of them is left then."""
        first = self.inbox.take()
        if first is None:
            return
        self.env, self.mark = first  # type: ignore[assignment]
        while not self.engine_gone and (order := self.inbox.take()) is not None:
            if len(order) > 1:  # else a stop that came after the end of its command
                self.report(self.run(order))  # type: ignore[arg-type]
                self.reset()

    def report(self, line: str) -> None:
        """Tell the engine, if there still is one."""
        try:
            os.write(self.sock, line.encode("utf-8", "replace") + b"\n")
        except OSError:
            self.engine_gone = True

    def run(self, order: Order) -> str:
        """Run one command to its end and return the line to report."""
        argv, cwd, changes, unset, clean = order
        try:
            os.chdir(cwd)
        except (OSError, ValueError) as error:
            return f"!{getattr(error, 'errno', None) or 0} cwd"
        try:
            self.spawn(argv, self.environment(changes, unset, clean))
        except (OSError, ValueError, TypeError) as error:
            return f"!{getattr(error, 'errno', None) or 0} exec"
        return self.watch()

    def environment(self, changes: dict[str, str], unset: tuple[str, ...], clean: bool) -> dict[str, str]:
        """Return the complete environment of a command."""
        env = self.mark.copy() if clean else self.env.copy()
        for name in unset:
            env.pop(name, None)
        env.update(changes)
        return env

    def spawn(self, argv: tuple[str, ...], env: dict[str, str]) -> None:
        """Start the leader as the head of a session of its own, with its output going to our pipes."""
        self.leader = os.posix_spawn(
            find_program(argv[0], env),
            argv,
            env,
            file_actions=((os.POSIX_SPAWN_DUP2, self.out, 1), (os.POSIX_SPAWN_DUP2, self.err, 2)),
            setsigmask=(),
            setsigdef=IGNORED_BY_PYTHON,
            **SESSION,  # type: ignore[arg-type]
        )

    def watch(self) -> str:
        """Wait until the command and everything it started is gone."""
        while True:
            rang = self.listen()
            if self.reap():
                return str(self.status)
            if rang:  # hushed only now: mostly that was the last child, and the engine waits for our word
                self.bell.hush()
                if self.reap():
                    return str(self.status)
            if self.deadline and time.monotonic() >= self.deadline:
                foreign = self.press()
                if foreign:
                    return f"{self.status or 0} {' '.join(map(str, foreign))}"

    def listen(self) -> bool:
        """Wait for the end of a child, a word from the engine, or the deadline; True if a child may have ended."""
        timeout = None
        rang = False
        if self.inbox.data:
            self.hear()
        if self.deadline:
            timeout = max(0.0, self.deadline - time.monotonic()) * 1000 + 1
        for fd, _ in self.poll.poll(timeout):
            if fd == self.bell.fd:
                rang = True
            elif fd == self.sock:
                self.hear()
            else:
                self.abandon()
        return rang

    def hear(self) -> None:
        """Do what the engine says while a command runs."""
        order = self.inbox.take()
        if order is None:
            self.abandon()
        else:
            self.stop(float(order[0]))  # type: ignore[arg-type]

    def abandon(self) -> None:
        """End everything at once: the engine is gone."""
        if not self.engine_gone:
            self.engine_gone = True
            self.poll = select.poll()
            self.poll.register(self.bell.fd, select.POLLIN)
        self.stopping = True
        self.deadline = time.monotonic()

    def stop(self, grace: float) -> None:
        """Send SIGTERM to the whole tree, and SIGKILL after `grace` seconds; a second call can only hasten it."""
        end = time.monotonic() + grace
        if self.stopping:
            self.deadline = min(self.deadline, end)
            return
        self.stopping = True
        self.deadline = end
        if grace > 0:
            for group in groups_below():
                send(-group, _signal.SIGTERM)
                send(-group, _signal.SIGCONT)

    def press(self) -> list[int]:
        """Go on to the harder means, as the deadline has passed; return who can't be ended at all."""
        if not self.stopping:
            self.stop(LINGER)
            return []
        self.deadline = time.monotonic() + RESCAN
        return self.kill()

    def kill(self) -> list[int]:
        """Send SIGKILL to the leader's group and to every child; return the children if none may be killed.

        The children of those killed become ours and are met in the next round.
        """
        if self.leader and self.status is None:
            send(-self.leader, SIGKILL)
        pids = children()
        killed = [pid for pid in pids if send(pid, SIGKILL)]
        return [] if killed else pids

    def reap(self) -> bool:
        """Collect ended children; True if there are no others."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == self.leader:
                    self.status = status
                if pid == 0:
                    break
        except ChildProcessError:
            if not HAS_PROC:  # no subreaper: orphans of the group are not our children
                send(-self.leader, SIGKILL)
            return True
        if self.status is not None and not self.deadline:
            self.deadline = time.monotonic() + LINGER
        return False


def find_program(name: str, env: dict[str, str]) -> str:
    """Return the path of a program, looked up as a shell would on the PATH of `env`."""
    if "/" in name:
        return name
    refused = False
    for folder in env.get("PATH", DEFAULT_PATH).split(":"):
        path = f"{folder or '.'}/{name}"
        try:
            regular = os.stat(path).st_mode & 0o170000 == 0o100000  # noqa: PTH116
        except OSError:
            continue
        if regular and os.access(path, os.X_OK):
            return path
        refused = refused or regular
    raise OSError(errno.EACCES if refused else errno.ENOENT, name)


def run_guard(sock: int, out: int, err: int, engine: int) -> None:
    """Be a guard, to the end of this process."""
    guard = None
    try:
        become_subreaper()
        guard = Guard(sock, out, err, engine)
        guard.serve()
    except BaseException as error:
        if guard is not None:
            guard.report(f"?{type(error).__name__}: {error}".replace("\n", " "))
    finally:
        os._exit(0)  # the warden ends what may be left
