"""Commands in containers of Docker or Podman, which are gone when their task is."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field, structs

from runwright.core.containers import LABEL, is_leaving, is_podman, is_unknown, remove_argv
from runwright.core.errors import Failure, TaskFailed
from runwright.core.pattern import pattern
from runwright.core.task import Result, Task
from runwright.core.variables import has_placeholder
from runwright.executors.command_output import CommandOutput, to_failure
from runwright.executors.container_argv import (
    CLI_READS,
    VALUES,
    Box,
    mount_fault,
    run_argv,
)
from runwright.executors.finishing import finished
from runwright.executors.isolated_args import (
    CONTROL,
    Bind,
    Mount,
    check_command,
    check_names,
    mount_failure,
    size_of,
    to_bind,
)
from runwright.executors.output_file import take_variables
from runwright.executors.sandbox_files import NOBODY, discard_tree
from runwright.ports.executor import NoSessions, Session
from runwright.ports.isolation import Ledger
from runwright.ports.system import Command, Exit, Processes

ENGINE_FAILED, KILLED = 125, 137
PROBES = {
    "docker": ("docker", "version", "--format", "{{.Server.Version}}"),
    "podman": ("podman", "version", "--format", "{{.Client.Version}}"),
}
INIT_OF_PODMAN = (
    "/usr/libexec/podman/catatonit",
    "/usr/local/libexec/podman/catatonit",
    "/usr/lib/podman/catatonit",
)
IMAGE = pattern(r"[A-Za-z0-9][\w.:/@+-]*")
USER = pattern(r"[A-Za-z0-9_][\w.-]*(?::[A-Za-z0-9_][\w.-]*)?")
SAID = pattern(r"(?m)^(?:docker: |Error: )(.+)$")
ANSWER_SECONDS = 30.0
"""How long an engine may take to answer what is not the task itself; then it counts as one that does not."""

PAUSES = (0.1, 0.4, 1.0)
"""Seconds before a container that the engine does not know is asked for again: it may be about to be made."""


class ContainerArgs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of the ``container`` executor.

    Attributes:
        image: Reference of the image.
        cmd: Command line for ``/bin/sh -c`` of the image.
        argv: Program and its arguments. With neither, the image's own command runs.
        engine: ``docker``, ``podman``, or ``auto`` for the first of them that answers.
        mounts: What of the source tree the container sees.
        user: User of the image, or ``uid:gid``; empty for our own, or nobody if we are root.
        network: True if it may use the network.
        env: Variables of its environment, beside those of the image.
        inherit: Names of variables that it gets from our environment, for secrets.
        clean_env: The environment is always clean.
        working_dir: Absolute, in the container; empty for what the image says.
        kill_grace: Seconds between SIGTERM and the end of the container when it is stopped.
        memory: Bytes, or a size such as ``64MiB``.
        cpus: Processors that it may keep busy, for instance 1.5.
        pids: Most processes and threads at a time.
        read_only: True if only mounts and ``/tmp`` can be written to.
        pull: When the image is fetched.
        init: True if the first process reaps others and passes signals on; where it is not said, wherever possible.
    """

    image: Annotated[str, Meta(examples=["alpine:3"])]
    cmd: str = ""
    argv: tuple[str, ...] = ()
    engine: Literal["auto", "docker", "podman"] = "auto"
    mounts: tuple[Mount, ...] = ()
    user: str = ""
    network: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    inherit: tuple[str, ...] = ()
    clean_env: bool = True
    working_dir: str = ""
    kill_grace: float = 10.0
    memory: str | int = ""
    cpus: Annotated[float, Meta(ge=0)] = 0.0
    pids: Annotated[int, Meta(ge=0)] = 0
    read_only: bool = False
    pull: Literal["missing", "never", "always"] = "missing"
    init: bool | None = None

    def __post_init__(self) -> None:
        check_command(self.cmd, self.argv, needed=False)
        check_names((*self.inherit, *self.env))
        size_of(self.memory, "memory")
        if not has_placeholder(self.image) and not IMAGE.fullmatch(self.image):
            raise ValueError(f"{self.image!r} can't be the name of an image")
        if self.user and not has_placeholder(self.user) and not USER.fullmatch(self.user):
            raise ValueError(f"{self.user!r} can't be a user; write a name, or uid:gid")
        directory = self.working_dir
        if (
            directory
            and not has_placeholder(directory)
            and (directory[0] != "/" or CONTROL.search(directory))
        ):
            raise ValueError("`working_dir` must be an absolute path in the container")


