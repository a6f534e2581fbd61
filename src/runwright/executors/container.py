"""Commands in containers of Docker or Podman, which are gone when their task is."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field, structs

from runwright.core.containers import LABEL, is_podman
from runwright.core.errors import Failure, TaskFailed
from runwright.core.pattern import pattern
from runwright.core.task import Result, SessionId, Task
from runwright.core.variables import has_placeholder
from runwright.executors.calls import Calls
from runwright.executors.command_output import CommandOutput, to_failure
from runwright.executors.container_argv import (
    IMAGE,
    VALUES,
    Box,
    hand_over,
    mount_fault,
    run_argv,
)
from runwright.executors.container_engine import (
    ANSWER_SECONDS,
    KILLED,
    PAUSES,
    ContainerEngine,
    engine_fault,
    has_init,
)
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

USER = pattern(r"[A-Za-z0-9_][\w.-]*(?::[A-Za-z0-9_][\w.-]*)?")


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
        self._ledger = ledger
        self._is_root = os.geteuid() == 0 if is_root is None else is_root
        self._calls = Calls()
        self._engine = ContainerEngine(processes, ledger, pauses, patience)

    async def execute(self, session: Session, task: Task) -> Result:
        """Run the container to its end, and remove it.

        Raises:
            TaskFailed: With code ``E_EXIT`` if its command did not succeed; ``E_ENGINE`` if the engine could not run
                it, or none answers; ``E_MOUNT`` if what it is to see is not there; ``E_OUTPUT`` if it wrote nonsense to
                ``$RUNWRIGHT_OUTPUT``; ``E_SPAWN`` if the engine is not installed; ``E_ARGS`` if the arguments are
                wrong; ``E_SESSION`` if its session was closed meanwhile.
        """
        with self._calls.of(session.id):
            return await self._execute(session, task)

    async def close_session(self, session_id: SessionId) -> None:
        """End what still runs."""
        await self._calls.end(session_id)

    async def _execute(self, session: Session, task: Task) -> Result:
        args = _to_args(task)
        engine = await self._engine.find(args.engine)
        name = f"runwright-{os.urandom(8).hex()}"
        with _folder(session.output_dir(task.id) / f".{name}") as folder:
            command = self._command(session, task, args, engine, name, folder)
            output = CommandOutput(session.log(task.id))
            exit_ = await self._engine.run(engine, name, command, output.take)
            if exit_.code:
                raise TaskFailed(_to_failure(exit_, output, session, args))
            return Result(value=output.last_line(), variables=take_variables(folder / "values" / "output"))

    def _command(
        self, session: Session, task: Task, args: ContainerArgs, engine: str, name: str, folder: Path
    ) -> Command:
        names, values, env_file = _environment(args, folder)
        init = has_init(engine) if args.init is None else args.init
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
    """Return which variables the container takes from our program's environment, their values, and a file for others."""
    env = {**args.env, "RUNWRIGHT_OUTPUT": f"{VALUES}/output"}
    plain, file = hand_over(env, folder / "env")
    inherited = [name for name in args.inherit if name in os.environ and name not in env]
    return [*plain, *inherited], plain, file


def _to_failure(exit_: Exit, output: CommandOutput, session: Session, args: ContainerArgs) -> Failure:
    failure = to_failure(exit_, output, session)
    if fault := engine_fault(exit_, failure.stderr_tail):
        return structs.replace(failure, code="E_ENGINE", message=fault)
    if exit_.code == KILLED and args.memory:
        hint = f"SIGKILL; it may have reached its memory limit of {args.memory}"
        return structs.replace(failure, message=f"{failure.message} ({hint})")
    return failure
