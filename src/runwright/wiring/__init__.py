"""Where ports meet adapters: the only package that names both.

The command line and `runwright.Engine` get everything they use from here. The names come from their modules when
they are first used, so that what must be quick can be reached without the rest.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runwright.adapters.toml import Loaded as Loaded
    from runwright.adapters.toml import LoadedWorkflow as LoadedWorkflow
    from runwright.wiring.engine import Engine as Engine
    from runwright.wiring.engine import StateLocation as StateLocation
    from runwright.wiring.engine import decode_workflow as decode_workflow
    from runwright.wiring.engine import executor_args as executor_args
    from runwright.wiring.engine import executor_stack as executor_stack
    from runwright.wiring.engine import find_workflow as find_workflow
    from runwright.wiring.engine import kind_of as kind_of
    from runwright.wiring.engine import list_workflows as list_workflows
    from runwright.wiring.engine import load as load
    from runwright.wiring.engine import load_any as load_any
    from runwright.wiring.engine import load_flow as load_flow
    from runwright.wiring.engine import load_goal as load_goal
    from runwright.wiring.engine import load_plan as load_plan
    from runwright.wiring.engine import load_workflow as load_workflow
    from runwright.wiring.engine import make_engine as make_engine
    from runwright.wiring.engine import open_logs as open_logs
    from runwright.wiring.engine import open_store as open_store
    from runwright.wiring.engine import state_location as state_location
    from runwright.wiring.flow_loading import LoadedFlow as LoadedFlow
    from runwright.wiring.needed import needed_actions as needed_actions
    from runwright.wiring.servers import shown_postgres as shown_postgres

__all__ = [
    "Engine",
    "StateLocation",
    "decode_workflow",
    "executor_args",
    "executor_stack",
    "find_workflow",
    "kind_of",
    "list_workflows",
    "load",
    "load_any",
    "load_flow",
    "load_goal",
    "load_plan",
    "load_workflow",
    "make_engine",
    "needed_actions",
    "open_logs",
    "open_store",
    "shown_postgres",
    "state_location",
]

_HOMES = {"needed_actions": "needed", "shown_postgres": "servers"}
"""Modules of the names that do not come from `engine`."""


def __getattr__(name: str) -> object:
    """Take a name from its module on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'engine')}"), name)
    globals()[name] = value
    return value
