"""The helper that removes the containers of an engine that was killed; started as a script, so it imports nothing of ours.

Usage: container_reaper.py LABEL OWNER

Standard input has a line for each container engine that is used. It ends with the engine of Runwright: after the line
``bye`` in good order, without it by a kill.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable

PAUSES = (0.0, 0.3, 1.0, 3.0, 10.0)
"""Seconds before each round: an engine may still be making a container that was asked for just before the end."""
PATIENCE = 20.0

Ask = Callable[[list[str]], str]


def listen(lines: Iterable[str]) -> list[str] | None:
    """Return the engines that were used when the end comes; None if it comes in good order."""
    engines: dict[str, None] = {}
    for line in lines:
        if line == "bye\n":
            return None
        engines[line.rstrip("\n")] = None
    return list(engines)


def remove(engine: str, label: str, owner: str, ask: Ask) -> None:
    """Remove all containers of an owner that there are now."""
    found = ask([engine, "ps", "--all", "--quiet", "--filter", f"label={label}={owner}"]).split()
    if found:
        ask([engine, "kill", *found])  # at once: Podman's `rm` would wait for them to heed SIGTERM
        ask([engine, "rm", "--force", "--volumes", *found])


def run(command: list[str]) -> str:
    """Run a command and return what it printed."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def main(label: str, owner: str, lines: Iterable[str], ask: Ask, sleep: Callable[[float], None]) -> None:
    """Wait for the end of the engine and clean up after it."""
    engines = listen(lines)
    for pause in PAUSES if engines else ():
        sleep(pause)
        for engine in engines or ():
            remove(engine, label, owner, ask)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.stdin, run, time.sleep)
