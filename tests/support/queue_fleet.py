"""A server of the queue and its workers as processes that can be killed, stopped and cut off from one another.

Every process, and every network, ends with the process that runs the tests, however that ends.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

import pytest
from queue_launcher import HEEDLESS, UNFENCED

LAUNCHER = Path(__file__).with_name("queue_launcher.py")
PATIENCE = 60.0
LOOK_SECONDS = 0.02
PLACE = re.compile(r"-(\d+)-(\d+)(?:-\d+)?/work(?: \(deleted\))?$")
"""How the workspace of an attempt is called: its job and its number are the last two."""

Direction = Literal["both", "to the server", "to the worker"]


def tied() -> list[str]:
    """Return what a command line begins with, so that its process ends with this one."""
    assert shutil.which("setpriv"), "setpriv (util-linux) is missing"
    return ["setpriv", "--pdeathsig", "KILL", "--"]


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def processes_in(folder: Path) -> dict[int, str]:
    """Return the processes whose working directory is inside a folder, with that directory."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and f"{(cwd := (entry / 'cwd').readlink())}/".startswith(f"{folder}/"):
                found[int(entry.name)] = str(cwd)
    return found


def _is_warden(pid: int) -> bool:
    """Tell whether a process is what starts the steps of a worker, and stays where it started the last one."""
    with suppress(OSError):
        return b"warden.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


async def until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> float:
    """Wait until something is so; returns how many seconds that took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < patience, f"in {patience:g} s: {what}"
        await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic() - begun


class Network:
    """A network of one worker: a namespace with nothing in it but a way to this machine.

    Args:
        number: Of the worker, below 16.

    Attributes:
        host: Address of this machine in it.
    """

    def __init__(self, number: int) -> None:
        place = os.getpid() % 2048 * 16 + number
        first = int(IPv4Address("198.18.0.0")) + 4 * place  # addresses for tests of networks
        self.host, own = str(IPv4Address(first + 1)), str(IPv4Address(first + 2))
        self._link, self._peer = f"rwh{place}", f"rwp{place}"
        self._holder = subprocess.Popen([*tied(), "unshare", "--net", "sleep", "infinity"])
        try:
            self._make(own)
        except BaseException:
            self.close()
            raise

    def _make(self, own: str) -> None:
        pid = str(self._holder.pid)
        deadline = time.monotonic() + PATIENCE
        while Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            assert time.monotonic() < deadline
            time.sleep(LOOK_SECONDS)
        _run("ip", "link", "add", self._link, "type", "veth", "peer", "name", self._peer, "netns", pid)
        _run("ip", "addr", "add", f"{self.host}/30", "dev", self._link)
        _run("ip", "link", "set", self._link, "up")
        _run(*self.inside(), "ip", "link", "set", "lo", "up")
        _run(*self.inside(), "ip", "addr", "add", f"{own}/30", "dev", self._peer)
        _run(*self.inside(), "ip", "link", "set", self._peer, "up")
        _run(*self.inside(), "iptables", "-L", "-n")

    def inside(self) -> list[str]:
        """Return what a command line begins with that is to run in it."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]

    def cut(self, direction: Direction) -> None:
        """Lose every packet of that direction from now on."""
        if direction in ("both", "to the server"):
            self._rule("-A", "OUTPUT")
        if direction in ("both", "to the worker"):
            self._rule("-A", "INPUT")

    def heal(self) -> None:
        """Lose nothing any more."""
        _run(*self.inside(), "iptables", "-F")

    def unplug(self) -> None:
        """Take the link down."""
        _run("ip", "link", "set", self._link, "down")

    def plug(self) -> None:
        """Take the link up."""
        _run("ip", "link", "set", self._link, "up")

    def close(self) -> None:
        """Remove it; what runs in it must have ended."""
        self._holder.kill()
        self._holder.wait(PATIENCE)
        with suppress(
            OSError
        ):  # the namespace may have taken it along already, which takes the system a moment
            _run("ip", "link", "del", self._link)

    def _rule(self, action: str, chain: str) -> None:
        _run(*self.inside(), "iptables", action, chain, "-j", "DROP")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def why_no_networks() -> str:
    """Return why there can't be networks here; empty if there can."""
    needed = ("ip", "iptables", "nsenter", "unshare", "setpriv")
    if missing := [name for name in needed if shutil.which(name) is None]:
        return f"missing here: {', '.join(missing)}"
    if os.geteuid():
        return "only root can make networks"
    try:
        Network(15).close()
    except OSError as error:
        return f"no network can be made here: {error}"
    return ""


def require_networks() -> None:
    """Skip the test where there can't be networks."""
    if reason := why_no_networks():
        pytest.skip(reason)


