"""Looking after a cache in a directory: removing what is not needed, and finding what is damaged."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from runwright.adapters.cachefiles import CacheFiles
from runwright.core.cacheentry import Entry, OutputKind
from runwright.ports.stores import CacheItem, Collected

GRACE = 3600.0
"""Seconds for which content stays that no entry needs: whoever has just written it may be about to write the entry."""

CHUNK = 1 << 20


def collect(
    files: CacheFiles, items: Iterable[CacheItem], max_bytes: int | None, max_age: float | None, now: float
) -> Collected:
    """Remove entries that are old or too much, then files that no entry needs."""
    listed = sorted(items, key=lambda item: (item.used_at, item.key))
    doomed = [item.key for item in listed if max_age is not None and now - item.used_at > max_age]
    left = listed[len(doomed) :]
    if max_bytes is not None:
        doomed += [item.key for item in _too_much(files, left, max_bytes)]
    for key in doomed:
        files.path("entries", key).unlink(missing_ok=True)
    removed, size = _sweep_blobs(files, now)
    _sweep_others(files, max_age, now)
    return Collected(entries=len(doomed), files=removed, size_bytes=size)


def verify(files: CacheFiles, *, repair: bool) -> list[str]:
    """Return what is damaged or missing."""
    found = []
    bad = set()
    for digest in files.names("blobs"):
        if _digest(files.path("blobs", digest)) != digest:
            bad.add(digest)
            found.append(f"the content {digest[:16]} is damaged")
    for key in files.names("entries"):
        if fault := _entry_fault(files, key, bad):
            found.append(fault)
            if repair:
                files.path("entries", key).unlink(missing_ok=True)
    if repair:
        for digest in bad:
            files.path("blobs", digest).unlink(missing_ok=True)
    return found


def _entry_fault(files: CacheFiles, key: str, bad: set[str]) -> str:
    entry = files.entry(key)
    if entry is None:
        return f"the entry {key[:16]} is damaged"
    for output in entry.outputs:
        if output.kind is OutputKind.FILE:
            if output.digest in bad:
                return f"the entry {key[:16]} of task {entry.task_id} needs {output.path}, which is damaged"
            if not files.path("blobs", output.digest).exists():
                return f"the entry {key[:16]} of task {entry.task_id} needs {output.path}, which is missing"
    return ""


def _too_much(files: CacheFiles, items: list[CacheItem], max_bytes: int) -> list[CacheItem]:
    """Return the entries to remove, the oldest first; content that several share counts once."""
    needs = {item.key: _needs(files.entry(item.key)) for item in items}
    users: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for need in needs.values():
        sizes.update(need)
        for digest in need:
            users[digest] = users.get(digest, 0) + 1
    total = sum(sizes.values())
    doomed = []
    for item in items:
        if total <= max_bytes:
            break
        doomed.append(item)
        for digest, size in needs[item.key].items():
            users[digest] -= 1
            total -= 0 if users[digest] else size
    return doomed


def _needs(entry: Entry | None) -> dict[str, int]:
    outputs = () if entry is None else entry.outputs
    return {output.digest: output.size_bytes for output in outputs if output.kind is OutputKind.FILE}


def _sweep_blobs(files: CacheFiles, now: float) -> tuple[int, int]:
    needed: set[str] = set()
    for key in files.names("entries"):
        needed.update(_needs(files.entry(key)))
    removed = size = 0
    for digest in files.names("blobs"):
        path = files.path("blobs", digest)
        with suppress(OSError):
            found = path.stat()
            if digest not in needed and now - found.st_ctime > GRACE:
                path.unlink()
                removed, size = removed + 1, size + found.st_size
    return removed, size


def _sweep_others(files: CacheFiles, max_age: float | None, now: float) -> None:
    """Remove files that were never completed, and what is remembered of trees in which nothing was done for long."""
    for path in _inside(files.root / "tmp"):
        _remove_if_older(path, 24 * GRACE, now)
    if max_age is None:
        return
    for folder in _inside(files.root / "trees"):
        for path in _inside(folder):
            _remove_if_older(path, max_age, now)
        with suppress(OSError):
            folder.rmdir()


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _remove_if_older(path: Path, age: float, now: float) -> None:
    with suppress(OSError):
        if now - path.stat().st_mtime > age:
            path.unlink()


def _digest(path: Path) -> str:
    hasher = blake3()
    try:
        with path.open("rb", buffering=0) as file:
            while data := os.read(file.fileno(), CHUNK):
                hasher.update(data)
    except OSError:
        return ""
    return hasher.hexdigest()
