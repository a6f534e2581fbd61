"""What the arguments of `sandbox` and `container` have in common."""

import posixpath
from pathlib import Path

from msgspec import Struct

from runwright.core.check_fields import DENIED
from runwright.core.duration import parse_size
from runwright.core.errors import Failure, TaskFailed
from runwright.core.pattern import pattern
from runwright.core.variables import has_placeholder

CONTROL = pattern(r"[\x00-\x1f\x7f]")
ENV_NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]*")


class Mount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file or directory of the source tree that a task sees elsewhere.

    Attributes:
        source: Relative to the session's source tree, and inside it.
        target: Absolute path where the task finds it.
        writable: True if the task may change it.
    """

    source: str
    target: str
    writable: bool = False

    def __post_init__(self) -> None:
        if has_placeholder(self.source) or has_placeholder(self.target):
            return
        if fault := relative_fault(self.source):
            raise ValueError(f"the source of a mount {fault}")
        if not self.target.startswith("/") or posixpath.normpath(self.target) in ("/", "//"):
            raise ValueError(f"the target of a mount must be an absolute path below /, not {self.target!r}")
        if CONTROL.search(self.target) or ".." in self.target.split("/"):
            raise ValueError(f"the target of a mount can't be {self.target!r}")


def relative_fault(path: str) -> str:
    """Say why a path can't name what is inside a tree; empty if it can."""
    if not path or CONTROL.search(path):
        return f"can't be {path!r}"
    if path.startswith("/") or ".." in path.split("/"):
        return f"must be relative and stay inside its tree, unlike {path!r}"
    return ""


def check_command(cmd: str, argv: tuple[str, ...], *, needed: bool) -> None:
    """Check that there is one way to say what runs.

    Raises:
        ValueError: If there are two, or none where one is needed.
    """
    if (cmd and argv) or (needed and not cmd and not argv):
        raise ValueError("exactly one of `cmd` and `argv` is needed, and it must not be empty")
    if argv and not argv[0]:
        raise ValueError("the program of `argv` is empty")


def check_names(names: tuple[str, ...]) -> None:
    """Check names of environment variables.

    Raises:
        ValueError: If one can't be a name.
    """
    for name in names:
        if name.upper() in DENIED:
            raise ValueError(f"{name!r} can't be set: it makes programs load foreign code")
        if not ENV_NAME.fullmatch(name) and not has_placeholder(name):
            raise ValueError(f"{name!r} can't be the name of an environment variable")


def size_of(value: str | int, name: str) -> int:
    """Return a size in bytes; 0 if none is given, or if it is not known yet.

    Raises:
        ValueError: If it is not a size.
    """
    if isinstance(value, str) and (not value or has_placeholder(value)):
        return 0
    try:
        return parse_size(value)
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from None


class Bind(Struct, frozen=True, kw_only=True):
    """A file or directory of the machine that the task sees, with its real place."""

    source: str
    target: str
    writable: bool = False


def to_bind(tree: Path, mount: Mount) -> Bind:
    """Return what is to be mounted, at its real place.

    Raises:
        TaskFailed: With code ``E_MOUNT`` if it is not in the tree.
    """
    return Bind(source=str(find_inside(tree, mount.source)), target=mount.target, writable=mount.writable)


def find_inside(tree: Path, path: str) -> Path:
    """Return the real place of what a tree holds.

    Raises:
        TaskFailed: With code ``E_MOUNT`` if it is not there, or if links lead out of the tree.
    """
    real_tree = tree.resolve()
    try:
        found = (real_tree / path).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its links go round in a circle"
        raise mount_failure(f"{path!r} of the source tree can't be mounted: {reason}") from None
    if not found.is_relative_to(real_tree):
        raise mount_failure(f"{path!r} can't be mounted: it is a link that leads out of the source tree")
    return found


def mount_failure(message: str) -> TaskFailed:
    """Return the failure of a task whose surroundings can't be made."""
    return TaskFailed(Failure(code="E_MOUNT", message=message))
