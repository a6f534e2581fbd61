"""A reader of the file systems that `disk` makes, for what a guest has left in them: it believes nothing.

Where the tables lie is remembered from before the guest's start, so nothing that the guest writes can move them. Every
number that comes from the image is held against a bound before it is used, and no tree is followed without an end.
"""

import stat
from collections.abc import Callable, Iterator
from functools import lru_cache
from struct import Struct as Packing
from typing import NamedTuple

ReadAt = Callable[[int, int], bytes]
"""Returns so many bytes of the image from an offset."""

BLOCK = 4096
INODE = 256
ROOT = 2
MAGIC = 0xEF53
INCOMPATIBLE = 0x42
"""Entries of directories tell their kind, and files are lists of extents: the only two that we read."""

USES_EXTENTS = 0x80000
EXTENT_MAGIC = 0xF30A
DEEPEST_EXTENTS = 5
UNWRITTEN = 32768
LONGEST_PATH = 4096
LONGEST_TARGET = 4095
IN_INODE = 60

_TABLES = Packing("<8xI")
_INODE = Packing("<H2xI4xIII2xH4xI4x60sI4xI")
_TIMES = Packing("<H2xII4x8xI")
_HEADER = Packing("<HHHH4x")
_EXTENT = Packing("<IHHI")
_BRANCH = Packing("<IIH2x")
_NAMED = Packing("<IHBB")


class ImageFault(Exception):
    """The image is not one that a kernel in good order leaves; the message says where it goes wrong."""


class Geometry(NamedTuple):
    """Where the tables of a file system lie.

    Attributes:
        blocks: Of 4 KiB.
        inodes_per_group: How many inodes each table holds.
        tables: First block of each group's table of inodes.
    """

    blocks: int
    inodes_per_group: int
    tables: tuple[int, ...]

    @property
    def inodes(self) -> int:
        """How many inodes there are, used or not."""
        return self.inodes_per_group * len(self.tables)

    def place(self, number: int) -> int:
        """Return where an inode lies in the image, in bytes.

        Raises:
            ImageFault: If there is no such inode.
        """
        if not 0 < number <= self.inodes:
            raise ImageFault(f"there is no inode {number}")
        group, index = divmod(number - 1, self.inodes_per_group)
        return self.tables[group] * BLOCK + index * INODE


class Inode(NamedTuple):
    """A file, link or directory, whatever its names.

    Attributes:
        stamp: Changes with every change of the content or of what is said of it.
        mtime_ns: Time of the last change of the content, nanoseconds since 1970.
    """

    number: int
    mode: int
    size: int
    flags: int
    place: bytes
    mtime_ns: int
    stamp: tuple[int, ...]


class Extent(NamedTuple):
    """Blocks that follow one another: first block in the file, how many, first block in the image."""

    logical: int
    length: int
    physical: int


