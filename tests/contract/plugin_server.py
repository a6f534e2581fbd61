"""A plugin around a real executor; the argument says which."""

import sys

from runwright.adapters.plugin.serve import serve
from runwright.adapters.process import WardenProcesses
from runwright.core.retry import RetryPolicy
from runwright.executors.python import Python
from runwright.executors.retry import Retry
from runwright.executors.router import Router
from runwright.executors.shell import Shell
from runwright.ports.executor import Executor
from runwright.testing import Strict


def executor(which: str) -> Executor:
    processes = WardenProcesses()
    if which == "shell":
        return Strict(Shell(processes))
    if which == "python":
        return Strict(Python(processes))
    if which == "chains":
        from test_executor_conformance import Chains

        return Strict(Router({"chains": Chains(), "py": Python(processes)}))
    from runwright.adapters.clock import SystemClock

    both = {"shell": Strict(Shell(processes)), "python": Strict(Python(processes))}
    return Strict(Retry(Router({"here": Router(both)}), RetryPolicy(retries=1), SystemClock(), lambda: 0.5))


serve(executor(sys.argv[1]))
