"""Steps in sandboxes of bubblewrap: they see a system to read, the workspace to write, and nothing else."""

import asyncio
import os
import posixpath
import tempfile
from collections.abc import Callable
from pathlib import Path

from runwright.core.errors import TaskFailed
from runwright.core.rooms import HOME, WORKSPACE, shown_command, step_environment
from runwright.executors.finishing import finished
from runwright.executors.isolated_args import Bind
from runwright.executors.runtimes.steps import (
    Heard,
    StepFiles,
    check_step,
    failed,
    give,
    launch,
    make_group,
    step_files,
    tell_of_memory,
    write_variables,
)
from runwright.executors.sandbox_argv import (
    HELPERS,
    PATH,
    SYSTEM,
    VALUES,
    Cage,
    find_bubblewrap,
    identity_files,
    system_link,
    to_argv,
)
from runwright.executors.sandbox_files import NOBODY, discard_tree
from runwright.ports.isolation import ControlGroup, ControlGroups
from runwright.ports.jobs import JobPlace, OnOutput, RoomLog, RoomStep
from runwright.ports.system import Command, Exit, Processes

ENTERED = f'. {VALUES}/env; exec "$@"'
"""The first program of a step in its sandbox: it takes over the variables."""

TOLD_BY = "bwrap: "
PROBE = ("/bin/sh", "-c", "exit 0")


class SandboxRuntime:
    """Runs each step in a sandbox of its own; only the workspace lasts from one to the next.

    Where the worker is root, steps run as *nobody*, who becomes the owner of the workspace.

    Args:
        processes: Starts the steps.
        groups: Bounds them.
        path: PATH of steps that name none, as far as they see its directories.
        is_root: True if steps must become somebody else; None if that depends on whether we are root.
    """

    name = "sandbox"

    def __init__(
        self, processes: Processes, groups: ControlGroups, path: str, is_root: bool | None = None
    ) -> None:
        self._processes = processes
        self._groups = groups
        self._path = _visible(path)
        self._is_root = os.geteuid() == 0 if is_root is None else is_root

    async def open(self, place: JobPlace, log: RoomLog) -> "SandboxRoom":
        """Make a room.

        Raises:
            TaskFailed: With code ``E_SANDBOX`` if bubblewrap is not installed.
        """
        return await self._room(place)

    async def _room(self, place: JobPlace) -> "SandboxRoom":
        program = find_bubblewrap()
        owner = NOBODY if self._is_root else -1
        await finished(asyncio.to_thread(give, place.workspace, owner))
        return SandboxRoom(self._processes, self._groups, self._path, place, program, owner)

    async def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Remove control groups, of which nothing is said; processes and mounts end with their worker."""
        self._groups.sweep()
        return []

    async def faults(self) -> list[str]:
        """Make a sandbox and tell what went wrong."""
        with tempfile.TemporaryDirectory(prefix="runwright-probe-") as folder:
            place = JobPlace(name="probe", workspace=Path(folder, "work"), scratch=Path(folder, "scratch"))
            place.workspace.mkdir()
            place.scratch.mkdir()
            try:
                room = await self._room(place)
                heard = Heard(lambda _stream, _data: None)
                exit_ = await room.run(RoomStep(key="probe", argv=PROBE), heard.take)
                await room.close()
            except TaskFailed as error:
                return [_advice(error.failure.message)]
        return [_advice(heard.text().strip() or f"exit status {exit_.code}")] if exit_.code else []


class SandboxRoom:
    """The workspace at ``/work``, the system around it, and an empty ``/tmp`` for each step."""

    def __init__(
        self,
        processes: Processes,
        groups: ControlGroups,
        path: str,
        place: JobPlace,
        program: str,
        owner: int,
    ) -> None:
        self._processes = processes
        self._groups = groups
        self._path = path
        self._place = place
        self._program = program
        self._owner = owner
        self._etc = place.scratch / "etc"
        self._etc.mkdir(mode=0o755, exist_ok=True)
        for name, text in identity_files(owner if owner >= 0 else os.geteuid()).items():
            (self._etc / name).write_text(text)

    def command(self, step: RoomStep) -> tuple[str, ...]:
        """Return the command line as it was asked for."""
        return shown_command(step.script, step.argv)

    async def run(self, step: RoomStep, on_output: OnOutput) -> Exit:
        """Run a step.

        Raises:
            TaskFailed: With code ``E_SANDBOX`` if its sandbox can't be made; ``E_LIMIT`` if a limit can't be held here;
                ``E_ARGS`` if its environment can't be.
        """
        check_step(step)
        with step_files(self._place, step, self._owner) as files:
            own = step_environment(step.env, WORKSPACE, HOME)
            write_variables(files, {"PATH": self._path, **own}, self._owner)
            return await self._bounded(step, files, on_output)

    async def _bounded(self, step: RoomStep, files: StepFiles, on_output: OnOutput) -> Exit:
        heard = Heard(on_output)
        limits = self._place.limits
        group = make_group(self._groups, limits, HELPERS + (self._owner >= 0), is_last_resort=False)
        try:
            exit_ = await self._processes.run(self._command(step, files, group), heard.take)
            last = heard.text().strip().rpartition("\n")[2]
            if exit_.code == 1 and last.startswith(TOLD_BY):
                raise failed("E_SANDBOX", f"the sandbox can't be made: {last.removeprefix(TOLD_BY)}")
            tell_of_memory(exit_, limits, group, on_output)
        finally:
            group.remove()
        return exit_

    def _command(self, step: RoomStep, files: StepFiles, group: ControlGroup) -> Command:
        is_other = self._owner >= 0
        pids = self._place.limits.pids
        cage = Cage(
            etc=self._etc,
            files=(
                Bind(source=str(self._place.workspace), target=WORKSPACE, writable=True),
                Bind(source=str(files.run), target=VALUES),
            ),
            working_dir=posixpath.normpath(posixpath.join(WORKSPACE, step.dir)),
            network=self._place.limits.network,
            entrances=group.entrances,
            limits=[f"--nproc={pids + (not is_other)}"] if pids and not group.holds_pids else (),
            is_root=is_other,
        )
        inner = ("/bin/sh", "-c", ENTERED, "enter", *launch(step, VALUES))
        return Command(
            argv=to_argv(self._program, cage, inner, system_link),
            cwd=str(files.folder),
            env={"PATH": PATH},
            clean_env=True,
            kill_grace=self._place.kill_grace,
        )

    async def close(self) -> None:
        """Remove what was written for the room."""
        discard_tree(self._etc)


def _visible(path: str) -> str:
    """Return the directories of a PATH that a sandbox shows; the usual ones if there is none."""
    seen = [
        folder
        for folder in path.split(":")
        if any(folder == top or folder.startswith(f"{top}/") for top in SYSTEM)
    ]
    return ":".join(seen) or PATH


def _advice(fault: str) -> str:
    return (
        f"no sandbox can be made: {fault.removeprefix(TOLD_BY)}; install the packages bubblewrap and util-linux, and see "
        "that namespaces are allowed (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)"
    )
