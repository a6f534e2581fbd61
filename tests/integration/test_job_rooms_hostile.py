"""A hostile step reaches nothing of the machine but its workspace; each attempt succeeds in the plain shell."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import home, listener, outer_address
from rooms import ENGINES, ISOLATING, Rooms, script

from runwright.core.job import DockerAuthConfig, RegistryAuth
from runwright.core.rooms import WORKSPACE


@pytest.fixture(params=ISOLATING)
def rooms(request: pytest.FixtureRequest, tmp_path: Path) -> Rooms:
    if request.param in ENGINES:
        request.getfixturevalue(request.param)
    return Rooms(request.param, tmp_path)


@pytest.fixture
def canary() -> Iterator[tuple[Path, str]]:
    """A file in the user's home, and what it says."""
    secret = uuid.uuid4().hex
    file = home() / f".runwright-canary-{uuid.uuid4().hex[:8]}"
    file.write_text(secret)
    yield file, secret
    file.unlink()


def test_the_home_can_t_be_read(rooms: Rooms, canary: tuple[Path, str]) -> None:
    file, secret = canary
    ways = (
        f"{file}",
        f"/proc/1/root{file}",
        f"/proc/self/root{file}",
        f"/work/../..{file}",
        f"../../..{file}",
    )
    look = f"for way in {' '.join(ways)}; do cat $way || true; done; find / -name {file.name} -exec cat {{}} \\; || true"
    said = rooms.attempt(look)
    assert said.code == 0
    assert secret not in said.out
    assert secret in rooms.uncaged().attempt(f"cat {file}").out


def test_what_stands_beside_the_workspace_can_t_be_read(rooms: Rooms) -> None:
    other = rooms.workspace.parent / "of-another"
    other.write_text("of another job")
    kept = rooms.place(docker_auth=DockerAuthConfig(auths={"r": RegistryAuth(auth="c2VjcmV0")}))
    look = (
        f"cat {other} ../of-another || true; find / -name of-another -o -name config.json | xargs cat || true"
    )
    (said,) = rooms.steps([script(look)], kept)
    assert said.code == 0
    assert "of another job" not in said.out
    assert "c2VjcmV0" not in said.out
    assert "of another job" in rooms.uncaged().attempt("cat ../of-another").out


def test_the_environment_can_t_be_read(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_WORKER", "not-for-steps")
    look = "env; cat /proc/[0-9]*/environ || true"
    assert "not-for-steps" not in rooms.attempt(look).out
    plain = subprocess.run(["sh", "-c", look], capture_output=True, check=True)
    assert b"not-for-steps" in plain.stdout


def test_variables_act_on_no_program_outside(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that steers the program which makes the room is the step's alone."""
    env = {
        "PATH": f"{WORKSPACE}/evil:/bin:/usr/bin",
        "DOCKER_HOST": "tcp://127.0.0.1:1",
        "CONTAINERS_CONF": f"{WORKSPACE}/x",
    }
    (rooms.workspace / "evil").mkdir()
    for name in ("prlimit", "setpriv", "bwrap", "env", "runc", "catatonit"):
        (rooms.workspace / "evil" / name).write_text(f"#!/bin/sh\necho evil >{rooms.folder}/evil\n")
        (rooms.workspace / "evil" / name).chmod(0o755)
    (said,) = rooms.steps([script('echo "$PATH $DOCKER_HOST"', env=env)])
    assert said.out == f"{env['PATH']} {env['DOCKER_HOST']}\n"
    assert not (rooms.folder / "evil").exists()


def test_nothing_is_written_outside(rooms: Rooms) -> None:
    outside = rooms.folder / "outside"
    outside.mkdir()
    for folder in (rooms.folder, outside):
        folder.chmod(0o777)  # only the isolation is in the way
    places = (
        "/evil",
        "/usr/evil",
        "/etc/evil",
        "/bin/evil",
        "/var/evil",
        "/run/runwright/script",
        f"{outside}/evil",
    )
    attack = "; ".join(f"(mkdir -p {Path(p).parent}; echo x >{p}) || true" for p in places)
    said = rooms.attempt(f"{attack}; echo x >{WORKSPACE}/mine; echo x >/tmp/mine; ls {WORKSPACE} /tmp/mine")
    assert (said.code, said.out) == (0, "/tmp/mine\n\n/work:\nmine\n")
    assert not list(outside.iterdir())
    assert not [place for place in places if Path(place).exists()]
    assert not Path("/tmp/mine").exists()
    rooms.uncaged().attempt(f"echo x >{outside}/evil")
    assert (outside / "evil").exists()


@pytest.mark.parametrize("where", ["loopback", "outer"])
def test_the_network_can_t_be_reached(rooms: Rooms, where: str) -> None:
    address = "127.0.0.1" if where == "loopback" else outer_address()
    if not address:
        pytest.skip("this machine has no address but its loopback")
    with listener(address) as (port, visitors):
        knock = f"busybox nc -w 2 {address} {port} </dev/null || true"
        assert "reached" not in rooms.attempt(knock).out
        assert visitors() == 0
        assert "reached" in rooms.uncaged().attempt(knock).out
        assert visitors() == 1


def test_other_processes_can_t_be_seen_or_ended(rooms: Rooms) -> None:
    mark = f"{3600 + os.getpid()}"
    other = subprocess.Popen(["sleep", mark])
    try:
        look = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' || true"
        said = rooms.attempt(f"{look}; kill -9 {other.pid} || true; (trap '' KILL; kill -9 -1) || true")
        assert f"sleep {mark}" not in said.out
        assert other.poll() is None
        assert f"sleep {mark}" in rooms.uncaged().attempt(look).out
        rooms.uncaged().attempt(f"kill -9 {other.pid}")
        assert other.wait(10) == -signal.SIGKILL
    finally:
        other.kill()
        other.wait()


def test_a_step_has_no_privilege(rooms: Rooms) -> None:
    said = rooms.attempt("grep -E '^(Cap|NoNewPrivs)' /proc/self/status; id -u")
    assert "CapEff:\t0000000000000000" in said.out
    assert "NoNewPrivs:\t1" in said.out
    assert said.out.split()[-1] != "0"


def test_a_set_user_id_program_gives_nothing(rooms: Rooms) -> None:
    said = rooms.attempt("cp /bin/busybox id; chmod 4755 id; ./id -u; id -u")
    mine, usual = said.out.split()
    assert mine == usual != "0"
    assert (rooms.workspace / "id").stat().st_uid != 0, "it would be a way to become root for who finds it"


def test_a_link_in_the_workspace_leads_only_to_what_the_step_sees(
    rooms: Rooms, canary: tuple[Path, str]
) -> None:
    file, secret = canary
    (rooms.workspace / "link").symlink_to(file)
    (rooms.workspace / "up").symlink_to(rooms.folder)
    (rooms.folder / "beside").write_text(secret)
    look = "cat link up/beside || true; (echo x >link) || true; echo end"
    said = rooms.attempt(look)
    assert said.out == "end\n"
    assert file.read_text() == secret
    assert secret in rooms.uncaged().attempt(look).out