class Member:
    """A process that is started again when it has ended.

    Args:
        name: What it is called here.
        command: Its command line.
        log: File for what it prints.
        env: Its environment.

    Attributes:
        deaths: Exit statuses of ends that nobody asked for.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, env: dict[str, str]) -> None:
        self.name = name
        self.log = log
        self.deaths: list[int] = []
        self.starts = 0
        self._command = [*tied(), *command]
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._since = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """True if it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_ready(self) -> bool:
        """True if it has said so since it was started."""
        return b"is ready" in self.log.read_bytes()[self._since :]

    def start(self) -> None:
        """Start it; called in the main thread, with which it is to end."""
        self.starts += 1
        with self.log.open("ab") as out:
            self._since = out.tell()
            self._process = subprocess.Popen(
                self._command,
                cwd=self.log.parent,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without a word, also if it is stopped."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    async def end(self, patience: float = PATIENCE) -> int:
        """Ask it to end, and return its exit status."""
        process, self._process = self._process, None
        assert process is not None
        process.terminate()
        try:
            await until(lambda: process.poll() is not None, f"{self.name} ends", patience)
        finally:
            process.kill()
        return process.wait()

    def see_to(self) -> None:
        """Start it again if it has ended by itself."""
        if self._process is not None and (status := self._process.poll()) is not None:
            self.deaths.append(status)
            self.start()

    def troubles(self) -> list[str]:
        """Return lines of its log that no worker or server should write."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        bad = ("Traceback", "which is a bug", "the worker failed", "Task exception", "never awaited")
        return [f"{self.name}: {line}" for line in text.splitlines() if any(word in line for word in bad)]


def quiet_environment(**more: str) -> dict[str, str]:
    """Return the environment without what changes how processes behave."""
    away = ("COVERAGE", "RUNWRIGHT")
    return {name: value for name, value in os.environ.items() if not name.startswith(away)} | more


class Fleet:
    """A server and some workers.

    Args:
        folder: For everything that they write.
        store: URL of the store.
        lease: Seconds.
        is_fenced: False for a server that takes the word of workers whose lease has passed on.
        is_heedful: False for workers that go on with their jobs when they can't renew their leases.

    Attributes:
        server: The server; not started.
        workers: None to begin with.
        networks: Of those workers that have one of their own, by name.
    """

    def __init__(
        self,
        folder: Path,
        store: str,
        *,
        lease: float = 3.0,
        is_fenced: bool = True,
        is_heedful: bool = True,
    ) -> None:
        self.folder = folder
        self.store = store
        self.lease = lease
        self.port = free_port()
        self.workers: list[Member] = []
        self.networks: dict[str, Network] = {}
        self._env = quiet_environment()
        listen = ("--listen", f"127.0.0.1:{self.port}", "--lease", f"{lease}s")
        command = [sys.executable, str(LAUNCHER), "--store", store, "serve", *listen]
        more = {} if is_fenced else {UNFENCED: "1"}
        self._worker_env = quiet_environment(**({} if is_heedful else {HEEDLESS: "1"}))
        self.server = Member("server", command, folder / "server.log", quiet_environment(**more))
        self.token_file = folder / "worker.token"
        self.token_file.write_text(self.token("w", "worker"))
        self.token_file.chmod(0o600)
        self.admin = self.token("a", "admin")

    def token(self, name: str, role: str) -> str:
        """Make a token."""
        words = ("--store", self.store, "tokens", "create", name, "--role", role)
        done = subprocess.run(
            [sys.executable, LAUNCHER, *words],
            cwd=self.folder,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    async def serve(self) -> None:
        """Start the server, and wait until it answers."""
        self.server.start()
        await until(self._answers, "the server answers")

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        assert self.server.runs, self.server.log.read_text()
        return False

    def plug(self, name: str) -> None:
        """Give a worker that will be there a network of its own."""
        self.networks[name] = Network(len(self.networks))

    def add_worker(self, name: str, port: int, queues: Sequence[str], *options: str) -> Member:
        """Add a worker, which is not started.

        Args:
            name: Of the worker.
            port: Where it finds the server, or what stands before it.
            queues: Whose jobs it takes.
            options: More options.
        """
        network = self.networks.get(name)
        host = network.host if network else "127.0.0.1"
        words = [
            *("worker", "--server", f"http://{host}:{port}", "--token-file", str(self.token_file)),
            *(word for queue in queues for word in ("--queue", queue)),
            *("--name", name, "--runtime", "shell", "--work-dir", str(self.work_dir(name))),
            *("--heartbeat", "1s", "--lease-margin", "1s", "--poll", "0.1s", "--kill-grace", "0.2s"),
            *options,
        ]
        command = [*(network.inside() if network else ()), sys.executable, str(LAUNCHER), *words]
        self.workers.append(Member(name, command, self.folder / f"{name}.log", self._worker_env))
        return self.workers[-1]

    def work_dir(self, name: str) -> Path:
        """Return where a worker works."""
        return self.folder / "work" / name

    def at_work(self, name: str = "") -> dict[tuple[int, int], list[int]]:
        """Return the processes of steps of one worker, or of all, by job and attempt."""
        found: dict[tuple[int, int], list[int]] = {}
        folder = self.work_dir(name) if name else self.folder / "work"
        for pid, cwd in processes_in(folder).items():
            if (place := PLACE.search(cwd)) is not None and not _is_warden(pid):
                found.setdefault((int(place[1]), int(place[2])), []).append(pid)
        return found

    def left_behind(self) -> list[str]:
        """Return what is there of jobs although no worker runs."""
        places = [str(path) for path in (self.folder / "work").glob("*/jobs/*")]
        return places + [f"process {pid} in {cwd}" for pid, cwd in processes_in(self.folder).items()]

    async def watch(self) -> None:
        """Start again what ends by itself, until cancelled."""
        while True:
            for member in (self.server, *self.workers):
                member.see_to()
            await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """End everything without a word."""
        for member in (*self.workers, self.server):
            member.kill()
        for network in self.networks.values():
            network.close()


def stop_and_go(member: Member, *, goes: bool) -> None:
    """Stop a process, or let it go on."""
    member.send(signal.SIGCONT if goes else signal.SIGSTOP)
