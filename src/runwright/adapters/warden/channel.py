"""What a helper process waits for: frames from the engine, and the ends of its children."""

import _signal  # type: ignore[import-not-found]  # the module signal takes 5 ms to load
import marshal
import os

CHUNK = 1 << 15
"""Small enough for the allocator to keep; larger buffers are mapped and unmapped each time."""


class Inbox:
    """Frames from the engine."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.data = b""

    def take(self) -> tuple[object, ...] | None:
        """Wait for the next frame; None when the engine has closed its end."""
        while True:
            end = 4 + int.from_bytes(self.data[:4], "little")
            if len(self.data) >= end > 4:
                frame, self.data = self.data[4:end], self.data[end:]
                order: tuple[object, ...] = marshal.loads(frame)  # noqa: S302 - written by our own engine
                return order
            try:
                chunk = os.read(self.fd, CHUNK)
            except ConnectionError:
                chunk = b""
            if not chunk:
                return None
            self.data += chunk


class Bell:
    """A descriptor that becomes readable when a child ends."""

    def __init__(self) -> None:
        self.fd, self.writer = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self.writer, False)
        _signal.signal(_signal.SIGCHLD, ignore)
        _signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)

    def hush(self) -> None:
        """Forget what has rung."""
        try:  # noqa: SIM105 - contextlib takes 2 ms to load
            os.read(self.fd, 512)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Stop listening."""
        _signal.set_wakeup_fd(-1)
        os.close(self.fd)
        os.close(self.writer)


def ignore(_number: int, _frame: object) -> None:
    """Take a signal without doing anything; unlike SIG_IGN this is not inherited by commands."""
