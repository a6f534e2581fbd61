"""Archives from which a kernel takes its first files: cpio in the format ``newc``."""

import stat
from collections.abc import Iterable

from msgspec import Struct

TRAILER = "TRAILER!!!"
ALIGNMENT = 4


class Member(Struct, frozen=True, kw_only=True):
    """A file of an archive.

    Attributes:
        name: Path without a slash in front.
        mode: Kind and permissions, as in `os.stat_result`.
        data: Its content; the target of a link.
        device: Major and minor number of a device.
    """

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(name: str) -> Member:
    """Return a directory."""
    return Member(name=name, mode=stat.S_IFDIR | 0o755)


def file(name: str, data: bytes, permissions: int = 0o644) -> Member:
    """Return a plain file."""
    return Member(name=name, mode=stat.S_IFREG | permissions, data=data)


def link(name: str, target: str) -> Member:
    """Return a symbolic link."""
    return Member(name=name, mode=stat.S_IFLNK | 0o777, data=target.encode("utf-8", "surrogateescape"))


def write_archive(members: Iterable[Member]) -> bytes:
    """Return an archive in which everything belongs to root; directories must come before what is in them."""
    parts = [_entry(number, member) for number, member in enumerate(members, 1)]
    parts.append(_entry(0, Member(name=TRAILER, mode=0)))
    return b"".join(parts)


def _entry(number: int, member: Member) -> bytes:
    name = member.name.encode("utf-8", "surrogateescape") + b"\0"
    links, owner, changed = 1, 0, 0
    fields = (
        *(number, member.mode, owner, owner, links, changed, len(member.data)),
        *(0, 0, *member.device, len(name), 0),
    )
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(member.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
