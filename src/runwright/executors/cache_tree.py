"""One source tree of one session: what a cache knows of it, restores in it and records of it."""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from math import inf
from pathlib import Path

from runwright.core.cacheentry import Entry, Output, OutputKind
from runwright.core.cachekey import Difference
from runwright.core.errors import Failure, TaskFailed
from runwright.core.outputs import output_fault
from runwright.core.task import Result, Task
from runwright.executors.cache_files import OWN, TREE, Budget, Files, is_inside, recorded, remove, restore
from runwright.ports.executor import Session
from runwright.ports.stores import CacheStore

LARGE_BYTES = 4 << 20
"""Outputs up to this size are copied in the event loop; a thread is for larger ones."""


class Tree:
    """The source tree of a session, with the store of the cache.

    Args:
        session: Whose.
        store: Of the cache.
        scope: As in `Cache`.
    """

    def __init__(self, session: Session, store: CacheStore, scope: str) -> None:
        self.session = session
        self.store = store
        self.memory = store.tree(session.source, scope)
        self.files = Files(str(session.source), self.memory.files)
        self._now = time.time()

    def close(self) -> None:
        """Save what has been learnt."""
        self.memory.close()

    def use(self, entry: Entry) -> None:
        """Note that an entry is of use; one that is younger than a day can't look old."""
        if self._now - entry.made_at > 24 * 3600.0:
            self.store.used(entry, self._now)

    def is_as_recorded(self, outputs: tuple[Output, ...], budget: Budget) -> bool:
        """Tell whether all outputs, which are in the tree, are as they were recorded."""
        is_same = self.files.is_as_recorded
        return all(is_same(output, budget) for output in outputs) and not self.files.extras(outputs)

    def output_differences(self, task: Task, outputs: tuple[Output, ...], budget: Budget) -> list[Difference]:
        """Return what is not as it was recorded, in the tree and in the task's own directory."""
        found = self.files.output_differences([one for one in outputs if one.place == TREE], budget)
        if own := [one for one in outputs if one.place == OWN]:
            found += Files(self._own(task), {}).output_differences(own, budget)
        return found

    def is_large(self, entry: Entry) -> bool:
        """Tell whether the outputs of an entry are too large to be copied in passing."""
        return sum(output.size_bytes for output in entry.outputs) > LARGE_BYTES

    def is_much(self, task: Task, result: Result) -> bool:
        """Tell whether what a task left is too large to be copied in passing."""
        paths = [self.files.whole(path) for path in self.files.expand_outputs(task.outputs)[0]]
        if result.outputs:
            own = self._own(task)
            paths += [os.path.join(own, path) for path in result.outputs]
        size = 0
        for path in paths:
            with suppress(OSError):
                size += os.lstat(path).st_size
        return size > LARGE_BYTES

    def check_outputs(self, task: Task, inputs: Mapping[str, str]) -> None:
        """Refuse outputs that lie outside the tree or are inputs too: they are about to be removed or replaced.

        Raises:
            TaskFailed: With code ``E_CACHE``.
        """
        for pattern in task.outputs:
            fault = output_fault(pattern)
            if fault is None and not is_inside(self.files.folder, pattern):
                fault = f'the output "{pattern}" leads out of the tree by a link'
            if fault is not None:
                raise _refused(fault)
        if not inputs or not task.outputs:
            return
        both = inputs.keys() & self.files.expand_outputs(task.outputs)[0]
        if both:
            path = min(both)
            raise _refused(
                f'"{path}" is an input and an output; a cached task must not change what it depends on '
                f'(take it out of the inputs with "!{path}")'
            )

    def clear(self, task: Task, last: Entry | None) -> None:
        """Remove what the task made before; what was there before it was declared for the first time stays."""
        if last is None:
            return
        old = {output.path for output in last.outputs if output.place == TREE}
        patterns = [pattern for pattern in task.outputs if pattern in last.account.outputs]
        for path in sorted({*old, *self.files.expand_outputs(patterns)[0]}, reverse=True):
            self._remove(path)

    def restore(self, task: Task, entry: Entry, last: Entry | None) -> bool:
        """Make the outputs of an entry what they were.

        Returns:
            False if something of it is not to be had, or if there are files in the way that may be somebody's own.
        """
        outputs = sorted(entry.outputs, key=lambda one: one.path)
        extras = self.files.extras([output for output in outputs if output.place == TREE])
        if extras and (last is None or not set(task.outputs).issubset(last.account.outputs)):
            return False
        if not all(self._restore(task, output) for output in outputs):
            return False
        for output in reversed(outputs):
            if output.kind is OutputKind.DIRECTORY:
                os.chmod(self._whole(task, output), output.mode)
        known = {output.path for output in outputs if output.place == TREE}
        before = last.outputs if last is not None else ()
        old = {output.path for output in before if output.place == TREE}
        for path in sorted({*old, *extras} - known, reverse=True):
            self._remove(path)
        return True

    def record(self, task: Task, result: Result) -> tuple[Output, ...]:
        """Keep the content of all outputs and return their records.

        Raises:
            TaskFailed: With code ``E_OUTPUT`` if the task did not make one that it declares.
            StoreError: If content can't be kept.
        """
        paths, missing = self.files.expand_outputs(task.outputs)
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            message = f'it did not make its output "{missing[0]}"{more}'
            raise TaskFailed(Failure(code="E_OUTPUT", message=message))
        found = self._recorded(self.files.folder, TREE, paths)
        if result.outputs:
            own = self._own(task)
            inside, missing = Files(own, {}).expand_outputs(result.outputs)
            if missing:
                message = f'it named the output "{missing[0]}", which it did not make'
                raise TaskFailed(Failure(code="E_OUTPUT", message=message))
            found += self._recorded(own, OWN, inside)
        return tuple(found)

    def _recorded(self, folder: str, place: str, paths: Iterable[str]) -> list[Output]:
        records = (recorded(folder, place, path, self._keep_file) for path in paths)
        return [output for output in records if output is not None]

    def _restore(self, task: Task, output: Output) -> bool:
        folder = self._own(task) if output.place == OWN else self.files.folder
        if not is_inside(folder, output.path):
            raise _refused(f'the output "{output.path}" leads out of the tree by a link')
        if output.place == TREE and self.files.is_as_recorded(output, Budget(inf)):
            return True
        return restore(folder, output, self._fetch)

    def _fetch(self, digest: str, path: str, mode: int) -> bool:
        return self.store.fetch_file(digest, Path(path), mode)

    def _keep_file(self, path: str) -> tuple[str, int]:
        return self.store.keep_file(Path(path))

    def _own(self, task: Task) -> str:
        return str(self.session.output_dir(task.id))

    def _whole(self, task: Task, output: Output) -> str:
        return os.path.join(self._own(task) if output.place == OWN else self.files.folder, output.path)

    def _remove(self, path: str) -> None:
        if is_inside(self.files.folder, path):
            remove(self.files.whole(path))


def _refused(message: str) -> TaskFailed:
    return TaskFailed(Failure(code="E_CACHE", message=message))
