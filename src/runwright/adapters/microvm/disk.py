"""The disk of a machine: an image with a copy of the workspace, and what has become of it."""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from runwright.adapters.microvm.ext4 import BLOCK, Ext4, Geometry, ImageFault, Inode, ReadAt, read_geometry

GUEST_USER = 1000
"""User and group id of the steps in the guest."""

FEATURES = "extent,filetype,sparse_super,large_file,huge_file,dir_nlink,dir_index,extra_isize,uninit_bg"
INODE_RATIO = 8192
COPY_BYTES = 1 << 20
MOST_TOLD = 5

_OWNER = GUEST_USER.to_bytes(2, "little")


def make_argv(image: str, workspace: Path) -> tuple[str, ...]:
    """Return the command that makes a file system with a copy of a directory, in a file that has its size already."""
    options = ("-t", "ext4", "-O", f"none,{FEATURES}", "-I", "256", "-b", str(BLOCK), "-m", "0")
    lazily = ("-E", "lazy_itable_init=1,nodiscard,root_owner=0:0")
    return (
        *("mke2fs", "-q", "-F", *options, *lazily),
        *("-i", str(INODE_RATIO), "-d", str(workspace), "--", image),
    )


class Disk:
    """The image of one machine; what a guest changes is carried over into the workspace.

    New links that lead out of the workspace, devices, pipes and sockets stay in the machine. Set-id bits are dropped.

    Args:
        image: The file, made by the command of `make_argv`.
        workspace: What it was made from, and what changes with it.
        most_bytes: Size to which the files may add up in the workspace.
    """

    def __init__(self, image: Path, workspace: Path, most_bytes: int) -> None:
        self._image = image
        self._workspace = workspace
        self._most = most_bytes
        self._geometry: Geometry | None = None
        self._known: dict[bytes, Inode] = {}
        self.left_out: set[bytes] = set()

    def prepare(self) -> None:
        """Give everything to the user of the steps, and remember how it was before the guest's start.

        Raises:
            ImageFault: If the image is not of the kind that is made here.
            OSError: If it can't be written to.
        """
        fd = os.open(self._image, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self._geometry = read_geometry(_reader(fd))
            for number in {2, *(inode.number for _, inode in self._look(fd))}:
                place = self._geometry.place(number)
                os.pwrite(fd, _OWNER, place + 2)
                os.pwrite(fd, _OWNER, place + 24)
                os.pwrite(fd, bytes(4), place + 120)
            self._known = dict(self._look(fd))
        finally:
            os.close(fd)

    def fetch(self) -> None:
        """Carry over what has changed since the last time; the guest must have written it out and be at rest.

        Raises:
            ImageFault: If the image is not one that a kernel in good order leaves, or its files are too large together.
                Nothing has been carried over then.
            OSError: If the workspace can't be written to.
        """
        fd = os.open(self._image, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            system = self._file_system(fd)
            found = self._found(system)
            changed = [path for path, inode in found.items() if self._differs(path, inode)]
            barred = {path for path in changed if not _may_leave(path, found[path], system)}
            gone = [path for path, inode in self._known.items() if _is_gone(inode, found.get(path))]
            carried = [path for path in changed if path not in barred]
            for path in carried:
                _check(system, found[path])
            _Carrier(fd, system, self._workspace, found).carry({*gone, *barred}, carried)
            self.left_out = {path for path in self.left_out | barred if path in found} - set(carried)
            self._known = found
        finally:
            os.close(fd)

    def told(self) -> str:
        """Return a line about what stays in the machine; empty if nothing does."""
        if not self.left_out:
            return ""
        names = [path.decode("utf-8", "backslashreplace") for path in sorted(self.left_out)]
        more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
        return (
            f"left in the machine, as links out of the workspace and what is no plain file are not carried over: "
            f"{', '.join(names[:MOST_TOLD])}{more}\n"
        )

    def _found(self, system: Ext4) -> dict[bytes, Inode]:
        """Return all that there is, once it is certain that it has room."""
        found: dict[bytes, Inode] = {}
        size = 0
        for path, inode in system.walk():
            found[path] = inode
            size += inode.size if stat.S_ISREG(inode.mode) else BLOCK
            if size > self._most:
                raise ImageFault(f"the files are larger together than {self._most} bytes")
        return found

    def _look(self, fd: int) -> list[tuple[bytes, Inode]]:
        return list(self._file_system(fd).walk())

    def _file_system(self, fd: int) -> Ext4:
        assert self._geometry is not None
        return Ext4(_reader(fd), self._geometry)

    def _differs(self, path: bytes, inode: Inode) -> bool:
        known = self._known.get(path)
        return known is None or known.stamp != inode.stamp


class _Carrier:
    """Changes a workspace; every name is looked up in its directory, and no link is followed."""

    def __init__(self, image: int, system: Ext4, workspace: Path, found: dict[bytes, Inode]) -> None:
        self._image = image
        self._system = system
        self._workspace = workspace
        self._found = found
        self._folder: tuple[bytes, int] | None = None

    def carry(self, gone: Iterable[bytes], changed: Sequence[bytes]) -> None:
        """Remove some paths, then write others."""
        try:
            for path in sorted(gone, reverse=True):
                self._remove(path)
            for path in sorted(changed):
                self._write(path, self._found[path])
            for path in sorted(changed, reverse=True):
                self._finish(path, self._found[path])
        finally:
            self._leave()

    def _remove(self, path: bytes) -> None:
        folder, name = self._enter(path)
        if folder >= 0:
            _discard(folder, name)

    def _write(self, path: bytes, inode: Inode) -> None:
        folder, name = self._enter(path)
        if folder < 0:
            return  # its directory stays in the machine
        if stat.S_ISDIR(inode.mode):
            if not _is_folder(folder, name):
                _discard(folder, name)
                os.mkdir(name, 0o700, dir_fd=folder)
            return
        _discard(folder, name)
        if stat.S_ISLNK(inode.mode):
            os.symlink(self._system.target(inode), name, dir_fd=folder)
        else:
            self._copy(folder, name, inode)

    def _copy(self, folder: int, name: bytes, inode: Inode) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            os.ftruncate(file, inode.size)
            for extent in self._system.extents(inode):
                start = extent.logical * BLOCK
                end = min(start + extent.length * BLOCK, inode.size)
                _copy_bytes(self._image, extent.physical * BLOCK, file, start, end - start)
            os.fchmod(file, inode.mode & 0o777 | 0o400)
            os.utime(file, ns=(inode.mtime_ns, inode.mtime_ns))
        finally:
            os.close(file)

    def _finish(self, path: bytes, inode: Inode) -> None:
        """Set mode and time of a directory, when nothing changes in it any more."""
        if not stat.S_ISDIR(inode.mode):
            return
        folder, name = self._enter(path)
        if folder >= 0 and _is_folder(folder, name):
            os.chmod(name, inode.mode & 0o777 | 0o700, dir_fd=folder)
            os.utime(name, ns=(inode.mtime_ns, inode.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _enter(self, path: bytes) -> tuple[int, bytes]:
        """Return the open directory of a path, or -1 if there is none, and its last name."""
        above, _, name = path.rpartition(b"/")
        if self._folder is None or self._folder[0] != above:
            self._leave()
            self._folder = (above, _open_folder(self._workspace, above))
        return self._folder[1], name

    def _leave(self) -> None:
        if self._folder is not None and self._folder[1] >= 0:
            os.close(self._folder[1])
        self._folder = None


def _may_leave(path: bytes, inode: Inode, system: Ext4) -> bool:
    if stat.S_ISLNK(inode.mode):
        return _stays_within(path, system.target(inode))
    return stat.S_ISREG(inode.mode) or stat.S_ISDIR(inode.mode)


def _stays_within(path: bytes, target: bytes) -> bool:
    """Tell whether a link leads no higher than the workspace, by its text alone."""
    if target.startswith(b"/"):
        return False
    depth = path.count(b"/")
    for part in target.split(b"/"):
        depth += -1 if part == b".." else part not in (b"", b".")
        if depth < 0:
            return False
    return True


def _check(system: Ext4, inode: Inode) -> None:
    """See that a file can be read, before anything is changed."""
    if stat.S_ISREG(inode.mode):
        for _ in system.extents(inode):
            pass


def _is_gone(known: Inode, now: Inode | None) -> bool:
    return now is None or stat.S_IFMT(known.mode) != stat.S_IFMT(now.mode)


def _is_folder(folder: int, name: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode)
    except FileNotFoundError:
        return False


def _discard(folder: int, name: bytes) -> None:
    """Remove a name with all that is below it; one that is not there is fine."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        inner = _open_below(folder, name)
        try:
            for below in os.listdir(inner):  # noqa: PTH208 - of an open directory
                _discard(inner, os.fsencode(below))
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=folder)


def _open_folder(workspace: Path, path: bytes) -> int:
    """Open a directory of the workspace, step by step; -1 if it is not there."""
    folder = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in path.split(b"/") if path else ():
        try:
            inner = _open_below(folder, name)
        except (FileNotFoundError, NotADirectoryError):
            inner = -1
        finally:
            os.close(folder)
        if inner < 0:
            return -1
        folder = inner
    return folder


def _open_below(folder: int, name: bytes) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)


def _reader(fd: int) -> ReadAt:
    def read(offset: int, size: int) -> bytes:
        data = os.pread(fd, size, offset)
        if len(data) != size:
            raise ImageFault("it ends too early")
        return data

    return read


def _copy_bytes(source: int, offset: int, target: int, start: int, size: int) -> None:
    while size > 0:
        data = os.pread(source, min(size, COPY_BYTES), offset)
        if not data:
            raise ImageFault("it ends too early")
        written = os.pwrite(target, data, start)
        offset, start, size = offset + written, start + written, size - written
