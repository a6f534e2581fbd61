"""Steps in containers of Docker or Podman: each in its own image, with the workspace of its job."""

import asyncio
import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import msgspec
from msgspec import Struct

from runwright.core.containers import LABEL, is_leaving, is_podman, remove_argv
from runwright.core.errors import TaskFailed
from runwright.core.job import DockerAuthConfig
from runwright.core.rooms import HOME, WORKSPACE, shown_command, step_environment
from runwright.executors.container_argv import IMAGE, VALUES, Box, hand_over, mount_fault, run_argv
from runwright.executors.container_engine import (
    ANSWER_SECONDS,
    PAUSES,
    PROBES,
    ContainerEngine,
    engine_fault,
    has_init,
)
from runwright.executors.finishing import finished
from runwright.executors.isolated_args import Bind, mount_failure
from runwright.executors.runtimes.steps import (
    Heard,
    StepFiles,
    check_step,
    failed,
    give,
    launch,
    step_files,
    tell_of_memory,
)
from runwright.executors.sandbox_files import NOBODY, discard_tree
from runwright.ports.isolation import Ledger
from runwright.ports.jobs import JobPlace, OnOutput, RoomLog, RoomStep
from runwright.ports.system import Command, Exit, Processes

PREFIX = "runwright-"
HOME_LABEL = "runwright.home"
"""Label of the directory of workers in whose places the containers of jobs are."""

FIRST = (
    'exec 3>&2 2>/dev/null; trap "kill -TERM \\$pid" TERM; "$@" 2>&3 3>&- & pid=$!; '
    "while :; do wait $pid; code=$?; kill -0 $pid || exit $code; done"
)
"""First process of a container for engines that have none to offer: a step that is the first heeds few signals."""

PROBES_OF_JOBS = {**PROBES, "podman": ("podman", "info", "--format", "{{.Host.Arch}}")}


class ContainerOptions(Struct, frozen=True, kw_only=True):
    """How a worker uses containers.

    Attributes:
        engine: ``docker``, ``podman``, or ``auto`` for the first of them that answers.
        image: Of steps that name none; empty if they fail.
        pull: ``missing``, ``never`` or ``always``: when an image is fetched.
    """

    engine: str = "auto"
    image: str = ""
    pull: str = "missing"


