"""Steps as plain processes of the worker's user: no isolation but that they end with their step."""

import os
from collections.abc import Callable

from runwright.core.rooms import shown_command, step_environment
from runwright.executors.runtimes.steps import (
    StepFiles,
    check_step,
    launch,
    make_group,
    step_files,
    tell_of_memory,
)
from runwright.executors.sandbox_argv import JOIN
from runwright.ports.isolation import ControlGroup, ControlGroups
from runwright.ports.jobs import JobPlace, OnOutput, RoomLog, RoomStep
from runwright.ports.system import Command, Exit, Processes


class ShellRuntime:
    """Runs steps on the machine itself, where they can do all that the worker's user can.

    A step ends with everything that it started. Memory, processes and CPU are bounded where control groups can be made;
    the network is always open.

    Args:
        processes: Starts the steps.
        groups: Bounds them.
        path: PATH of steps that name none.
    """

    name = "shell"

    def __init__(self, processes: Processes, groups: ControlGroups, path: str) -> None:
        self._processes = processes
        self._groups = groups
        self._path = path

    async def open(self, place: JobPlace, log: RoomLog) -> "ShellRoom":
        """Return a room, which takes no time."""
        return ShellRoom(self._processes, self._groups, self._path, place)

    async def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Remove control groups, of which nothing is said; processes end with their worker."""
        self._groups.sweep()
        return []

    async def faults(self) -> list[str]:
        """Tell whether there is a shell."""
        return [] if os.access("/bin/sh", os.X_OK) else ["there is no /bin/sh; install a shell"]


class ShellRoom:
    """The workspace and nothing around it."""

    def __init__(self, processes: Processes, groups: ControlGroups, path: str, place: JobPlace) -> None:
        self._processes = processes
        self._groups = groups
        self._path = path
        self._place = place

    def command(self, step: RoomStep) -> tuple[str, ...]:
        """Return the command line as it was asked for."""
        return shown_command(step.script, step.argv)

    async def run(self, step: RoomStep, on_output: OnOutput) -> Exit:
        """Run a step.

        Raises:
            TaskFailed: With code ``E_SPAWN`` if its program can't be started; ``E_LIMIT`` if a limit can't be held here;
                ``E_ARGS`` if its environment can't be.
        """
        check_step(step)
        with step_files(self._place, step, -1) as files:
            group = make_group(self._groups, self._place.limits)
            try:
                exit_ = await self._processes.run(self._command(step, files, group), on_output)
                tell_of_memory(exit_, self._place.limits, group, on_output)
            finally:
                group.remove()
        return Exit(code=exit_.code)  # the other rooms know a signal by its code alone

    def _command(self, step: RoomStep, files: StepFiles, group: ControlGroup) -> Command:
        argv = launch(step, str(files.run))
        if group.entrances:
            argv = ("/bin/sh", "-c", JOIN, "join", str(len(group.entrances)), *group.entrances, *argv)
        own = step_environment(step.env, str(self._place.workspace), str(files.home))
        return Command(
            argv=argv,
            cwd=str(self._place.workspace / step.dir),
            env={"PATH": self._path, **own},
            clean_env=True,
            kill_grace=self._place.kill_grace,
        )

    async def close(self) -> None:
        """Do nothing: no step has left anything."""
