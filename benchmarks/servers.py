"""Servers that contestants need: each is started when it is first asked for, and gone after the series."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from benchmarks.harness import ROOT, Failed

SUPPORT = ROOT / "tests" / "support"
SETTINGS = {"shared_buffers": "128MB", "max_wal_size": "1GB"}
"""PostgreSQL's own default for the first; the tests' server is smaller."""


class Servers:
    """PostgreSQL as the tests start it, and Redis that syncs each write; a context manager.

    Args:
        place: For the files of Redis; PostgreSQL has its own.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._redis: subprocess.Popen[bytes] | None = None
        self._redis_port = 0
        self._postgres: object = None

    def __enter__(self) -> "Servers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._redis is not None:
            self._redis.terminate()
            self._redis.wait()
        if self._postgres is not None:
            self._postgres.close()  # type: ignore[attr-defined]

    def postgres_missing(self) -> str:
        """Say why there is no PostgreSQL; empty if it runs."""
        sys.path.insert(0, str(SUPPORT))
        try:
            import pytest  # noqa: PLC0415 - the tests' server is a fixture of theirs
            from postgres import Cluster, find_binaries  # noqa: PLC0415 - the same
        except ImportError as error:
            return f"not run: no {error.name}"
        finally:
            sys.path.remove(str(SUPPORT))
        if self._postgres is None:
            try:
                self._postgres = _tuned(Cluster(find_binaries()))
            except (pytest.skip.Exception, OSError, subprocess.SubprocessError) as error:
                return f"not run: {error}"[:160]
        return ""

    def database(self, name: str) -> str:
        """Return the URL of a database of this name that is empty."""
        cluster = self._postgres
        cluster.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')  # type: ignore[attr-defined]
        cluster.execute(f'CREATE DATABASE "{name}"')  # type: ignore[attr-defined]
        return self.database_url(name)

    def database_url(self, name: str) -> str:
        """Return the URL of a database, there or not."""
        return str(self._postgres.url(name))  # type: ignore[attr-defined]

    def redis_missing(self) -> str:
        """Say why there is no Redis; empty if it runs."""
        if self._redis is None and shutil.which("redis-server"):
            self._start_redis()
        return "" if self._redis is not None else "not installed: redis-server"

    def redis_url(self) -> str:
        """Return the URL of Redis."""
        return f"redis://127.0.0.1:{self._redis_port}/0"

    def empty_redis(self) -> None:
        """Remove everything from Redis."""
        _ask_redis(self._redis_port, b"FLUSHALL\r\n")

    def _start_redis(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(parents=True)
        self._redis_port = _free_port()
        options = ["--port", str(self._redis_port), "--dir", str(self._place), "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--bind", "127.0.0.1"]
        self._redis = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not _answers(self._redis_port):
            if time.monotonic() > deadline:
                raise Failed("redis-server does not answer")
            time.sleep(0.02)


def _tuned(cluster: object) -> object:
    for name, value in SETTINGS.items():
        cluster.execute(f"ALTER SYSTEM SET {name} = '{value}'")  # type: ignore[attr-defined]
    cluster.restart("fast")  # type: ignore[attr-defined]
    return cluster


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        return _ask_redis(port, b"PING\r\n").startswith(b"+PONG")
    except OSError:
        return False


def _ask_redis(port: int, command: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(command)
        return connection.recv(64)
