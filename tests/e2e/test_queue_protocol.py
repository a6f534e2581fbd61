"""The executor protocol, black box: a running server is asked, row by row of the tables that describe the protocol.

Where we answer otherwise than the protocol's own server, `docs/reference/queue-protocol.md` says so and why.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cli_project import Project, wait_until
from queue_server import STEPS, Held, Server, fresh, serving

WORKER_ROUTES = ("dequeue", "heartbeat")
JOB_ROUTES = (
    "addExecutionLogEntry",
    "updateExecutionLogEntry",
    "markComplete",
    "markErrored",
    "markFailed",
    "handBack",
)
VERDICTS = ("markComplete", "markErrored", "markFailed", "handBack")
BODY: dict[str, dict[str, Any]] = {
    "addExecutionLogEntry": {"key": "k"},
    "updateExecutionLogEntry": {"key": "k", "entryId": 1},
    "markErrored": {"errorMessage": "broke"},
    "markFailed": {"errorMessage": "broke"},
    "handBack": {"reason": "going home"},
}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("queue")
    store = f"sqlite:///{folder}/jobs.db"
    if request.param == "postgres":
        store = request.getfixturevalue("postgres").create_database()
    with serving(Project(folder), store, "--lease", "8s") as running:
        yield running


@pytest.fixture
def queue() -> str:
    return fresh("q")


# -- 1.2: tokens -------------------------------------------------------------------------------------------------


def test_a_good_token_is_told_so(server: Server) -> None:
    answer = server.ask(
        "GET", "/.executors/test/auth", None, {"Authorization": f"token-executor {server.worker}"}
    )
    assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize(
    "header",
    [None, "", "token-executor", "token-executor ", "token-executor a b", "Basic abc", "abc"],
)
@pytest.mark.parametrize("route", [*WORKER_ROUTES, *JOB_ROUTES])
def test_without_scheme_and_token_nothing_is_let_through(
    server: Server, queue: str, route: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    server.ask("POST", f"/.executors/queue/{queue}/{route}", {}, headers).refused(401)


def test_a_wrong_token_is_401_for_workers_and_403_for_jobs(server: Server, queue: str) -> None:
    server.submit(queue)
    held = Held(server, queue)
    wrong = "rw_" + "x" * 43
    server.work(f"/{queue}/dequeue", {"executorName": "w1"}, wrong).refused(401)
    server.work(f"/{queue}/heartbeat", {"executorName": "w1"}, wrong).refused(401)
    for route in JOB_ROUTES:
        headers = {"Authorization": f"token-executor {wrong}"}
        held.say(route, headers=headers, **BODY.get(route, {})).refused(403)


def test_a_token_of_the_other_role_is_403(server: Server, queue: str) -> None:
    server.work(f"/{queue}/dequeue", {"executorName": "w1"}, server.admin).refused(403)
    server.ask("GET", "/api/jobs", None, {"Authorization": f"Bearer {server.worker}"}).refused(403)


def test_a_scheme_of_the_other_kind_is_401(server: Server, queue: str) -> None:
    headers = {"Authorization": f"Bearer {server.worker}"}
    server.ask("POST", f"/.executors/queue/{queue}/dequeue", {}, headers).refused(401)
    server.ask("GET", "/api/jobs", None, {"Authorization": f"token-executor {server.admin}"}).refused(401)


@pytest.mark.parametrize("route", JOB_ROUTES)
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"X-Sourcegraph-Job-ID": None}, 400),
        ({"X-Sourcegraph-Job-ID": "seven"}, 400),
        ({"X-Sourcegraph-Executor-Name": None}, 400),
        ({"X-Sourcegraph-Executor-Name": ""}, 400),
        ({"Authorization": "Bearer " + "0" * 40}, 401),
        ({"Authorization": "Bearer short"}, 401),
        ({"X-Sourcegraph-Job-ID": "999999999"}, 403),
        ({"X-Sourcegraph-Executor-Name": "another"}, 403),
    ],
)
def test_headers_of_a_job_must_fit(
    server: Server, queue: str, route: str, change: dict[str, str | None], status: int
) -> None:
    server.submit(queue)
    held = Held(server, queue)
    headers = {name: value for name, value in (held.headers | change).items() if value is not None}
    held.say(route, headers=headers, **BODY.get(route, {})).refused(status)
    assert server.state(held.id) == "processing"


@pytest.mark.parametrize("route", JOB_ROUTES)
def test_the_token_of_another_job_or_queue_is_refused(server: Server, queue: str, route: str) -> None:
    server.submit(queue)
    server.submit(queue)
    mine, other = Held(server, queue), Held(server, queue)
    body = BODY.get(route, {})
    mine.say(route, jobId=other.id, **body).refused(403)
    mine.say(route, headers=mine.headers | {"X-Sourcegraph-Job-ID": str(other.id)}, **body).refused(403)
    mine.say(route, queue="elsewhere", **body).refused(403)
    assert server.state(other.id) == server.state(mine.id) == "processing"


@pytest.mark.parametrize("route", JOB_ROUTES)
def test_a_body_that_names_another_worker_is_404(server: Server, queue: str, route: str) -> None:
    server.submit(queue)
    held = Held(server, queue)
    error = held.say(route, executorName="another", **BODY.get(route, {})).refused(404)
    assert "unknown job" in error


def test_the_token_of_a_lease_is_40_hexadecimal_digits_and_fresh(server: Server, queue: str) -> None:
    server.submit(queue)
    first = Held(server, queue)
    assert re.fullmatch("[0-9a-f]{40}", first.token)
    assert first.say("handBack").status == 204
    second = Held(server, queue)
    assert second.token != first.token
    first.say("addExecutionLogEntry", key="k").refused(404)
    assert second.say("addExecutionLogEntry", key="k").status == 200


def test_an_old_worker_shows_its_own_token_for_its_jobs(server: Server, queue: str) -> None:
    server.submit(queue)
    held = Held(server, queue)
    own = {"Authorization": f"token-executor {server.worker}"}
    another = {"Authorization": f"token-executor {server.token('worker')}"}
    held.say("addExecutionLogEntry", headers=another, key="k").refused(404)
    held.say("addExecutionLogEntry", headers=own, key="k", executorName="another").refused(404)
    held.say("addExecutionLogEntry", headers=own, key="k", queue="elsewhere").refused(404)
    held.say("addExecutionLogEntry", headers=own, key="k", jobId=10**30).refused(404)
    held.say("addExecutionLogEntry", headers=own, key="k", jobId=-1).refused(404)
    assert held.say("addExecutionLogEntry", headers=own, key="k").json == 1
    body = {"key": "k", "entryId": 1, "out": "stdout: x"}
    assert held.say("updateExecutionLogEntry", headers=own, **body).status == 204
    assert held.say("markComplete", headers=own).status == 204
    assert server.state(held.id) == "completed"


def test_a_revoked_token_is_refused_within_five_seconds(server: Server, queue: str) -> None:
    name = fresh("worker")
    token = server.token("worker", name)
    assert server.work(f"/{queue}/dequeue", {"executorName": "w"}, token).status == 204
    done = server.project("tokens", "revoke", name, "--store", server.store)
    assert done.returncode == 0, done.stderr
    revoked_at = time.monotonic()
    while server.work(f"/{queue}/dequeue", {"executorName": "w"}, token).status == 204:
        assert time.monotonic() - revoked_at < 5
    server.work(f"/{queue}/dequeue", {"executorName": "w"}, token).refused(401)


# -- 1.3 and 1.4: dequeue ----------------------------------------------------------------------------------------


def test_nothing_to_do_is_204_without_a_body(server: Server, queue: str) -> None:
    answer = server.work(f"/{queue}/dequeue", {"executorName": "w1"})
    assert (answer.status, answer.body) == (204, b"")
    assert server.work("/dequeue", {"executorName": "w1", "queues": []}).status == 204
    assert server.work("/dequeue", {"executorName": "w1"}).status == 204


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"\xff\xfe", b'{"executorName":"\\ud800"}'])
@pytest.mark.parametrize("route", [*WORKER_ROUTES, "canceled"])
def test_what_is_no_json_is_400(server: Server, queue: str, route: str, body: bytes) -> None:
    server.work(f"/{queue}/{route}", body).refused(400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"executorName": ""},
        {"executorName": 7},
        {"executorName": "a\u0000b"},
        {"executorName": "w", "version": "four"},
        {"executorName": "w", "labels": [1]},
        {"executorName": "w", "numCPUs": "many"},
    ],
)
def test_a_dequeue_that_is_wrong_is_422_and_touches_nothing(server: Server, queue: str, body: Any) -> None:
    job_id = server.submit(queue)
    server.work(f"/{queue}/dequeue", body).refused(422)
    assert server.state(job_id) == "queued"


def test_all_faults_of_a_request_are_told_at_once(server: Server) -> None:
    answer = server.work("/dequeue", {"executorName": "", "version": "x", "queues": ["a b"]})
    answer.refused(422)
    assert {problem["path"] for problem in answer.json["problems"]} == {"executorName", "version", "queues"}


@pytest.mark.parametrize(
    ("version", "is_new"),
    [
        ("4.3.0", True),
        ("5.2.1", True),
        ("dev", True),
        ("200000_2022-11-24_abcdef012345", True),
        ("4.2.9", False),
        ("200000_2022-11-23_abcdef012345", False),
        ("", False),
        (None, False),
    ],
)
def test_the_version_of_the_worker_chooses_the_document(
    server: Server, queue: str, version: str | None, is_new: bool
) -> None:
    files = {"a.txt": {"content": "text"}, "empty": {}}
    server.submit(queue, {**STEPS, "files": files, "repositoryName": "github.com/a/b", "commit": "c" * 40})
    ask = {"executorName": "w1"} | ({} if version is None else {"version": version})
    document = server.work(f"/{queue}/dequeue", ask).json
    common = {
        "id",
        "token",
        "repositoryName",
        "repositoryDirectory",
        "commit",
        "fetchTags",
        "shallowClone",
        "sparseCheckout",
        "files",
        "dockerSteps",
        "cliSteps",
        "redactedValues",
    }
    assert document.keys() == common | ({"version", "dockerAuthConfig"} if is_new else set())
    assert document["files"]["a.txt"]["content"] == ("dGV4dA==" if is_new else "text")
    assert document["files"]["empty"].get("content", "") == ""
    if is_new:
        assert (document["version"], document["dockerAuthConfig"]) == (2, {})


def test_a_job_without_files_has_an_object_of_them_all_the_same(server: Server, queue: str) -> None:
    server.submit(queue)
    assert Held(server, queue).document["files"] == {}


def test_both_versions_can_be_submitted_and_early_files_too(server: Server, queue: str) -> None:
    server.submit(queue, {"version": 2, "files": {"f": {"content": "dGV4dA=="}}, **STEPS})
    server.submit(queue, {"files": {"f": {"content": "text"}}, **STEPS})
    server.submit(queue, {"files": {"f": "text"}, **STEPS})
    nulls = dict.fromkeys(("files", "cliSteps", "redactedValues", "sparseCheckout"))
    step = {"image": "i", "commands": ["true"], "dir": "", "env": None}
    server.submit(queue, {**nulls, "repositoryName": "", "commit": "", "dockerSteps": [step]})
    for _ in range(3):
        assert Held(server, queue).document["files"]["f"]["content"] == "dGV4dA=="
    assert Held(server, queue).document["dockerSteps"] == [{"key": "", **step, "env": []}]


def test_command_line_steps_have_their_arguments_under_command(server: Server, queue: str) -> None:
    step = {"key": "one", "command": ["batch", "exec"], "dir": "d", "env": ["A=1"]}
    server.submit(queue, {"cliSteps": [step]})
    assert Held(server, queue).document["cliSteps"] == [step]


def test_secrets_and_credentials_come_to_the_worker_and_nobody_else(server: Server, queue: str) -> None:
    auth = {"auths": {"registry.example": {"auth": "dXNlcjpwYXNzd29yZDE="}}}
    secrets = {"s3cr3t-value": "${{ secrets.A }}"}
    job = {"version": 2, **STEPS, "redactedValues": secrets, "dockerAuthConfig": auth}
    job_id = server.submit(queue, {**job, "commit": "", "cliSteps": [{"command": ["s3cr3t-value"]}]})
    shown = server.api("GET", f"/jobs/{job_id}").body
    assert b"s3cr3t-value" not in shown
    assert b"dXNlcjpwYXNzd29yZDE=" not in shown
    assert b"password1" not in shown
    held = Held(server, queue)
    assert held.document["redactedValues"] == secrets
    assert held.document["dockerAuthConfig"] == auth


def test_facts_of_the_lease_are_headers(server: Server, queue: str) -> None:
    server.submit(queue)
    headers = Held(server, queue).answer.headers
    assert headers["runwright-attempt"] == "1"
    assert headers["runwright-lease-seconds"] == "8"
    assert headers["runwright-queue"] == queue
    assert headers["content-type"] == "application/json"


def test_several_queues_are_asked_at_once_and_none_starves(server: Server) -> None:
    names = [fresh("multi") for _ in range(3)]
    for name in names:
        for _ in range(2):
            server.submit(name)
    asked = {"executorName": "w1", "version": "dev", "queues": names}
    taken = [server.work("/dequeue", asked).json["queue"] for _ in range(3)]
    assert sorted(taken) == names


def test_what_a_worker_offers_must_be_what_the_job_asks_for(server: Server, queue: str) -> None:
    server.submit(queue, labels=["gpu", "arm"])
    assert server.work(f"/{queue}/dequeue", {"executorName": "w1", "labels": ["gpu"]}).status == 204
    assert Held(server, queue, labels=["arm", "x", "gpu"]).id


def test_priority_and_delay_are_kept(server: Server, queue: str) -> None:
    low, high = server.submit(queue), server.submit(queue, priority=5)
    late = server.submit(queue, priority=9, delay=1.5)
    for job_id in (high, low):
        held = Held(server, queue)
        assert held.id == job_id
        held.say("markComplete")
    assert Held(server, queue, waitSeconds=30).id == late


def test_a_dequeue_waits_for_a_job(server: Server, queue: str) -> None:
    found: list[Held] = []
    asking = threading.Thread(target=lambda: found.append(Held(server, queue, waitSeconds=30)))
    asking.start()
    wait_until(lambda: _is_asking(server), "a dequeue that waits")
    begun = time.monotonic()
    job_id = server.submit(queue)
    asking.join()
    assert found[0].id == job_id
    assert time.monotonic() - begun < 3


def _is_asking(server: Server) -> bool:
    """Return whether a request is under way: a connection that is established and has no answer yet."""
    port = int(server.url.rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return any(f":{port:04X} " in line and " 01 " in line for line in lines)


# -- 1.7: heartbeats ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["V2", ""])
def test_a_heartbeat_tells_known_and_canceled_jobs(server: Server, queue: str, version: str) -> None:
    ids = [server.submit(queue) for _ in range(3)]
    for _ in ids:
        Held(server, queue)
    server.api("POST", f"/jobs/{ids[1]}/cancel", {"reason": "enough"})
    wire = [ids[0], str(ids[1]), f"{ids[2]}-{queue}", 10**12, "x", 10**30]
    beat = {"executorName": "w1", "version": version, "jobIds": wire, "os": "linux", "gitVersion": "2.40"}
    answer = server.work(f"/{queue}/heartbeat", beat)
    assert answer.json == {"knownIds": [str(number) for number in ids], "cancelIds": [str(ids[1])]}


def test_early_and_idle_heartbeats_are_understood(server: Server, queue: str) -> None:
    nothing = {"knownIds": [], "cancelIds": []}
    for beat in (
        {"executorName": "w1", "jobIds": []},
        {"executorName": "w1", "jobIds": None},
        {"executorName": "w1"},
        {"executorName": "w1", "executorHostname": "h", "jobIds": [1]},
    ):
        assert server.work(f"/{queue}/heartbeat", beat).json == nothing


def test_a_heartbeat_for_several_queues_names_them_in_its_ids(server: Server) -> None:
    first, second = fresh("a"), fresh("b")
    one, two = server.submit(first), server.submit(second)
    for name in (first, second):
        Held(server, name)
    beat = {
        "executorName": "w1",
        "version": "",
        "queueNames": [first, second],
        "jobIdsByQueue": [
            {"queueName": first, "jobIds": [str(one), str(two)]},
            {"queueName": second, "jobIds": [f"{two}-{second}"]},
        ],
    }
    answer = server.work("/heartbeat", beat)
    assert answer.json == {"knownIds": [f"{one}-{first}", f"{two}-{second}"], "cancelIds": []}


@pytest.mark.parametrize(
    "beat",
    [
        {"executorName": "w1", "queueNames": []},
        {"executorName": "w1"},
        {"executorName": "", "queueNames": ["q"]},
        {"executorName": "w1", "queueNames": ["q"], "jobIdsByQueue": [{"queueName": "r", "jobIds": ["1"]}]},
        {"executorName": "w1", "queueNames": ["q"], "jobIdsByQueue": [{"jobIds": ["1"]}]},
    ],
)
def test_a_heartbeat_for_several_queues_that_is_wrong_is_422(server: Server, beat: Any) -> None:
    server.work("/heartbeat", beat).refused(422)


def test_only_the_worker_itself_keeps_its_jobs(server: Server, queue: str) -> None:
    held = Held(server, server_queue(server, queue), bootId="first")
    for beat in ({"executorName": "w2"}, {"executorName": "w1", "bootId": "second"}):
        answer = server.work(f"/{queue}/heartbeat", {**beat, "jobIds": [held.id]})
        assert answer.json["knownIds"] == []
    kept = server.work(f"/{queue}/heartbeat", {"executorName": "w1", "bootId": "first", "jobIds": [held.id]})
    assert kept.json["knownIds"] == [str(held.id)]


def server_queue(server: Server, queue: str) -> str:
    server.submit(queue)
    return queue


def test_a_job_whose_worker_is_silent_is_queued_again(server: Server, queue: str) -> None:
    server.submit(queue)
    lost = Held(server, queue)
    again = Held(server, queue, "w2", waitSeconds=30)
    assert again.id == lost.id
    assert again.answer.headers["runwright-attempt"] == "2"
    for route in JOB_ROUTES:
        error = lost.say(route, **BODY.get(route, {})).refused(404)
        assert str(lost.id) in error
    assert again.say("markComplete").status == 204
    assert server.state(lost.id) == "completed"


def test_a_job_whose_worker_says_that_it_lives_is_kept(server: Server, queue: str) -> None:
    server.submit(queue)
    held = Held(server, queue)
    for _ in range(8):
        beat = {"executorName": "w1", "jobIds": [held.id]}
        assert server.work(f"/{queue}/heartbeat", beat).json["knownIds"] == [str(held.id)]
        answer = server.work(f"/{queue}/dequeue", {"executorName": "w2", "waitSeconds": 1})
        assert answer.status == 204
    assert held.say("markComplete").status == 204


def test_a_worker_is_listed_with_what_it_says_and_a_ping_takes_nothing_back(
    server: Server, queue: str
) -> None:
    name = fresh("w")
    full = {
        "executorName": name,
        "version": "V2",
        "jobIds": [],
        "os": "linux",
        "architecture": "amd64",
        "dockerVersion": "20.10",
        "executorVersion": "5.0.0",
        "gitVersion": "2.39",
        "igniteVersion": "0.10",
        "srcCliVersion": "4.5",
        "prometheusMetrics": '# HELP x y\nsrc_executor_jobs{a="b"} 3\n',
    }
    assert server.work(f"/{queue}/heartbeat", full).status == 200
    assert server.work(f"/{queue}/heartbeat", {"executorName": name}).status == 200
    (worker,) = [each for each in server.api("GET", "/workers").json["workers"] if each["name"] == name]
    assert worker["os"] == "linux"
    assert worker["versions"] == {
        "docker": "20.10",
        "git": "2.39",
        "ignite": "0.10",
        "src": "4.5",
        "worker": "5.0.0",
    }
    sample = f'src_executor_jobs{{a="b",runwright_worker="{name}"}} 3'
    wait_until(lambda: sample in server.ask("GET", "/metrics").body.decode(), "the worker's own metrics")


def test_early_workers_ask_what_is_canceled(server: Server, queue: str) -> None:
    first, second = server.submit(queue), server.submit(queue)
    Held(server, queue)
    Held(server, queue)
    server.api("POST", f"/jobs/{second}/cancel")
    ask = {"executorName": "w1", "knownJobIds": [first, second]}
    assert server.work(f"/{queue}/canceled", ask).json == [second]
    assert server.work(f"/{queue}/canceled", {"executorName": "w1"}).json == []


# -- 1.8: log entries --------------------------------------------------------------------------------------------


def entry(**more: Any) -> dict[str, Any]:
    return {"key": "step.docker.0", "command": ["sh", "-c"], "startTime": "2026-01-02T03:04:05Z", **more}


def log(server: Server, job_id: int, query: str = "") -> list[dict[str, Any]]:
    answer = server.api("GET", f"/jobs/{job_id}/logs{query}")
    assert answer.status == 200, answer.body
    return answer.json["entries"]


def test_entries_are_numbered_from_1_and_replaced_whole(server: Server, queue: str) -> None:
    server.submit(queue)
    held = Held(server, queue)
    for number in (1, 2):
        answer = held.say("addExecutionLogEntry", **entry(key=f"k{number}"))
        assert (answer.status, answer.json) == (200, number)
    update = entry(key="k1", entryId=1, out="stdout: hello\n", exitCode=0, durationMs=12)
    answer = held.say("updateExecutionLogEntry", **update)
    assert (answer.status, answer.body) == (204, b"")
    first, second = log(server, held.id)
    assert (first["key"], first["out"], first["exitCode"], first["durationMs"]) == (
        "k1",
        "stdout: hello\n",
        0,
        12,
    )
    assert first["command"] == ["sh", "-c"]
    assert datetime.fromisoformat(first["startTime"]) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (second["key"], second["out"], second["exitCode"]) == ("k2", "", None)
    assert first["attempt"] == 1


def test_the_same_entry_sent_twice_is_one(server: Server, queue: str) -> None:
    server.submit(queue)
    held = Held(server, queue)
    assert held.say("addExecutionLogEntry", **entry()).json == 1
    assert held.say("addExecutionLogEntry", **entry()).json == 1
    assert len(log(server, held.id)) == 1


@pytest.mark.parametrize("number", [0, 2, -1, 10**30])
def test_an_entry_that_is_not_there_is_404(server: Server, queue: str, number: int) -> None:
    server.submit(queue)
    held = Held(server, queue)
    held.say("addExecutionLogEntry", **entry())
    held.say("updateExecutionLogEntry", **entry(entryId=number)).refused(404)


def test_output_may_be_added_from_an_offset_on(server: Server, queue: str) -> None:
    server.submit(queue)
    held = Held(server, queue)
    held.say("addExecutionLogEntry", **entry())
    for out, offset, status in (
        ("ä1 ", 0, 204),
        ("two", 4, 204),
        ("two", 4, 204),
        ("later", 99, 409),
        (" three", 7, 204),
    ):
        body = entry(entryId=1, out=out, outOffset=offset)
        assert held.say("updateExecutionLogEntry", **body).status == status
    (found,) = log(server, held.id)
    assert found["out"] == "ä1 two three"


@pytest.mark.parametrize(
    "change",
    [
        {"key": ""},
        {"key": "x" * 201},
        {"key": "a\u0000"},
        {"exitCode": "x"},
        {"exitCode": 2**63},
        {"durationMs": 10**40},
        {"startTime": "yesterday"},
        {"command": "sh"},
        {"out": 3},
    ],
)
def test_an_entry_that_is_wrong_is_422(server: Server, queue: str, change: dict[str, Any]) -> None:
    server.submit(queue)
    held = Held(server, queue)
    held.say("addExecutionLogEntry", **entry(**change)).refused(422)
    held.say("addExecutionLogEntry", **entry())
    held.say("updateExecutionLogEntry", **(entry(entryId=1) | change)).refused(422)
    held.say("updateExecutionLogEntry", **entry(entryId=1, outOffset=-1)).refused(422)


def test_odd_but_honest_entries_are_kept(server: Server, queue: str) -> None:
    server.submit(queue)
    held = Held(server, queue)
    odd = {
        "key": "step.docker.0",
        "command": None,
        "startTime": "0001-01-01T00:00:00Z",
        "exitCode": "-1",
        "durationMs": None,
        "out": "nul \u0000 emoji 😀 \ufffd\r\n",
        "jobId": str(held.id),
        "unknown": {"a": 1},
    }
    assert held.say("addExecutionLogEntry", **odd).json == 1
    (found,) = log(server, held.id)
    assert found["startTime"] is None
    assert (found["exitCode"], found["out"]) == (-1, odd["out"])


def test_logs_of_earlier_attempts_are_kept(server: Server, queue: str) -> None:
    server.submit(queue)
    first = Held(server, queue)
    first.say("addExecutionLogEntry", **entry(out="stdout: one"))
    first.say("handBack", reason="going home")
    second = Held(server, queue)
    second.say("addExecutionLogEntry", **entry(out="stdout: two"))
    assert [each["out"] for each in log(server, first.id)] == ["stdout: two"]
    assert [each["out"] for each in log(server, first.id, "?attempt=1")] == ["stdout: one"]
    assert [each["attempt"] for each in log(server, first.id, "?attempt=all")] == [1, 2]
    (cut,) = log(server, first.id, "?tail=3")
    assert (cut["out"], cut["truncated"]) == ("two", True)


def test_a_log_is_followed_to_its_end(server: Server, queue: str) -> None:
    server.submit(queue)
    held = Held(server, queue)
    lines: list[dict[str, Any]] = []

    def follow() -> None:
        connection = server.connect()
        headers = {"Authorization": f"Bearer {server.admin}"}
        connection.request("GET", f"/api/jobs/{held.id}/logs?follow=true", None, headers)
        answer = connection.getresponse()
        assert answer.getheader("content-type") == "application/x-ndjson"
        while line := answer.readline():
            lines.append(json.loads(line))
        connection.close()

    following = threading.Thread(target=follow)
    following.start()
    held.say("addExecutionLogEntry", **entry())
    for at in range(3):
        body = entry(entryId=1, out=f"line {at}\n", outOffset=7 * at)
        held.say("updateExecutionLogEntry", **body)
        wait_until(lambda at=at: f"line {at}" in str(lines), "a line that was added")
    held.say("markErrored", errorMessage="broke")
    following.join()
    assert [line["kind"] for line in lines if line["kind"] != "out"] == ["entry", "end"]
    assert "".join(line.get("out", "") for line in lines) == "line 0\nline 1\nline 2\n"
    assert (lines[-1]["state"], lines[-1]["message"]) == ("failed", "broke")


# -- 1.9: verdicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "more", "state"),
    [
        ("markComplete", {}, "completed"),
        ("markErrored", {}, "failed"),
        ("markErrored", {"max_attempts": 2}, "errored"),
        ("markFailed", {"max_attempts": 2}, "failed"),
        ("handBack", {}, "queued"),
    ],
)
@pytest.mark.parametrize("is_canceled", [False, True])
def test_a_verdict_makes_a_state(
    server: Server, queue: str, route: str, more: dict[str, Any], state: str, is_canceled: bool
) -> None:
    server.submit(queue, **more)
    held = Held(server, queue)
    if is_canceled:
        assert server.api("POST", f"/jobs/{held.id}/cancel", {"reason": "no more"}).status == 200
        state = "completed" if route == "markComplete" else "canceled"
    answer = held.say(route, **BODY.get(route, {}))
    assert (answer.status, answer.body) == (204, b"")
    shown = server.api("GET", f"/jobs/{held.id}").json
    assert shown["state"] == state
    if state in ("failed", "errored"):
        assert shown["message"] == "broke"
        assert shown["failures"] == 1
    if state == "canceled":
        assert shown["message"] == "no more"


@pytest.mark.parametrize("route", VERDICTS)
def test_a_verdict_may_be_said_again_but_not_another(server: Server, queue: str, route: str) -> None:
    server.submit(queue)
    held = Held(server, queue)
    for _ in range(3):
        assert held.say(route, **BODY.get(route, {})).status == 204
    for other in VERDICTS:
        if other != route:
            assert "unknown job" in held.say(other, **BODY.get(other, {})).refused(404)
    held.say("addExecutionLogEntry", key="k").refused(404)


def test_a_job_that_errored_is_tried_again_after_its_delay(server: Server, queue: str) -> None:
    server.submit(queue, max_attempts=2, retry_delay=1.0)
    first = Held(server, queue)
    first.say("markErrored", errorMessage="broke")
    second = Held(server, queue, waitSeconds=20)
    assert second.id == first.id
    second.say("markErrored", errorMessage="broke again")
    shown = server.api("GET", f"/jobs/{first.id}").json
    assert (shown["state"], shown["failures"], shown["message"]) == ("failed", 2, "broke again")
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["errored", "errored"]


@pytest.mark.parametrize("route", JOB_ROUTES)
@pytest.mark.parametrize(("body", "status"), [(b"", 400), (b"{", 400), (b"[]", 422), (b'{"jobId":"x"}', 422)])
def test_bodies_for_jobs_that_are_wrong_are_refused(
    server: Server, queue: str, route: str, body: bytes, status: int
) -> None:
    server.submit(queue)
    held = Held(server, queue)
    path = f"/.executors/queue/{queue}/{route}"
    server.ask("POST", path, body, held.headers).refused(status)
    assert server.state(held.id) == "processing"


# -- /api --------------------------------------------------------------------------------------------------------


def test_a_job_is_submitted_and_shown(server: Server, queue: str) -> None:
    answer = server.api("POST", "/jobs", {"queue": queue, "job": STEPS, "priority": 3, "labels": ["b", "a"]})
    assert answer.status == 201
    assert answer.headers["location"] == f"/api/jobs/{answer.json['id']}"
    shown = server.api("GET", answer.headers["location"].removeprefix("/api")).json
    assert (shown["state"], shown["queue"], shown["priority"]) == ("queued", queue, 3)
    assert shown["labels"] == ["a", "b"]
    assert shown["job"]["dockerSteps"] == STEPS["dockerSteps"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"queue": "q"},
        {"job": {}},
        {"queue": "q", "job": {}, "color": "red"},
        {"queue": "q", "job": []},
        {"queue": "q", "job": {"dockerSteps": [{"commands": "x"}]}},
        {"queue": "a/b", "job": {}},
        {"queue": "q", "job": {}, "max_attempts": 0},
        {"queue": "q", "job": {}, "delay": -1},
        {"queue": "q", "job": {}, "priority": 10**30},
    ],
)
def test_a_submission_that_is_wrong_is_422(server: Server, body: Any) -> None:
    server.api("POST", "/jobs", body).refused(422)


def test_the_same_idempotency_key_makes_one_job(server: Server, queue: str) -> None:
    key = fresh("key")
    assert server.submit(queue, idempotency_key=key) == server.submit(queue, idempotency_key=key)


def test_jobs_are_listed_newest_first_in_pages(server: Server, queue: str) -> None:
    ids = [server.submit(queue, key=f"k{number % 2}") for number in range(5)]
    Held(server, queue)

    def listed(query: str) -> list[int]:
        answer = server.api("GET", f"/jobs?queue={queue}{query}")
        assert answer.status == 200, answer.body
        return [row["id"] for row in answer.json["jobs"]]

    assert listed("") == ids[::-1]
    assert listed("&limit=2") == ids[:2:-1]
    assert listed(f"&limit=2&below={ids[3]}") == [ids[2], ids[1]]
    assert listed("&state=processing&worker=w1") == [ids[0]]
    assert listed("&key=k1") == [ids[3], ids[1]]
    for query in ("&limit=0", "&limit=x", "&state=odd", "&below=-1", "&limit=100000"):
        server.api("GET", f"/jobs?queue={queue}{query}").refused(422)


@pytest.mark.parametrize("name", ["0", "-1", "x", "99999999", str(2**63), str(10**40), "1.5", "%00"])
def test_a_job_that_is_not_there_is_404(server: Server, name: str) -> None:
    server.api("GET", f"/jobs/{name}").refused(404)
    server.api("GET", f"/jobs/{name}/logs").refused(404)
    server.api("GET", f"/jobs/{name}/logs?follow=true").refused(404)
    server.api("POST", f"/jobs/{name}/cancel").refused(404)
    server.api("POST", f"/jobs/{name}/retry").refused(404)


def test_a_job_is_canceled_and_tried_again(server: Server, queue: str) -> None:
    job_id = server.submit(queue)
    server.api("POST", f"/jobs/{job_id}/retry").refused(409)
    canceled = server.api("POST", f"/jobs/{job_id}/cancel", {"reason": "not now"})
    assert (canceled.status, canceled.json["state"], canceled.json["message"]) == (200, "canceled", "not now")
    assert server.api("POST", f"/jobs/{job_id}/cancel").status == 200
    assert server.api("POST", f"/jobs/{job_id}/retry").json["state"] == "queued"
    Held(server, queue).say("markComplete")
    server.api("POST", f"/jobs/{job_id}/cancel").refused(409)
    server.api("POST", f"/jobs/{job_id}/retry").refused(409)


def test_a_queue_is_paused_and_bounded(server: Server, queue: str) -> None:
    for _ in range(3):
        server.submit(queue, key="k")
    assert server.api("PUT", f"/queues/{queue}", {"paused": True}).json["paused"]
    assert server.work(f"/{queue}/dequeue", {"executorName": "w1"}).status == 204
    settings = server.api("PUT", f"/queues/{queue}", {"paused": False, "key_limit": 1}).json
    assert settings == {"name": queue, "paused": False, "limit": 0, "key_limit": 1, "max_resets": 3}
    held = Held(server, queue)
    assert server.work(f"/{queue}/dequeue", {"executorName": "w1"}).status == 204
    held.say("markComplete")
    assert Held(server, queue)
    (row,) = [each for each in server.api("GET", "/queues").json["queues"] if each["name"] == queue]
    assert row["counts"] == {"queued": 1, "processing": 1, "completed": 1}
    for body in ({"limit": -1}, {"limit": "x"}, {"color": 1}, []):
        server.api("PUT", f"/queues/{queue}", body).refused(422)
    server.api("PUT", "/queues/a%20b", {"limit": 1}).refused(422)


def test_what_is_not_there_is_404_and_other_methods_are_405(server: Server) -> None:
    server.ask("GET", "/nothing").refused(404)
    server.ask("GET", "/").refused(404)
    server.api("GET", "/jobs/").refused(404)
    answer = server.api("PATCH", "/jobs")
    answer.refused(405)
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    server.ask("GET", "/.executors/queue/q/dequeue").refused(405)


def test_health_metrics_and_description_are_open(server: Server, queue: str) -> None:
    assert server.ask("GET", "/healthz").json == {"status": "ok"}
    server.submit(queue)
    sample = f'runwright_jobs{{queue="{queue}",state="queued"}} 1'
    wait_until(lambda: sample in server.ask("GET", "/metrics").body.decode(), "the queue in the metrics")
    description = server.ask("GET", "/openapi.json").json
    assert description["openapi"] == "3.1.0"
    assert "/.executors/queue/{queue}/dequeue" in description["paths"]
    assert server.ask("HEAD", "/healthz").body == b""
