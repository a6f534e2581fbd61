"""A cache in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from blake3 import blake3
from msgspec.structs import replace

from runwright.core.cacheentry import Entry, OutputKind, seal, unseal
from runwright.ports.stores import CacheItem, Collected, FileMark

DAY = 24 * 3600.0


class MemoryTree:
    """What is remembered of one tree."""

    def __init__(self) -> None:
        self.files: dict[str, FileMark] = {}
        self._last: dict[str, Entry] = {}

    def last(self, task_id: str) -> Entry | None:
        """Return the entry that a task was last up to date with."""
        return self._last.get(task_id)

    def note(self, task_id: str, entry: Entry) -> None:
        """Remember an entry."""
        self._last[task_id] = entry

    def close(self) -> None:
        """Do nothing: the memory lives as long as the cache."""


class MemoryCache:
    """Keeps entries and contents in dictionaries; all who share the object share the cache.

    Attributes:
        entries: Sealed, by key.
        blobs: By digest; tests may damage both.
    """

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self._times: dict[str, float] = {}
        self._trees: dict[tuple[str, str], MemoryTree] = {}
        self._flights: dict[str, asyncio.Lock] = {}

    def entry(self, key: str) -> Entry | None:
        """Return what is kept under a key."""
        entry = unseal(self.entries.get(key, b""))
        return entry if entry is not None and entry.key == key else None

    def find(self, prefix: str) -> list[str]:
        """Return the keys that begin so."""
        return sorted(key for key in self.entries if key.startswith(prefix))

    def keep(self, entry: Entry) -> None:
        """Keep an entry."""
        self.entries[entry.key] = seal(entry)
        self._times[entry.key] = time.time()

    def used(self, entry: Entry, now: float) -> None:
        """Note that an entry was used."""
        if now - self._times.get(entry.key, now) > DAY:
            self._times[entry.key] = now

    def keep_file(self, path: Path) -> tuple[str, int]:
        """Keep the content of a file."""
        data = path.read_bytes()
        digest = blake3(data).hexdigest()
        self.blobs[digest] = data
        return digest, len(data)

    def fetch_file(self, digest: str, target: Path, mode: int) -> bool:
        """Put a file with that content in a place."""
        data = self.blobs.get(digest)
        if data is None or blake3(data).hexdigest() != digest:
            self.blobs.pop(digest, None)
            return False
        if target.is_symlink():
            target.unlink()
        target.write_bytes(data)
        target.chmod(mode)
        return True

    def tree(self, source: Path, scope: str) -> MemoryTree:
        """Return what is remembered of a tree."""
        return self._trees.setdefault((str(source.resolve()), scope), MemoryTree())

    def flight(self, key: str) -> AbstractAsyncContextManager[None]:
        """Return the scope in which the outcome of a key is made."""

        @asynccontextmanager
        async def alone() -> AsyncIterator[None]:
            async with self._flights.setdefault(key, asyncio.Lock()):
                yield

        return alone()

    def items(self) -> Iterator[CacheItem]:
        """Yield all entries."""
        for key in list(self.entries):
            entry = self.entry(key)
            if entry is not None:
                size = sum(output.size_bytes for output in entry.outputs)
                yield CacheItem(
                    key=key,
                    task_id=entry.task_id,
                    made_at=entry.made_at,
                    used_at=self._times[key],
                    size_bytes=size,
                )

    def collect(self, *, max_bytes: int | None, max_age: float | None, now: float) -> Collected:
        """Remove what is old, what is too much, and what nobody needs."""
        before = len(self.entries)
        for item in sorted(self.items(), key=lambda item: (item.used_at, item.key)):
            needed = {digest: len(data) for digest, data in self.blobs.items() if digest in self._needed()}
            is_old = max_age is not None and now - item.used_at > max_age
            if is_old or (max_bytes is not None and sum(needed.values()) > max_bytes):
                del self.entries[item.key]
        useless = self.blobs.keys() - self._needed()
        size = sum(len(self.blobs.pop(digest)) for digest in useless)
        return Collected(entries=before - len(self.entries), files=len(useless), size_bytes=size)

    def verify(self, *, repair: bool) -> list[str]:
        """Read everything."""
        bad = {digest for digest, data in self.blobs.items() if blake3(data).hexdigest() != digest}
        found = [f"the content {digest[:16]} is damaged" for digest in bad]
        for key in list(self.entries):
            entry = self.entry(key)
            files = () if entry is None else entry.outputs
            broken = [
                o for o in files if o.kind is OutputKind.FILE and o.digest not in self.blobs.keys() - bad
            ]
            if entry is None or broken:
                what = "is damaged" if entry is None else f"of task {entry.task_id} needs {broken[0].path}"
                found.append(f"the entry {key[:16]} {what}")
                if repair:
                    del self.entries[key]
        if repair:
            for digest in bad:
                del self.blobs[digest]
        return found

    def _needed(self) -> set[str]:
        entries = [entry for key in self.entries if (entry := self.entry(key)) is not None]
        return {o.digest for entry in entries for o in entry.outputs if o.kind is OutputKind.FILE}

    def age(self, key: str, seconds: float) -> None:
        """Let an entry look as if it had been made and used that long ago."""
        self._times[key] -= seconds
        entry = self.entry(key)
        if entry is not None:
            self.entries[key] = seal(replace(entry, made_at=entry.made_at - seconds))
