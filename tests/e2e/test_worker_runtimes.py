"""The same jobs in every runtime, from a user to a real worker and back: same log, same verdict, nothing left."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from cli_project import Project, wait_until
from isolation import container_engine, needs_bubblewrap
from job_rig import Repository, script
from machines import needs_machines, needs_mke2fs
from queue_server import Server, fresh, serving
from runtime_station import ENGINES, GRACE, Silent, Station, groups_of
from worker_process import WorkerProcess

LEASE = 6.0
LEFT_SECONDS = 30.0
"""Within which nothing of a killed worker is left."""

CANCEL_SECONDS = GRACE + 2.0
"""Within which a job is gone that was canceled."""

SECRET = "hunter2hunter2"
STUBBORN = "trap '' TERM INT HUP; echo began; while :; do sleep 0.1; done"
FORK = "i=0; while [ $i -lt {count} ]; do sleep 1 & i=$((i+1)); done; wait; echo started $i"
FILL = "busybox dd if=/dev/zero of=big bs=1M count={count} 2>/dev/null; sleep {rest}"
TAKE = "busybox dd if=/dev/zero of=/dev/null bs={count}M count=1 2>/dev/null"
TALK = "busybox seq 100000 {last}"
SEEN = {"docker": {"process", "container"}, "podman": {"process", "container"}, "microvm": {"machine"}}
"""As what something of a job's step can be found, if not as a process alone."""

KINDS = [
    "shell",
    pytest.param("sandbox", marks=needs_bubblewrap),
    *ENGINES,
    pytest.param("microvm", marks=[needs_machines, needs_mke2fs]),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("queue")
    with serving(Project(folder), f"sqlite:///{folder}/server/jobs.db", "--lease", f"{LEASE:g}s") as running:
        yield running


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("git") / "repository")
    made.commit({"a.txt": "from the repository\n", "docs/b.txt": "b\n", "tool": "old\n"})
    return made


@pytest.fixture(scope="module", params=KINDS)
def station(request: pytest.FixtureRequest, server: Server, repository: Repository) -> Iterator[Station]:
    """A runtime with what it takes."""
    with ExitStack() as held:
        if request.param in ENGINES:
            held.enter_context(container_engine(request.param))
        made = Station(request.param, server, repository)
        held.callback(made.close)
        yield made


@pytest.fixture(scope="module")
def worker(station: Station) -> WorkerProcess:
    """A worker that all tests of a runtime share."""
    return station.worker()


def whole_job(repository: Repository) -> dict[str, Any]:
    """Return a job of everything: a checkout, files, steps of both kinds, one that is skipped, a secret."""
    return {
        "repositoryName": str(repository.path),
        "repositoryDirectory": "src",
        "commit": repository.git("rev-parse", "main"),
        "files": {"src/tool": {"content": "#!/bin/sh\necho tool runs\n"}, "given": {"content": "given\n"}},
        "redactedValues": {SECRET: "MASK"},
        "dockerSteps": [
            script("cat src/a.txt", "src/tool", "cat given", "ls src", "pwd", key="step.0.run"),
            script('echo step.2.run >"$RUNWRIGHT_WORKSPACE/.runwright-next"', key="step.1.pre"),
            script("echo never", key="step.1.run"),
            script(
                'echo "$GREETING" >made',
                "cat made >&2",
                f"echo {SECRET}",
                key="step.2.run",
                dir="src",
                env=["GREETING=Grüße"],
            ),
            script("cat src/made; printf 'no end'", f"echo {SECRET} | busybox base64 >&2", key=""),
        ],
        "cliSteps": [{"command": ["one", "two words"]}],
    }


WHOLE_LOG = {
    "setup.fs.extras": (["wrote given (6 bytes, 0644)", "wrote src/tool (25 bytes, 0755)"], []),
    "step.docker.step.0.run": (
        ["from the repository", "tool runs", "given", "a.txt", "docs", "tool", "/work"],
        [],
    ),
    "step.docker.step.1.pre": (["runwright: goes on with step step.2.run"], []),
    "step.docker.step.2.run": (["MASK"], ["Grüße"]),
    "step.docker.4": (["Grüße", "no end"], ["MASKK"]),  # the last letter tells of an end of line alone
    "step.src.0": (["called with one two words"], []),
    "teardown.fs": ([], []),
}
GIT = [
    f"setup.git.{name}" for name in ("init", "add-remote", "disable-gc", "fetch", "checkout", "set-remote")
]
MACHINE_KEYS = ["setup.microvm.start", "teardown.microvm.remove"]


