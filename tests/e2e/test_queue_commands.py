"""The commands that serve the queue and look after it."""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cli_project import Project, environment
from queue_server import Held, Server, fresh, serving


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Project, tuple[str, str]]:
    """A project, and the option that names its store."""
    store = f"sqlite:///{tmp_path}/jobs.db"
    if request.param == "postgres":
        store = request.getfixturevalue("postgres").create_database()
    return Project(tmp_path), ("--store", store)


def test_tokens_are_made_listed_and_revoked(place: tuple[Project, tuple[str, str]]) -> None:
    project, store = place
    assert "there are no tokens" in project("tokens", "list", *store).stdout
    made = project("tokens", "create", "builder", *store)
    assert made.returncode == 0, made.stderr
    token = made.stdout.splitlines()[-1]
    assert re.fullmatch(r"rw_[A-Za-z0-9_-]{43}", token)
    again = project("tokens", "create", "builder", *store)
    assert again.returncode == 1
    assert "builder" in again.stderr
    as_json = json.loads(project("tokens", "create", "ann", "--role", "admin", "--json", *store).stdout)
    assert as_json["token"].startswith("rw_")
    listed = json.loads(project("tokens", "list", "--json", *store).stdout)
    assert [(row["name"], row["role"], row["revoked_at"]) for row in listed] == [
        ("builder", "worker", None),
        ("ann", "admin", None),
    ]
    assert project("tokens", "revoke", "builder", *store).stdout == "revoked builder\n"
    assert json.loads(project("tokens", "revoke", "ann", "--json", *store).stdout)["revoked_at"]
    lines = project("tokens", "list", *store).stdout
    assert "builder" in lines
    assert token not in lines
    assert project("tokens", "revoke", "nobody", *store).returncode == 1
    assert project("tokens", "create", "builder", *store).returncode == 0


def test_a_token_is_nowhere_but_on_the_line_that_shows_it(tmp_path: Path) -> None:
    project = Project(tmp_path)
    token = project("tokens", "create", "a").stdout.splitlines()[-1]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if token.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("tokens", "create"), "needs the NAME"),
        (("tokens", "list", "x"), "takes no NAME"),
        (("tokens", "create", "x", "--role", "king"), "king"),
        (("tokens", "create", "a\nb"), "not plain text"),
        (("queues", "list", "x"), "takes no NAME"),
        (("queues", "list", "--limit", "3"), "changes nothing"),
        (("queues", "set", "x"), "what to change"),
        (("queues", "set", "--limit", "3"), "needs the NAME"),
        (("queues", "set", "a/b", "--limit", "3"), "can't name a queue"),
        (("queues", "set", "x", "--limit", "-1"), "-1"),
        (("queues", "set", "x", "--pause", "--resume"), "not allowed"),
        (("serve", "--listen", "8700"), "HOST:PORT"),
        (("serve", "--listen", "localhost:99999"), "HOST:PORT"),
        (("serve", "--lease", "0.1s"), "--lease"),
        (("serve", "--tls-cert", "x"), "both"),
        (("serve", "--listen", "127.0.0.1:0", "--tls-cert", "none", "--tls-key", "none"), "certificate"),
        (("serve", "--listen", "192.0.2.1:0"), "can't listen"),
    ],
)
def test_a_command_line_that_is_wrong_is_refused(tmp_path: Path, words: tuple[str, ...], part: str) -> None:
    done = Project(tmp_path)(*words)
    assert done.returncode == 2, done.stderr
    assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_queues_are_listed_and_changed(place: tuple[Project, tuple[str, str]]) -> None:
    project, store = place
    assert "there are no queues" in project("queues", "list", *store).stdout
    done = project("queues", "set", "builds", "--limit", "4", "--pause", *store)
    assert done.stdout == "builds: paused, 4 at a time, 3 resets\n"
    done = project("queues", "set", "builds", "--key-limit", "2", "--resume", "--json", *store)
    assert json.loads(done.stdout) == {
        "name": "builds",
        "paused": False,
        "limit": 4,
        "key_limit": 2,
        "max_resets": 3,
    }
    with serving(project, store[1]) as server:
        server.submit("builds")
        server.submit("other")
        Held(server, "other")
        (builds, other) = json.loads(project("queues", "list", "--json", *store).stdout)
        assert (builds["name"], builds["counts"]["queued"], builds["limit"]) == ("builds", 1, 4)
        assert other["counts"]["processing"] == 1
        lines = project("queues", "list", *store).stdout.splitlines()
        assert len(lines) == 3
        assert "4 at a time, 2 of a key" in lines[1]


