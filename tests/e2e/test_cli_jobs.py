"""Every action of `jobs`, and of `queues` over HTTP, as users call them: through a server, and directly on its store."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_project import RUNWRIGHT, Project, environment, stop, wait_until
from queue_server import Server, fresh, serving
from worker_process import working

LOG_OF_TWO = ("[step.docker.0]", "one", "two", "[teardown.fs]")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a worker of two slots, which takes jobs of two queues alone."""
    folder = tmp_path_factory.mktemp("queue")
    with (
        serving(Project(folder), f"sqlite:///{folder}/jobs.db") as running,
        working(running, "work", "more-work"),
    ):
        yield running


class Place:
    """A directory in which somebody calls `jobs` and `queues`.

    Attributes:
        project: The directory.
        words: Options that name the queue.
        server: The server behind it.
    """

    def __init__(self, project: Project, words: tuple[str, ...], server: Server) -> None:
        self.project = project
        self.words = words
        self.server = server

    def __call__(self, *words: str, status: int = 0, **env: str) -> str:
        """Run a command, which must end with a status, and return what it printed; its errors, if it failed."""
        done = self.project(*words, *self.words, **env)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))

    def submit(self, *words: str, queue: str = "work") -> int:
        return int(self("jobs", "submit", "--queue", queue, *words))

    def wait(self, job_id: int, state: str) -> dict[str, Any]:
        wait_until(lambda: self.server.state(job_id) == state, f"job {job_id} is {state}")
        found: dict[str, Any] = self.json("jobs", "show", str(job_id))
        return found

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return self.project.start(*words, *self.words)


