"""One job is the same in every runtime: what it sees, what it says, how it ends."""

import asyncio
import http.server
import os
import socket
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hostile import is_locked
from isolation import IMAGE, containers, needs_bubblewrap, needs_root
from process_survivors import wait_until
from rooms import ENGINES, ISOLATING, KINDS, MICROVM, Rooms, run, script, until

from runwright.core.job import DockerAuthConfig, RegistryAuth
from runwright.ports.jobs import RoomStep

ODD = {
    "QUOTES": 'it\'s "so" `id` $(id) $HOME \\n',
    "LINES": "one\ntwo\n",
    "WORD": "Grüße 🎈",
    "EMPTY": "",
    "docker_host": "tcp://nowhere",
}
JOB = (
    script(
        "pwd\n"
        'test "$(pwd -P)" = "$(cd "$RUNWRIGHT_WORKSPACE" && pwd -P)" && echo here\n'
        "cat given\n"
        "mkdir sub; echo made >sub/file; echo 'to err' >&2\n"
        'printf "<%s>\\n" "$QUOTES" "$LINES" "$WORD" "${EMPTY-unset}" "$docker_host"\n',
        key="step.docker.0",
        env=ODD,
    ),
    script("pwd; cat file; echo more >>file; cat ../given", key="step.docker.1", dir="sub"),
    script('cat sub/file; ls -A "$HOME"; test "$HOME" = "$TMPDIR"; echo x >"$HOME/left"; ls -A "$HOME"'),
    script('ls -A "$HOME"; cd "$HOME"; printf "#!/bin/sh\\necho ran\\n" >tool; chmod +x tool; ./tool'),
    script("cat; echo nothing came; exit 7"),
    script("echo before; false; echo never"),
    script('false | true; if false; then :; fi; false || echo on\necho "$0 $#"; (exit 3)\necho never'),
    script("kill -9 $$"),
    script("kill -TERM $$"),
    script("nonesuch 2>/dev/null"),
    script("sh -c 'echo of a child; exit 5'"),
    script("sleep 3600 & exec sleep 3600 >/dev/null 2>&1 & echo not waited for"),
    script("printf 'no end of line'"),
    script("head -c 300000 /dev/zero | tr '\\0' x; echo; echo done >&2"),
    script('PATH=/nowhere; echo "$PATH"', env={"PATH": "/bin:/usr/bin"}),
    script(
        'echo "$PATH" "$HOME"',
        env={"PATH": "/bin:/usr/bin", "HOME": "/elsewhere", "RUNWRIGHT_WORKSPACE": "/x"},
    ),
    RoomStep(
        key="step.src.0", argv=("sh", "-c", 'echo "$1 $A"; exit 4', "sh", "an argument"), env={"A": "a"}
    ),
    RoomStep(key="step.src.1", argv=("/nowhere/none",)),
)
CODES = [0, 0, 0, 0, 7, 1, 3, 137, 143, 127, 5, 0, 0, 0, 0, 0, 4, 127]


@pytest.fixture(params=KINDS)
def rooms(request: pytest.FixtureRequest, tmp_path: Path) -> Rooms:
    if request.param in ENGINES:
        request.getfixturevalue(request.param)
    return Rooms(request.param, tmp_path)


@pytest.fixture
def shell(tmp_path: Path) -> Rooms:
    return Rooms("shell", tmp_path / "plain")