def read_geometry(read: ReadAt) -> Geometry:
    """Return the geometry of a file system that has just been made.

    Raises:
        ImageFault: If it is not of the kind that is made here.
    """
    head = read(1024, 1024)
    inodes, blocks = (int.from_bytes(head[at : at + 4], "little") for at in (0, 4))
    block_log, per_group, inodes_per_group = (
        int.from_bytes(head[at : at + 4], "little") for at in (24, 32, 40)
    )
    magic, inode_size = (int.from_bytes(head[at : at + 2], "little") for at in (56, 88))
    incompatible = int.from_bytes(head[96:100], "little")
    if (magic, inode_size, 1024 << block_log, incompatible) != (MAGIC, INODE, BLOCK, INCOMPATIBLE):
        raise ImageFault("it is no file system of the kind that is made here")
    groups = -(-blocks // per_group)
    table = read(BLOCK, groups * 32)
    tables = tuple(_TABLES.unpack_from(table, group * 32)[0] for group in range(groups))
    if inodes != inodes_per_group * groups:
        raise ImageFault("its numbers of inodes contradict each other")
    return Geometry(blocks, inodes_per_group, tables)


class Ext4:
    """One look at the image of a file system that nobody writes to meanwhile.

    Args:
        read: Reads the image.
        geometry: Where its tables are.
    """

    def __init__(self, read: ReadAt, geometry: Geometry) -> None:
        self._read = read
        self._geometry = geometry
        self._block = lru_cache(maxsize=64)(lambda number: read(number * BLOCK, BLOCK))
        self._left = geometry.blocks  # that directories may have together

    def inode(self, number: int) -> Inode:
        """Return an inode."""
        block, at = divmod(self._geometry.place(number), BLOCK)
        raw = self._block(block)[at : at + INODE]
        mode, size, changed, modified, _, links, flags, place, generation, high = _INODE.unpack_from(raw)
        if not links:
            raise ImageFault(f"inode {number} has a name but no links")
        extra, changed_extra, modified_extra, version = _TIMES.unpack_from(raw, 128)
        if extra < 28:
            changed_extra = modified_extra = version = 0
        size |= high << 32
        stamp = (number, generation, mode, size, changed, changed_extra, modified, modified_extra, version)
        lower = int.from_bytes(raw[36:40], "little")
        return Inode(number, mode, size, flags, place, _instant(modified, modified_extra), (*stamp, lower))

    def walk(self) -> Iterator[tuple[bytes, Inode]]:
        """Yield all that is below the root by its path, a directory before what is in it.

        Raises:
            ImageFault: If there are more names than inodes, a directory has two, or a path is too long.
        """
        seen = {ROOT}
        pending = [(b"", self.inode(ROOT))]
        left = self._geometry.inodes
        while pending:
            above, folder = pending.pop()
            for name, number in self.entries(folder):
                path = above + name
                left -= 1
                if left < 0 or len(path) > LONGEST_PATH:
                    raise ImageFault("there are more names, or longer ones, than can be")
                inode = self.inode(number)
                if stat.S_ISDIR(inode.mode):
                    if number in seen:
                        raise ImageFault(f"the directory {path!r} has another name")
                    seen.add(number)
                    pending.append((path + b"/", inode))
                yield path, inode

    def entries(self, folder: Inode) -> Iterator[tuple[bytes, int]]:
        """Yield the names in a directory with the numbers of their inodes."""
        if not stat.S_ISDIR(folder.mode):
            raise ImageFault(f"inode {folder.number} is no directory")
        self._left -= -(-folder.size // BLOCK)
        if self._left < 0:
            raise ImageFault("the directories are larger than the image")
        for extent in self.extents(folder):
            for block in range(extent.physical, extent.physical + extent.length):
                yield from _entries(self._read(block * BLOCK, BLOCK))

    def target(self, link: Inode) -> bytes:
        """Return where a symbolic link leads."""
        if not 0 < link.size <= LONGEST_TARGET:
            raise ImageFault(f"the link at inode {link.number} is {link.size} bytes long")
        if link.size < IN_INODE and not link.flags & USES_EXTENTS:
            text = link.place[: link.size]
        else:
            first = next(self.extents(link), None)
            text = b"" if first is None else self._read(first.physical * BLOCK, link.size)
        if not text or b"\0" in text:
            raise ImageFault(f"the link at inode {link.number} leads nowhere")
        return text

    def extents(self, inode: Inode) -> Iterator[Extent]:
        """Yield what has been written of a file, in order; all between is zero.

        Raises:
            ImageFault: If they overlap or leave the image.
        """
        if not inode.flags & USES_EXTENTS:
            raise ImageFault(f"inode {inode.number} has no extents")
        end = -(-inode.size // BLOCK)
        after = 0
        for extent in self._leaves(inode.place, DEEPEST_EXTENTS, is_root=True):
            logical, count, physical = extent
            is_written = count <= UNWRITTEN
            count = count if is_written else count - UNWRITTEN
            if logical < after or not count or not 0 < physical <= self._geometry.blocks - count:
                raise ImageFault(f"the extents of inode {inode.number} are out of order")
            after = logical + count
            if logical >= end:
                return
            if is_written:
                yield Extent(logical, min(count, end - logical), physical)

    def _leaves(self, node: bytes, deepest: int, *, is_root: bool = False) -> Iterator[tuple[int, int, int]]:
        magic, entries, _, depth = _HEADER.unpack_from(node)
        if magic != EXTENT_MAGIC or depth > deepest or 12 * (entries + 1) > len(node):
            raise ImageFault("a tree of extents is no tree")
        if not entries and not is_root:
            raise ImageFault("a tree of extents has an empty branch")  # many of them would take for ever
        for at in range(12, 12 * (entries + 1), 12):
            if depth:
                _, low, high = _BRANCH.unpack_from(node, at)
                number = low | high << 32
                if not 0 < number < self._geometry.blocks:
                    raise ImageFault("a tree of extents leaves the image")
                below = self._block(number)
                if _HEADER.unpack_from(below)[3] != depth - 1:
                    raise ImageFault("a tree of extents is no tree")
                yield from self._leaves(below, depth - 1)
            else:
                logical, count, high, low = _EXTENT.unpack_from(node, at)
                yield logical, count, low | high << 32


def _entries(block: bytes) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at <= BLOCK - 8:
        number, length, name_length, _ = _NAMED.unpack_from(block, at)
        if length < 8 + name_length or length % 4 or at + length > BLOCK:
            raise ImageFault("a directory is in disorder")
        name = block[at + 8 : at + 8 + name_length]
        at += length
        if not number or name in (b".", b".."):
            continue
        if not name or b"/" in name or b"\0" in name:
            raise ImageFault(f"{name!r} can't be the name of a file")
        yield name, number


def _instant(seconds: int, extra: int) -> int:
    """Return nanoseconds since 1970 from 34 bits of seconds and 30 of nanoseconds."""
    signed = seconds - (1 << 32) if seconds >= 1 << 31 else seconds
    return (signed + ((extra & 3) << 32)) * 1_000_000_000 + (extra >> 2) % 1_000_000_000
