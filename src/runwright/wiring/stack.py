"""Executors, put together for one run.

Imports that a path does not need stay inside functions, because the start of a run is measured.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from runwright.core.plugin import KEYS, is_plugin
from runwright.core.workflow import Workflow
from runwright.ports.executor import Executor
from runwright.ports.stores import ValueStore
from runwright.ports.system import Processes
from runwright.wiring.isolation import ISOLATING, Isolation

if TYPE_CHECKING:
    from runwright.executors.inner import InnerRuns
    from runwright.executors.router import Router

INNER_KINDS: Mapping[str, str] = {"workflow": "workflow", "plan": "plan", "reconcile": "goal"}
"""Names of the executors whose tasks are runs of their own, with the kind of those runs."""

WITH_ENV = frozenset(("shell", "python", "queued", *ISOLATING))
"""Names of the executors that take an environment."""


class Functions(Struct, frozen=True):
    """What the executor of functions needs.

    Attributes:
        values: Where large values are; None if there is no place for them.
        known: Functions of this process by name.
    """

    values: ValueStore | None = None
    known: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


NO_FUNCTIONS = Functions()


def executor_stack(
    workflow: Workflow,
    processes: Processes,
    runs: "InnerRuns",
    base: Path,
    isolation: Isolation | None = None,
    cache_dir: Path | None = None,
    functions: Functions = NO_FUNCTIONS,
) -> Executor:
    """Return what runs the tasks of a workflow: the one place where executors are put together.

    Args:
        workflow: Whose tasks.
        processes: Starts commands.
        runs: Starts runs that are the work of tasks.
        base: Directory that the files of those are relative to.
        isolation: Makes sandboxes and containers; None for one that notes its containers below `base`.
        cache_dir: Where the outcomes of cached tasks are kept; None for nowhere.
        functions: What those among the tasks that are functions need.
    """
    router = shell_stack(processes)
    used = {task.executor.partition(".")[0] for task in workflow.tasks.values()}
    bases = {str(table.get("executor", name)) for name, table in workflow.executors.items() if name in used}
    for name in sorted((used | bases).intersection(ISOLATING)):
        isolation = isolation or Isolation(base / ".runwright" / "containers")
        router.register(name, isolation.executor(name, processes))
    for name in sorted((used | bases).intersection(("python", "queued", *INNER_KINDS))):
        if name == "python":
            from runwright.executors.python import Python

            router.register(name, Python(processes, functions.values, functions.known))
        elif name == "queued":
            router.register(name, _queued(base))
        else:
            router.register(name, _inner(name, runs, base))
    for name in sorted(used.intersection(workflow.executors)):
        table = workflow.executors[name]
        if is_plugin(table):
            _plug_in(router, name, table, processes, base)
        else:
            _configure(router, name, table)
    if cache_dir is not None and any(task.cache for task in workflow.tasks.values()):
        from runwright.wiring.caches import workflow_cache

        return workflow_cache(router, workflow, cache_dir)
    return router


def shell_stack(processes: Processes) -> "Router":
    """Return what runs commands."""
    from runwright.executors.router import Router
    from runwright.executors.shell import Shell

    return Router({"shell": Shell(processes)})


def executors_with_values(workflow: Workflow) -> frozenset[str]:
    """Return the names of executors that take values of tasks as they are: those whose tasks are functions."""
    tables = workflow.executors.items()
    return frozenset({"python"} | {name for name, table in tables if table.get("executor") == "python"})


def executors_with_env(workflow: Workflow) -> frozenset[str]:
    """Return the names of executors whose arguments take an environment."""
    configured = {
        name: str(table.get("executor", name))
        for name, table in workflow.executors.items()
        if not is_plugin(table)
    }
    return WITH_ENV | {name for name, base in configured.items() if base not in INNER_KINDS}


def _inner(name: str, runs: "InnerRuns", base: Path) -> Executor:
    from runwright.executors.inner import InnerRun

    return InnerRun(INNER_KINDS[name], runs, base)


def _queued(base: Path) -> Executor:
    from runwright.executors.queued import Queued
    from runwright.wiring.queue_clients import connect

    return Queued(lambda server, token_file: connect(server, token_file, base))


def _plug_in(router: "Router", name: str, table: Mapping[str, Any], processes: Processes, base: Path) -> None:
    from runwright.executors.configured import Configured
    from runwright.wiring.plugins import plugin_executor

    defaults = {key: value for key, value in table.items() if key not in KEYS}
    router.register(name, Configured(plugin_executor(table, processes, base), defaults))


def _configure(router: "Router", name: str, table: Mapping[str, Any]) -> None:
    from runwright.executors.configured import Configured

    defaults = {key: value for key, value in table.items() if key != "executor"}
    router.replace(name, Configured(router.executor(str(table.get("executor", name))), defaults))
