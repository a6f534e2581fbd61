"""`kill -9` in the middle of every hook of the example plan: after `resume` nothing that it created is left.

Each trial runs a copy of ``examples/provision`` in a directory of its own, with a pause before and after each hook and a
line in a journal at both ends, kills the engine at a random instant of a chosen hook, and resumes at once. Compared are
the files of the directory, the processes and the sockets they listen on. ``RUNWRIGHT_PLAN_KILLS`` sets the number of
trials, ``RUNWRIGHT_SEED`` repeats a series.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runwright import wiring
from runwright.core.events import TaskEnded
from runwright.core.states import RunState, TaskRole, TaskState

EXAMPLE = Path(__file__).parents[2] / "examples" / "provision"
BIN = Path(sys.executable).parent
MARK = "RUNWRIGHT_KILL_PLAN_TEST"
SEED = int(os.environ.get("RUNWRIGHT_SEED", str(random.SystemRandom().randrange(1 << 30))))
KILLS = int(os.environ.get("RUNWRIGHT_PLAN_KILLS", "100"))
BATCHES = 4
LANES = 3
PATIENCE = 60.0
GONE_WITHIN = 2.0
"""Seconds after which no process of a killed engine may be alive."""
EDGE = 0.02
"""Seconds before and after each hook's own commands."""

HOOKS = ("pre_exec", "exec", "post_exec", "cleanup")
Place = tuple[str, str]
"""A step and one of its hooks."""


# -- the plan, slower and with a journal -------------------------------------------------------------------------


def example() -> dict[str, Any]:
    return tomllib.loads((EXAMPLE / "provision.toml").read_text())


def commands(hook: str | list[str]) -> list[str]:
    return [hook] if isinstance(hook, str) else hook


