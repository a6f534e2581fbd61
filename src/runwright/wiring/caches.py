"""Where caches are: for the library, for workflows, and for the command that looks after them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from runwright.executors.cache import Cache as CacheOfStores
from runwright.ports.executor import Executor, Session
from runwright.ports.stores import CacheStore

if TYPE_CHECKING:
    from runwright.core.workflow import Workflow


class Cache(CacheOfStores):
    """Skips a task whose key is unchanged, and restores what it had made if that is missing or altered.

    Usage::

        executor = Cache(Shell(processes))
        task = Task(id="a.o", args={"cmd": "cc -c a.c"}, inputs=("a.c", "*.h"), outputs=("a.o",))
        executor.mismatches(session, task)  # ("input content",) after an edit, () when up to date

    The key is made of the task's executor, its arguments, the files that its `inputs` match with their content, the
    environment that it declares, and its declared `outputs`. Failures are never kept.

    Args:
        inner: Runs the tasks.
        store: A `CacheStore`, or the path of a directory, which several processes and machines may share; None means
            ``.runwright/cache`` in the source tree of each session.
        scope: Tells apart caches in one source tree that use the same ids of tasks for different things.
    """

    def __init__(
        self, inner: Executor, store: CacheStore | str | Path | None = None, *, scope: str = ""
    ) -> None:
        super().__init__(inner, _opener(store), scope=scope)


def _opener(store: CacheStore | str | Path | None) -> Callable[[Session], CacheStore]:
    if store is None:
        return lambda session: open_cache(session.source / ".runwright" / "cache")
    opened = open_cache(Path(store).absolute()) if isinstance(store, str | Path) else store
    return lambda _: opened


def open_cache(folder: Path) -> CacheStore:
    """Open the cache in a directory, which is made with the first thing that is kept."""
    from runwright.adapters.cachestore import DirectoryCache

    return DirectoryCache(folder)


def wakes(folder: Path) -> Iterator[None]:
    """Yield whenever something has changed below a directory, and every now and then; see `adapters.watch`."""
    from runwright.adapters.watch import wakes as of_directory

    return of_directory(folder)


def workflow_cache(inner: Executor, workflow: "Workflow", folder: Path) -> CacheOfStores:
    """Return what spares tasks of a workflow."""
    store = open_cache(folder)
    return CacheOfStores(inner, lambda _: store, scope=workflow.name, configured=workflow.executors)