class Container(NoSessions):
    """Runs commands in containers, each made for one attempt.

    A container has no capabilities and can gain none, no network unless asked, and a user that is not root unless
    asked. Value and variables are those of ``shell``.

    Args:
        processes: Starts the program that talks to the engine.
        ledger: Remembers the containers.
        is_root: True if we are root; None to find out.
        pauses: Seconds before each further try to remove a container that may not have been made yet.
        patience: Seconds that the engine may take to answer what is not the task itself.
    """

    Args = ContainerArgs

    def __init__(
        self,
        processes: Processes,
        ledger: Ledger,
        is_root: bool | None = None,
        pauses: Sequence[float] = PAUSES,
        patience: float = ANSWER_SECONDS,
    ) -> None:
        self._processes = processes
        self._ledger = ledger
        self._is_root = os.geteuid() == 0 if is_root is None else is_root
        self._pauses = pauses
        self._patience = patience
        self._engine = ""

    async def execute(self, session: Session, task: Task) -> Result:
        """Run the container to its end, and remove it.

        Raises:
            TaskFailed: With code ``E_EXIT`` if its command did not succeed; ``E_ENGINE`` if the engine could not run
                it, or none answers; ``E_MOUNT`` if what it is to see is not there; ``E_OUTPUT`` if it wrote nonsense to
                ``$RUNWRIGHT_OUTPUT``; ``E_SPAWN`` if the engine is not installed; ``E_ARGS`` if the arguments are
                wrong.
        """
        args = _to_args(task)
        engine = await self._find_engine(args.engine)
        name = f"runwright-{os.urandom(8).hex()}"
        with _folder(session.output_dir(task.id) / f".{name}") as folder:
            command = self._command(session, task, args, engine, name, folder)
            output = CommandOutput(session.log(task.id))
            exit_ = await self._run(engine, name, command, output)
            if exit_.code:
                raise TaskFailed(_to_failure(exit_, output, session, args))
            return Result(value=output.last_line(), variables=take_variables(folder / "values" / "output"))

    async def _run(self, engine: str, name: str, command: Command, output: CommandOutput) -> Exit:
        """Run a container; it is gone when this returns or raises."""
        self._ledger.enter(engine, name)
        is_gone, pauses = False, self._pauses
        try:
            exit_ = await self._processes.run(command, output.take)
            if exit_.signal is None:
                pauses = ()
                is_gone = exit_.code != ENGINE_FAILED  # it removes what it ran to the end
            return exit_
        except TaskFailed as error:
            is_gone = error.failure.code == "E_SPAWN"  # there never was one
            raise
        finally:
            if is_gone:
                self._ledger.leave(name)
            else:
                await finished(self._end(engine, name, pauses))

    async def _end(self, engine: str, name: str, pauses: Sequence[float]) -> None:
        """Remove a container; if that fails, it stays in the ledger, and the next engine tries again."""
        if await self._remove(engine, name, pauses):
            self._ledger.leave(name)

    async def _remove(self, engine: str, name: str, pauses: Sequence[float]) -> bool:
        """End a container and remove it; False if the engine does not do it.

        An engine goes on making a container when the program that asked for it has been killed, so one that is unknown
        may come to be a moment later.
        """
        for pause in (*pauses, None):
            code, said = await self._ask(remove_argv(engine, name))
            if not is_unknown(said):
                return code == 0 or is_leaving(said)
            if pause is not None:
                await asyncio.sleep(pause)
        return True

    async def _ask(self, argv: tuple[str, ...]) -> tuple[int, str]:
        """Have the engine do something small; return its status and what it says, -1 if it can't be asked."""
        said = bytearray()
        command = Command(argv=argv, cwd="/", kill_grace=0.0)
        try:
            async with asyncio.timeout(self._patience):
                exit_ = await self._processes.run(command, lambda _, data: said.extend(data))
        except (TaskFailed, TimeoutError):
            return -1, ""
        return exit_.code, said.decode("utf-8", "replace")

    async def _find_engine(self, wanted: str) -> str:
        """Return the engine to use, which is looked for once."""
        if wanted != "auto":
            return wanted
        for engine, probe in PROBES.items() if not self._engine else ():
            if (await self._ask(probe))[0] == 0:
                self._engine = engine
                break
        if not self._engine:
            message = (
                "neither Docker nor Podman answers; install one, or see that its daemon runs and lets you in"
            )
            raise TaskFailed(Failure(code="E_ENGINE", message=message))
        return self._engine

    def _command(
        self, session: Session, task: Task, args: ContainerArgs, engine: str, name: str, folder: Path
    ) -> Command:
        names, values, env_file = _environment(args, folder)
        init = _has_init(engine) if args.init is None else args.init
        labels = {"runwright.run": session.id, "runwright.task": task.id, LABEL: self._ledger.owner}
        box = Box(
            name=name,
            image=args.image,
            command=args.argv or (("/bin/sh", "-c", args.cmd) if args.cmd else ()),
            pull=args.pull,
            user=args.user or self._default_user(),
            keeps_id=is_podman(engine) and not args.user and not self._is_root,
            labels=labels,
            binds=_binds(session.source, args.mounts, folder / "values"),
            network=args.network,
            init=init,
            read_only=args.read_only,
            memory_bytes=size_of(args.memory, "memory"),
            cpus=args.cpus,
            pids=args.pids and args.pids + init,
            names=names,
            env_file=env_file,
            working_dir=args.working_dir,
        )
        return Command(argv=run_argv(engine, box), cwd="/", env=values, kill_grace=args.kill_grace)

    def _default_user(self) -> str:
        return f"{NOBODY}:{NOBODY}" if self._is_root else f"{os.geteuid()}:{os.getegid()}"


