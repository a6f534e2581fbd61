"""What is done for a job, in order: checkout, files, steps. Each is an entry of its log."""

from collections.abc import Sequence
from functools import partial

from runwright.core.checkout import GitCommand, checkout_commands, git_environment
from runwright.core.job import Job
from runwright.core.job_steps import NEXT_STEP_BYTES, NEXT_STEP_FILE, JobStep, job_steps, next_index
from runwright.core.repositories import Location, locate
from runwright.engines.job_bounds import DiskBound, within_time
from runwright.engines.job_log import JobLog
from runwright.engines.job_tools import JobTools, failed
from runwright.ports.jobs import JobPlace, OnOutput, Room, RoomStep
from runwright.ports.system import Command, Exit


class JobWork:
    """A job in its place.

    Args:
        job: Without faults.
        place: Where.
        tools: What it takes.
        log: Gets the entries.
    """

    def __init__(self, job: Job, place: JobPlace, tools: JobTools, log: JobLog) -> None:
        self._job = job
        self._place = place
        self._tools = tools
        self._settings = tools.settings
        self._log = log
        self._disk = DiskBound(tools.places, place, tools.clock)
        self._room: Room | None = None

    async def do(self) -> None:
        """Do everything.

        Raises:
            TaskFailed: At the first thing that fails.
        """
        if self._job.repository_name:
            await self._check_out()
        if self._job.files:
            await self._log.entry("setup.fs.extras", (), self._write_files)
        if steps := job_steps(self._job):
            self._room = await self._tools.runtime.open(self._place, self._log.entry)
            await self._run_steps(self._room, steps)

    async def close_room(self) -> None:
        """Take the room down, if there is one."""
        if self._room is not None:
            await self._room.close()

    async def _check_out(self) -> None:
        git = self._settings.git
        try:
            location = locate(self._job.repository_name, git.url, git.allow)
        except ValueError as error:
            raise failed("E_REPOSITORY", str(error)) from None
        directory = self._job.repository_directory or "."
        await self._tools.places.make_directory(self._place, directory)
        for command in checkout_commands(self._job, location, directory):
            run = partial(self._run_git, self._git_call(command, location, directory))
            exit_ = await self._log.entry(command.key, command.argv, run)
            self._check(exit_, "E_GIT", command.key)

    def _git_call(self, command: GitCommand, location: Location, directory: str) -> Command:
        absolute = str(self._place.workspace / directory)
        return Command(
            argv=command.argv,
            cwd=str(self._place.workspace),
            env=git_environment(self._settings.git, location, absolute, connects=command.connects),
            clean_env=True,
            kill_grace=self._settings.kill_grace,
        )

    async def _run_git(self, call: Command, on_output: OnOutput) -> Exit:
        return await self._disk.hold(lambda: self._tools.processes.run(call, on_output))

    async def _write_files(self, on_output: OnOutput) -> Exit:
        for path, file in sorted(self._job.files.items()):
            mode = await self._tools.places.write(self._place, path, file)
            on_output("stdout", f"wrote {path} ({len(file.content):,} bytes, {mode:04o})\n".encode())
        return Exit(code=0)

    async def _run_steps(self, room: Room, steps: Sequence[JobStep]) -> None:
        if any(step.may_choose for step in steps):
            await self._wish()  # a repository has no say in which steps run
        index = 0
        while index < len(steps):
            index = await self._run_step(room, steps, index)

    async def _run_step(self, room: Room, steps: Sequence[JobStep], index: int) -> int:
        """Run a step; returns the index of the one to go on with."""
        step = steps[index]
        following = index + 1
        call = self._room_step(step)

        async def run(on_output: OnOutput) -> Exit:
            nonlocal following
            await self._tools.places.make_directory(self._place, step.dir)
            exit_ = await within_time(
                lambda: self._disk.hold(lambda: room.run(call, on_output)), self._settings.step_seconds
            )
            if step.may_choose and not exit_.code:
                following = await self._chosen(steps, index, on_output)
            return exit_

        exit_ = await self._log.entry(step.log_key, room.command(call), run)
        self._check(exit_, "E_EXIT", step.log_key)
        return following

    def _room_step(self, step: JobStep) -> RoomStep:
        if step.arguments and not self._settings.cli_command:
            message = f"{step.log_key}: this worker has no command for command line steps; start it with --cli-command"
            raise failed("E_COMMAND", message)
        return RoomStep(
            key=step.log_key,
            script=step.script,
            argv=(*self._settings.cli_command, *step.arguments) if step.arguments else (),
            image=step.image,
            dir=step.dir,
            env=step.env,
        )

    async def _chosen(self, steps: Sequence[JobStep], index: int, on_output: OnOutput) -> int:
        """Return the index of the step to go on with, as the one that has ended wants it."""
        try:
            wish = await self._wish()
            following = next_index(steps, index, wish)
        except ValueError as error:
            raise failed("E_NEXT", str(error)) from None
        if wish:
            on_output("stdout", f"runwright: goes on with step {wish}\n".encode())
        return following

    async def _wish(self) -> str:
        """Return the key in the file that names the next step, and remove it; empty if there is none."""
        note = await self._tools.places.take(self._place, NEXT_STEP_FILE, NEXT_STEP_BYTES)
        return (note or b"").decode("utf-8", "replace").strip()

    def _check(self, exit_: Exit, code: str, what: str) -> None:
        """Refuse to go on after a command that has failed."""
        if exit_.code:
            last = f": {self._log.last_error}" if self._log.last_error else ""
            raise failed(code, f"{what} failed with exit code {exit_.code}{last}")
