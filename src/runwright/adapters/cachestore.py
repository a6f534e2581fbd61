"""A cache in a directory: for one project, or shared by a team.

::

    entries/ab/cdef...   what is known of an outcome, by key
    blobs/ab/cdef...     content of files, by digest
    trees/ID/            what is remembered of a source tree on one machine
    locks/KEY            who makes the outcome of a key just now
    tmp/                 files on their way to their names

Files get their names when they are complete, by a rename, so no lock is needed to read or to write. Nothing is synced:
what a power cut damages is found by its digest.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from stat import S_ISREG

from blake3 import blake3

from runwright.adapters.cachefiles import PRIVATE_FILE, CacheFiles, write_all
from runwright.adapters.cachelock import Flight
from runwright.adapters.cachetree import DirectoryTree
from runwright.core.cacheentry import Entry, OutputKind, seal
from runwright.core.errors import StoreError
from runwright.ports.stores import CacheItem, Collected, TreeMemory

CHUNK = 1 << 20
DAY = 24 * 3600.0
TEMPORARY = ".runwright-"
"""How the names of files begin that are on their way into a source tree."""

_numbers = count(1)


class DirectoryCache:
    """Keeps a cache in a directory; see `CacheStore`.

    Everything in it is private to its owner, unless the group may read the directory itself.

    Args:
        root: Absolute path; made when the first thing is written, 0700.
    """

    def __init__(self, root: Path) -> None:
        self._files = CacheFiles(root)
        self._root = root

    def entry(self, key: str) -> Entry | None:
        """Return what is kept under a key."""
        return self._files.entry(key)

    def find(self, prefix: str) -> list[str]:
        """Return the keys that begin so."""
        return sorted(key for key in self._files.names("entries") if key.startswith(prefix))

    def keep(self, entry: Entry) -> None:
        """Keep an entry."""
        data = seal(entry)
        try:
            self._files.place(self._files.path("entries", entry.key), data)
        except OSError as error:
            raise _unwritable(self._root, error) from error

    def used(self, entry: Entry, now: float) -> None:
        """Note that an entry was used: by its time, and those of what it needs."""
        paths = [self._files.path("entries", entry.key), *self._blobs_of(entry)]
        with suppress(OSError):
            if now - paths[0].stat().st_mtime > DAY:
                for path in paths:
                    os.utime(path, (now, now))

    def keep_file(self, path: Path) -> tuple[str, int]:
        """Keep the content of a file."""
        with path.open("rb", buffering=0) as source:
            digest, size = _digest(source.fileno())
            target = self._files.path("blobs", digest)
            if _has_size(target, size):
                with suppress(OSError):
                    os.utime(target)  # a collection leaves alone what somebody is about to need
            else:
                os.lseek(source.fileno(), 0, os.SEEK_SET)
                digest, size = self._copy_in(source.fileno())
        return digest, size

    def fetch_file(self, digest: str, target: Path, mode: int) -> bool:
        """Put a file with that content in a place."""
        blob = self._files.path("blobs", digest)
        try:
            source = os.open(blob, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            found = self._copy_out(source, target, mode, digest)
        finally:
            os.close(source)
        if not found:
            with suppress(OSError):
                blob.unlink()
        return found

    def tree(self, source: Path, scope: str) -> TreeMemory:
        """Return what is remembered of a source tree on this machine."""
        name = "\0".join((os.uname().nodename, str(source.resolve())))
        folder = self._root / "trees" / blake3(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return DirectoryTree(folder, scope, self._files)

    def flight(self, key: str) -> Flight:
        """Return the scope in which the outcome of a key is made."""
        return Flight(self._root / "locks" / key, self._files)

    def items(self) -> Iterator[CacheItem]:
        """Yield all entries."""
        for key in self._files.names("entries"):
            entry = self.entry(key)
            with suppress(OSError):
                used_at = self._files.path("entries", key).stat().st_mtime
                if entry is not None:
                    yield CacheItem(
                        key=key,
                        task_id=entry.task_id,
                        made_at=entry.made_at,
                        used_at=used_at,
                        size_bytes=sum(output.size_bytes for output in entry.outputs),
                    )

    def collect(self, *, max_bytes: int | None, max_age: float | None, now: float) -> Collected:
        """Remove what is old, what is too much, and what nobody needs."""
        from runwright.adapters.cachecare import collect  # noqa: PLC0415 - runs do without

        return collect(self._files, self.items(), max_bytes, max_age, now)

    def verify(self, *, repair: bool) -> list[str]:
        """Read everything."""
        from runwright.adapters.cachecare import verify  # noqa: PLC0415 - runs do without

        return verify(self._files, repair=repair)

    def _blobs_of(self, entry: Entry) -> list[Path]:
        return [
            self._files.path("blobs", output.digest)
            for output in entry.outputs
            if output.kind is OutputKind.FILE
        ]

    def _copy_in(self, source: int) -> tuple[str, int]:
        """Copy what can be read to the name of its digest; it may not be what it was a moment ago."""
        try:
            temporary = self._files.temporary()
            handle = self._files.create(temporary)
        except OSError as error:
            raise _unwritable(self._root, error) from error
        try:
            digest, size = _copy(source, handle)
            self._files.settle(temporary, self._files.path("blobs", digest))
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _unwritable(self._root, error) from error
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        return digest, size

    def _copy_out(self, source: int, target: Path, mode: int, digest: str) -> bool:
        """Copy to the target by way of our own directory, or of the target's if that is on another file system."""
        with suppress(OSError):
            found = _copy_by_way_of(self._files.temporary(), source, target, mode, digest)
            if found is not None:
                return found
        beside = target.with_name(f"{TEMPORARY}{os.getpid()}-{next(_numbers)}")
        return bool(_copy_by_way_of(beside, source, target, mode, digest))


def _copy_by_way_of(temporary: Path, source: int, target: Path, mode: int, digest: str) -> bool | None:
    """Copy a file; returns False if it is damaged, None if it can't be renamed from there to the target."""
    os.lseek(source, 0, os.SEEK_SET)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        if _copy(source, handle)[0] != digest:
            return False
        os.fchmod(handle, mode)
        return True if _renamed(temporary, target) else None
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _renamed(temporary: Path, target: Path) -> bool:
    """Rename a file; return False if that can't be done because the target is on another file system."""
    try:
        temporary.replace(target)
    except OSError as error:
        import errno  # noqa: PLC0415 - only for what went wrong

        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _has_size(path: Path, size: int) -> bool:
    """Tell whether a blob is there; one that a power cut has cut short is not."""
    try:
        found = path.stat()
    except OSError:
        return False
    return S_ISREG(found.st_mode) and found.st_size == size


def _digest(source: int) -> tuple[str, int]:
    hasher, size = blake3(), 0
    while data := os.read(source, CHUNK):
        hasher.update(data)
        size += len(data)
    return hasher.hexdigest(), size


def _copy(source: int, target: int) -> tuple[str, int]:
    hasher, size = blake3(), 0
    while data := os.read(source, CHUNK):
        hasher.update(data)
        write_all(target, data)
        size += len(data)
    return hasher.hexdigest(), size


def _unwritable(root: Path, error: OSError) -> StoreError:
    return StoreError(f"can't write to the cache at {root}: {error.strerror or error}")
