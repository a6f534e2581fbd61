"""Workflows built in code: functions become tasks, and calls of them the graph."""

import inspect
import linecache
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, cast, overload

from msgspec import structs

from runwright.core.errors import DefinitionError, Problem, UsageError
from runwright.core.reference import Arguments, Reference, Template
from runwright.core.workflow import Workflow as Record
from runwright.engines.work import Work
from runwright.executors.inside import is_inside
from runwright.wiring.flow_names import workflow_name
from runwright.wiring.flow_tasks import CallOptions, FlowTask, Node, TaskOptions

P = ParamSpec("P")
R = TypeVar("R")


class WorkflowOptions(TypedDict, total=False):
    """What can be said of a workflow beside its tasks; every key is as in a workflow file."""

    description: str
    tags: Sequence[str]
    on_failure: str
    env: Mapping[str, str]
    secrets: Sequence[str]
    variables: Mapping[str, str]
    kill_grace: float | str
    max_log_bytes: int | str
    executors: Mapping[str, Mapping[str, Any]]


class Decorator(Protocol):
    """Makes tasks of functions, with options that are given already."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> FlowTask[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> FlowTask[P, R]: ...


class Workflow:
    """A workflow built in code: calls of its tasks build the graph, and nothing runs until an engine executes it.

    Usage::

        flow = Workflow("etl")

        @flow.task(retries=2)
        def extract(day: str) -> list[int]: ...

        @flow.task
        async def load(rows: list[int]) -> int: ...

        load(extract(flow.param("day")))
        run = await engine.execute(flow, RunOptions(variables={"day": "2026-01-01"}))

    Args:
        name: Of the workflow and its runs.
        options: As in a workflow file.
    """

    def __init__(self, name: str, **options: Unpack[WorkflowOptions]) -> None:
        if "tasks" in options:
            message = "tasks of this Workflow are functions: decorate them with @flow.task, and call them"
            advice = "the record that has tasks is runwright.core.workflow.Workflow"
            raise UsageError((Problem(message=message, suggestion=advice),))
        self.name = name
        self._options = options
        self._variables: dict[str, str] = dict(options.get("variables", {}))
        self._expected: dict[str, None] = {}
        self._nodes: dict[str, Node] = {}
        self._tasks: list[FlowTask[Any, Any]] = []
        self._prefix = ""
        self._numbers: dict[str, int] = {}
        frame = inspect.currentframe()
        caller = None if frame is None else frame.f_back
        self._module = "" if caller is None else str(caller.f_globals.get("__name__", ""))

    def __repr__(self) -> str:
        return f"<workflow {self.name}, {len(self._nodes)} tasks>"

    # What it is made of

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> FlowTask[P, R]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> FlowTask[P, R]: ...

    @overload
    def task(self, /, **options: Unpack[TaskOptions]) -> Decorator: ...

    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Make a task of a function, plain or of a coroutine: ``@flow.task`` or ``@flow.task(retries=2)``.

        Coroutine functions are awaited in the engine, others run in a process of their own unless `mode` says otherwise.

        Args:
            function: Which.
            options: As in a workflow file, with `mode` and `pickle` beside them and `condition` for ``if``.
        """
        if function is None:
            return lambda function: self._task(function, cast("CallOptions", options))
        return self._task(function, {})

    def _task(self, function: Callable[..., Any], options: CallOptions) -> FlowTask[Any, Any]:
        made: FlowTask[Any, Any] = FlowTask(self, function, options)
        self._tasks.append(made)
        return made

    def subflow(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Make a part of the graph of a function that calls tasks: ``@flow.subflow``.

        The keys of the tasks that it calls begin with its name. It returns whatever the function returns.
        """

        @wraps(function)
        def part(*args: P.args, **kwargs: P.kwargs) -> R:
            if is_inside():
                return function(*args, **kwargs)
            with self._within(self._free(f"{function.__name__}-")):
                return function(*args, **kwargs)

        return part

    def param(self, name: str, default: str | None = None) -> str:
        """Return what stands for a variable of the run (``--var NAME=VALUE``), which is a text.

        Args:
            name: Of the variable.
            default: Its value if none is given; None means that one must be.
        """
        if default is None:
            self._expected.setdefault(name)
        elif self._variables.setdefault(name, default) != default:
            raise UsageError(f'parameter "{name}" has the default {self._variables[name]!r} already')
        return cast("str", Reference(self, name))

    def text(self, template: str) -> str:
        """Return what stands for a text in which ``{{.name}}`` is filled in, for instance ``{{.extract.value}}.csv``."""
        return cast("str", Template(template))

    def order(self, key: str, others: Iterable[object]) -> None:
        """Let a task come after others; `after` of a task, or of what its call returned, is the usual way.

        Raises:
            UsageError: If one of them is no task of this workflow.
        """
        arguments = Arguments(self, f"task {key}")
        arguments.come_after(others)
        self._nodes[key].needs.update(arguments.needs)

    def add(self, base: str, key: str, node: Node) -> Reference:
        """Add a node; for tasks.

        Raises:
            UsageError: If the key is taken.
        """
        if key and self._prefix + key in self._nodes:
            raise UsageError(f'there is a task "{self._prefix + key}" already; give another key')
        chosen = self._prefix + key if key else self._free(base)
        self._nodes[chosen] = node
        return Reference(self, f"{chosen}.value", chosen)

    def _free(self, base: str) -> str:
        """Return the first of ``base``, ``base-2``, ... that is free; a base that ends in a hyphen begins keys."""
        whole = self._prefix + base
        name, hyphen = whole.removesuffix("-"), "-" * whole.endswith("-")
        while True:
            number = self._numbers[whole] = self._numbers.get(whole, 0) + 1
            chosen = whole if number == 1 else f"{name}-{number}{hyphen}"
            if chosen not in self._nodes:
                return chosen

    @contextmanager
    def _within(self, prefix: str) -> Iterator[None]:
        before, self._prefix = self._prefix, prefix
        try:
            yield
        finally:
            self._prefix = before

    # What comes of it

    @property
    def data(self) -> dict[str, Any]:
        """The workflow as a file would hold it."""
        fields = {
            name: list(value) if isinstance(value, tuple) else value for name, value in self._options.items()
        }
        tasks = {key: self._table(node) for key, node in self._nodes.items()}
        variables = {"variables": dict(self._variables)} if self._variables else {}
        return {"name": self.name, **fields, **variables, "tasks": tasks}

    def _table(self, node: Node) -> dict[str, Any]:
        needs = [key for key in node.needs if key in self._nodes]
        return {**node.table, **({"depends_on": needs} if needs else {})}

    @property
    def definition(self) -> Record:
        """The workflow as every engine, command and view knows it: the same record that a file becomes.

        Raises:
            DefinitionError: With everything that is wrong with it.
        """
        return self.checked(self._expected)

    def checked(self, given: Collection[str]) -> Record:
        """Return the workflow as a record, given the names of the variables that its run will have.

        Raises:
            DefinitionError: With everything that is wrong with it; problems of a task have the place of its call.
        """
        from runwright.wiring.definitions import decode_workflow

        if not self._nodes:
            message = f"workflow {self.name} has no task yet"
            raise UsageError((Problem(message=message, suggestion="call one of its tasks to add it"),))
        try:
            return decode_workflow(self.data, default_name=self.name, given=given)
        except DefinitionError as error:
            raise DefinitionError([self._placed(problem) for problem in error.problems]) from None

    def _placed(self, problem: Problem) -> Problem:
        where = problem.path[1:2] if problem.path[:1] == ("tasks",) else ()
        node = self._nodes.get(str(where[0])) if where else None
        if node is None or not node.line:
            return problem
        source = linecache.getline(node.file, node.line).rstrip("\n")
        return structs.replace(problem, file=node.file, line=node.line, source_line=source)

    def to_work(self, given: Collection[str] | None = None) -> Work:
        """Return what an engine executes; `given` are the names of the run's variables, or those that are expected."""
        return Work(
            definition=self.checked(self._expected if given is None else given),
            path=workflow_name(self, self._module),
            known=dict(task.known for task in self._tasks),
        )
