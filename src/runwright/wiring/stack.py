"""Executors, put together for one run.

Imports that a path does not need stay inside functions, because the start of a run is measured.
"""

from collections.abc import Callable, Mapping
from functools import partial
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

BUILT_IN = frozenset(("python", "queued", *ISOLATING, *INNER_KINDS))
"""Names of the executors that come with Runwright, beside ``shell``, which is always there."""

FOLLOWED = frozenset(("python",))
"""Those of them whose tasks may ask for others; plugins may, too."""

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
    makers = _Makers(processes, runs, base, isolation, functions)
    router = shell_stack(processes)
    used = {task.executor.partition(".")[0] for task in workflow.tasks.values()}
    tables = workflow.executors
    bases = {str(table.get("executor", name)) for name, table in tables.items() if name in used}
    for name in sorted((used | bases) & BUILT_IN):
        router.register(name, makers.built_in(name))
    for name in sorted(used & tables.keys()):
        _define(router, name, tables[name], makers)
    if any(name in FOLLOWED or is_plugin(tables.get(name, {})) for name in used | bases):
        _register_the_rest(router, tables, makers)
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


class _Makers:
    """Makes executors, each with what it needs."""

    def __init__(
        self,
        processes: Processes,
        runs: "InnerRuns",
        base: Path,
        isolation: Isolation | None,
        functions: Functions,
    ) -> None:
        self._processes = processes
        self._runs = runs
        self._base = base
        self._isolation = isolation
        self._functions = functions

    def built_in(self, name: str) -> Executor:
        """Return a new executor of those that come with Runwright, but for ``shell``."""
        if name in ISOLATING:
            self._isolation = self._isolation or Isolation(self._base / ".runwright" / "containers")
            return self._isolation.executor(name, self._processes)
        if name == "python":
            from runwright.executors.python import Python

            return Python(self._processes, self._functions.values, self._functions.known)
        if name == "queued":
            from runwright.executors.queued import Queued
            from runwright.wiring.queue_clients import connect

            return Queued(lambda server, token_file: connect(server, token_file, self._base))
        from runwright.executors.inner import InnerRun

        return InnerRun(INNER_KINDS[name], self._runs, self._base)

    def plugin(self, table: Mapping[str, Any]) -> Executor:
        """Return a new executor whose body is a plugin."""
        from runwright.wiring.plugins import plugin_executor

        return plugin_executor(table, self._processes, self._base)


def _define(router: "Router", name: str, table: Mapping[str, Any], makers: _Makers) -> None:
    """Register what a table of ``executors`` defines; its base is there already, if it has one."""
    from runwright.executors.configured import Configured

    if is_plugin(table):
        defaults = {key: value for key, value in table.items() if key not in KEYS}
        router.register(name, Configured(makers.plugin(table), defaults))
    else:
        defaults = {key: value for key, value in table.items() if key != "executor"}
        router.replace(name, Configured(router.executor(str(table.get("executor", name))), defaults))


def _register_the_rest(router: "Router", tables: Mapping[str, Mapping[str, Any]], makers: _Makers) -> None:
    """Register what no task names: a follow-up may."""
    from runwright.executors.lazy import Lazy

    for name in sorted(BUILT_IN - set(router.names())):
        router.register(name, Lazy(partial(makers.built_in, name)))
    for name in sorted(tables.keys() - set(router.names())):
        _define(router, name, tables[name], makers)
