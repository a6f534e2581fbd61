"""Everything outside that an engine needs, put together."""

import os
from collections.abc import Callable
from pathlib import Path

from runwright.engines.prepare import Doors
from runwright.ports.executor import Executor
from runwright.ports.stores import RunStore
from runwright.ports.system import Logs, Workspaces


def make_doors(
    store: RunStore,
    logs: Logs,
    workspaces: Workspaces,
    executor: Executor,
    skip_grace: Callable[[], None],
    with_env: frozenset[str] = frozenset(),
    with_values: frozenset[str] = frozenset(),
) -> Doors:
    """Return the doors of an engine on this machine."""
    from runwright.adapters.clock import SystemClock
    from runwright.adapters.ids import draw, new_id
    from runwright.adapters.owner import current_owner

    return Doors(
        store=store,
        logs=logs,
        workspaces=workspaces,
        clock=SystemClock(),
        executor=executor,
        with_env=with_env,
        with_values=with_values,
        owner=current_owner(),
        new_id=new_id,
        draw=draw,
        environ=os.environ,
        secrets=getattr(store, "secrets", ()),  # a store of another program need not have any
        directory=str(Path.cwd()),
        skip_grace=skip_grace,
    )