def test_two_servers_share_one_store(place: tuple[Project, tuple[str, str]]) -> None:
    project, store = place
    with serving(project, store[1]) as first, serving(project, store[1]) as second:
        queue = fresh("q")
        first.submit(queue, {"redactedValues": {"hunter22": "x"}, "dockerSteps": [{"commands": ["true"]}]})
        held = Held(second, queue)
        assert held.document["redactedValues"] == {"hunter22": "x"}
        held.server = first
        assert held.say("addExecutionLogEntry", key="k").status == 200
        assert held.say("markComplete").status == 204
        assert second.state(held.id) == "completed"


def test_a_job_waits_on_one_server_and_is_submitted_to_another(
    place: tuple[Project, tuple[str, str]],
) -> None:
    project, store = place
    with serving(project, store[1]) as first, serving(project, store[1]) as second:
        queue = fresh("q")
        job_id = first.submit(queue, delay=0.5)
        assert Held(second, queue, waitSeconds=30).id == job_id


def test_the_key_is_beside_the_store_unless_it_is_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "secret" / "key"
    with serving(Project(tmp_path), f"sqlite:///{tmp_path}/state/jobs.db"):
        assert stat.S_IMODE((tmp_path / "state" / "server.key").stat().st_mode) == 0o600
    with serving(Project(tmp_path), f"sqlite:///{tmp_path}/jobs.db", "--key-file", str(elsewhere)):
        assert elsewhere.exists()
        assert not (tmp_path / "server.key").exists()


def test_a_job_that_another_key_sealed_fails_with_the_reason_and_can_be_tried_again(tmp_path: Path) -> None:
    project, store = Project(tmp_path), f"sqlite:///{tmp_path}/jobs.db"
    job = {"redactedValues": {"hunter22": "x"}, "dockerSteps": [{"commands": ["true"]}]}
    with serving(project, store) as server:
        job_id = server.submit("q", job)
    with serving(project, store, "--key-file", str(tmp_path / "other")) as server:
        assert server.work("/q/dequeue", {"executorName": "w"}).status == 204
        (row,) = server.api("GET", "/jobs?state=failed").json["jobs"]
        assert "another key" in row["message"]
        assert "another key" in server.api("GET", f"/jobs/{job_id}").refused(409)
    with serving(project, store) as server:
        assert server.api("POST", f"/jobs/{job_id}/retry").status == 200
        assert Held(server, "q").document["redactedValues"] == {"hunter22": "x"}


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with serving(Project(tmp_path), f"sqlite:///{tmp_path}/jobs.db") as server:
        done = Project(tmp_path)("serve", "--listen", server.url.removeprefix("http://"))
        assert done.returncode == 2
        assert "can't listen" in done.stderr


def test_a_server_listens_at_ipv6_too(tmp_path: Path) -> None:
    server = Server(Project(tmp_path), f"sqlite:///{tmp_path}/jobs.db", listen="[::1]:0")
    assert server.url.startswith("http://[::1]:")
    assert server.ask("GET", "/healthz").status == 200
    assert server.stop() == 0


def test_old_jobs_are_removed(tmp_path: Path) -> None:
    with serving(Project(tmp_path), f"sqlite:///{tmp_path}/jobs.db", "--keep-days", "0") as server:
        job_id = server.submit("q")
        Held(server, "q").say("markComplete")
        assert server.state(job_id) == "completed"


WITHOUT = """
import sys
for name in {names!r}:
    sys.modules[name] = None
from runwright.cli.main import command
raise SystemExit(command())
"""


@pytest.mark.parametrize("names", [("starlette",), ("uvicorn",), ("h11",), ("cryptography",)])
def test_an_extra_that_is_missing_is_named(tmp_path: Path, names: tuple[str, ...]) -> None:
    blocked = [*names, "cryptography.exceptions"] if "cryptography" in names else names
    code = WITHOUT.format(names=tuple(blocked))
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "pip install 'runwright[server]'" in done.stderr


def test_tokens_need_no_server(tmp_path: Path) -> None:
    code = WITHOUT.format(names=("starlette", "uvicorn", "cryptography"))
    done = subprocess.run(
        [sys.executable, "-c", code, "tokens", "create", "a"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
