"""Signals: one, two, three."""

import asyncio
import os
import signal

import pytest

from runwright.cli.stop import Stopper, signals


class Recorder:
    """Notes what a stopper does."""

    def __init__(self) -> None:
        self.stops: list[str] = []
        self.said: list[str] = []
        self.left: list[int] = []
        self.stopped = asyncio.Event()
        self.stopper = Stopper(self.stop, self.said.append, self.left.append)

    def stop(self, reason: str) -> None:
        self.stops.append(reason)
        self.stopped.set()


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGHUP")],
)
def test_one_stops_two_skip_the_grace_three_leave(number: signal.Signals, status: int, name: str) -> None:
    recorder = Recorder()
    assert recorder.stopper.exit_status == 0
    recorder.stopper(number)
    assert (recorder.stops, recorder.left) == ([f"stopped by {name}"], [])
    recorder.stopper(number)
    assert (len(recorder.stops), recorder.left) == (2, [])
    recorder.stopper(number)
    assert (len(recorder.stops), recorder.left) == (2, [status])
    assert len(recorder.said) == 2
    assert recorder.stopper.exit_status == status


def test_the_first_signal_gives_the_status() -> None:
    recorder = Recorder()
    recorder.stopper(signal.SIGTERM)
    recorder.stopper(signal.SIGINT)
    assert recorder.stopper.exit_status == 143


def test_signals_reach_the_stopper_while_the_block_runs() -> None:
    recorder = Recorder()

    async def work() -> None:
        with signals(recorder.stopper):
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(30):
                await recorder.stopped.wait()

    asyncio.run(work())
    assert recorder.stops == ["stopped by SIGTERM"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_ignored_signals_stay_ignored() -> None:
    """As under nohup."""
    recorder = Recorder()

    async def work() -> None:
        with signals(recorder.stopper):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(30):
                await recorder.stopped.wait()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asyncio.run(work())
    finally:
        signal.signal(signal.SIGHUP, before)
    assert recorder.stops == ["stopped by SIGTERM"]
