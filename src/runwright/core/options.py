"""What a caller may choose for a run, and what a resume is going to do."""

from collections.abc import Callable, Mapping
from enum import StrEnum

from msgspec import Struct, field, structs

from runwright.core.events import ProgressEvent


class Strategy(StrEnum):
    """Which ready task starts now."""

    SEQUENTIAL = "sequential"
    LEVELS = "levels"
    WORK_STEALING = "work-stealing"


class FailurePolicy(StrEnum):
    """What a failure does to the rest of the run; the same under every strategy.

    `FINISH` lets running tasks finish and starts nothing new, `FAIL_FAST` also stops what runs, `KEEP_GOING` runs
    everything that does not depend on a failure.
    """

    FINISH = "finish"
    FAIL_FAST = "fail-fast"
    KEEP_GOING = "keep-going"


class RunOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Choices for one run; stored with it, so that a resume carries them over.

    Attributes:
        variables: Values from outside (``--var``); they override what tasks register.
        clean_env: Start every task from an empty environment.
        print_output: Send `task_output` events.
        timeout: Seconds the run may take; 0 means no limit.
        failure_policy: What a failure does to the rest.
        only: Run these tasks alone, by node id or key; everything else is left out.
        start_from: Run these tasks and everything downstream, even if they succeeded (resume).
        pinned: Resume with the stored definition even if the file has changed.
        tags: Added to the workflow's.
        directory: Absolute path of the directory in which tasks run, unless they name their own; empty means the
            current one.
        no_cache: Run tasks whatever the cache holds, and keep what comes of them.
        progress: Told every event of this run; not stored, so a resume names its own.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    clean_env: bool = False
    print_output: bool = False
    timeout: float = 0.0
    failure_policy: FailurePolicy = FailurePolicy.FINISH
    only: tuple[str, ...] = ()
    start_from: tuple[str, ...] = ()
    pinned: bool = False
    tags: tuple[str, ...] = ()
    directory: str = ""
    no_cache: bool = False
    progress: Callable[[ProgressEvent], None] | None = None

    def carried_over(self, resumed: "RunOptions") -> "RunOptions":
        """Return the options of a resume: what `resumed` says, and where it says nothing, what these say.

        Which tasks to run is chosen anew each time; variables are merged.
        """
        chosen = {
            name: getattr(resumed, name)
            for name, default in structs.asdict(_DEFAULTS).items()
            if name in _PER_EXECUTION or getattr(resumed, name) != default
        }
        chosen["variables"] = {**self.variables, **resumed.variables}
        return structs.replace(self, **chosen)


_PER_EXECUTION = frozenset({"only", "start_from", "pinned", "print_output", "progress", "no_cache"})
_DEFAULTS = RunOptions()


class ResumePlan(Struct, frozen=True, kw_only=True):
    """What a resume is going to do, before it does it.

    Attributes:
        reuse: Node ids whose outcome stands, each with the reason (``succeeded in attempt 2``).
        redo: Node ids that will run, each with the reason (``failed``, ``its command changed``, ...).
        added: Tasks of the changed definition that the former one had not.
        removed: Tasks of the former definition that are gone.
        changed: Keys of tasks whose definition differs, each with the names of the fields that differ.
    """

    run_id: str
    reuse: Mapping[str, str]
    redo: Mapping[str, str]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
