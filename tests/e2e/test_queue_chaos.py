"""The queue in bad times: whatever fails, every job ends exactly once, and nobody stale has a say.

Three workers and a server run as processes. They are killed, stopped for twice the lease and cut off from one another;
the database restarts, and a proxy loses, delays, repeats and cuts what is said. ``RUNWRIGHT_SEED`` repeats a series, as
far as chance decides; ``RUNWRIGHT_CHAOS_JOBS`` sets the number of jobs, ``RUNWRIGHT_LONG=1`` makes it 5,000.
"""

import asyncio
import os
import random
from pathlib import Path

import pytest
from faulty_proxy import Fault, Weather
from queue_chaos import Chaos, Course, troubles
from queue_fleet import Fleet, require_networks, stop_and_go, until, why_no_networks
from queue_history import History, outcome_counts, violations
from queue_scene import BODIES, staged

SEED = int(os.environ.get("RUNWRIGHT_SEED", random.SystemRandom().randrange(1 << 30)))
IS_LONG = os.environ.get("RUNWRIGHT_LONG") == "1"
JOBS = int(os.environ.get("RUNWRIGHT_CHAOS_JOBS", "5000" if IS_LONG else "150"))
DELIVERED = 500 if IS_LONG else 60
LONGEST = 3_600.0 if IS_LONG else 75.0


def store_url(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of a fresh store of a kind."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/jobs.db"
    url: str = request.getfixturevalue("postgres").create_database()
    return url


def told(chaos: Chaos, history: History) -> str:
    """Return the figures of a course in one line."""
    values = {
        "bad times": f"{chaos.bad_seconds:.0f} s",
        "then": f"{chaos.calm_seconds:.1f} s",
        "faults": dict(chaos.faults),
        "messages": {str(fault): count for fault, count in chaos.proxy.counts.items()},
        "attempts": dict(outcome_counts(history)),
        "samples": chaos.samples,
        "workers that ended themselves": chaos.self_ended,
    }
    return ", ".join(f"{name}: {value}" for name, value in values.items())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.timeout(2 * LONGEST + 300)
def test_whatever_fails_every_job_ends_exactly_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    cluster = request.getfixturevalue("postgres") if kind == "postgres" else None
    print(f"RUNWRIGHT_SEED={SEED}")
    fleet = Fleet(tmp_path, store_url(kind, request, tmp_path))
    try:
        if not why_no_networks():
            for number in range(3):
                fleet.plug(f"w{number}")
        chaos = Chaos(Course(jobs=JOBS, seed=SEED, longest=LONGEST), fleet, cluster)
        history = asyncio.run(chaos.run())
    finally:
        fleet.close()
    print(told(chaos, history))
    assert (violations(history), sorted(chaos.crowds), troubles(fleet, chaos.proxy)) == ([], [], [])
    assert len(history.jobs) == len(set(chaos.ids.values())) == JOBS
    assert chaos.proxy.statuses["jobs", 201] > JOBS, "no submission was repeated"
    assert set(chaos.proxy.counts) == set(Fault)
    assert outcome_counts(history)["lost"], "no lease has lapsed"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_words_that_are_lost_late_or_said_twice_change_no_outcome(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    print(f"RUNWRIGHT_SEED={SEED}")
    fleet = Fleet(tmp_path, store_url(kind, request, tmp_path))
    faults = (Fault.DROPPED, Fault.UNANSWERED, Fault.DELAYED, Fault.DOUBLED)
    weather = Weather(0.2, faults, 1.0)
    course = Course(jobs=DELIVERED, seed=SEED, longest=LONGEST, weather=weather, breaks=False)
    try:
        chaos = Chaos(course, fleet, None)
        history = asyncio.run(chaos.run())
    finally:
        fleet.close()
    print(told(chaos, history))
    assert (violations(history), sorted(chaos.crowds), troubles(fleet, chaos.proxy)) == ([], [], [])
    assert len(history.jobs) == len(set(chaos.ids.values())) == DELIVERED
    assert chaos.proxy.statuses["jobs", 201] > DELIVERED, "no submission was repeated"
    assert min(chaos.proxy.counts[fault] for fault in faults) > DELIVERED // 2


@pytest.mark.parametrize("is_fenced", [True, False], ids=["fenced", "control"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_what_a_stale_worker_says_is_refused(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, *, is_fenced: bool
) -> None:
    store = store_url(kind, request, tmp_path)

    async def play() -> list[str]:
        async with staged(tmp_path, store, is_fenced=is_fenced) as scene:
            stale = scene.add_worker("a")
            job_id = await scene.submit()
            await scene.is_worked_on(job_id, 1, "a")
            stop_and_go(stale, goes=False)
            await scene.attempts_until(job_id, 1, "lost")
            scene.add_worker("b")
            await scene.is_worked_on(job_id, 2, "b")
            before = await scene.record(job_id)
            if is_fenced:
                answers = {route: await scene.says("a", job_id, 1, route) for route in BODIES}
                assert answers == dict.fromkeys(BODIES, 404)
                assert await scene.record(job_id) == before
            else:
                assert await scene.says("a", job_id, 1, "markComplete") == 204
                assert await scene.record(job_id) != before
                await until(lambda: not scene.fleet.at_work("b"), "b stops", 10.0)
            stop_and_go(stale, goes=True)
            await until(lambda: not scene.fleet.at_work("a"), "a stops", 5.0)
            history = await scene.end()
            assert troubles(scene.fleet, scene.proxy) == []
            return violations(history)

    found = asyncio.run(play())
    if is_fenced:
        assert found == []
    else:
        assert "job 1: markComplete of attempt 1 was accepted, which is lost" in found
        assert "job 1: attempt 2 is completed without having been worked on" in found


@pytest.mark.parametrize("how", ["both", "to the server", "to the worker", "unplugged", "control"])
def test_a_worker_that_is_cut_off_stops_before_another_one_has_its_job(how: str, tmp_path: Path) -> None:
    require_networks()
    is_heedful = how != "control"

    async def play() -> None:
        names, store = ("a", "b", "c"), f"sqlite:///{tmp_path}/jobs.db"
        async with staged(tmp_path, store, networks=names, is_heedful=is_heedful) as scene:
            for name in names:
                scene.add_worker(name, "--slots", "2")
            job_id = await scene.submit()
            await scene.is_worked_on(job_id, 1)
            victim = next(name for name in names if scene.fleet.at_work(name))
            network = scene.fleet.networks[victim]
            network.unplug() if how == "unplugged" else network.cut(how if is_heedful else "both")
            seconds = await scene.is_with_another(job_id, victim)
            assert bool(scene.fleet.at_work(victim)) is not is_heedful, "one job is at work in two places"
            assert seconds < 30
            print(f"reassigned after {seconds:.1f} s")
            network.plug() if how == "unplugged" else network.heal()
            await until(lambda: not scene.fleet.at_work(victim), f"nothing is left at {victim}", 10.0)
            assert [await scene.says(victim, job_id, 1, route) for route in BODIES] == [404] * len(BODIES)
            more = await scene.submit()
            await scene.is_worked_on(more, 1)
            history = await scene.end()
            assert violations(history) == []
            assert troubles(scene.fleet, scene.proxy) == []

    asyncio.run(play())