@pytest.mark.parametrize("kind", [*KINDS, MICROVM])
def test_a_job_is_the_same_in_every_runtime(
    kind: str, tmp_path: Path, shell: Rooms, request: pytest.FixtureRequest
) -> None:
    if kind in ENGINES:
        request.getfixturevalue(kind)
    rooms, results = Rooms(kind, tmp_path), []
    for one in (shell, rooms):
        (one.workspace / "given").write_text("given\n")
        said = one.steps(JOB)
        assert [step.code for step in said] == CODES
        where = str(one.workspace) if one.kind == "shell" else "/work"
        results.append([(step.out.replace(where, "/work"), _without_hints(step.err)) for step in said])
        assert (one.workspace / "sub/file").read_text() == "made\nmore\n"
        assert sorted(path.name for path in one.workspace.iterdir()) == ["given", "sub"]
    expected, got = results
    assert got == expected
    assert got[0] == (
        f"/work\nhere\ngiven\n<{ODD['QUOTES']}>\n<{ODD['LINES']}>\n<{ODD['WORD']}>\n<>\n<tcp://nowhere>\n",
        "to err\n",
    )
    assert got[2] == ("made\nmore\nleft\n", "")
    assert got[6] == ("on\nstep 0\n", "")
    assert got[16] == ("an argument a\n", "")


def _without_hints(err: str) -> str:
    """Leave out how a shell words its complaint: those of images word it each in their own way."""
    return "".join(line for line in err.splitlines(keepends=True) if "none: " not in line)


def test_the_log_shows_what_was_asked_for(rooms: Rooms) -> None:
    async def scope() -> None:
        async with rooms.room() as room:
            assert room.command(script("make\nmake test")) == ("/bin/sh", "-e", "-c", "make\nmake test")
            assert room.command(RoomStep(key="k", argv=("src", "x"))) == ("src", "x")

    asyncio.run(scope())


def test_the_workspace_can_be_removed_and_what_it_held_be_changed(rooms: Rooms) -> None:
    (rooms.workspace / "deep/er").mkdir(parents=True)
    (rooms.workspace / "deep/er/file").write_text("old")
    (rooms.workspace / "deep/er/file").chmod(0o600)
    (rooms.workspace / "link").symlink_to("/etc/passwd")
    outside = rooms.folder / "outside"
    outside.write_text("of another")
    os.link(outside, rooms.workspace / "shared")
    owners = (outside.stat().st_uid, Path("/etc/passwd").stat().st_uid)
    said = rooms.attempt(
        "echo new >deep/er/file; rm link; mkdir a; chmod 0 a; echo x >deep/b; chmod 000 deep/b"
    )
    assert (said.code, said.err) == (0, "")
    assert (outside.stat().st_uid, Path("/etc/passwd").stat().st_uid) == owners
    subprocess.run(["rm", "-rf", rooms.workspace], check=True)
    assert not rooms.workspace.exists()


# -- what others can see


def test_neither_script_nor_variables_can_be_seen_in_the_list_of_processes(rooms: Rooms) -> None:
    secret, value = f"canary{os.urandom(8).hex()}", f"canary{os.urandom(8).hex()}"
    hold = "echo x >began; while [ ! -e release ]; do sleep 0.05; done"
    step = script(f": {secret}\n{hold}", env={"TOKEN": value, "HTTPS_PROXY": f"http://{value}"})

    async def scope() -> tuple[set[str], int]:
        async with rooms.room() as room:
            task = asyncio.create_task(run(room, step))
            await until((rooms.workspace / "began").exists)
            found = {text for text in (secret, value) if _on_command_lines(text)}
            modes = [path.stat().st_mode & 0o077 for path in rooms.scratch.rglob("*") if path.is_file()]
            assert not any(modes) or rooms.kind == "sandbox"
            (rooms.workspace / "release").touch()
            return found, (await task).code

    assert asyncio.run(scope()) == (set(), 0)
    with subprocess.Popen(["sh", "-c", f"sleep 30; : {secret}"]) as control:
        wait_until(lambda: _on_command_lines(secret))
        control.kill()