def seen(station: Station, number: int) -> dict[str, tuple[int, list[str], list[str]]]:
    """Return exit code, output and errors by key, in order, without what a runtime may do in its own way."""
    entries = station.log(number)
    own = [entry["key"] for entry in entries if entry["key"] in MACHINE_KEYS]
    assert own == (MACHINE_KEYS if station.kind == "microvm" else [])
    return {
        entry["key"]: (entry["exitCode"], *streams(entry["out"]))
        for entry in entries
        if entry["key"] not in MACHINE_KEYS
    }


def streams(text: str) -> tuple[list[str], list[str]]:
    """Return the lines of each stream; between the two there is no order."""
    found: dict[str, list[str]] = {"stdout": [], "stderr": []}
    lines = re.sub(r"/\S*/jobs/[^/\s]+/work\b", "/work", text).split("\n")
    for line in lines[:-1]:
        stream, _, rest = line.partition(": ")
        found[stream].append(rest)
    assert lines[-1] == ""
    return found["stdout"], found["stderr"]


def test_a_whole_job_has_the_same_log_and_verdict(station: Station, worker: WorkerProcess) -> None:
    number = station.submit(queue=station.queue, **whole_job(station.repository))
    job = station.wait(number, "completed", "failed")
    assert (job["state"], job["message"], job["attempt"]) == ("completed", "", 1), station.log(number)
    log = seen(station, number)
    assert list(log) == [*GIT, *WHOLE_LOG]
    fetched = log["setup.git.fetch"][2][-1]
    assert fetched.split() == ["*", "branch", station.repository.git("rev-parse", "main"), "->", "FETCH_HEAD"]
    assert {key: log[key][1:] for key in WHOLE_LOG} == WHOLE_LOG
    assert {code for code, *_ in log.values()} == {0}
    assert worker.left() == []


def test_a_failing_command_in_the_middle_fails_the_job(station: Station, worker: WorkerProcess) -> None:
    steps = (script("echo a", "echo why >&2; (exit 3)", "echo b"), script("echo never"))
    number = station.submit(*steps)
    job = station.wait(number, "completed", "failed")
    assert (job["state"], job["message"]) == ("failed", "step.docker.0 failed with exit code 3: why")
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["errored"]
    assert seen(station, number) == {"step.docker.0": (3, ["a"], ["why"]), "teardown.fs": (0, [], [])}
    assert worker.left() == []


def test_limits_end_a_job_with_the_same_verdict(station: Station, worker: WorkerProcess) -> None:
    endless = station.submit(script("echo began; sleep 3600"))
    memory = station.submit(script(TAKE.format(count=200), key="m"))
    processes = station.submit(script(FORK.format(count=40), key="p"))
    disk = station.submit(script(FILL.format(count=60, rest=3600), key="d"))
    within = station.submit(
        script(TAKE.format(count=8), key="m"),
        script(FORK.format(count=5), key="p"),
        script(FILL.format(count=8, rest=0), key="d"),
        script(TALK.format(last=119_999), key="o"),
    )
    job = station.wait(within, "completed", "failed")
    assert job["state"] == "completed", (job["message"], station.log(within))
    log = seen(station, within)
    assert log["step.docker.p"][1] == ["started 5"]
    assert_shortened(*log["step.docker.o"][1:])
    ends = {}
    for number in (memory, processes, disk, endless):
        job = station.wait(number, "completed", "failed")
        assert [attempt["outcome"] for attempt in job["attempts"]] == ["errored"], job
        ends[number] = job["message"]
    assert ends[memory].startswith("step.docker.m failed with exit code 137")
    assert "its limit is 67108864 bytes" in str(seen(station, memory)["step.docker.m"])
    assert ends[processes].startswith("step.docker.p failed with exit code 2")
    assert "started 40" not in str(seen(station, processes))
    assert ends[disk].startswith(
        "step.docker.d failed" if station.kind == "microvm" else "the workspace takes"
    )
    assert f"longer than the {station.seconds:g}s" in ends[endless]
    assert worker.left() == []


def assert_shortened(lines: list[str], errors: list[str]) -> None:
    """The beginning and the end of an output are kept, and a line tells of what is not."""
    assert (lines[0], lines[-1]) == ("100000", "119999")
    (cut,) = errors
    assert re.fullmatch(r"runwright: [0-9,]+ bytes of output are left out here", cut)
    assert len("\n".join(lines)) < 66 * 1024


