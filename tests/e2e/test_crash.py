"""`kill -9` of the engine at random instants and at every commit point: nothing is lost, nothing is left behind.

Each trial starts the installed command line on a graph of 50 tasks that keep a journal of their effects, kills it, looks
for survivors, and resumes until the run has ended. ``RUNWRIGHT_KILLS`` sets the number of random trials,
``RUNWRIGHT_SEED`` repeats a series.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from runwright import wiring
from runwright.adapters.failpoints import FAILPOINTS
from runwright.core.errors import RunNotFound
from runwright.core.run import Attempt, Run, TaskRow
from runwright.ports.stores import Integrity

KILLS = int(os.environ.get("RUNWRIGHT_KILLS", "200"))
SEED = int(os.environ.get("RUNWRIGHT_SEED", str(random.SystemRandom().randrange(1 << 30))))
BATCHES = 8
RUNWRIGHT = str(Path(sys.executable).with_name("runwright"))
MARK = "RUNWRIGHT_CRASH_TEST"
TASKS = 50
LANES = 2


def workflow(rng: random.Random) -> str:
    """Return a graph of 50 tasks in 10 levels, each with a line in the journal and a short sleep."""
    lines = ['name = "crash"', "kill_grace = 0.1"]
    for number in range(TASKS):
        level = number // 5
        needs = rng.sample(range((level - 1) * 5, level * 5), 2) if level else []
        lines += [
            f"[tasks.t{number}]",
            f"cmd = 'echo t{number} >> journal; sleep 0.00{rng.randrange(10)}; echo out t{number}'",
            f"depends_on = {json.dumps([f't{n}' for n in needs])}",
            f'register = "v{number}"',
        ]
    return "\n".join(lines) + "\n"


def survivors(mark: str) -> list[int]:
    """Return the processes whose environment carries the trial's mark."""
    needle = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if needle in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def start(folder: Path, words: list[str], mark: str, **extra: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [RUNWRIGHT, *words],
        cwd=folder,
        env={**os.environ, MARK: mark, **extra},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait_until_gone(mark: str, limit: float) -> list[int]:
    deadline = time.monotonic() + limit
    while (left := survivors(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


class Record(NamedTuple):
    """What the store holds of the newest run."""

    run: Run
    tasks: list[TaskRow]
    attempts: list[Attempt]
    integrity: Integrity


async def _read(folder: Path) -> Record | None:
    store = wiring.open_store(folder / ".runwright" / "runs.db", read_only=True)
    try:
        run = await store.find_run("latest")
        return Record(
            run, await store.tasks(run.id), await store.attempts(run.id), await store.verify(run.id)
        )
    except RunNotFound:
        return None
    finally:
        await store.close()


def read(folder: Path) -> Record | None:
    return asyncio.run(_read(folder))


def succeeded(folder: Path) -> set[str]:
    record = read(folder)
    return {t.id for t in record.tasks if t.state == "succeeded"} if record is not None else set()


def finish(folder: Path, mark: str) -> None:
    """Resume until the run has ended; a run that was never recorded is started."""
    record = read(folder)
    if record is not None and record.run.state == "succeeded":
        return
    words = ["run", "crash.toml", "--workers", "4"] if record is None else ["resume", "latest"]
    engine = start(folder, words, mark)
    output, _ = engine.communicate(timeout=60)
    assert engine.returncode == 0, output.decode()


def check_end(folder: Path, before: set[str], journal_before: Counter[str]) -> None:
    """Hold the end of a trial to the promises."""
    record = read(folder)
    assert record is not None
    assert record.run.state == "succeeded"
    effects = journal(folder)
    attempts = {task.id: task.attempts for task in record.tasks}
    rows = Counter(attempt.task_id for attempt in record.attempts)
    for number in range(TASKS):
        task = f"t{number}"
        assert effects[task] >= 1, f"{task} never ran"
        assert effects[task] <= attempts[task], f"{task}: {effects[task]} effects, {attempts[task]} attempts"
        assert effects[task] <= rows[task], f"{task}: {effects[task]} effects, {rows[task]} attempt rows"
    for task in before:
        assert effects[task] == journal_before[task], f"{task} had succeeded and ran again"
    assert record.integrity.ok, record.integrity.problem


def journal(folder: Path) -> Counter[str]:
    path = folder / "journal"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def one_kill(folder: Path, rng: random.Random, mark: str, duration: float) -> bool:
    """Kill one run at a random instant and finish it; returns whether the kill came before its end."""
    folder.mkdir()
    (folder / "crash.toml").write_text(workflow(rng))
    engine = start(folder, ["run", "crash.toml", "--workers", "4"], mark)
    time.sleep(rng.uniform(0.0, duration))
    engine.send_signal(signal.SIGKILL)
    engine.communicate()
    left = wait_until_gone(mark, 2.0)
    assert not left, f"alive 2 s after the kill: {left}"
    before, seen = succeeded(folder), journal(folder)
    finish(folder, mark)
    check_end(folder, before, seen)
    return engine.returncode == -signal.SIGKILL


@pytest.mark.timeout(600)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_killed_at_random_instants(tmp_path: Path, batch: int) -> None:
    print(f"RUNWRIGHT_SEED={SEED}")
    rng = random.Random(f"{SEED}/{batch}")
    (tmp_path / "timed").mkdir()
    (tmp_path / "timed" / "crash.toml").write_text(workflow(rng))
    begun = time.monotonic()
    start(tmp_path / "timed", ["run", "crash.toml", "--workers", "4"], "timed").communicate()
    duration = time.monotonic() - begun
    killed = sum(
        one_kill(tmp_path / str(n), rng, f"{SEED}-{batch}-{n}", duration) for n in range(KILLS // BATCHES)
    )
    assert killed >= KILLS // BATCHES // 2, "most kills came too late to test anything"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("lane", range(LANES))
@pytest.mark.parametrize("point", FAILPOINTS)
def test_killed_at_every_commit(tmp_path: Path, point: str, lane: int) -> None:
    """Walk through all commits of a run: the COUNT-th one kills, until a run has no such commit any more."""
    for count in range(1 + lane, 400, LANES):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "crash.toml").write_text(workflow(random.Random(SEED)))
        mark = f"{SEED}-{point}-{count}"
        engine = start(
            folder, ["run", "crash.toml", "--workers", "4"], mark, RUNWRIGHT_FAILPOINT=f"{point}:{count}"
        )
        output, _ = engine.communicate(timeout=60)
        if engine.returncode == 0:
            passed = count - 1
            assert passed >= (1 if "migration" in point else TASKS // 5), "too few points to test anything"
            return
        assert engine.returncode == -signal.SIGKILL, output.decode()
        assert not wait_until_gone(mark, 2.0)
        before, seen = succeeded(folder), journal(folder)
        finish(folder, mark)
        check_end(folder, before, seen)
    pytest.fail("the run never came to its end")


def test_control_the_checks_find_a_succeeded_task_that_ran_again(tmp_path: Path) -> None:
    """The checks must be able to fail: forge an effect after the fact."""
    (tmp_path / "crash.toml").write_text(workflow(random.Random(1)))
    start(tmp_path, ["run", "crash.toml", "--workers", "4"], "control").communicate(timeout=60)
    before, seen = succeeded(tmp_path), journal(tmp_path)
    check_end(tmp_path, before, seen)
    with (tmp_path / "journal").open("a") as file:
        file.write("t7\n")
    with pytest.raises(AssertionError, match="t7"):
        check_end(tmp_path, before, seen)


def test_control_a_process_without_a_warden_survives_and_is_seen() -> None:
    mark = f"{SEED}-survivor"
    child = subprocess.Popen(["sleep", "30"], env={**os.environ, MARK: mark}, start_new_session=True)
    try:
        assert wait_until_gone(mark, 0.1) == [child.pid]
    finally:
        child.kill()
        child.wait()


FORGETFUL = """
import asyncio, sys
from runwright import wiring
from runwright.adapters.sqlite import SqliteStore

def append(self, lease, events, *, lazy=False):
    '''Acknowledge at once, and write nothing.'''
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done

SqliteStore.append = append
asyncio.run(wiring.Engine(workers=4).execute("crash.toml"))
"""


def test_control_an_engine_that_acknowledges_without_writing_is_caught(tmp_path: Path) -> None:
    (tmp_path / "crash.toml").write_text(workflow(random.Random(2)))
    engine = subprocess.Popen(
        [sys.executable, "-c", FORGETFUL], cwd=tmp_path, env={**os.environ, MARK: "forgetful"}
    )
    deadline = time.monotonic() + 30
    while len(journal(tmp_path)) < TASKS // 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    engine.kill()
    engine.communicate()
    assert not wait_until_gone("forgetful", 2.0)
    before, seen = succeeded(tmp_path), journal(tmp_path)
    finish(tmp_path, "forgetful")
    with pytest.raises(AssertionError, match="effects"):
        check_end(tmp_path, before, seen)
