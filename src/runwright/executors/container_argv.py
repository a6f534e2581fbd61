"""The command lines of Docker and Podman."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from runwright.core.errors import Failure, TaskFailed
from runwright.core.pattern import pattern
from runwright.executors.isolated_args import Bind

VALUES = "/run/runwright"
IMAGE = pattern(r"[A-Za-z0-9][\w.:/@+-]*")
"""What an image can be called."""

CLI_READS = pattern(
    r"(?i)PATH|HOME|USER|SHELL|TMPDIR|TERM|LANG|LC_.*|DOCKER_.*|BUILDKIT_.*|BUILDX_.*|CONTAINER.*|_CONTAINERS_.*"
    r"|PODMAN_.*|REGISTRY_.*|STORAGE_.*|NETAVARK_.*|XDG_.*|DBUS_.*|NOTIFY_SOCKET|LISTEN_.*|SSH_.*|SSL_.*|GO[A-Z]+"
    r"|(HTTPS?|NO|ALL|FTP)_PROXY|OTEL_.*|CGO_.*|LD_.*|DYLD_.*|RUNWRIGHT_GUARD|GCONV_PATH|LOCPATH|MALLOC_.*|GLIBC_.*"
)
"""Variables that would change what the program on our side does; their values travel in a file instead."""


class Box(Struct, frozen=True, kw_only=True):
    """A container that is asked for.

    Attributes:
        name: Of the container.
        image: Reference of its image.
        command: What runs in it; empty for what the image says.
        pull: When the image is fetched.
        user: ``uid:gid``, or as the image names it.
        keeps_id: True if a user of our own id must be made inside; Podman without root needs that.
        labels: By name.
        binds: What is mounted.
        network: True if it has a network.
        init: True if its first process is one that reaps and passes signals on.
        read_only: True if its root can't be written to.
        memory_bytes: Bound of memory and swap together; 0 for none.
        cpus: Bound of CPU; 0 for none.
        pids: Bound of processes and threads; 0 for none.
        names: Of the variables whose values the container gets from the environment of the command.
        env_file: File with further variables; empty for none.
        working_dir: Absolute; empty for what the image says.
        entrypoint: Program that takes `command` as its arguments; empty for what the image says.
    """

    name: str
    image: str
    command: Sequence[str] = ()
    pull: str = "missing"
    user: str = ""
    keeps_id: bool = False
    labels: Mapping[str, str] = {}
    binds: Sequence[Bind] = ()
    network: bool = False
    init: bool = True
    read_only: bool = False
    memory_bytes: int = 0
    cpus: float = 0.0
    pids: int = 0
    names: Sequence[str] = ()
    env_file: str = ""
    working_dir: str = ""
    entrypoint: str = ""


def run_argv(engine: str, box: Box) -> tuple[str, ...]:
    """Return the command line that runs a container to its end."""
    return (engine, "run", "--rm", "--name", box.name, *_options(box), "--", box.image, *box.command)


def _options(box: Box) -> Iterator[str]:
    yield from ("--pull", box.pull, "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    if box.init:
        yield "--init"
    if not box.network:
        yield from ("--network", "none")
    if box.user:
        yield from ("--user", box.user)
    if box.keeps_id:
        yield from ("--userns", "keep-id")
    if box.read_only:
        yield from ("--read-only", "--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777")  # noqa: S108 - of the container
    yield from _limits(box)
    for name, value in box.labels.items():
        yield from ("--label", f"{name}={value}")
    for bind in box.binds:
        yield from ("--mount", _mount(bind))
    for name in box.names:
        yield from ("--env", name)
    if box.env_file:
        yield from ("--env-file", box.env_file)
    if box.working_dir:
        yield from ("--workdir", box.working_dir)
    if box.entrypoint:
        yield from ("--entrypoint", box.entrypoint)


def _limits(box: Box) -> Iterator[str]:
    if box.memory_bytes:
        yield from ("--memory", f"{box.memory_bytes}b", "--memory-swap", f"{box.memory_bytes}b")
    if box.cpus:
        yield from ("--cpus", f"{box.cpus:.3f}")
    if box.pids:
        yield from ("--pids-limit", str(box.pids))


def _mount(bind: Bind) -> str:
    """Return the fields of a mount; none may hold a comma or a quote, see `mount_fault`."""
    fields = f"type=bind,source={bind.source},target={bind.target}"
    return fields if bind.writable else f"{fields},readonly"


def mount_fault(path: str) -> str:
    """Say why a path can't be written in the fields of a mount; empty if it can."""
    return f"{path!r} can't be mounted: its name holds a comma or a quote" if set(path) & set(',"') else ""


def hand_over(env: Mapping[str, str], file: Path) -> tuple[dict[str, str], str]:
    """Return how a container gets its variables: some from our program's environment, by name, others in a file.

    So no value stands in an argument, where every user could read it, and none changes what our program does.

    Returns:
        What the environment of our program must hold, and the path of the file; empty if it is not needed.

    Raises:
        TaskFailed: With code ``E_ARGS`` if a value can't be handed over.
    """
    hidden = {name: value for name, value in env.items() if CLI_READS.fullmatch(name)}
    for name, value in hidden.items():
        if "\n" in value or "\r" in value:
            message = f"executor container: the value of {name} can't hold a line break"
            raise TaskFailed(Failure(code="E_ARGS", message=message))
    if hidden:
        file.touch(mode=0o600)
        file.write_text("".join(f"{name}={value}\n" for name, value in hidden.items()))
    plain = {name: value for name, value in env.items() if name not in hidden}
    return plain, str(file.absolute()) if hidden else ""
