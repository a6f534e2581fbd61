"""The files of a sandboxed task: copies of its inputs, its private directory, and the outputs that are kept."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from shutil import copyfile, copyfileobj

from msgspec import Struct

from runwright.core.errors import Failure, TaskFailed
from runwright.core.globs import has_wildcard, matches, static_parent

NOBODY = 65534
MOST_SINGLE = 500
"""Mounts of single files; each takes longer than the one before, and all together half a second."""


class Layout(Struct, frozen=True, kw_only=True):
    """Where the files of one attempt are on this side.

    Attributes:
        root: Directory of all of them, readable by nobody else.
        work: The working directory, in which the task may write.
        staged: Copies or hard links of the inputs.
        values: Directory of the file for ``$RUNWRIGHT_OUTPUT``.
        etc: Small files of ours for ``/etc``.
        read_only: Files and directories of `staged` that are mounted over `work`, without one inside another.
        inputs: All input files.
    """

    root: Path
    work: Path
    staged: Path
    values: Path
    etc: Path
    read_only: tuple[str, ...] = ()
    inputs: frozenset[str] = frozenset()


def lay_out(
    root: Path, source: Path, inputs: Sequence[str], outputs: Sequence[str], working_dir: str, owner: int
) -> Layout:
    """Make the directories of an attempt, with the inputs in them.

    Args:
        root: A directory that does not exist.
        source: The tree that inputs are taken from.
        inputs: Globs; one that names a directory means all that is in it.
        outputs: Globs of the files that will be kept; what they stand in can be written to.
        working_dir: Where the command runs, which can be written to as well.
        owner: User id of the task; -1 for our own.

    Raises:
        TaskFailed: With code ``E_INPUT`` if an input is not there, or a link leads out of the source tree.
    """
    found = find_inputs(source, inputs)
    open_ = _open_directories([static_parent(os.path.normpath(output)) for output in outputs] + [working_dir])
    read_only = _read_only(found, open_)
    layout = Layout(
        root=root,
        work=root / "work",
        staged=root / "inputs",
        values=root / "values",
        etc=root / "etc",
        read_only=tuple(read_only),
        inputs=frozenset(found),
    )
    root.mkdir(mode=0o700, parents=True)
    for folder in (layout.work, layout.staged, layout.values, layout.etc):
        folder.mkdir(mode=0o755)
    for path, real in found.items():
        _stage(real, layout.staged / path, owner)
    for path in (*sorted(open_), *(os.path.dirname(path) for path in read_only)):  # noqa: PTH120 - texts, not files
        _make_directory(layout.work, path)
    _hand_over([layout.work, layout.values, *_directories(layout.work)], owner)
    return layout


def find_inputs(source: Path, inputs: Iterable[str]) -> dict[str, Path]:
    """Return the real place of each input file, by its path in the source tree.

    Raises:
        TaskFailed: With code ``E_INPUT``.
    """
    found: dict[str, Path] = {}
    real_source = source.resolve()
    for pattern in inputs:
        path = os.path.normpath(pattern)
        if not has_wildcard(pattern):
            names: Iterable[str] = _everything(real_source, path)
        else:
            top = static_parent(path)
            names = (name for name in files_below(real_source, top) if matches(pattern, name))
        for name in names:
            found[name] = _real_input(real_source, name)
    return found


def _everything(source: Path, path: str) -> list[str]:
    """Return a file, or all files below a directory."""
    full = source / path
    if full.is_dir() and not full.is_symlink():
        return list(files_below(source, "" if path == "." else path))
    if not os.path.lexists(full):
        raise failure("E_INPUT", f"input {path!r} is not in the source tree")
    return [path]


def _real_input(source: Path, name: str) -> Path:
    try:
        real = (source / name).resolve(strict=True)
        kind = real.stat().st_mode
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its links go round in a circle"
        raise failure("E_INPUT", f"input {name!r} can't be read: {reason}") from None
    if not real.is_relative_to(source):
        raise failure("E_INPUT", f"input {name!r} is a link that leads out of the source tree")
    if not stat.S_ISREG(kind):
        raise failure("E_INPUT", f"input {name!r} is not a plain file; name the files in it, or take it out")
    return real


def files_below(tree: Path, top: str = "") -> Iterator[str]:
    """Yield what is no directory below a directory of a tree, relative to the tree; links are not followed."""
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(tree / folder), key=lambda entry: entry.name)
        except OSError:
            continue  # not there, or so deep that it has no name any more
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
            else:
                yield path


def _directories(tree: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(tree):
        yield from (Path(folder) / name for name in names)


def _open_directories(paths: Iterable[str]) -> set[str]:
    """Return the directories that must be writable, without the top of the tree."""
    found: set[str] = set()
    for path in paths:
        folder = os.path.normpath(path) if path else ""
        while folder not in ("", "."):
            found.add(folder)
            folder = os.path.dirname(folder)  # noqa: PTH120 - a text, not a file
    return found


def _read_only(files: Iterable[str], open_: set[str]) -> list[str]:
    """Return what is to be mounted: whole directories where nothing is written, else single files."""
    mounts: dict[str, None] = {}
    single = 0
    for path in sorted(files):
        parts = path.split("/")
        closed = ("/".join(parts[:size]) for size in range(1, len(parts)))
        top = next((folder for folder in closed if folder not in open_), path)
        single += top == path
        mounts[top] = None
    if single > MOST_SINGLE:
        text = (
            f"{single} input files stand in directories that are written to, more than {MOST_SINGLE}; "
            "keep inputs and outputs in directories of their own"
        )
        raise failure("E_INPUT", text)
    return list(mounts)


def _stage(real: Path, place: Path, owner: int) -> None:
    """Put an input where it can be mounted from: by a hard link, which costs nothing, or as a copy."""
    for folder in reversed(place.parents):
        if not folder.exists():
            folder.mkdir(mode=0o755)
    mode = real.stat().st_mode
    if owner < 0 or mode & 0o004:
        with suppress(OSError):
            os.link(real, place, follow_symlinks=False)
            return
    copyfile(real, place, follow_symlinks=False)
    place.chmod(0o555 if mode & 0o100 else 0o444)


def _make_directory(tree: Path, path: str) -> None:
    if path:
        (tree / path).mkdir(mode=0o755, parents=True, exist_ok=True)


def _hand_over(folders: Iterable[Path], owner: int) -> None:
    for folder in folders if owner >= 0 else ():
        os.chown(folder, owner, owner)


# -- outputs ---------------------------------------------------------------------------------------------------


def keep_outputs(layout: Layout, outputs: Sequence[str], folder: Path, source: Path) -> tuple[str, ...]:
    """Move the declared outputs to the task's output directory, and copy them into the source tree.

    Nothing of the task runs any more. What it left is not trusted: only plain files are taken, links are neither taken
    nor followed, on either side.

    Returns:
        The paths, relative to both.

    Raises:
        TaskFailed: With code ``E_OUTPUT`` if one is missing, is no plain file, or can't be put in its place.
    """
    names = _find_outputs(layout, outputs)
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        _take(layout.work / name, place)
        _publish(place, source.resolve(), name)
    return tuple(names)


def _find_outputs(layout: Layout, outputs: Sequence[str]) -> list[str]:
    made = [name for name in files_below(layout.work) if name not in layout.inputs]
    found: dict[str, None] = {}
    for pattern in outputs:
        matching = [
            name for name in made if matches(pattern, name) or name.startswith(f"{pattern.rstrip('/')}/")
        ]
        if not matching and not has_wildcard(pattern):
            raise failure("E_OUTPUT", f"the task did not make its output {pattern!r}")
        found.update(dict.fromkeys(matching))
    return sorted(found)


def _take(made: Path, place: Path) -> None:
    kind = made.lstat()
    if not stat.S_ISREG(kind.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(kind.st_mode) else "not a plain file"
        raise failure("E_OUTPUT", f"output {made.name!r} is {what}")
    try:
        if kind.st_uid != os.geteuid():
            os.chown(made, os.geteuid(), os.getegid(), follow_symlinks=False)
        made.chmod(kind.st_mode & 0o755 | 0o600)
        made.replace(place)
    except OSError as error:
        raise failure("E_OUTPUT", f"output {made.name!r} can't be kept: {error.strerror}") from None


def _publish(kept: Path, source: Path, name: str) -> None:
    """Copy an output into the source tree, all of it or nothing, without following links of the tree."""
    *folders, last = name.split("/")
    place = source
    try:
        for folder in folders:
            place = place / folder
            place.mkdir(exist_ok=True)
            if place.is_symlink():
                raise failure("E_OUTPUT", f"output {name!r} can't be put behind the link {folder!r}")
        _copy_whole(kept, place / last)
    except OSError as error:
        text = f"output {name!r} can't be put into the source tree: {error.strerror}"
        raise failure("E_OUTPUT", text) from None


def _copy_whole(kept: Path, place: Path) -> None:
    fresh = place.with_name(f".runwright-{os.urandom(8).hex()}.new")
    try:
        with kept.open("rb") as old, fresh.open("xb") as new:
            copyfileobj(old, new)
        fresh.chmod(kept.stat().st_mode & 0o755)
        fresh.replace(place)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def discard_tree(root: Path) -> None:
    """Remove all that is left of an attempt, whatever its modes, and however deep it is."""
    pending = [root]
    numbers = count(1)
    while pending:
        folder = pending[-1]
        try:
            folder.chmod(0o700)
            below = [_emptied(entry, root, numbers) for entry in os.scandir(folder)]
            inner = [path for path in below if path is not None]
            pending += inner
            if not inner:
                pending.pop().rmdir()
        except OSError:
            return


def _emptied(entry: "os.DirEntry[str]", root: Path, numbers: Iterator[int]) -> Path | None:
    """Remove a file; return a directory, moved to the top, because a path can be too long to be used."""
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.path)  # noqa: PTH108
        return None
    if os.path.dirname(entry.path) == str(root):  # noqa: PTH120
        return Path(entry.path)
    place = root / f".{next(numbers)}"
    os.chmod(entry.path, 0o700)  # noqa: PTH101 - else its parent can't change
    os.rename(entry.path, place)  # noqa: PTH104
    return place


def failure(code: str, message: str) -> TaskFailed:
    """Return a failure of a task's files."""
    return TaskFailed(Failure(code=code, message=message))