def _on_command_lines(text: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False


# -- limits


FORK_MANY = 'i=0; while [ $i -lt 40 ]; do sleep 3 & i=$((i+1)); done; echo "started $i"'
BOMB = "f() { f | f & }; f; sleep 1; echo over"
TAKE_MEMORY = "busybox dd if=/dev/zero of=/dev/null bs=200M count=1"
SPIN = "busybox timeout 2 sh -c 'trap \"times; exit 0\" TERM; while :; do :; done' || true"


def test_memory_is_bounded(rooms: Rooms) -> None:
    said = rooms.attempt(TAKE_MEMORY, memory_bytes=64 << 20)
    assert said.code == 137
    assert "its limit is 67108864 bytes\n" in said.err
    assert rooms.attempt(TAKE_MEMORY, memory_bytes=1 << 30).code == 0, "the control"


def test_processes_are_bounded(rooms: Rooms) -> None:
    said = rooms.attempt(FORK_MANY, pids=10)
    assert said.code not in (0, -1)
    assert "started 40" not in said.out
    assert "started 40" in rooms.attempt(FORK_MANY, pids=60).out, "the control"


def test_a_fork_bomb_ends_with_its_step(rooms: Rooms) -> None:
    start = time.monotonic()
    rooms.attempt(BOMB, pids=60)
    assert time.monotonic() - start < 30
    assert rooms.attempt("echo fine", pids=60).out == "fine\n"


def test_cpu_is_bounded(rooms: Rooms) -> None:
    def used(**limits: float) -> float:
        said = rooms.attempt(SPIN, **limits)
        times = said.out.split()
        return sum(int(t.partition("m")[0]) * 60 + float(t.partition("m")[2].rstrip("s")) for t in times[:2])

    assert used(cpus=0.1) < 0.45
    assert used() > 0.45, "the control"


# -- ends


IGNORE = "trap '' TERM; (trap '' TERM; exec 9>>held; flock 9; echo x >began; while :; do sleep 0.05; done)"
HEED = "trap 'sleep 0.2; echo heeded >end; exit' TERM; echo x >began; while :; do sleep 0.05; done"


async def _cancelled(rooms: Rooms, text: str, **place: Any) -> float:
    """Cancel a step once it has begun; return how long it took to end."""
    async with rooms.room(rooms.place(**place)) as room:
        task = asyncio.create_task(run(room, script(text)))
        await until(lambda: (rooms.workspace / "began").exists() or task.done())
        assert not task.done()
        start = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return time.monotonic() - start


def test_a_step_that_ignores_sigterm_ends_after_its_grace(rooms: Rooms) -> None:
    took = asyncio.run(_cancelled(rooms, IGNORE, kill_grace=1.0))
    assert 0.9 < took < 3.0
    assert not is_locked(rooms.workspace / "held")
    assert list(rooms.scratch.iterdir()) == []
    if rooms.kind in ENGINES:
        assert containers(rooms.kind) == []


def test_a_step_that_heeds_sigterm_gets_its_grace(rooms: Rooms) -> None:
    assert asyncio.run(_cancelled(rooms, HEED, kill_grace=30.0)) < 25.0
    assert (rooms.workspace / "end").read_text() == "heeded\n"


@pytest.mark.parametrize("kind", ISOLATING)
def test_nothing_outlives_its_step(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind in ENGINES:
        request.getfixturevalue(kind)
    rooms = Rooms(kind, tmp_path)
    hold = "exec 9>>held; flock 9; echo x >began; while :; do sleep 0.05; done"
    escape = f"setsid sh -c '{hold}' </dev/null >/dev/null 2>&1 & while [ ! -e began ]; do sleep 0.01; done; echo out"
    assert rooms.attempt(escape).out == "out\n"
    assert not is_locked(rooms.workspace / "held")
    (rooms.workspace / "began").unlink()
    with subprocess.Popen(["sh", "-c", escape], cwd=rooms.workspace, stdout=subprocess.PIPE) as control:
        control.wait()
        assert is_locked(rooms.workspace / "held"), "the control"
        subprocess.run(["fuser", "-sk", rooms.workspace / "held"], check=False)
    wait_until(lambda: not is_locked(rooms.workspace / "held"))


# -- images


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Rooms:
    request.getfixturevalue(request.param)
    return Rooms(request.param, tmp_path)


def test_a_step_needs_an_image_that_is_there(engine: Rooms) -> None:
    missing = "127.0.0.1:1/none:latest"
    steps = [
        script("true"),
        script("true", image="-v"),
        script("true", image=missing),
        script("echo x", image=IMAGE),
    ]
    none, wrong, absent, fine = engine.steps(steps, image="")
    assert none.failure is not None
    assert "the step names no image; give the step an `image`" in none.failure.message
    assert wrong.failure is not None
    assert "'-v' can't be the name of an image" in wrong.failure.message
    assert absent.failure is not None
    assert absent.failure.code == "E_IMAGE"
    assert f"the image {missing} is not here and can't be pulled: " in absent.failure.message
    assert "refused" in absent.failure.message
    assert fine.out == "x\n"
    (never,) = engine.steps([script("true", image=missing)], pull="never")
    assert never.failure is not None
    assert "which does not pull images" in never.failure.message


def test_a_pull_can_be_cancelled(engine: Rooms) -> None:
    """The registry takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        step = script("true", image=f"127.0.0.1:{silent.getsockname()[1]}/none:latest")

        async def scope() -> float:
            async with engine.room() as room:
                task = asyncio.create_task(run(room, step))
                peer, _ = await asyncio.to_thread(silent.accept)
                assert not task.done()
                start = time.monotonic()
                task.cancel()
                await asyncio.wait([task])
                peer.close()
                assert task.cancelled()
                return time.monotonic() - start

        assert asyncio.run(scope()) < 3.0


@contextmanager
def _registry() -> Iterator[tuple[str, list[str]]]:
    """A registry that wants a password and has no image; yields its address, and what it was told."""
    told: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            told.append(given)
            self.send_response(404 if given else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="here"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 - as the server looks for it

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", told
        server.shutdown()
        thread.join()


def test_credentials_reach_the_registry_and_nothing_else(docker: str, tmp_path: Path) -> None:
    rooms = Rooms(docker, tmp_path)
    auth = b64encode(b"user:hunter2").decode()
    with _registry() as (address, told):
        step = script("true", image=f"{address}/none:latest")
        known = DockerAuthConfig(auths={address: RegistryAuth(auth=auth)})
        (said,) = rooms.steps([step], rooms.place(docker_auth=known))
        assert said.failure is not None
        assert said.failure.code == "E_IMAGE"
        assert f"Basic {auth}" in told
        told.clear()
        rooms.steps([step])
        assert f"Basic {auth}" not in told, "the control"


# -- whether they work here


def test_a_runtime_that_works_has_no_faults(rooms: Rooms) -> None:
    async def scope() -> list[str]:
        async with rooms.runtime() as runtime:
            return await runtime.faults()

    assert asyncio.run(scope()) == []


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("sandbox", "install the packages bubblewrap"),
        ("docker", "docker does not answer (there is no program docker)"),
        ("podman", "podman does not answer (there is no program podman)"),
    ],
)
def test_what_is_missing_is_told(
    kind: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async def scope() -> list[str]:
        async with Rooms(kind, tmp_path).runtime() as runtime:
            return await runtime.faults()

    (fault,) = asyncio.run(scope())
    assert told in fault


def test_an_image_that_is_neither_here_nor_to_be_pulled_is_a_fault(engine: Rooms) -> None:
    async def scope() -> list[str]:
        async with engine.runtime(image="127.0.0.1:1/none:1", pull="never") as runtime:
            return await runtime.faults()

    (fault,) = asyncio.run(scope())
    assert "127.0.0.1:1/none:1 is not here" in fault


@needs_bubblewrap
@needs_root
def test_the_network_is_there_if_asked_for(tmp_path: Path) -> None:
    from hostile import listener

    rooms = Rooms("sandbox", tmp_path)
    with listener("127.0.0.1") as (port, visitors):
        knock = f"busybox nc -w 2 127.0.0.1 {port} </dev/null || true"
        assert rooms.attempt(knock, network=True).out == "reached\n"
        assert rooms.attempt(knock).out == ""
        assert visitors() == 1
