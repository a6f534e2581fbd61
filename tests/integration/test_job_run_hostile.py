"""Jobs that put out too much, fill the disk, or don't want to end; and what must not be seen of a credential."""

import asyncio
import base64
import http.server
import os
import random
import resource
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from job_rig import PATH, Repository, Rig, script, steps

from runwright.core.checkout import GitAccess
from runwright.core.job import decode_job
from runwright.core.job_rows import Verdict
from runwright.ports.jobs import JobLimits

LONG = os.environ.get("RUNWRIGHT_LONG") == "1"
MUCH = 1 << 30 if LONG else 1 << 27
MIB = 1 << 20
PASSWORD = "s3cr3t-Passw0rd/with+signs"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def grown(before: int) -> int:
    """Return by how many bytes the most memory of this process has grown; `ru_maxrss` is in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


@pytest.mark.parametrize(
    "command",
    [
        f"yes 0123456789012345678901234567890123456789 | head -c {MUCH}",
        f"head -c {MUCH} /dev/zero | tr '\\0' x",
        f"head -c {MUCH} /dev/urandom",
        f"head -c {MUCH} /dev/zero >&2",
    ],
    ids=["lines", "one endless line", "binary", "zeros"],
)
def test_much_output_is_bounded(tmp_path: Path, command: str) -> None:
    rig = Rig(tmp_path, output_bytes=4 * MIB)
    before = grown(0)
    end = rig.run(dockerSteps=steps(command, "echo", "echo the end"), redactedValues={PASSWORD: "***"})
    assert end.verdict is Verdict.COMPLETED
    assert grown(before) < 150 * MIB, "beside what the test itself keeps of the log"
    out = rig.out("step.docker.0")
    assert "stderr: runwright: " in out
    assert "bytes of output are left out here" in out
    assert out.endswith("stdout: the end\n")
    assert len(out.encode()) < 16 * MIB
    assert all(len(entry.out.encode()) <= 256 * 1024 for entry in rig.sent)


def test_without_a_bound_it_would_all_be_sent(tmp_path: Path) -> None:
    """The control: the same output under a larger bound is there in full."""
    rig = Rig(tmp_path, output_bytes=64 * MIB)
    rig.run(dockerSteps=steps(f"yes 0123456789 | head -c {8 * MIB}"))
    assert len(rig.out("step.docker.0")) > 8 * MIB


def test_a_disk_that_fills(tmp_path: Path) -> None:
    rig = Rig(tmp_path, limits=JobLimits(disk_bytes=16 * MIB))
    begun = time.monotonic()
    end = rig.run(dockerSteps=[script("head -c 40000000 /dev/zero > big", "sleep 600"), script("true")])
    assert (end.verdict, "bytes of disk" in end.message) == (Verdict.ERRORED, True)
    assert time.monotonic() - begun < 20
    assert "bytes of disk" in rig.out("step.docker.0")
    assert "step.docker.1" not in rig.log


def test_a_step_that_takes_too_long_and_ignores_being_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path, step_seconds=1.0, kill_grace=0.5)
    begun = time.monotonic()
    end = rig.run(dockerSteps=steps("trap '' TERM", "(trap '' TERM; sleep 600) & sleep 600"))
    assert (end.verdict, "took longer than the 1s" in end.message) == (Verdict.ERRORED, True)
    assert time.monotonic() - begun < 10


def test_a_job_is_stopped_in_the_middle_of_a_clone(tmp_path: Path) -> None:
    """Git waits for a server that says nothing; a cancellation ends it, and the workspace is gone."""
    with _silent_server() as port:
        git = GitAccess(url=f"http://127.0.0.1:{port}/{{repository}}", env={"PATH": PATH})
        rig = Rig(tmp_path, git=git)

        async def scenario() -> None:
            job = decode_job({"repositoryName": "x", "commit": "main", "dockerSteps": steps("true")})
            running = asyncio.ensure_future(rig.run_here(job))
            await _until(lambda: rig.source.jobs and "setup.git.fetch" in rig.log)
            running.cancel()
            async with asyncio.timeout(15):
                with pytest.raises(asyncio.CancelledError):
                    await running

        asyncio.run(scenario())
    assert rig.log["setup.git.fetch"].exit_code == -1
    assert "runwright: stopped" in rig.out("setup.git.fetch")
    assert rig.log["teardown.fs"].exit_code == 0


async def _until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - only the log tells
            await asyncio.sleep(0.01)


@contextmanager
def _silent_server() -> Iterator[int]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


class _Git(http.server.BaseHTTPRequestHandler):
    """Serves one repository to those who show the password, by git's own program."""

    root = Path()
    asked: list[str]

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _serve(self, body: bytes) -> None:
        type(self).asked.append(self.headers.get("Authorization", ""))
        login = base64.b64encode(f"git:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        env = {
            "PATH": PATH,
            "GIT_PROJECT_ROOT": str(type(self).root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def git_server(root: Path) -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (_Git,), {"root": root, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Watch:
    """Looks at the arguments of all processes, and at all files below a directory, as fast as it can."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: set[str] = set()
        self.programs: set[str] = set()
        self.looks = 0

    def look(self) -> None:
        self.looks += 1
        for name in os.listdir("/proc"):  # noqa: PTH208
            if name.isdigit():
                try:
                    argv = Path("/proc", name, "cmdline").read_bytes().decode("utf-8", "replace")
                except OSError:
                    continue
                self.programs.add(Path(argv.partition("\0")[0]).name)
                self._check(argv, "argv")
        for path in self.folder.rglob("*"):
            try:
                if path.is_file():
                    self._check(path.read_text("utf-8", "replace"), str(path))
            except OSError:
                continue

    def _check(self, text: str, where: str) -> None:
        if any(form in text for form in (PASSWORD, quote(PASSWORD, safe=""), _basic())):
            self.seen.add(where)

    async def __call__(self, rig: Rig) -> None:
        while True:
            await asyncio.to_thread(self.look)


def _basic() -> str:
    return base64.b64encode(f"git:{PASSWORD}".encode()).decode()


@pytest.mark.parametrize("sparse", [False, True])
def test_the_credential_of_git_is_seen_nowhere(tmp_path: Path, sparse: bool) -> None:
    repository = Repository(tmp_path / "served/org/x")
    repository.git("config", "uploadpack.allowFilter", "true")
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    commit = repository.commit({"a": os.urandom(3_000_000), "b": "plain\n"})
    with git_server(tmp_path / "served") as (url, asked):
        git = GitAccess(url=f"{url}/{{repository}}/.git", password=PASSWORD, env={"PATH": PATH})
        rig = Rig(tmp_path, git=git)
        watch = Watch(rig.places)
        end = rig.run(
            watch,
            repositoryName="org/x",
            commit=commit,
            sparseCheckout=["/b"] if sparse else [],
            dockerSteps=steps("cat b; ls", "cat .git/config", "env", "git config --list --show-origin"),
        )
    assert end.verdict is Verdict.COMPLETED, (end, rig.log)
    assert any(asked), "the server wanted it, and got it"
    assert "git" in watch.programs, "git was seen at work"
    assert watch.looks >= 2
    assert watch.seen == set()
    assert PASSWORD not in str(rig.sent)
    assert _basic() not in str(rig.sent)
    assert "stdout: plain" in rig.out("step.docker.0")
    assert ("stdout: a" in rig.out("step.docker.0").splitlines()) is not sparse


def test_a_credential_in_the_address_would_be_seen(tmp_path: Path) -> None:
    """The control: this watch finds it where it is."""
    watch = Watch(tmp_path)
    (tmp_path / "config").write_text(f"url = https://git:{quote(PASSWORD, safe='')}@host/x")
    with subprocess.Popen(["sh", "-c", "read line", PASSWORD], stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        while len(watch.seen) < 2 and time.monotonic() < deadline:
            watch.look()
        process.kill()
    assert watch.seen == {str(tmp_path / "config"), "argv"}


def test_a_wrong_credential_fails_at_once(tmp_path: Path) -> None:
    Repository(tmp_path / "served/x").commit({"a": "1"})
    with git_server(tmp_path / "served") as (url, _):
        git = GitAccess(url=f"{url}/{{repository}}/.git", password="wrong-Passw0rd", env={"PATH": PATH})
        rig = Rig(tmp_path, git=git)
        begun = time.monotonic()
        end = rig.run(repositoryName="x", commit="main", dockerSteps=steps("true"))
    assert (end.verdict, "Authentication failed" in end.message) == (Verdict.ERRORED, True)
    assert time.monotonic() - begun < 20, "nobody is asked for another one"
    assert "wrong-Passw0rd" not in str(rig.sent)


def test_a_redirect_leads_nowhere(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "served/x")
    commit = repository.commit({"a": "1"})

    class Redirect(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{target}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with git_server(tmp_path / "served") as (target, asked):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirect)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            git = GitAccess(url=f"{url}/{{repository}}/.git", password=PASSWORD, env={"PATH": PATH})
            end = Rig(tmp_path, git=git).run(repositoryName="x", commit=commit, dockerSteps=steps("true"))
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
    assert end.verdict is Verdict.ERRORED
    assert asked == []


SECRETS = 50
SIGNS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=&%$#\"'\\ ü€\n"


def _secrets(chance: random.Random) -> list[str]:
    """Return secrets of many kinds, some a part or the beginning of another."""
    found = [
        "".join(chance.choices(SIGNS, k=chance.randrange(6, 60))).strip() + "Zz9" for _ in range(SECRETS - 3)
    ]
    return [
        *found,
        found[0] + "more",
        found[1][:8] + "k9",
        "-----BEGIN-----\nQUJDREVGRw\nSElKS0xNTg\n-----END-----",
    ]


def _forms(secret: str) -> list[str]:
    import json

    raw = secret.encode()
    return [
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
    ]


WRITER = """
import os, sys, time
for line in open("pieces"):
    stream, data = line.split()
    os.write(int(stream), bytes.fromhex(data))
"""


def test_no_secret_is_sent_in_any_form(tmp_path: Path) -> None:
    """50 secrets, in each form, cut at many places, in output, commands, keys, paths and messages."""
    seed = int(os.environ.get("RUNWRIGHT_SEED", random.randrange(1 << 32)))
    print("seed", seed)
    chance = random.Random(seed)
    secrets = _secrets(chance)
    pieces = []
    for number, secret in enumerate(secrets):
        for form in _forms(secret):
            data = form.encode()
            cuts = range(1, len(data)) if LONG else chance.sample(range(1, len(data)), 2)
            for cut in cuts:
                stream = chance.choice((1, 2))
                pieces += [
                    (stream, f"<{number} ".encode()),
                    (stream, data[:cut]),
                    (stream, data[cut:] + b">\n"),
                ]
    written = "".join(f"{stream} {data.hex()}\n" for stream, data in pieces)
    plain = [secret for secret in secrets if "\n" not in secret and "'" not in secret]
    name = next(secret for secret in plain if "/" not in secret and "\\" not in secret)
    rig = Rig(tmp_path, output_bytes=256 * MIB, secrets=("worker-token-1234",))
    end = rig.run(
        files={
            "pieces": {"content": written},
            "writer.py": {"content": WRITER},
            f"dir/{name}": {"content": "x"},
        },
        dockerSteps=[
            script("python3 writer.py", f"echo '{plain[1]}' > /dev/null"),
            script(f"echo 'failed: {plain[2]}' >&2", "echo token-1-1 worker-token-1234", "exit 3"),
        ],
        redactedValues={secret: f"[{number}]" for number, secret in enumerate(secrets)},
        dockerAuthConfig={"auths": {"h": {"auth": base64.b64encode(b"user:swordfish-99").decode()}}},
    )
    assert end.verdict is Verdict.ERRORED
    sent = "\0".join([end.message, *(f"{e.key}\0{e.command}\0{e.out}" for e in rig.source.jobs[1].log)])
    sent += "\0".join(f"{entry.key}\0{' '.join(entry.command)}\0{entry.out}" for entry in rig.sent)
    whole = sent.replace("stdout: ", "").replace("stderr: ", "")
    for secret in [*secrets, "token-1-1", "worker-token-1234", "swordfish-99"]:
        for form in _forms(secret):
            assert len(form) < 6 or form not in sent, (seed, secret)
            assert len(form) < 6 or form not in whole, (seed, secret)
    assert "[0]" in sent, "what the job says stands in the place"
    assert rig.out("step.docker.0").count("<") == len(pieces) // 3, "all of it was written"


def test_that_test_can_fail(tmp_path: Path) -> None:
    """The control: what nobody said is secret is seen."""
    rig = Rig(tmp_path)
    rig.run(dockerSteps=steps("echo correct-horse-battery"))
    assert "correct-horse-battery" in str(rig.sent)
