"""The helper process that owns every process of a run; started as a program of its own, never as part of an engine.

A **warden** is started once and forks one **guard** for each command that runs at the same time; a guard runs one
command after another. Guards are child subreapers: whatever a command leaves behind, however it detached itself,
becomes a child of its guard. So a command and all it started are gone exactly when the guard has no child left,
which one `waitpid` tells, and no process can be mistaken for another command's.

::

    engine ── socket ── warden ── fork ── guard ── posix_spawn ── leader ── ...
       └──── socket, two pipes ─────────────┘

* Engine to warden: one byte with three descriptors (socket, stdout, stderr) asks for a guard.
* Engine to guard: frames of 4 bytes length and a marshalled tuple. The first is ``(environment, mark)``; then
  ``(argv, cwd, env, unset, clean_env)`` starts a command and ``(grace,)`` stops the one that runs.
* Guard to engine: one line for each command, when nothing of it is left: ``<wait status>``, ``<wait status> <pids>``
  if processes of another user could not be ended, ``!<errno> <where>`` if it could not be started, ``?<text>`` if the
  guard itself failed.

When the engine dies its ends of the sockets close (and its pidfd fires), and guards kill what they have at once. When
a guard dies, its remains become children of the warden, which kills them and only then lets the engine see the end of
the guard's socket. Modules are chosen for their start time: the whole helper must be up before the engine is.
"""

import _signal  # type: ignore[import-not-found]  # the module signal takes 5 ms to load
import _socket
import errno
import marshal
import os
import select
import sys
import time

LINGER = 0.1
"""Seconds that remains of an ended command get to finish by themselves, and again to heed SIGTERM.

Long enough for ``exec > >(tee log)``, whose `tee` outlives its shell by a moment."""

GUARDS_END = 1.0
"""Seconds that guards get to end what they have after the engine is gone."""

RESCAN = 0.01
"""Seconds between two rounds of SIGKILL; the end of a child cuts it short."""

CHUNK = 1 << 15
"""Small enough for the allocator to keep; larger buffers are mapped and unmapped each time."""

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
IGNORED_BY_PYTHON = tuple(getattr(_signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(_signal, name))
ENDINGS = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT)
HAS_PROC = sys.platform == "linux"
PR_SET_CHILD_SUBREAPER = 36

Order = tuple[tuple[str, ...], str, dict[str, str], tuple[str, ...], bool]


class Inbox:
    """Frames from the engine."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.data = b""

    def take(self) -> tuple[object, ...] | None:
        """Wait for the next frame; None when the engine has closed its end."""
        while True:
            end = 4 + int.from_bytes(self.data[:4], "little")
            if len(self.data) >= end > 4:
                frame, self.data = self.data[4:end], self.data[end:]
                order: tuple[object, ...] = marshal.loads(frame)  # noqa: S302 - written by our own engine
                return order
            try:
                chunk = os.read(self.fd, CHUNK)
            except ConnectionError:
                chunk = b""
            if not chunk:
                return None
            self.data += chunk


class Bell:
    """A descriptor that becomes readable when a child ends."""

    def __init__(self) -> None:
        self.fd, self.writer = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self.writer, False)
        _signal.signal(_signal.SIGCHLD, _ignore)
        _signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)

    def hush(self) -> None:
        """Forget what has rung."""
        try:  # noqa: SIM105 - contextlib takes 2 ms to load
            os.read(self.fd, 512)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Stop listening."""
        _signal.set_wakeup_fd(-1)
        os.close(self.fd)
        os.close(self.writer)


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
            for pid in descendants():
                send(pid, _signal.SIGTERM)
                send(pid, _signal.SIGCONT)

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
            send(-self.leader, _signal.SIGKILL)
        pids = children()
        killed = [pid for pid in pids if send(pid, _signal.SIGKILL)]
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
                send(-self.leader, _signal.SIGKILL)
            return True
        if self.status is not None and not self.deadline:
            self.deadline = time.monotonic() + LINGER
        return False


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
            self.fork(*(int.from_bytes(passed[at : at + 4], sys.byteorder) for at in (0, 4, 8)))
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
            if not sum(send(pid, _signal.SIGKILL) for pid in strays):
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
            if late and not sum(send(pid, _signal.SIGKILL) for pid in children()):
                return
            poll.poll(RESCAN * 1000 if late else GUARDS_END * 1000)
            self.bell.hush()


def _ignore(_number: int, _frame: object) -> None:
    """Take a signal without doing anything; unlike SIG_IGN this is not inherited by commands."""


def _session_arguments() -> dict[str, object]:
    """Return how `posix_spawn` makes a session here, or at least a group."""
    return {"setsid": True} if HAS_PROC else {"setpgroup": 0}


SESSION = _session_arguments()


def send(pid: int, number: int) -> bool:
    """Send a signal to a process, or to a group if `pid` is negative; False if we may not."""
    try:
        os.kill(pid, number)
    except PermissionError:
        return False
    except ProcessLookupError:
        pass
    return True


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


def children() -> list[int]:
    """Return our own children, zombies included."""
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children", "rb", buffering=0) as file:  # noqa: PTH123 - no pathlib here
            return [int(pid) for pid in file.readall().split()]
    except OSError:
        return [pid for pid, parent in parents().items() if parent == me]


def descendants() -> list[int]:
    """Return our children, their children and so on, parents first."""
    below: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        below.setdefault(parent, []).append(pid)
    found = below.get(os.getpid(), [])
    for pid in found:
        found.extend(below.get(pid, ()))
    return found


def parents() -> dict[int, int]:
    """Return the parent of every process."""
    if not HAS_PROC:
        return _parents_by_ps()
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb", buffering=0) as file:  # noqa: PTH123
                    found[int(name)] = int(file.read(512).rpartition(b")")[2].split()[1])
            except OSError:
                continue
    return found


def _parents_by_ps() -> dict[int, int]:
    from subprocess import run  # noqa: PLC0415 - only where there is no /proc

    lines = run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, check=False).stdout.splitlines()
    return {int(pid): int(parent) for pid, parent in (line.split() for line in lines)}


def become_subreaper() -> None:
    """Make orphans below us our children; nothing happens where the system has no such thing."""
    if not HAS_PROC:
        return
    try:
        import _ctypes  # noqa: PLC0415 - a tenth of the start time of ctypes

        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
        prctl = _ctypes.dlsym(library, "prctl")
        _ctypes.call_function(prctl, (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    except (ImportError, AttributeError):
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


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
    os.close(null)
    os.chdir("/")
    for number in ENDINGS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, _ignore)
    become_subreaper()
    Warden(sock, _open_engine(engine_pid)).serve()
    os._exit(0)
