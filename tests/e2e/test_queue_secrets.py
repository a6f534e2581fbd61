"""Secrets of jobs are found nowhere: not in the data, on the wire, in the process list or in any log.

The steps of a job show 50 secrets in every form, each cut in two where chance decides, wherever a job can say something.
``RUNWRIGHT_LONG=1`` cuts each form at every place; ``RUNWRIGHT_SEED`` repeats a series. The one place where secrets
stand openly is the answer that gives a job to its worker, which is what TLS is for. What is searched is also searched
with each protection left out: then they are found there.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
import secret_forms
from isolation import IMAGE, bubblewrap_fault, container_engine
from machines import kernel, machine_fault
from open_launcher import OPEN
from postgres import Cluster
from process_watch import ProcessWatch
from secret_forms import Hunt, make_secrets, plain
from served_queue import PATIENCE, QueueServer, own_environment, wait_for
from wire_tap import WireTap

LAUNCHER = (sys.executable, Path(__file__).parents[1] / "support" / "open_launcher.py")
SEED = int(os.environ.get("RUNWRIGHT_SEED", random.SystemRandom().randrange(1 << 30)))
CUTS = 0 if os.environ.get("RUNWRIGHT_LONG") == "1" else 2
"""At how many places each form is cut; 0 for every place."""

ENGINES = ("docker", "podman")
ENDED = {"completed", "failed", "canceled"}
HANDED_OUT = "the answers that give jobs out"
DATA = "the data of the server"
UPWARDS = "the wire from the worker"
CLIENTS = "the wire to clients"
LOGS = "the logs of both"
SCREEN = "what commands print"
PROCESSES = "the list of processes"
WORDS = 5
"""Secrets that are names: of files, directories, repositories and commits, and arguments of the command of a worker.