class ContainerRuntime:
    """Runs each step in a container of its own; only the workspace lasts from one to the next.

    Where the worker is root, steps run as *nobody*, who becomes the owner of the workspace; else as the worker's user.

    Args:
        processes: Starts the program that talks to the engine.
        ledger: Remembers the containers.
        home: Names the directory of the workers that share it, on this machine; stands on each container.
        options: What the worker wants.
        is_root: True if we are root; None to find out.
        pauses: Seconds before each further try to remove a container that may not have been made yet.
        patience: Seconds that the engine may take to answer what is not a step itself.
    """

    name = "container"

    def __init__(
        self,
        processes: Processes,
        ledger: Ledger,
        home: str,
        options: ContainerOptions | None = None,
        is_root: bool | None = None,
        pauses: Sequence[float] = PAUSES,
        patience: float = ANSWER_SECONDS,
    ) -> None:
        self.processes = processes
        self.ledger = ledger
        self.home = home
        self.options = options or ContainerOptions()
        self.engine = ContainerEngine(processes, ledger, pauses, patience)
        self.is_root = os.geteuid() == 0 if is_root is None else is_root

    async def open(self, place: JobPlace, log: RoomLog) -> "ContainerRoom":
        """Make a room.

        Raises:
            TaskFailed: With code ``E_ENGINE`` if no engine answers; ``E_MOUNT`` if the workspace can't be mounted.
        """
        program = await self.engine.find(self.options.engine)
        for path in (place.workspace, place.scratch):
            if fault := mount_fault(str(path)):
                raise mount_failure(fault)
        await finished(asyncio.to_thread(give, place.workspace, NOBODY if self.is_root else -1))
        return ContainerRoom(self, place, program)

    async def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Remove the containers of dead places, those that the ledger knows and those that only their label tells of."""
        left = self.ledger.abandoned()
        engines = {engine for engine, _ in left}
        with suppress(TaskFailed):  # what a worker without an engine could have left, the ledger knows
            engines.add(await self.engine.find(self.options.engine))
        said = []
        for engine in sorted(engines):
            code, listed = await self.engine.ask(list_argv(engine, self.home))
            if code == 0:
                names = [name for name in listed.split() if name.startswith(PREFIX)]
                dead = [name for name in names if not is_alive(place_of(name))]
                said += await self._remove(engine, dead)
                for name in (name for one, name in left if one == engine and name not in names):
                    self.ledger.leave(name)
        return said

    async def _remove(self, engine: str, names: Sequence[str]) -> list[str]:
        said = []
        for name in names:
            code, answer = await self.engine.ask(remove_argv(engine, name))
            if code == 0 or is_leaving(answer):
                self.ledger.leave(name)
                said.append(f"removed the container {name}, whose worker has died")
        return said

    async def faults(self) -> list[str]:
        """Ask the engine, and look for the image of steps that name none."""
        try:
            engine = await self.engine.find(self.options.engine)
        except TaskFailed as error:
            return [error.failure.message]
        code, said = await self.engine.ask(PROBES_OF_JOBS[engine])
        if code:
            reason = said.strip().rpartition("\n")[2] or f"there is no program {engine}"
            return [f"{engine} does not answer ({reason}); install it, or see that its daemon lets you in"]
        image = self.options.image
        if image and self.options.pull == "never" and not await self.has_image(engine, image):
            return [
                f"the image {image} is not here and is not to be pulled; load it, or leave out --pull never"
            ]
        return []

    async def has_image(self, engine: str, image: str) -> bool:
        """Tell whether an image is on this machine."""
        return (await self.engine.ask((engine, "image", "inspect", "--format", "{{.Id}}", image)))[0] == 0


class ContainerRoom:
    """The workspace at ``/work`` of one container after another."""

    def __init__(self, runtime: ContainerRuntime, place: JobPlace, program: str) -> None:
        self._runtime = runtime
        self._place = place
        self._program = program
        self._owner = NOBODY if runtime.is_root else -1
        self._present: set[str] = set()
        self._numbers = count(1)

    def command(self, step: RoomStep) -> tuple[str, ...]:
        """Return the command line as it was asked for."""
        return shown_command(step.script, step.argv)

    async def run(self, step: RoomStep, on_output: OnOutput) -> Exit:
        """Run a step.

        Raises:
            TaskFailed: With code ``E_IMAGE`` if there is no image; ``E_ENGINE`` if the engine can't run it; ``E_SPAWN``
                if the engine is not installed; ``E_ARGS`` if the environment of the step can't be.
        """
        check_step(step)
        image = await self._image(step, on_output)
        heard = Heard(on_output)
        with step_files(self._place, step, self._owner) as files:
            name = f"{PREFIX}{self._place.name}-{next(self._numbers)}"
            command = self._command(step, image, name, files)
            exit_ = await self._runtime.engine.run(self._program, name, command, heard.take)
        if fault := engine_fault(exit_, heard.text()):
            raise failed("E_ENGINE", fault)
        tell_of_memory(exit_, self._place.limits, None, on_output)
        return exit_

    async def _image(self, step: RoomStep, on_output: OnOutput) -> str:
        """Return the image of a step, which is on this machine then."""
        options = self._runtime.options
        image = step.image or options.image
        if not IMAGE.fullmatch(image):
            advice = "give the step an `image`, or start the worker with --image"
            text = f"{image!r} can't be the name of an image" if image else "the step names no image"
            raise failed("E_IMAGE", f"{text}; {advice}")
        if image not in self._present:
            is_here = options.pull != "always" and await self._runtime.has_image(self._program, image)
            if not is_here:
                await self._pull(image, on_output)
            self._present.add(image)
        return image

    async def _pull(self, image: str, on_output: OnOutput) -> None:
        if self._runtime.options.pull == "never":
            text = f"the image {image} is not on the worker, which does not pull images; load it there"
            raise failed("E_IMAGE", text)
        heard = Heard(lambda _, data: on_output("stderr", data))
        with self._credentials() as env:
            command = Command(
                argv=(self._program, "pull", image), cwd="/", env=env, kill_grace=self._place.kill_grace
            )
            exit_ = await self._runtime.processes.run(command, lambda _, data: heard.take("stderr", data))
        if exit_.code:
            reason = heard.text().strip().rpartition("\n")[2]
            advice = "load it on the worker, or see that the registry can be reached and lets you in"
            raise failed("E_IMAGE", f"the image {image} is not here and can't be pulled: {reason}; {advice}")

    @contextmanager
    def _credentials(self) -> Iterator[dict[str, str]]:
        """Have the job's credentials in a file that nobody else can read while an image is pulled."""
        auth = self._place.docker_auth
        if auth is None or not auth.auths:
            yield {}
            return
        folder = self._place.scratch / "registry"
        folder.mkdir(mode=0o700)
        try:
            yield _credential_variables(folder, auth)
        finally:
            discard_tree(folder)

    def _command(self, step: RoomStep, image: str, name: str, files: StepFiles) -> Command:
        limits, is_root = self._place.limits, self._runtime.is_root
        plain, env_file = hand_over(step_environment(step.env, WORKSPACE, HOME), files.folder / "env")
        init = has_init(self._program)
        argv = launch(step, VALUES)
        if not init:
            argv = ("/bin/sh", "-c", FIRST, "first", *argv)
        box = Box(
            name=name,
            image=image,
            entrypoint=argv[0],
            command=argv[1:],
            pull="never",
            user=f"{NOBODY}:{NOBODY}" if is_root else f"{os.geteuid()}:{os.getegid()}",
            keeps_id=is_podman(self._program) and not is_root,
            labels={LABEL: self._runtime.ledger.owner, HOME_LABEL: self._runtime.home},
            binds=(
                Bind(source=str(self._place.workspace), target=WORKSPACE, writable=True),
                Bind(source=str(files.run), target=VALUES),
            ),
            network=limits.network,
            init=init,
            read_only=True,
            memory_bytes=limits.memory_bytes,
            cpus=limits.cpus,
            pids=limits.pids and limits.pids + 1,  # the first process is none of the step's
            names=list(plain),
            env_file=env_file,
            working_dir=posixpath.normpath(posixpath.join(WORKSPACE, step.dir)),
        )
        argv = run_argv(self._program, box)
        return Command(argv=argv, cwd="/", env=plain, kill_grace=self._place.kill_grace)

    async def close(self) -> None:
        """Do nothing: each container has gone with its step."""


def list_argv(engine: str, home: str) -> tuple[str, ...]:
    """Return the command line that prints the names of the containers of jobs in a directory of workers."""
    return (engine, "ps", "--all", "--format", "{{.Names}}", "--filter", f"label={HOME_LABEL}={home}")


def place_of(name: str) -> str:
    """Return the name of the place that a container belongs to."""
    return name.removeprefix(PREFIX).rpartition("-")[0]


def _credential_variables(folder: Path, auth: DockerAuthConfig) -> dict[str, str]:
    file = folder / "config.json"
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(auth))
    return {"DOCKER_CONFIG": str(folder), "REGISTRY_AUTH_FILE": str(file)}