def _to_args(task: Task) -> ContainerArgs:
    try:
        return msgspec.convert(task.args, ContainerArgs)
    except msgspec.ValidationError as error:
        raise TaskFailed(Failure(code="E_ARGS", message=f"executor container: {error}")) from None


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """Make a private directory, in which anybody may write to ``values``: the container's user can be any."""
    path.mkdir(mode=0o700)
    try:
        (path / "values").mkdir()
        (path / "values").chmod(0o777)
        yield path
    finally:
        discard_tree(path)


def _binds(source: Path, mounts: Sequence[Mount], values: Path) -> list[Bind]:
    found = [to_bind(source, mount) for mount in mounts]
    found.append(Bind(source=str(values.absolute()), target=VALUES, writable=True))
    for path in (path for bind in found for path in (bind.source, bind.target)):
        if fault := mount_fault(path):
            raise mount_failure(fault)
    return found


def _environment(args: ContainerArgs, folder: Path) -> tuple[list[str], dict[str, str], str]:
    """Return which variables the container takes from our program's environment, their values, and a file for others.

    So no value stands in an argument, where every user could read it, and none changes what our program does.
    """
    env = {**args.env, "RUNWRIGHT_OUTPUT": f"{VALUES}/output"}
    hidden = {name: value for name, value in env.items() if CLI_READS.fullmatch(name)}
    for name, value in hidden.items():
        if "\n" in value or "\r" in value:
            message = f"executor container: the value of {name} can't hold a line break"
            raise TaskFailed(Failure(code="E_ARGS", message=message))
    plain = {name: value for name, value in env.items() if name not in hidden}
    inherited = [name for name in args.inherit if name in os.environ and name not in env]
    file = folder / "env"
    if hidden:
        file.touch(mode=0o600)
        file.write_text("".join(f"{name}={value}\n" for name, value in hidden.items()))
    return [*plain, *inherited], plain, str(file.absolute()) if hidden else ""


def _has_init(engine: str) -> bool:
    """Tell whether the engine has a first process to offer: Docker comes with one, Podman needs a package."""
    return not is_podman(engine) or which("catatonit") is not None or any(map(os.path.exists, INIT_OF_PODMAN))


def _to_failure(exit_: Exit, output: CommandOutput, session: Session, args: ContainerArgs) -> Failure:
    failure = to_failure(exit_, output, session)
    said = SAID.findall(failure.stderr_tail)
    if exit_.code == ENGINE_FAILED and said:
        return structs.replace(failure, code="E_ENGINE", message=f"the container can't be run: {said[-1]}")
    if exit_.code == KILLED and args.memory:
        hint = f"SIGKILL; it may have reached its memory limit of {args.memory}"
        return structs.replace(failure, message=f"{failure.message} ({hint})")
    return failure