As such they are arguments of git and other programs, so they are not looked for in the list of processes.
"""

TOLD = 12
"""Secrets that are said where one job can say only one of them."""

SHOW = '''\
"""Show every form of every secret in two writes, the second when the first has been read."""
import fcntl, json, os, random, struct, sys, termios, time
from pathlib import Path

sys.path.insert(0, ".")
from secret_forms import shown

rng, cuts = random.Random(int(sys.argv[1])), int(sys.argv[2])

def put(stream, data):
    os.write(stream, data)
    while any(fcntl.ioctl(stream, termios.FIONREAD, bytes(4))):
        time.sleep(0.0001)

for number, secret in enumerate(json.loads(Path("secrets.json").read_text())):
    stream = 1 + number % 2
    for name, text in shown(secret).items():
        places = range(1, len(text))
        for cut in rng.sample(places, min(cuts, len(places))) if cuts else places:
            put(stream, text[:cut])
            put(stream, text[cut:] + b"\\n")
        if not cuts or rng.random() < 0.1:
            for at in range(len(text)):
                put(stream, text[at : at + 1])
            put(stream, b".")
    print(f"shown {number}", file=sys.stderr, flush=True)
'''

DUMP = """
SELECT format('SELECT coalesce(string_agg(x::text, E''\\n''), '''') FROM %I.%I x', schemaname, tablename)
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""

PLAIN_STORAGE = """
DO $$ DECLARE one record; BEGIN
  FOR one IN SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
        AND a.attnum > 0 AND a.attstorage = 'x'
  LOOP EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET STORAGE EXTERNAL', one.relname, one.attname); END LOOP;
END $$
"""
"""Has large values kept uncompressed from now on, so that they can be found in the files."""


class Scene:
    """A server and a worker, with everything between them on record.

    Args:
        folder: For everything that they write.
        store: URL of the store; None for SQLite.
        left_out: Protections that are not there.

    Attributes:
        spoken: What commands have printed for users.
    """

    def __init__(self, folder: Path, store: str | None = None, left_out: str = "") -> None:
        self.folder = folder
        self.spoken: list[str] = []
        self._env = own_environment() | {OPEN: left_out}
        self.server = QueueServer(folder, store=store, env={OPEN: left_out}, program=LAUNCHER).start()
        self.to_worker, self.to_clients = WireTap(self.server.port), WireTap(self.server.port)
        self.watch = ProcessWatch(folder)
        self._worker: subprocess.Popen[bytes] | None = None
        for name, token in (("worker", self.server.worker_token), ("admin", self.server.admin_token)):
            path = folder / f"{name}.token"
            path.write_text(token)
            path.chmod(0o600)

    def start_worker(self, *options: str) -> None:
        """Start the worker and wait until it is ready."""
        words = ["worker", "--server", self.to_worker.url, "--token-file", self.folder / "worker.token"]
        words += ["--queue", "q", "--name", "w", "--work-dir", self.folder / "work", "--slots", "2"]
        words += ["--git-allow", f"{self.folder}/", *options]
        log = self.folder / "worker.log"
        with log.open("wb") as out:
            self._worker = subprocess.Popen(
                [*LAUNCHER, *words],
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        wait_for(lambda: "worker w is ready" in log.read_text(), "the worker is ready")

    def call(self, *words: str) -> str:
        """Call a command of users, and keep what it prints."""
        command = [*LAUNCHER, *words, "--server", self.to_clients.url]
        command += ["--token-file", self.folder / "admin.token"]
        done = subprocess.run(
            command, cwd=self.folder, env=self._env, capture_output=True, text=True, check=False
        )
        assert done.returncode in {0, 1, 2}, done.stderr
        self.spoken.append(done.stdout + done.stderr)
        return done.stdout

    def ask(self, path: str, body: Any = None) -> bytes:
        """Ask the API and return the answer, whatever it is."""
        headers = {
            "Authorization": f"Bearer {self.server.admin_token}",
            "Content-Type": "application/json",
            "Connection": "close",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.to_clients.url + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            return error.read()

    def submit(self, job: Mapping[str, Any], secrets: list[str], **about: Any) -> int:
        """Queue a job with secrets."""
        whole = {"version": 2, "redactedValues": dict.fromkeys(secrets, "***"), **job}
        answer = json.loads(self.ask("/api/jobs", {"queue": "q", "job": whole, **about}))
        assert "id" in answer, answer
        return int(answer["id"])

    def wait(self, number: int, state: str) -> dict[str, Any]:
        """Wait until a job has ended, as it must."""
        job: dict[str, Any] = {}

        def has_ended() -> bool:
            job.update(json.loads(self.ask(f"/api/jobs/{number}")))
            return job["state"] in ENDED

        wait_for(has_ended, f"job {number} ends", 5 * PATIENCE)
        assert job["state"] == state, job
        return job

    def look_everywhere(self, numbers: list[int]) -> None:
        """Ask for everything that users can ask for."""
        for path in ("/api/jobs", "/api/queues", "/api/workers", "/metrics", "/healthz", "/openapi.json"):
            self.ask(path)
        for number in numbers:
            self.ask(f"/api/jobs/{number}/logs?attempt=all")
            self.ask(f"/api/jobs/{number}/logs?follow=true")
        self.call("jobs", "list", "--json")
        self.call("jobs", "logs", str(numbers[0]))
        self.call("jobs", "show", str(numbers[0]), "--json")
        self.call("jobs", "show", str(numbers[1]))

    def places(self) -> dict[str, bytes]:
        """End everything without a word, and return all bytes of all places."""
        self.close()
        handed_out, rest = self.to_worker.answers_to(b"/dequeue")
        return {
            DATA: contents(self.folder / "server"),
            "the directory of the worker": contents(self.folder / "work"),
            UPWARDS: self.to_worker.asked,
            "the wire to the worker": rest,
            CLIENTS: self.to_clients.told,
            PROCESSES: self.watch.seen,
            LOGS: b"".join(path.read_bytes() for path in self.folder.glob("*.log")),
            SCREEN: "\n".join(self.spoken).encode(),
            HANDED_OUT: handed_out,
        }

    def close(self) -> None:
        """End everything."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()
        self.server.stop(signal.SIGKILL)
        self.watch.close()
        self.to_worker.close()
        self.to_clients.close()


@contextmanager
def playing(folder: Path, store: str | None = None, left_out: str = "") -> Iterator[Scene]:
    """Have a scene for as long as the block runs."""
    scene = Scene(folder, store, left_out)
    try:
        yield scene
    finally:
        scene.close()


def contents(folder: Path) -> bytes:
    """Return what is in all files of a directory, and their names."""
    paths = sorted(folder.rglob("*"))
    return b"\n".join(
        [str(path).encode() for path in paths] + [path.read_bytes() for path in paths if path.is_file()]
    )


def step(*commands: str, key: str = "", **env: str) -> dict[str, Any]:
    return {"key": key, "commands": commands, "env": [f"{name}={value}" for name, value in env.items()]}


def encoded(text: str | bytes) -> dict[str, str]:
    """Return a file of a job."""
    return {"content": b64encode(text.encode() if isinstance(text, str) else text).decode()}


def quotable(secret: str) -> bool:
    return "'" not in secret and "\n" not in secret and "\t" not in secret


def talkative_job(secrets: list[str], words: list[str]) -> dict[str, Any]:
    """Return a job that says secrets, and words that are secret too, wherever a job that goes well can say something."""
    env = {f"SECRET_{number}": secret for number, secret in enumerate(secrets)}
    named, folder, argument, *_ = words
    command = [f": '{secret}'" for secret in secrets if quotable(secret)]
    return {
        "files": {
            "secret_forms.py": encoded(Path(secret_forms.__file__).read_bytes()),
            "show.py": encoded(SHOW),
            "secrets.json": encoded(json.dumps(secrets)),
            f"of-{named}/{named}.txt": encoded(f"It is {named}."),
        },
        "dockerSteps": [
            step(f"exec '{sys.executable}' -I show.py {SEED} {CUTS}", key="show"),
            step("env", "env | base64 -w 0", "env >&2", "cat secrets.json", key="env", **env),
            step(*command, "set -x", *command, key="commands"),
            step("ls -R", f"cat 'of-{named}/{named}.txt'", key=f"files.{named}"),
            {**step("pwd", key="dir"), "dir": f"in-{folder}"},
        ],
        "cliSteps": [{"command": [argument, f"--value={argument}"], "env": [f"A={argument}"]}],
    }


def failing_jobs(secrets: list[str], words: list[str], folder: Path) -> Iterator[dict[str, Any]]:
    """Yield jobs that say a secret in the message of their verdict, or where git can't find a word."""
    for number, secret in enumerate(secrets):
        ways = list(secret_forms.shown(secret).values())
        text = ways[number % len(ways)].decode()
        yield {"dockerSteps": [step('printf "so: %s" "$S" >&2; exit 3', S=text)]}
    for number, word in enumerate(words):
        place = f"{folder}/{word}" if number % 2 else f"not-known/{word}"
        yield {"repositoryName": place, "commit": f"of-{word}"}


def found_in(places: Mapping[str, bytes], secrets: list[str]) -> dict[str, list[str]]:
    """Return what is found of secrets, by place."""
    hunt = Hunt(secrets)
    return {name: found for name, data in places.items() if (found := hunt.find(data))}


def data_of(cluster: Cluster, database: str) -> bytes:
    """Return the files of a server of PostgreSQL and its log, and the rows of a database as they were before."""
    cluster.execute("CHECKPOINT")
    rows = [cluster.execute(query, database)[0][0].encode() for (query,) in cluster.execute(DUMP, database)]
    opened = [bytes.fromhex(word) for row in rows for word in hex_words(row)]
    return b"\n".join([contents(cluster.data), (cluster.directory / "log").read_bytes(), *rows, *opened])


def hex_words(row: bytes) -> Iterator[str]:
    """Yield what stands for bytes in rows as text."""
    for part in row.split(b"\\\\x")[1:]:
        digits = part.partition(b'"')[0].partition(b",")[0].partition(b")")[0]
        yield digits.decode()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.timeout(900)
def test_no_secret_is_found_anywhere(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    cluster = request.getfixturevalue("postgres") if kind == "postgres" else None
    store = cluster.create_database() if cluster else None
    database = store.rpartition("/")[2] if store else ""
    print(f"RUNWRIGHT_SEED={SEED}")
    rng = random.Random(SEED)
    secrets, words = make_secrets(rng), [plain(rng, 20) for _ in range(WORDS)]
    known = [*secrets, *words]
    begun = time.monotonic()
    with playing(tmp_path, store) as scene:
        if cluster:
            cluster.execute(PLAIN_STORAGE, database)
        talking = scene.submit(talkative_job(secrets, words), known)
        told = rng.sample(secrets, TOLD) if CUTS else secrets
        jobs = failing_jobs(told, words[-2:], tmp_path)
        failing = [scene.submit(job, known, max_attempts=1) for job in jobs]
        scene.start_worker("--runtime", "shell", "--cli-command", "echo called with")
        scene.ask(f"/api/jobs/{talking}/logs?follow=true")
        scene.wait(talking, "completed")
        scene.call("jobs", "retry", str(talking))
        scene.wait(talking, "completed")
        messages = [scene.wait(number, "failed")["message"] for number in failing]
        scene.look_everywhere([talking, *failing])
        log = json.loads(scene.ask(f"/api/jobs/{talking}/logs"))["entries"]
        places = scene.places()
        if cluster:
            places["the data of PostgreSQL"] = data_of(cluster, database)
    out = {entry["key"]: entry["out"] for entry in log}
    assert out["step.docker.show"].count("shown ") == len(secrets), "it was all shown"
    assert out["step.docker.show"].count("***") > (2 + CUTS) * len(secrets)
    assert sum("***" in message for message in messages) >= TOLD, messages
    assert not list((tmp_path / "work" / "jobs").iterdir()), "no workspace is left"
    print({name: f"{len(data):,} bytes" for name, data in places.items()})
    assert found_in({HANDED_OUT: places.pop(HANDED_OUT)}, secrets), "the taps have what was said"
    assert found_in({PROCESSES: places.pop(PROCESSES)}, secrets) == {}
    assert found_in(places, known) == {}
    print(f"{time.monotonic() - begun:.0f} s")


@pytest.mark.parametrize(
    ("left_out", "kind", "open_places"),
    [
        ("redaction", "sqlite", {DATA, UPWARDS, CLIENTS, SCREEN, LOGS}),
        ("memory", "sqlite", {DATA, UPWARDS, CLIENTS, SCREEN}),
        ("masking", "sqlite", {CLIENTS, SCREEN}),
        ("sealing unsealing", "sqlite", {DATA}),
        ("sealing unsealing", "postgres", {DATA}),
    ],
)
def test_without_a_protection_the_same_search_finds_secrets(
    left_out: str, kind: str, open_places: set[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cluster = request.getfixturevalue("postgres") if kind == "postgres" else None
    store = cluster.create_database() if cluster else None
    database = store.rpartition("/")[2] if store else ""
    secrets = make_secrets(random.Random(SEED + 1))[
        1:8
    ]  # what is left in a server of PostgreSQL is of no other test
    with playing(tmp_path, store, left_out) as scene:
        if cluster:
            cluster.execute(PLAIN_STORAGE, database)
        talking = scene.submit(talkative_job(secrets, ["a", "b", "c"]), secrets)
        failing = scene.submit(next(failing_jobs(secrets[4:], [], tmp_path)), secrets, max_attempts=1)
        scene.start_worker("--runtime", "shell", "--cli-command", "echo called with")
        scene.wait(talking, "completed")
        scene.wait(failing, "failed")
        scene.look_everywhere([talking, failing])
        places = scene.places()
        if cluster:
            places[DATA] = data_of(cluster, database)
    places.pop(HANDED_OUT)
    assert found_in(places, secrets).keys() == open_places


@pytest.mark.parametrize("kind", ["shell", "sandbox", "docker", "podman", "microvm"])
def test_nobody_else_sees_a_secret_of_a_running_step(kind: str, tmp_path: Path) -> None:
    secrets = [secret for secret in make_secrets(random.Random(SEED)) if "\t" not in secret]
    env = {f"SECRET_{number}": secret for number, secret in enumerate(secrets)}
    script = [f": '{secret}'" for secret in secrets if quotable(secret)]
    mark = plain(random.Random(SEED + 2), 20)
    holding = step(*script, "echo held", f"sh -c 'sleep 600; :' {mark}", key="holding", **env)
    called = {"command": ["sh", "-c", "echo held; sleep 600; :", mark], "env": holding["env"]}
    with room_options(kind) as options, playing(tmp_path) as scene:
        scene.start_worker("--cli-command", "env", "--kill-grace", "0.2s", *options)
        for steps in ({"dockerSteps": [holding]}, {"cliSteps": [called]}):
            if kind in ENGINES and "cliSteps" in steps:
                break
            number = scene.submit({"files": {"a": encoded(secrets[0])}, **steps}, secrets)
            logs = f"/api/jobs/{number}/logs"
            wait_for(lambda: b"stdout: held" in scene.ask(logs), "the step runs")  # noqa: B023
            scene.watch.wait_rounds()
            scene.ask(f"/api/jobs/{number}/cancel", {})
            scene.wait(number, "canceled")
        seen = scene.watch.seen
    assert kind == "microvm" or mark.encode() in seen, "it sees what the step itself puts on a command line"
    assert found_in({PROCESSES: seen}, secrets) == {}


@contextmanager
def room_options(kind: str) -> Iterator[list[str]]:
    """Return the options of a worker that isolates its steps so; skip the test where that can't be."""
    if kind in ENGINES:
        with container_engine(kind):
            yield ["--runtime", "container", "--engine", kind, "--image", IMAGE]
        return
    fault = {"sandbox": bubblewrap_fault, "microvm": machine_fault}.get(kind, str)()
    if fault:
        pytest.skip(fault)
    yield [
        "--runtime",
        kind,
        *(["--vm-kernel", kernel(), "--vm-accelerator", "tcg"] if kind == "microvm" else []),
    ]


def test_the_refusal_of_a_job_says_nothing_that_is_secret_in_it(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    secrets = make_secrets(rng)
    longest = max(secrets, key=len)
    wrong = {f"../{'x' * number}/{secret}": encoded("") for number, secret in enumerate(secrets)}
    job = {
        "version": 2,
        "redactedValues": dict.fromkeys(secrets, "***"),
        "dockerAuthConfig": {"auths": {f"!{secrets[3]}": {"auth": "eA=="}}},
        "files": wrong,
        "sparseCheckout": ["\n" + secret for secret in secrets[:9]],
        "repositoryName": secrets[0] + "?",
        "commit": f"{'x' * 70}..{longest}",
        "dockerSteps": [
            {"key": f"!{secret}", "image": f"!{secret}", "commands": [], "env": [secret, f"PATH={secret}\0"]}
            for secret in secrets[6:20]
        ],
    }
    with playing(tmp_path) as scene:
        refused = scene.ask("/api/jobs", {"queue": "q", "job": job})
        assert len(json.loads(refused)["problems"]) > 20, refused
        (tmp_path / "job.json").write_text(json.dumps(job))
        scene.call("jobs", "submit", "job.json", "--queue", "q")
        places = scene.places()
    assert b"***" in refused
    assert found_in(places, secrets) == {}
