"""Signals: the first stops the run and lets tasks finish within their grace, the second skips it, the third exits."""

import _signal  # type: ignore[import-not-found]  # `signal` shows handlers as text, for which asyncio needs `inspect`
import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_BY_SIGNAL = 128
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


class Stopper:
    """Turns signals into stops.

    Args:
        stop: Asks the engine to stop; the second call makes it skip the grace.
        say: Tells the user what happens.
        leave: Ends the process at once with an exit status.

    Attributes:
        first: Number of the first signal; 0 while none has come.
    """

    def __init__(
        self,
        stop: Callable[[str], None],
        say: Callable[[str], None],
        leave: Callable[[int], None] = os._exit,
    ) -> None:
        self.first = 0
        self._count = 0
        self._stop = stop
        self._say = say
        self._leave = leave

    def __call__(self, number: int) -> None:
        """Take one signal."""
        self._count += 1
        self.first = self.first or number
        name = NAMES.get(signal.Signals(number), str(number))
        if self._count == 1:
            self._say(
                f"{name}: stopping; tasks may clean up, the run can be resumed. Once more skips the wait"
            )
            self._stop(f"stopped by {name}")
        elif self._count == 2:
            self._say(f"{name} again: ending tasks at once. Once more exits without waiting")
            self._stop(f"stopped by {name}, twice")
        else:
            self._leave(EXIT_BY_SIGNAL + number)

    @property
    def exit_status(self) -> int:
        """Return the status that stands for the first signal, or 0 if none came."""
        return EXIT_BY_SIGNAL + self.first if self.first else 0


@contextmanager
def signals(stopper: Stopper) -> Iterator[None]:
    """Send signals to `stopper` while the block runs; those that the process was started to ignore stay ignored.

    It does what `loop.add_signal_handler` would, which needs `inspect` for it, 4 ms to load.
    """
    loop = asyncio.get_running_loop()
    bell, clapper = os.pipe()
    os.set_blocking(bell, False)
    os.set_blocking(clapper, False)
    loop.add_reader(bell, os.read, bell, 4096)  # it only wakes the loop; the handler then tells
    before = {number: _signal.getsignal(number) for number in NAMES}
    rung_before = _signal.set_wakeup_fd(clapper, warn_on_full_buffer=False)
    for number, handler in before.items():
        if handler != _signal.SIG_IGN:
            _signal.signal(number, lambda number, _: loop.call_soon_threadsafe(stopper, number))
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler != _signal.SIG_IGN:
                _signal.signal(number, handler or _signal.SIG_DFL)  # None: it was not set by Python
        _signal.set_wakeup_fd(rung_before)
        loop.remove_reader(bell)
        os.close(bell)
        os.close(clapper)
