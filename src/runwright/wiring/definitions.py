"""What definition files hold, checked against the executors there are.

Imports that a path does not need stay inside functions, because the start of a run is measured.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runwright.core.workflow import Workflow
from runwright.wiring.isolation import ISOLATING
from runwright.wiring.stack import INNER_KINDS

if TYPE_CHECKING:
    from runwright.adapters.toml import Loaded, LoadedWorkflow
    from runwright.core.goal import GoalDefinition
    from runwright.core.kinds import FileKind
    from runwright.core.plan import PlanDefinition
    from runwright.wiring.flow_loading import LoadedFlow


class _ExecutorArgs(Mapping[str, type[Struct]]):
    """The argument records of the executors there are; each is imported when it is asked for."""

    def __getitem__(self, name: str) -> type[Struct]:
        if name == "shell":
            from runwright.executors.shell import ShellArgs

            return ShellArgs
        if name == "python":
            from runwright.executors.python import PythonArgs

            return PythonArgs
        if name == "sandbox":
            from runwright.executors.sandbox import SandboxArgs

            return SandboxArgs
        if name == "container":
            from runwright.executors.container import ContainerArgs

            return ContainerArgs
        if name == "queued":
            from runwright.executors.queued import QueuedArgs

            return QueuedArgs
        if name in INNER_KINDS:
            from runwright.executors.inner import InnerArgs

            return InnerArgs
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(("shell", "python", "queued", *ISOLATING, *INNER_KINDS))

    def __len__(self) -> int:
        return 3 + len(ISOLATING) + len(INNER_KINDS)


def executor_args() -> Mapping[str, type[Struct]]:
    """Return the executors that a workflow may name, with the records of their arguments."""
    return _ExecutorArgs()


def load(path: Path, given: Collection[str] = ()) -> "LoadedWorkflow":
    """Read and check a workflow file.

    Args:
        path: Where it is.
        given: Names of variables that will come with the run's options.

    Raises:
        DefinitionError: With every fault of the file.
    """
    return _load_workflow(path, given, ())


def _load_workflow(path: Path, given: Collection[str], trail: tuple[Path, ...]) -> "LoadedWorkflow":
    from runwright.adapters.toml import load_workflow

    return _with_inner_files(load_workflow(path, executor_args=executor_args(), given=given), trail)


def _with_inner_files(loaded: "LoadedWorkflow", trail: tuple[Path, ...] = ()) -> "LoadedWorkflow":
    """Return a workflow file once the files that its tasks run are checked too."""
    if any(task.executor != "shell" for task in loaded.definition.tasks.values()):
        from runwright.wiring.inner_files import check_inner_files

        check_inner_files(loaded, trail, _load_inner)
    return loaded


def _load_inner(kind: str, path: Path, given: Mapping[str, Any], trail: tuple[Path, ...]) -> object:
    if kind == "workflow":
        return _load_workflow(path, given, trail)
    return load_plan(path) if kind == "plan" else load_goal(path, given)


def load_workflow(path: str | Path, *, given: Collection[str] = ()) -> "LoadedWorkflow":
    """Read and check a workflow file.

    Args:
        path: Where it is.
        given: Names of variables that will come with the run's options.

    Raises:
        DefinitionError: With every fault of the file.
    """
    return load(Path(path), given)


def load_plan(path: str | Path) -> "Loaded[PlanDefinition]":
    """Read and check a plan file.

    Args:
        path: Where it is.

    Raises:
        DefinitionError: With every fault of the file.
    """
    from runwright.adapters.toml import load_plan as read

    return read(Path(path))


def load_goal(path: str | Path, given: Collection[str] = ()) -> "Loaded[GoalDefinition]":
    """Read and check a goal file.

    Args:
        path: Where it is.
        given: Names of variables that will come with the run's options.

    Raises:
        DefinitionError: With every fault of the file.
    """
    from runwright.adapters.toml import load_goal as read

    return read(Path(path), given=given)


def load_flow(name: str, directory: Path, given: Collection[str] | None = None) -> "LoadedFlow":
    """Import and check a workflow that is made in code; see `runwright.wiring.flow_loading`."""
    from runwright.wiring.flow_loading import load_flow as load_it

    return load_it(name, directory, given)


def load_any(
    path: str | Path, given: Collection[str] = ()
) -> "LoadedWorkflow | Loaded[PlanDefinition] | Loaded[GoalDefinition]":
    """Read and check a file of any kind; one that does not tell its kind is taken for a workflow.

    Args:
        path: Where it is.
        given: Names of variables that will come with the run's options.

    Raises:
        DefinitionError: With every fault of the file.
    """
    from runwright.adapters.toml import LoadedWorkflow
    from runwright.adapters.toml import load_any as read

    loaded = read(Path(path), executor_args=executor_args(), given=given)
    return _with_inner_files(loaded) if isinstance(loaded, LoadedWorkflow) else loaded


def kind_of(path: str | Path) -> "FileKind | None":
    """Return what a file defines; None if it has none of the keys that tell.

    Raises:
        DefinitionError: If it can't be read, or is not TOML.
    """
    from runwright.adapters.toml import file_kind

    return file_kind(Path(path))


def decode_workflow(
    data: Mapping[str, Any], *, default_name: str = "workflow", given: Collection[str] = ()
) -> Workflow:
    """Check a workflow given as plain data, in the shape of a file, and return it.

    Args:
        data: What a file would hold: ``{"tasks": {"hello": {"cmd": "echo hello"}}}``.
        default_name: Its name, if the data give none.
        given: Names of variables that will come with the run's options.

    Raises:
        DefinitionError: With every fault of the data.
    """
    from runwright.core.document import decode_workflow as decode

    return decode(data, default_name=default_name, executor_args=executor_args(), given=given)
