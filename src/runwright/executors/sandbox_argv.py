"""The command line of bubblewrap."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from shutil import which

from msgspec import Struct

from runwright.core.errors import Failure, TaskFailed
from runwright.executors.isolated_args import Bind
from runwright.executors.sandbox_files import NOBODY, Layout

WORK = "/task"
VALUES = "/run/runwright"
HOSTNAME = "sandbox"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime")
NETWORK_ETC = (
    "resolv.conf",
    "hosts",
    "nsswitch.conf",
    "services",
    "protocols",
    "ssl",
    "ca-certificates",
    "pki",
)
"""What of ``/etc`` is shown: to all, and to those who may use the network."""

NAMESPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup")
USER_NAMESPACE = ("--unshare-user", "--disable-userns")
HELPERS = 2
"""Processes of bubblewrap that count as the task's: one outside, the first inside. As root there is one more."""

JOIN = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 >"$1" || exit 1; shift; n=$((n-1)); done; exec "$@"'
ENTER = f'trap "" TERM; {JOIN}'
"""Joins the control groups. Bubblewrap must not heed SIGTERM: it would end at once, and the task with it."""
HEED = ("/usr/bin/env", "--default-signal=TERM", "--")


class Cage(Struct, frozen=True, kw_only=True):
    """What bubblewrap is asked for.

    Attributes:
        etc: Directory of what `identity_files` says.
        files: The task's files, mounted one after another where there is a place for them already.
        binds: What is mounted beside them, with the directories above.
        working_dir: Absolute, inside.
        network: True if the task shares the machine's network.
        entrances: Of control groups to be joined.
        limits: Options of ``prlimit``.
        is_root: True if we are root, and the task must become somebody else.
    """

    etc: Path
    files: Sequence[Bind] = ()
    binds: Sequence[Bind] = ()
    working_dir: str = WORK
    network: bool = False
    entrances: Sequence[str] = ()
    limits: Sequence[str] = ()
    is_root: bool = False


def to_argv(
    program: str, cage: Cage, command: Sequence[str], link_of: Callable[[str], str | None]
) -> tuple[str, ...]:
    """Return the whole command line.

    A task of root becomes *nobody*: to the kernel it would else still be root wherever it only looks at the user id, as
    with the files below ``/proc/sys``. Bubblewrap then runs twice, as root to mount what only root may reach, and inside
    as nobody to take the rest away.

    Args:
        program: Path of bubblewrap, the same inside.
        cage: What is asked for.
        command: The program that runs inside, and its arguments.
        link_of: Returns where a directory of the system leads if it is a link, None if it is not there, else "".
    """
    limited = ("/usr/bin/prlimit", *cage.limits, "--") if cage.limits else ()
    inner = (*limited, *HEED, *command)
    if cage.is_root:
        become = ("/usr/bin/setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
        again = (
            program,
            *USER_NAMESPACE,
            "--die-with-parent",
            "--cap-drop",
            "ALL",
            "--dev-bind",
            "/",
            "/",
            "--chdir",
            cage.working_dir,
            "--",
        )
        inner = (*become, *again, *inner)
    groups = (str(len(cage.entrances)), *cage.entrances)
    return ("/bin/sh", "-c", ENTER, "sandbox", *groups, program, *_options(cage, link_of), "--", *inner)


def _options(cage: Cage, link_of: Callable[[str], str | None]) -> Iterable[str]:
    yield from NAMESPACES
    if not cage.network:
        yield "--unshare-net"
    yield from ("--die-with-parent", "--new-session", "--hostname", HOSTNAME, "--cap-drop", "ALL")
    if cage.is_root:
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        yield from USER_NAMESPACE
    for folder in ("/etc", "/run"):
        yield from _directory(folder)
    yield from _system(cage, link_of)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for folder in ("/dev/shm", "/tmp"):  # noqa: S108 - of the task alone
        yield from ("--perms", "1777", "--tmpfs", folder)
    yield from _files(cage)
    # Root without capabilities may not enter what is nobody's alone.
    yield from ("--remount-ro", "/", "--chdir", "/" if cage.is_root else cage.working_dir)


def _system(cage: Cage, link_of: Callable[[str], str | None]) -> Iterable[str]:
    for folder in SYSTEM:
        link = link_of(folder)
        if link:
            yield from ("--symlink", link, folder)
        elif link is not None:
            yield from ("--ro-bind", folder, folder)
    for name in (*SYSTEM_ETC, *(NETWORK_ETC if cage.network else ())):
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    for name in ("passwd", "group"):
        yield from ("--ro-bind", str(cage.etc / name), f"/etc/{name}")


def _files(cage: Cage) -> Iterable[str]:
    for bind in cage.files:
        yield from _mount(bind)
    for bind in cage.binds:
        for folder in reversed(PurePosixPath(bind.target).parents[:-1]):
            yield from _directory(str(folder))
        yield from _mount(bind)


def _mount(bind: Bind) -> Iterable[str]:
    return ("--bind" if bind.writable else "--ro-bind", bind.source, bind.target)


def _directory(path: str) -> Iterable[str]:
    """Make a directory that everybody may enter, if it is not there."""
    return ("--perms", "0755", "--dir", path)


def task_files(layout: Layout) -> list[Bind]:
    """Return how the files of a task are mounted."""
    own = [
        Bind(source=str(layout.work), target=WORK, writable=True),
        Bind(source=str(layout.values), target=VALUES, writable=True),
    ]
    return own + [
        Bind(source=str(layout.staged / path), target=f"{WORK}/{path}") for path in layout.read_only
    ]


def find_bubblewrap() -> str:
    """Return the path of bubblewrap.

    Raises:
        TaskFailed: With code ``E_SANDBOX`` if it is not installed.
    """
    found = which("bwrap")
    if found is None:
        message = "bubblewrap is not installed: there is no bwrap on PATH"
        raise TaskFailed(Failure(code="E_SANDBOX", message=message))
    return found


def system_link(folder: str) -> str | None:
    """Return where a directory of the system leads if it is a link, None if it is not there, else ""."""
    path = Path(folder)
    if path.is_symlink():
        return str(path.readlink())
    return "" if path.is_dir() else None


def identity_files(uid: int) -> Mapping[str, str]:
    """Return what a task finds in ``/etc`` of users and groups: root and itself."""
    name = "nobody" if uid == NOBODY else "task"
    return {
        "passwd": f"root:x:0:0:root:/tmp:/bin/sh\n{name}:x:{uid}:{uid}:{name}:/tmp:/bin/sh\n",
        "group": f"root:x:0:\n{name}:x:{uid}:\n",
    }
