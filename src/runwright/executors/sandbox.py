"""Commands in a sandbox of bubblewrap: they see a system to read, their inputs, and nothing else."""

import asyncio
import os
import posixpath
from collections.abc import Awaitable, Mapping
from functools import partial
from itertools import count
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct, field, structs

from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Result, SessionId, Task
from runwright.core.variables import has_placeholder
from runwright.executors.calls import Calls
from runwright.executors.command_output import CommandOutput, to_failure
from runwright.executors.finishing import finished
from runwright.executors.isolated_args import (
    Mount,
    check_command,
    check_names,
    relative_fault,
    size_of,
    to_bind,
)
from runwright.executors.output_file import take_variables
from runwright.executors.sandbox_argv import (
    HELPERS,
    PATH,
    VALUES,
    WORK,
    Cage,
    find_bubblewrap,
    identity_files,
    system_link,
    task_files,
    to_argv,
)
from runwright.executors.sandbox_files import NOBODY, Layout, discard_tree, keep_outputs, lay_out
from runwright.ports.executor import NoSessions, Session
from runwright.ports.isolation import ControlGroup, ControlGroups
from runwright.ports.system import Command, Exit, Processes

TOLD_BY = "bwrap: "
_numbers = count(1)
T = TypeVar("T")


class SandboxArgs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of the ``sandbox`` executor.

    Attributes:
        cmd: Command line for ``/bin/sh -c``.
        argv: Program, looked up on PATH, and its arguments; no shell takes part.
        inputs: Globs, relative to the source tree, of the files that the task sees, beside the task's own ``inputs``.
        outputs: Globs, relative to the source tree too, of the files that are kept, beside the task's own ``outputs``.
        mounts: What else of the source tree the task sees, elsewhere.
        network: True if the task may use the network.
        env: All that the task's environment holds beside PATH, HOME and TMPDIR.
        inherit: Names of variables that the task gets from our environment, for secrets.
        clean_env: The environment is always clean.
        working_dir: Relative to the source tree; made if it is not there.
        kill_grace: Seconds between SIGTERM and SIGKILL when it is stopped.
        memory: Bytes, or a size such as ``64MiB``, for the whole task.
        pids: Most processes and threads at a time.
        cpu_time: Seconds of CPU for each process.
        file_size: Bytes, or a size, of the largest file that can be written.
    """

    cmd: str = ""
    argv: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    inherit: tuple[str, ...] = ()
    clean_env: bool = True
    working_dir: str = ""
    kill_grace: float = 10.0
    memory: str | int = ""
    pids: Annotated[int, Meta(ge=0)] = 0
    cpu_time: Annotated[int, Meta(ge=0)] = 0
    file_size: str | int = ""

    def __post_init__(self) -> None:
        check_command(self.cmd, self.argv, needed=True)
        check_names((*self.inherit, *self.env))
        size_of(self.memory, "memory")
        size_of(self.file_size, "file_size")
        for name in ("inputs", "outputs"):
            for path in getattr(self, name):
                if not has_placeholder(path) and (fault := relative_fault(path)):
                    raise ValueError(f"an element of `{name}` {fault}")
        if self.working_dir and not has_placeholder(self.working_dir) and relative_fault(self.working_dir):
            raise ValueError(f"`working_dir` {relative_fault(self.working_dir)}")


class Sandbox(NoSessions):
    """Runs commands that see and change only what they declare.

    The directory that stands for the source tree is private. Inputs stand in it, read-only, at the paths that they have in the source tree.
    What the task declares as outputs is kept when it succeeds: in its output directory, and in the source tree at the
    same paths. All else that it writes is gone with it. Value and variables are those of ``shell``.

    Args:
        processes: Starts them.
        groups: Bounds them.
        program: Path of bubblewrap; empty for the one on our PATH.
        is_root: True if the task must become somebody else; None if that depends on whether we are root.
    """

    Args = SandboxArgs

    def __init__(
        self, processes: Processes, groups: ControlGroups, program: str = "", is_root: bool | None = None
    ) -> None:
        self._processes = processes
        self._calls = Calls()
        self._groups = groups
        self._program = program
        self._is_root = os.geteuid() == 0 if is_root is None else is_root

    async def execute(self, session: Session, task: Task) -> Result:
        """Run the command to its end.

        Raises:
            TaskFailed: With code ``E_EXIT`` or ``E_SIGNAL`` if it did not succeed; ``E_INPUT`` or ``E_MOUNT`` if what it
                is to see is not there; ``E_LIMIT`` if a limit can't be held on this machine; ``E_SANDBOX`` if the
                sandbox could not be made; ``E_OUTPUT`` if an output is missing; ``E_ARGS`` if the arguments are wrong;
                ``E_SESSION`` if its session was closed meanwhile.
        """
        with self._calls.of(session.id):
            return await self._execute(session, task)

    async def close_session(self, session_id: SessionId) -> None:
        """End what still runs."""
        await self._calls.end(session_id)

    async def _execute(self, session: Session, task: Task) -> Result:
        args = _to_args(task)
        root = session.output_dir(task.id) / f".sandbox-{os.getpid()}-{next(_numbers)}"
        inputs, outputs = (*task.inputs, *args.inputs), (*task.outputs, *args.outputs)
        owner = NOBODY if self._is_root else -1
        try:
            prepare = partial(lay_out, root, session.source, inputs, outputs, args.working_dir, owner)
            layout = await _in_thread(prepare)
            _write_identity(layout, NOBODY if self._is_root else os.geteuid())
            value = await self._run(session, task, args, layout)
            variables = take_variables(layout.values / "output")
            keep = partial(keep_outputs, layout, outputs, session.output_dir(task.id), session.source)
            return Result(outputs=await _in_thread(keep), value=value, variables=variables)
        finally:
            await _in_thread(partial(discard_tree, root))

    async def _run(self, session: Session, task: Task, args: SandboxArgs, layout: Layout) -> str:
        memory = size_of(args.memory, "memory")
        group = self._groups.make(memory, args.pids and args.pids + HELPERS + self._is_root)
        try:
            command = self._command(session, args, layout, group)
            output = CommandOutput(session.log(task.id))
            exit_ = await self._processes.run(command, output.take)
            if exit_.code:
                raise TaskFailed(_to_failure(exit_, output, session, group, args))
            return output.last_line()
        finally:
            group.remove()

    def _command(self, session: Session, args: SandboxArgs, layout: Layout, group: ControlGroup) -> Command:
        cage = Cage(
            etc=layout.etc,
            files=task_files(layout),
            binds=[to_bind(session.source, mount) for mount in args.mounts],
            working_dir=posixpath.normpath(posixpath.join(WORK, args.working_dir)),
            network=args.network,
            entrances=group.entrances,
            limits=_limits(args, group, self._is_root),
            is_root=self._is_root,
        )
        return Command(
            argv=to_argv(self._find_program(), cage, args.argv or ("/bin/sh", "-c", args.cmd), system_link),
            cwd=str(layout.root),
            env=_environment(args),
            clean_env=True,
            kill_grace=args.kill_grace,
        )

    def _find_program(self) -> str:
        self._program = self._program or find_bubblewrap()
        return self._program


def _to_args(task: Task) -> SandboxArgs:
    try:
        args = msgspec.convert(task.args, SandboxArgs)
    except msgspec.ValidationError as error:
        raise TaskFailed(Failure(code="E_ARGS", message=f"executor sandbox: {error}")) from None
    for name in ("inputs", "outputs"):
        for path in getattr(task, name):
            if fault := relative_fault(path):
                message = f"executor sandbox: an element of `{name}` {fault}"
                raise TaskFailed(Failure(code="E_ARGS", message=message))
    return args


def _environment(args: SandboxArgs) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in args.inherit if name in os.environ}
    own = {"PATH": PATH, "HOME": "/tmp", "TMPDIR": "/tmp", "RUNWRIGHT_OUTPUT": f"{VALUES}/output"}  # noqa: S108
    return {**own, **inherited, **args.env, "RUNWRIGHT_OUTPUT": own["RUNWRIGHT_OUTPUT"]}


def _limits(args: SandboxArgs, group: ControlGroup, is_root: bool) -> list[str]:
    """Return what ``prlimit`` must hold, because no control group does.

    The number of processes is that of the task's own user namespace, so it counts no others, except for the first
    process of the sandbox, which as root is outside.
    """
    if args.memory and not group.holds_memory:
        message = (
            "a limit of memory can't be held here: it needs a writable control group with the memory controller; "
            "remove `memory`, or run where there is one"
        )
        raise TaskFailed(Failure(code="E_LIMIT", message=message))
    found = []
    if args.pids and not group.holds_pids:
        found.append(f"--nproc={args.pids + (not is_root)}")
    if args.cpu_time:
        found.append(f"--cpu={args.cpu_time}")
    if args.file_size:
        found.append(f"--fsize={size_of(args.file_size, 'file_size')}")
    return found


def _write_identity(layout: Layout, uid: int) -> None:
    for name, text in identity_files(uid).items():
        (layout.etc / name).write_text(text)


def _to_failure(
    exit_: Exit, output: CommandOutput, session: Session, group: ControlGroup, args: SandboxArgs
) -> Failure:
    """Return what the end means: of the task, or of bubblewrap, which could not begin."""
    failure = to_failure(exit_, output, session)
    if group.ran_out_of_memory():
        return structs.replace(
            failure, message=f"{failure.message} (out of memory: its limit is {args.memory})"
        )
    last = failure.stderr_tail.strip().rpartition("\n")[2]
    if exit_.code == 1 and last.startswith(TOLD_BY):
        message = f"the sandbox can't be made: {last.removeprefix(TOLD_BY)}"
        return structs.replace(failure, code="E_SANDBOX", message=message)
    return failure


def _in_thread(call: "partial[T]") -> Awaitable[T]:
    """Do what may take long where it holds up nobody; it is never broken off, so that nothing is left half done."""
    return finished(asyncio.to_thread(call))
