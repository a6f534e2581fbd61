"""What rooms have in common: the files by which a step is started, what it may use, and what it says."""

import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from msgspec import Struct

from runwright.core.errors import Failure, TaskFailed
from runwright.core.rooms import SHELL, out_of_memory
from runwright.executors.isolated_args import check_names
from runwright.executors.sandbox_files import discard_tree
from runwright.ports.executor import Stream
from runwright.ports.isolation import ControlGroup, ControlGroups
from runwright.ports.jobs import JobLimits, JobPlace, OnOutput, RoomStep
from runwright.ports.system import Exit

TAIL_BYTES = 4096
KILLED = 137
_numbers = count(1)


class StepFiles(Struct, frozen=True):
    """The files of one step on this side.

    Attributes:
        folder: All of them, readable by nobody else; gone with the step.
        run: Directory with what the step's user reads: the script, and its variables if they go that way.
        home: The step's home, where that is not made by the room.
    """

    folder: Path
    run: Path
    home: Path


@contextmanager
def step_files(place: JobPlace, step: RoomStep, owner: int) -> Iterator[StepFiles]:
    """Have the files of a step while the context lasts.

    Args:
        place: In whose scratch they are.
        step: Whose script it is.
        owner: User id of the step; -1 for our own.
    """
    folder = place.scratch / f"step-{next(_numbers)}"
    files = StepFiles(folder, folder / "run", folder / "home")
    try:
        for path in (files.folder, files.run, files.home):
            path.mkdir(mode=0o700)
        _write(files.run / "script", step.script)
        give(files.run, owner)
        yield files
    finally:
        discard_tree(folder)


def write_variables(files: StepFiles, env: Mapping[str, str], owner: int) -> None:
    """Write an environment for a shell to read, so that no program outside the room is under its influence."""
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())
    _write(files.run / "env", text)
    give(files.run, owner)


def launch(step: RoomStep, run: str) -> tuple[str, ...]:
    """Return the command that runs a step.

    A script is read from its file, so that no line of it stands in an argument, where other users could read it. The
    shell goes by the name of the step: its own complaints are then the same in every room.

    Args:
        step: What is to run.
        run: Path of its directory `run`, as the step sees it.
    """
    name = step.key or "step"
    if step.argv:
        return (SHELL[0], "-c", 'exec "$@"', name, *step.argv)
    return (*SHELL, "-c", f". {shlex.quote(run)}/script", name)


def check_step(step: RoomStep) -> None:
    """See that a step can be started.

    Raises:
        TaskFailed: With code ``E_ARGS``.
    """
    try:
        check_names(tuple(step.env))
    except ValueError as error:
        raise failed("E_ARGS", f"the environment of the step: {error}") from None
    texts = (*step.env.values(), *step.argv, step.dir)
    if any("\0" in text for text in texts):
        raise failed("E_ARGS", "a variable or an argument of the step holds a NUL")


def make_group(
    groups: ControlGroups, limits: JobLimits, helpers: int = 0, *, is_last_resort: bool = True
) -> ControlGroup:
    """Make the control group of a step.

    Args:
        groups: Makes it.
        limits: Of the step.
        helpers: Processes of ours that count as the step's.
        is_last_resort: True if nothing else can bound the number of processes.

    Raises:
        TaskFailed: With code ``E_LIMIT`` if a limit can't be held on this machine.
    """
    group = groups.make(limits.memory_bytes, limits.pids and limits.pids + helpers, limits.cpus)
    missing = {
        "memory": limits.memory_bytes and not group.holds_memory,
        "processes": is_last_resort and limits.pids and not group.holds_pids,
        "CPU": limits.cpus and not group.holds_cpus,
    }
    names = [name for name, is_missing in missing.items() if is_missing]
    if names:
        group.remove()
        text = (
            f"a limit of {' and '.join(names)} can't be held here: it needs a writable control group; "
            "start the worker without it, or where there is one"
        )
        raise failed("E_LIMIT", text)
    return group


def tell_of_memory(exit_: Exit, limits: JobLimits, group: ControlGroup | None, on_output: OnOutput) -> None:
    """Say in the log if a step has been killed for the memory that it wanted, or may have been."""
    is_certain = group is not None and group.ran_out_of_memory()
    if limits.memory_bytes and (is_certain or (group is None and exit_.code == KILLED)):
        on_output("stderr", out_of_memory(limits.memory_bytes, is_certain=is_certain).encode())


class Heard:
    """Passes output on and keeps the end of the errors.

    Attributes:
        errors: Its last bytes.
    """

    def __init__(self, on_output: OnOutput) -> None:
        self._on_output = on_output
        self.errors = b""

    def take(self, stream: Stream, data: bytes) -> None:
        """Pass on a piece."""
        if stream == "stderr":
            self.errors = (self.errors + data)[-TAIL_BYTES:]
        self._on_output(stream, data)

    def text(self) -> str:
        """Return the end of the errors."""
        return self.errors.decode("utf-8", "replace")


def give(tree: Path, owner: int) -> None:
    """Make a user the owner of a tree.

    Links are not followed. A file with further names may be somebody else's as well, so it stays as it is.
    """
    if owner < 0:
        return
    os.chown(tree, owner, owner, follow_symlinks=False)
    for folder, folders, files in os.walk(tree):
        for name in folders:
            os.chown(Path(folder, name), owner, owner, follow_symlinks=False)
        for name in files:
            path = Path(folder, name)
            kind = path.lstat()
            if kind.st_nlink == 1 or stat.S_ISLNK(kind.st_mode):
                os.chown(path, owner, owner, follow_symlinks=False)


def failed(code: str, message: str) -> TaskFailed:
    """Return the failure of a step that can't be run."""
    return TaskFailed(Failure(code=code, message=message))


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, errors="surrogateescape")