def slowed(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the plan with a journal: ``+ step hook`` when a hook begins, ``- step hook`` when it ends."""
    steps = [
        step
        | {
            hook: [
                f"echo '+ {step['name']} {hook}' >> journal; sleep {EDGE}",
                *commands(step[hook]),
                f"sleep {EDGE}; echo '- {step['name']} {hook}' >> journal",
            ]
            for hook in HOOKS
            if hook in step
        }
        for step in plan["steps"]
    ]
    return plan | {"steps": steps}


def to_toml(plan: dict[str, Any]) -> str:
    """Return a plan without tables as TOML, whose texts, numbers and arrays are written as those of JSON."""
    top = [f"{key} = {json.dumps(value)}" for key, value in plan.items() if key != "steps"]
    steps = [
        "\n".join(["[[steps]]", *(f"{k} = {json.dumps(v)}" for k, v in s.items())]) for s in plan["steps"]
    ]
    return "\n\n".join(["\n".join(top), *steps]) + "\n"


# -- what is there ----------------------------------------------------------------------------------------------


def marked(mark: str) -> list[int]:
    """Return the processes whose environment carries the trial's mark."""
    needle = f"{MARK}={mark}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if needle in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def listening(pids: Iterable[int]) -> list[int]:
    """Return the TCP ports that processes listen on."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    ports = {row[9]: int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
    found = []
    for pid in pids:
        try:
            links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        found += [ports[link[8:-1]] for link in links if link.startswith("socket:[") and link[8:-1] in ports]
    return found


def files(folder: Path) -> set[str]:
    """Return what is in a directory, apart from the journal and from what the store keeps on purpose."""
    kept = (".runwright/runs.db", ".runwright/logs", "out/plans.db", "out/logs", "journal")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in names if not name.startswith(kept) and "__pycache__" not in name}


def own(names: set[str]) -> set[str]:
    """Return what of some names the plan has made, and not the engine."""
    return {name for name in names if name.startswith("out-")}


def wait_until_gone(mark: str) -> list[int]:
    deadline = time.monotonic() + GONE_WITHIN
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


# -- one trial --------------------------------------------------------------------------------------------------


class Trial(NamedTuple):
    """What a trial found.

    Attributes:
        hit: The step and hook in whose middle the engine died; None if it died between two, or too late.
        left: What was there after the kill and not before the plan.
    """

    hit: Place | None
    left: set[str]


def journal(folder: Path) -> list[tuple[str, Place]]:
    path = folder / "journal"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(sign, (step, hook)) for sign, step, hook in map(str.split, lines)]


def open_hook(folder: Path) -> Place | None:
    """Return the hook that has begun and not ended."""
    lines = journal(folder)
    return lines[-1][1] if lines and lines[-1][0] == "+" else None


def start(folder: Path, mark: str, *command: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(folder: Path, place: Place, engine: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + PATIENCE
    while ("+", place) not in journal(folder) and engine.poll() is None:
        assert time.monotonic() < deadline, f"{place} never began"
        time.sleep(0.005)


def kill_in(folder: Path, mark: str, place: Place, delay: float, *command: str | Path) -> Trial:
    """Run a plan and kill its engine that long after a hook has begun."""
    before = files(folder)
    engine = start(folder, mark, *command)
    wait_for(folder, place, engine)
    time.sleep(delay)
    engine.send_signal(signal.SIGKILL)
    engine.communicate(timeout=PATIENCE)
    killed = engine.returncode == -signal.SIGKILL
    return Trial(open_hook(folder) if killed else None, own(files(folder) - before))


def resume(folder: Path, mark: str, before: set[str], *command: str | Path) -> None:
    """Resume, and hold what is there now to what was there before the plan."""
    engine = start(folder, mark, *command)
    output, _ = engine.communicate(timeout=PATIENCE)
    came_too_late = "has succeeded, so there is nothing to resume" in output
    assert engine.returncode == 0 or came_too_late, output
    alive = wait_until_gone(mark)
    assert not listening(alive), f"still listening: {listening(alive)}"
    assert not alive, f"alive {GONE_WITHIN} s after the resume: {alive}"
    left = files(folder) - before
    if came_too_late:
        left = own(left)  # the engine's own room is cleared by the next start, and this was none
    assert not left, f"left behind: {sorted(left)}\n{output}"


async def _read(database: Path) -> tuple[RunState, Counter[str], bool]:
    store = wiring.open_store(database, read_only=True)
    try:
        run = await store.find_run("latest")
        events = [stored.event for stored in await store.events(run.id)]
        cleaned = Counter(
            event.task_id
            for event in events
            if isinstance(event, TaskEnded)
            and event.role is TaskRole.CLEANUP
            and event.state is TaskState.SUCCEEDED
        )
        return run.state, cleaned, (await store.verify(run.id)).ok
    finally:
        await store.close()


def check_record(database: Path) -> None:
    state, cleaned, is_whole = asyncio.run(_read(database))
    assert state in {RunState.CANCELLED, RunState.SUCCEEDED}
    assert set(cleaned.values()) <= {1}, f"cleaned up again after that had succeeded: {cleaned}"
    assert is_whole


def sandbox(folder: Path, plan: dict[str, Any]) -> Path:
    folder.mkdir()
    shutil.copy(EXAMPLE / "books.py", folder)
    (folder / "provision.toml").write_text(to_toml(plan))
    return folder


PLAN = (BIN / "runwright", "plan", "provision.toml")
RESUME = (BIN / "runwright", "resume", "latest")
STATE = {".runwright", ".runwright/work"}
"""What a store is made of, beside its database and its logs; the room for work must be empty."""


def durations(folder: Path, *command: str | Path) -> dict[Place, float]:
    """Run a plan to its end; return how long each of its hooks takes, seen from outside."""
    engine = start(folder, "timed", *command)
    begun: dict[Place, float] = {}
    ended: dict[Place, float] = {}
    while engine.poll() is None:
        now = time.monotonic()
        for sign, place in journal(folder):
            (begun if sign == "+" else ended).setdefault(place, now)
        time.sleep(0.005)
    output, _ = engine.communicate()
    assert engine.returncode == 0, output
    return {place: ended.get(place, at + EDGE) - at for place, at in begun.items()}


def one_trial(folder: Path, plan: dict[str, Any], place: Place, delay: float, mark: str) -> Trial:
    sandbox(folder, plan)
    before = files(folder)
    trial = kill_in(folder, mark, place, delay, *PLAN)
    resume(folder, mark, before | STATE, *RESUME)
    check_record(folder / ".runwright" / "runs.db")
    return trial


def together(trials: Sequence[Callable[[], Trial]]) -> list[Trial]:
    with ThreadPoolExecutor(LANES) as lanes:
        return list(lanes.map(lambda trial: trial(), trials))


def check_hits(trials: list[Trial]) -> None:
    """Make sure that the kills were where they were meant to be, and that they left something to clean up."""
    hits = Counter(trial.hit[1] for trial in trials if trial.hit is not None)
    left = sum(bool(trial.left) for trial in trials)
    print(f"{len(trials)} kills: {dict(hits)} in the middle of hooks, {left} left something")
    assert hits.total() >= len(trials) * 0.7, "most kills missed the hooks"
    assert set(hits) == set(HOOKS), "a kind of hook was never hit"
    assert left > len(trials) / 2, "the control: without a resume things are left"


def drawn(rng: random.Random, spent: dict[Place, float], count: int) -> list[tuple[Place, float]]:
    """Draw hooks, each as often as the others, and instants in them."""
    every = list(spent)
    chosen = [place for _ in range(count) for place in rng.sample(every, len(every))][:count]
    return [(place, rng.uniform(0.0, spent[place])) for place in chosen]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_killed_in_every_hook_and_resumed_nothing_is_left(tmp_path: Path, batch: int) -> None:
    print(f"RUNWRIGHT_SEED={SEED}")
    plan = slowed(example())
    spent = durations(sandbox(tmp_path / "timed", plan), *PLAN)
    cases = drawn(random.Random(f"{SEED}/{batch}"), spent, KILLS // BATCHES)
    trials = [
        partial(one_trial, tmp_path / str(number), plan, place, delay, f"{SEED}-{batch}-{number}")
        for number, (place, delay) in enumerate(cases)
    ]
    check_hits(together(trials))


def killed_once_the_directory_is_there(folder: Path, plan: dict[str, Any]) -> None:
    """Kill at an instant at which the directory has been made and its step has not ended, and resume."""
    sandbox(folder, plan)
    before = files(folder)
    engine = start(folder, folder.name, *PLAN)
    deadline = time.monotonic() + PATIENCE
    while not list(folder.glob("out-*")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    engine.send_signal(signal.SIGKILL)
    engine.communicate(timeout=PATIENCE)
    resume(folder, folder.name, before | STATE, *RESUME)


def changed(**hooks: str | list[str]) -> dict[str, Any]:
    """Return the example, slower, with other hooks in its first step."""
    plan = example()
    first, *others = plan["steps"]
    return slowed(plan | {"steps": [first | hooks, *others]})


def test_control_a_plan_without_its_cleanup_is_caught(tmp_path: Path) -> None:
    killed_once_the_directory_is_there(tmp_path / "with", changed())
    with pytest.raises(AssertionError, match="left behind"):
        killed_once_the_directory_is_there(tmp_path / "without", changed(cleanup="true"))


def test_control_a_name_that_is_decided_where_the_thing_is_made_is_lost(tmp_path: Path) -> None:
    """The rule of the example matters: the state is stored between hooks, not in the middle of one."""
    first = example()["steps"][0]
    plan = changed(pre_exec="true", exec=[first["pre_exec"], first["exec"]])
    with pytest.raises(AssertionError, match="left behind"):
        killed_once_the_directory_is_there(tmp_path / "late", plan)


def test_control_a_process_that_listens_is_seen(tmp_path: Path) -> None:
    sandbox(tmp_path / "server", example())
    mark = f"{SEED}-control"
    make = "import books; books.fill('b.db'); books.serve('b.db', 'port')"
    server = start(tmp_path / "server", mark, sys.executable, "-c", make)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "server" / "port").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert marked(mark) == [server.pid]
        assert listening(marked(mark)) == [int((tmp_path / "server" / "port").read_text())]
    finally:
        server.kill()
        server.communicate()
    assert not wait_until_gone(mark)


# -- the plan made in Python ------------------------------------------------------------------------------------

SLOW = f"""
import inspect, sys, time
import provision
from runwright import Plan, Step


def note(sign, name, hook):
    with open("journal", "a") as file:
        file.write(f"{{sign}} {{name}} {{hook}}\\n")


def journaled(name, hook, function):
    async def around(state):
        note("+", name, hook)
        time.sleep({EDGE})
        if inspect.iscoroutinefunction(function):
            await function(state)
        else:
            function(state)
        time.sleep({EDGE})
        note("-", name, hook)
    return around


class Slow(Plan):
    def add_step(self, step):
        hooks = {{hook: getattr(step, hook, None) for hook in {HOOKS}}}
        around = {{hook: journaled(step.name, hook, function) for hook, function in hooks.items() if function}}
        return super().add_step(Step(step.name, retries=step.retries, **around))


provision.Plan = Slow
sys.exit(bool(provision.main(sys.argv[1]).cleanup_errors))
"""
PYTHON_KILLS = max(KILLS * 3 // 10, 30)
PYTHON_STATE = {"out", "out/.runwright", "out/work", ".runwright", ".runwright/work"}
BY_PYTHON = (sys.executable, "slow.py")


def python_sandbox(folder: Path) -> Path:
    folder.mkdir()
    for name in ("books.py", "provision.py"):
        shutil.copy(EXAMPLE / name, folder)
    (folder / "slow.py").write_text(SLOW)
    return folder


def one_python_trial(folder: Path, place: Place, delay: float, mark: str) -> Trial:
    before = files(python_sandbox(folder))
    trial = kill_in(folder, mark, place, delay, *BY_PYTHON, "run")
    resume(folder, mark, before | PYTHON_STATE, *BY_PYTHON, "resume")
    check_record(folder / "out" / "plans.db")
    return trial


@pytest.mark.timeout(300)
def test_the_plan_made_in_python_killed_in_every_hook_and_resumed_by_its_program(tmp_path: Path) -> None:
    print(f"RUNWRIGHT_SEED={SEED}")
    spent = durations(python_sandbox(tmp_path / "timed"), *BY_PYTHON, "run")
    assert len(spent) == 10
    cases = drawn(random.Random(f"{SEED}/python"), spent, PYTHON_KILLS)
    trials = [
        partial(one_python_trial, tmp_path / str(number), place, delay, f"{SEED}-python-{number}")
        for number, (place, delay) in enumerate(cases)
    ]
    check_hits(together(trials))