@pytest.fixture(params=["http", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> Place:
    """The queue over HTTP, and directly on its store."""
    words = ("--store", server.store)
    if request.param == "http":
        (tmp_path / "token").write_text(server.admin + "\n")
        (tmp_path / "token").chmod(0o600)
        words = ("--server", server.url, "--token-file", "token")
    return Place(Project(tmp_path), words, server)


# -- submit ------------------------------------------------------------------------------------------------------


def test_submit_prints_the_id_alone(place: Place) -> None:
    job_id = place.submit("--cmd", "echo one; echo two")
    assert place.wait(job_id, "completed")["queue"] == "work"
    assert place.json("jobs", "submit", "--queue", "work", "--cmd", "true") == {"id": job_id + 1}


def test_a_document_comes_from_a_file_or_from_standard_input(place: Place) -> None:
    place.project.write(
        "job.json", '{"dockerSteps": [{"key": "k", "image": "i", "commands": ["echo from a file"]}]}'
    )
    job_id = place.submit(
        "job.json", "--priority", "3", "--label", "runtime=shell", "--key", "me", "--max-attempts", "2"
    )
    shown = place.wait(job_id, "completed")
    assert (shown["priority"], shown["labels"], shown["key"], shown["max_attempts"]) == (
        3,
        ["runtime=shell"],
        "me",
        2,
    )
    assert shown["job"]["dockerSteps"][0]["image"] == "i"
    assert "from a file" in place("jobs", "logs", str(job_id))
    piped = subprocess.run(
        [RUNWRIGHT, "jobs", "submit", "-", "--queue", "parked", *place.words],
        cwd=place.project.root,
        env=environment(),
        input=b'{"dockerSteps": [{"commands": ["echo from a pipe"]}]}',
        capture_output=True,
        check=True,
    )
    assert place.json("jobs", "show", piped.stdout.decode().strip())["job"]["dockerSteps"][0]["commands"] == [
        "echo from a pipe"
    ]


def test_submit_follows_its_job_to_the_end(place: Place) -> None:
    done = place.project(
        "jobs", "submit", "--queue", "work", "--cmd", "echo one; echo two", "-f", *place.words
    )
    assert done.returncode == 0
    assert tuple(done.stdout.split("\n")[:-1]) == LOG_OF_TWO
    begin, end = done.stderr.splitlines()
    assert (begin.startswith("job "), end.endswith(" completed")) == (True, True)
    done = place.project("jobs", "submit", "--queue", "work", "--cmd", "echo no; exit 3", "-f", *place.words)
    assert done.returncode == 1
    assert "[exit status 3]" in done.stdout
    assert done.stderr.splitlines()[-1].endswith(" failed")


def test_a_job_waits_for_its_time_and_comes_once_for_its_key(place: Place) -> None:
    key = fresh("once")
    job_id = place.submit("--cmd", "true", "--delay", "1h", "--idempotency-key", key)
    assert place.submit("--cmd", "true", "--idempotency-key", key) == job_id
    shown = place.json("jobs", "show", str(job_id))
    assert (shown["state"], shown["attempt"]) == ("queued", 0)
    assert shown["available_at"] > shown["queued_at"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--cmd", "true"), "needs the name of a queue"),
        (("--queue", "q"), "either the FILE"),
        (("--queue", "q", "job.json", "--cmd", "true"), "either the FILE"),
        (("--queue", "q", "missing.json"), "missing.json can't be read: No such file"),
        (("--queue", "q", "broken.json"), "broken.json is no JSON"),
        (("--queue", "q", "list.json"), "object"),
        (("--queue", "q", "steps.json"), "dockerSteps"),
        (("--queue", "q", "climbs.json"), "../x"),
        (("--queue", "q q", "--cmd", "true"), "can't name a queue"),
        (("--queue", "q", "--cmd", "true", "--priority", "1000001"), "priority is out of range"),
        (("--queue", "q", "--cmd", "true", "--max-attempts", "0"), "max_attempts"),
        (("--queue", "q", "--cmd", "true", "--delay", "soon"), "--delay"),
        (("--queue", "q", "--cmd", "true", "--label", "a\nb"), "labels is too long or not plain text"),
    ],
)
def test_what_can_not_be_submitted_is_told(place: Place, words: tuple[str, ...], part: str) -> None:
    for name, text in (
        ("job.json", "{}"),
        ("broken.json", "{"),
        ("list.json", "[]"),
        ("steps.json", '{"dockerSteps": 5}'),
        ("climbs.json", '{"files": {"../x": {"content": ""}}}'),
    ):
        place.project.write(name, text)
    said = place("jobs", "submit", *words, status=2)
    assert part in said
    assert said.startswith("error: ") or "usage: " in said


# -- list, show, logs --------------------------------------------------------------------------------------------


def test_list_narrows(place: Place) -> None:
    queue, key = fresh("narrow"), fresh("key")
    first, second, third = (place.submit("--cmd", "true", "--key", key, queue=queue) for _ in range(3))
    place("jobs", "cancel", str(second))
    assert [row["id"] for row in place.json("jobs", "list", "--queue", queue)] == [third, second, first]
    assert [row["id"] for row in place.json("jobs", "list", "--key", key, "--limit", "1")] == [third]
    assert [row["id"] for row in place.json("jobs", "list", "--queue", queue, "--state", "canceled")] == [
        second
    ]
    lines = place("jobs", "list", "--queue", queue).splitlines()
    assert lines[0].split()[:3] == ["ID", "QUEUE", "STATE"]
    assert [line.split()[0] for line in lines[1:]] == [str(third), str(second), str(first)]
    assert place("jobs", "list", "--queue", fresh("none")) == "there are no such jobs\n"
    assert place.json("jobs", "list", "--queue", fresh("none")) == []


def test_show_tells_attempts_and_document_and_no_secret(place: Place) -> None:
    secret = "a-secret-of-some-length"
    document = {
        "dockerSteps": [{"key": "k", "commands": [f"echo {secret}; exit 4"]}],
        "redactedValues": {secret: "WELL-HIDDEN"},
    }
    place.project.write("job.json", json.dumps(document))
    job_id = place.submit("job.json")
    place.wait(job_id, "failed")
    text = place("jobs", "show", str(job_id))
    assert text.startswith(f"job {job_id}  failed\n")
    assert "  attempt 1   errored on " in text
    assert "step.docker.k failed with exit code 4" in text
    everything = (
        text + place("jobs", "show", str(job_id), "--json") + place("jobs", "logs", str(job_id), "--json")
    )
    assert secret not in everything
    assert "WELL-HIDDEN" in everything


def test_logs_of_one_attempt_and_of_all(place: Place) -> None:
    job_id = place.submit("--cmd", "echo this is attempt $RUNWRIGHT_NO; exit 1")
    place.wait(job_id, "failed")
    place("jobs", "retry", str(job_id))
    wait_until(lambda: place.server.api("GET", f"/jobs/{job_id}").json["attempt"] == 2, "it is tried again")
    place.wait(job_id, "failed")
    newest, first = place("jobs", "logs", str(job_id)), place("jobs", "logs", str(job_id), "--attempt", "1")
    assert newest == first
    assert newest.splitlines() == ["[step.docker.0]", "this is attempt", "[exit status 1]", "[teardown.fs]"]
    assert place("jobs", "logs", str(job_id), "--attempt", "0") == first + newest
    entries = place.json("jobs", "logs", str(job_id), "--attempt", "0")
    assert [(entry["attempt"], entry["key"]) for entry in entries] == [
        (1, "step.docker.0"),
        (1, "teardown.fs"),
        (2, "step.docker.0"),
        (2, "teardown.fs"),
    ]


def test_a_log_is_followed_while_it_grows(place: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = place.submit("--cmd", f"echo before; until test -e {gate}; do sleep 0.05; done; echo after")
    following = place.start("jobs", "logs", str(job_id), "-f")
    try:
        assert following.stdout is not None
        seen = [following.stdout.readline(), following.stdout.readline()]
        assert seen == ["[step.docker.0]\n", "before\n"], "it is shown while the job runs"
        assert place.server.state(job_id) == "processing"
        gate.touch()
        rest, _ = following.communicate(timeout=60)
    finally:
        gate.touch()
        stop(following)
    assert following.returncode == 0
    assert rest.splitlines() == ["after", "[teardown.fs]", f"job {job_id} completed"]


def test_a_followed_log_as_json_is_a_line_for_each_piece_of_news(place: Place) -> None:
    done = place.project(
        "jobs", "submit", "--queue", "work", "--cmd", "echo hi", "-f", "--json", *place.words
    )
    news = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["kind"] for each in news][-1] == "end"
    assert "".join(each["out"] for each in news if each["kind"] == "out") == "stdout: hi\n"
    assert news[-1]["state"] == "completed"


def test_a_job_without_a_log_says_so(place: Place) -> None:
    job_id = place.submit("--cmd", "true", queue=fresh("parked"))
    done = place.project("jobs", "logs", str(job_id), *place.words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"job {job_id} has no log yet\n")


# -- cancel, retry -----------------------------------------------------------------------------------------------


def test_cancel_ends_what_waits_at_once_and_asks_for_what_runs(place: Place, tmp_path: Path) -> None:
    waiting = place.submit("--cmd", "true", queue=fresh("parked"))
    assert place("jobs", "cancel", str(waiting), "--reason", "not today") == f"job {waiting}: canceled\n"
    assert place.json("jobs", "show", str(waiting))["message"] == "not today"
    running = place.submit("--cmd", f"touch {tmp_path}/began; sleep 600")
    wait_until((tmp_path / "began").exists, "the step runs")
    assert "asked to stop" in place("jobs", "cancel", str(running))
    shown = place.wait(running, "canceled")
    assert shown["message"] == "canceled from the command line"
    assert place.json("jobs", "cancel", str(waiting))["state"] == "canceled", "it may be said again"


def test_retry_queues_again_what_has_failed(place: Place, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    job_id = place.submit("--cmd", f"test -e {mended}")
    place.wait(job_id, "failed")
    mended.touch()
    assert place("jobs", "retry", str(job_id)) == f"job {job_id}: queued again\n"
    assert [attempt["outcome"] for attempt in place.wait(job_id, "completed")["attempts"]] == [
        "errored",
        "completed",
    ]


def test_a_job_is_tried_again_after_its_delay(place: Place, tmp_path: Path) -> None:
    once = tmp_path / "once"
    command = f"test -e {once} || {{ touch {once}; exit 1; }}"
    job_id = place.submit("--cmd", command, "--max-attempts", "2", "--retry-delay", "100ms")
    shown = place.wait(job_id, "completed")
    assert (shown["attempt"], shown["failures"], shown["retry_delay"]) == (2, 1, 0.1)


@pytest.mark.parametrize("action", ["show", "logs", "cancel", "retry"])
def test_a_job_that_is_not_there_or_has_ended_is_told(place: Place, action: str) -> None:
    assert "there is no job 999999" in place("jobs", action, "999999", status=1)
    for word in ("latest", "0x1", "1.0", "99999999999999999999", "\u0661"):
        assert f'{action} needs the id of a job, not "{word}"' in place("jobs", action, word, status=2)
    assert f"{action} needs the id of a job" in place("jobs", action, status=2)


def test_what_is_complete_stays_so(place: Place) -> None:
    job_id = place.submit("--cmd", "true")
    place.wait(job_id, "completed")
    for action in ("cancel", "retry"):
        said = place("jobs", action, str(job_id), status=1)
        assert f"job {job_id} is completed and can't be" in said


def test_list_takes_no_id(place: Place) -> None:
    assert "list takes no id" in place("jobs", "list", "5", status=2)


# -- queues, workers ---------------------------------------------------------------------------------------------


def test_queues_are_changed_and_listed(place: Place) -> None:
    queue = fresh("bounded")
    assert (
        place("queues", "set", queue, "--limit", "2", "--pause")
        == f"{queue}: paused, 2 at a time, 3 resets\n"
    )
    changed = place.json("queues", "set", queue, "--resume", "--key-limit", "1", "--max-resets", "0")
    assert changed == {"name": queue, "paused": False, "limit": 2, "key_limit": 1, "max_resets": 0}
    place.submit("--cmd", "true", queue=queue)
    (row,) = (row for row in place.json("queues", "list") if row["name"] == queue)
    assert row["counts"] == {
        "queued": 1,
        "processing": 0,
        "completed": 0,
        "errored": 0,
        "failed": 0,
        "canceled": 0,
    }
    assert row["oldest_at"] is not None
    (line,) = (line for line in place("queues", "list").splitlines() if line.startswith(queue))
    assert "2 at a time, 1 of a key, 0 resets" in line


def test_a_paused_queue_gives_out_nothing(place: Place) -> None:
    place("queues", "set", "work", "--pause")
    try:
        job_id = place.submit("--cmd", "true")
        beyond = place.submit("--cmd", "true", queue="more-work")
        place.wait(beyond, "completed")
        assert place.server.state(job_id) == "queued", "a later job of another queue went before it"
    finally:
        place("queues", "set", "work", "--resume")
    place.wait(job_id, "completed")


def test_workers_are_listed(place: Place) -> None:
    (worker,) = place.json("queues", "workers")
    assert (worker["name"], worker["queues"], worker["slots"]) == ("w-of-work", ["work", "more-work"], 2)
    assert worker["labels"] == ["runtime=shell"]
    assert worker["versions"]["git"]
    assert place("queues", "workers").splitlines()[1].split()[:3] == ["w-of-work", "work,", "more-work"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("list", "work"), "list changes nothing and takes no NAME"),
        (("workers", "--limit", "3"), "workers changes nothing"),
        (("set",), "set needs the NAME of a queue"),
        (("set", "work"), "what to change"),
        (("set", "a b", "--pause"), '"a b" can\'t name a queue'),
        (("set", "a/b", "--pause"), '"a/b" can\'t name a queue'),
        (("set", "work", "--limit", "1000001"), "limit must be in 0 to 1,000,000"),
        (("set", "work", "--limit", "-1"), "--limit"),
        (("set", "work", "--pause", "--resume"), "not allowed with"),
    ],
)
def test_what_can_not_be_set_is_told(place: Place, words: tuple[str, ...], part: str) -> None:
    assert part in place("queues", *words, status=2)