def test_a_canceled_step_that_ignores_signals_is_gone(station: Station, worker: WorkerProcess) -> None:
    canary = fresh("canary")
    number = station.submit(script(STUBBORN, key=canary))
    station.wait_output(number, "began")
    assert station.cancel(number, lambda: station.alive(worker, canary)) < CANCEL_SECONDS
    assert seen(station, number)[f"step.docker.{canary}"] == (-1, ["began"], ["runwright: stopped"])
    assert worker.left() == []


def test_a_job_is_canceled_during_its_checkout(station: Station, worker: WorkerProcess) -> None:
    canary = fresh("canary")
    with Silent() as host:
        url = f"http://{host.address}/{canary}"
        number = station.submit(script("true"), repositoryName=url, commit="main")
        wait_until(lambda: host.waiting, "git asks")
        running = partial(is_either, host, lambda: station.alive(worker, canary))
        assert station.cancel(number, running) < CANCEL_SECONDS
    log = station.log(number)
    assert [(entry["key"], entry["exitCode"]) for entry in log][-2:] == [
        ("setup.git.fetch", -1),
        ("teardown.fs", 0),
    ]
    assert worker.left() == []


def is_either(host: Silent, running: Any) -> bool:
    """Tell whether a host is still asked, or something runs."""
    return bool(host.waiting or running())


def test_a_job_is_canceled_while_its_room_is_made(station: Station, worker: WorkerProcess) -> None:
    if station.kind in ENGINES:
        cancel_during_pull(station, worker)
    elif station.kind == "microvm":
        cancel_during_start(station, worker)
    else:
        pytest.skip(f"{station.kind}: a room is made in no time")
    assert worker.left() == []


def cancel_during_pull(station: Station, worker: WorkerProcess) -> None:
    canary = fresh("canary")
    with Silent() as host:
        number = station.submit(script("true", image=f"{host.address}/{canary}:1"))
        wait_until(lambda: host.waiting, "the registry is asked")
        assert station.cancel(number, lambda: station.alive(worker, canary)) < CANCEL_SECONDS
        begun = time.monotonic()
        wait_until(lambda: not host.waiting, "nobody asks any more")  # Docker's daemon takes its own time
        assert time.monotonic() - begun < LEFT_SECONDS
    code, _, errors = seen(station, number)["step.docker.0"]
    assert (code, errors[-1]) == (-1, "runwright: stopped")


def cancel_during_start(station: Station, worker: WorkerProcess) -> None:
    canary = fresh("canary")
    number = station.submit(script("true", key=canary))
    wait_until(lambda: station.alive(worker, canary), "the machine starts")
    assert station.cancel(number, lambda: station.alive(worker, canary)) < CANCEL_SECONDS
    log = {entry["key"]: entry for entry in station.log(number)}
    assert list(log) == ["setup.microvm.start", "teardown.fs"]
    assert log["setup.microvm.start"]["exitCode"] == -1
    assert "runwright: stopped" in log["setup.microvm.start"]["out"]


def test_nothing_is_left_of_a_killed_worker_and_another_does_its_job(
    station: Station, repository: Repository
) -> None:
    """The second attempt finds a file in the repository that the first one did not."""
    canary, queue = fresh("canary"), fresh("killed")
    killed = station.worker(queue)
    hold = f"test -e go || {{ (setsid sleep 3600 &); {STUBBORN}; }}"
    repository.git("checkout", "--quiet", "-B", queue, "main")
    number = station.submit(
        script(hold, key=canary), queue=queue, repositoryName=str(repository.path), commit=queue
    )
    station.wait_output(number, "began")
    places = killed.left()
    found = {line.split()[0] for line in station.alive(killed, canary)}
    assert SEEN.get(station.kind, {"process"}) <= found, "the control: what is looked for can be seen"
    assert "of the worker" in str(station.left(killed, canary))
    assert places
    assert bool(groups_of(killed.process.pid)) == (station.kind in ("shell", "sandbox"))
    repository.commit({"go": "go\n"})
    killed.process.kill()
    begun = time.monotonic()
    killed.process.wait()
    wait_until(lambda: not station.left(killed, canary), "nothing is left")
    assert time.monotonic() - begun < LEFT_SECONDS
    other = station.worker(queue, killed.home)
    assert "removed workspace" in other.log()
    job = station.wait(number, "completed", "failed")
    assert (job["worker"], job["attempt"], job["resets"]) == (other.name, 2, 1)
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["lost", "completed"]
    assert not set(places) & set(other.left())
    assert groups_of(killed.process.pid) == []
    wait_until(lambda: other.left() == [], "no workspace is left")
