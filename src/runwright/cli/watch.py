"""Run a workflow again whenever what it reads has changed.

What is compared is the content of the files that the tasks' inputs match, and of the workflow's own file, as they were
when the last run began. So a change during a run is not missed, and a file that is only touched changes nothing.
"""

import os
from collections.abc import Mapping
from math import inf
from pathlib import Path

from runwright import wiring
from runwright.cli.arguments import Arguments
from runwright.cli.common import find_workflow
from runwright.cli.dispatch import guarded
from runwright.cli.running import run_workflow
from runwright.core.errors import DefinitionError, Problem, UsageError
from runwright.core.options import RunOptions
from runwright.core.watched import watched
from runwright.executors.cache_files import Budget, Files
from runwright.wiring.caches import wakes

STOPPED = frozenset({129, 130, 143})


class Watcher:
    """Knows what was there when the last run began.

    Args:
        file: The workflow's.
        options: Of all runs.
    """

    def __init__(self, file: Path, options: RunOptions) -> None:
        self._file = file
        self._options = options
        self._files = Files(options.directory or os.getcwd(), {})  # noqa: PTH109 - as a text
        self._patterns: tuple[str, ...] = ()
        self._seen: Mapping[str, str] = {}

    def look(self) -> None:
        """Note what is there now; a workflow file with errors leaves what is looked at as it was.

        Raises:
            UsageError: If there is nothing to look at.
        """
        try:
            workflow = wiring.load(self._file, self._options.variables).workflow
        except DefinitionError:
            workflow = None
        if workflow is not None:
            self._patterns = watched(workflow)
            if all(pattern.startswith("!") for pattern in self._patterns):
                advice = 'add inputs = ["src/**"] to a task'
                raise UsageError(
                    (Problem(message="no task has inputs, so there is nothing to watch", suggestion=advice),)
                )
        self._seen = self._there()

    def has_changed(self) -> bool:
        """Tell whether something is not as it was."""
        return self._there() != self._seen

    def _there(self) -> Mapping[str, str]:
        own = str(self._file.absolute())
        return self._files.matches((*self._patterns, own), Budget(inf))


def watch(args: Arguments, options: RunOptions) -> int:
    """Run the workflow, and again after each change, until a signal comes; returns the status of the last run."""
    if args.dry_run:
        raise UsageError("--watch and --dry-run contradict each other")
    watcher = Watcher(find_workflow(args.workflow), options)
    ticks = wakes(Path(options.directory or os.getcwd()))  # noqa: PTH109 - as above
    while True:
        watcher.look()
        status = guarded(lambda: run_workflow(args, options), args.err, verbose=args.verbose)
        args.out.flush()
        if status in STOPPED:
            return status
        args.err.line(args.err.paint("waiting for changes; Ctrl-C ends it", "dim"))
        args.err.flush()
        try:
            while not watcher.has_changed():
                next(ticks)
        except KeyboardInterrupt:
            return status