# -- where the queue is ------------------------------------------------------------------------------------------


def test_the_environment_names_the_server(server: Server, tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "token").write_text(server.admin)
    env = {"RUNWRIGHT_SERVER": server.url, "RUNWRIGHT_TOKEN_FILE": "token"}
    done = project("jobs", "submit", "--queue", "work", "--cmd", "echo via", "-f", **env)
    assert (done.returncode, "via" in done.stdout) == (0, True)
    assert project("queues", "workers", **env).stdout.startswith("WORKER")
    elsewhere = project("jobs", "list", "--store", f"sqlite:///{tmp_path}/other.db", **env)
    assert elsewhere.stdout == "there are no such jobs\n", "a store that is named wins over the environment"
    assert not (tmp_path / ".runwright").exists()


@pytest.mark.parametrize(
    ("words", "env", "part", "status"),
    [
        (("--server", "http://127.0.0.1:1", "--token-file", "token"), {}, "nobody listens there", 1),
        (("--server", "ftp://x", "--token-file", "token"), {}, "is no address of a server", 2),
        (("--server", "http://127.0.0.1:1"), {}, "a server needs a token", 2),
        (("--server", "http://127.0.0.1:1", "--token-file", "missing"), {}, "can't be read from", 2),
        (("--server", "http://127.0.0.1:1", "--token-file", "empty"), {}, "there is no token in", 2),
        ((), {"RUNWRIGHT_SERVER": "http://127.0.0.1:1"}, "a server needs a token", 2),
    ],
)
def test_a_server_that_can_not_be_asked_is_told(
    tmp_path: Path, words: tuple[str, ...], env: dict[str, str], part: str, status: int
) -> None:
    (tmp_path / "token").write_text("rw_nobodys")
    (tmp_path / "empty").touch()
    for command in (("jobs", "list"), ("queues", "list")):
        done = Project(tmp_path)(*command, *words, **env)
        assert done.returncode == status, done.stderr
        assert part in done.stderr
        assert "Traceback" not in done.stderr


def test_a_token_that_does_not_fit_is_told(server: Server, tmp_path: Path) -> None:
    project = Project(tmp_path)
    for token, part in (
        ("rw_nobodys", "it is unknown, or has been revoked"),
        (server.worker, "this is the token of a worker"),
    ):
        (tmp_path / "token").write_text(token)
        done = project("jobs", "list", "--server", server.url, "--token-file", "token")
        assert (done.returncode, done.stdout) == (1, "")
        assert part in done.stderr
        assert token not in done.stderr


@pytest.mark.parametrize(
    "words", [("jobs", "list"), ("queues", "list"), ("queues", "workers"), ("tokens", "list")]
)
def test_looking_at_a_queue_that_is_not_there_makes_none(tmp_path: Path, words: tuple[str, ...]) -> None:
    project = Project(tmp_path)
    assert project.json(*words) == []
    assert project("jobs", "show", "1").returncode == 1
    assert list(tmp_path.iterdir()) == []
    assert project("tokens", "create", "somebody").returncode == 0
    assert list(tmp_path.iterdir()) == [tmp_path / ".runwright"], "what writes makes one"
