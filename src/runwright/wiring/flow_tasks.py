"""Functions as tasks of a workflow that is built in code."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import update_wrapper
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, cast

from msgspec import Struct, field

from runwright.core.errors import Problem, UsageError
from runwright.core.reference import Arguments, Graph, Reference, Template
from runwright.executors.inside import body, is_inside
from runwright.wiring.flow_names import function_name

P = ParamSpec("P")
R = TypeVar("R")

LOCAL = "<locals>"


class TaskOptions(TypedDict, total=False):
    """What can be said of a task beside its function; every key is as in a workflow file.

    Texts such as those of `env` may hold ``{{.name}}``. Durations are seconds or texts such as ``"5m"``.
    """

    name: str
    description: str
    type: Literal["normal", "forensic"]
    executor: str
    mode: Literal["auto", "async", "thread", "process"]
    pickle: bool
    retries: int
    retry_delay: float | str
    retry_backoff: float
    retry_max_delay: float | str
    retry_jitter: float
    retry_on: int | Sequence[int]
    timeout: float | str
    kill_grace: float | str
    condition: str
    ignore_failure: bool
    on_failure: str
    register: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    env: Mapping[str, str]
    clean_env: bool
    cache: bool
    working_dir: str
    pre: str | Sequence[str]
    post: str | Sequence[str]
    cleanup: str | Sequence[str]
    tags: Sequence[str]
    max_log_bytes: int | str
    pool: int
    item_failures: Literal["stop", "continue", "ignore"]


class CallOptions(TaskOptions, total=False):
    """Those of one call: `key` names its node."""

    key: str


EACH_ITEM = Template("{{.item}}")
"""Stands for the item in the arguments of a task that is mapped over a list that is not known yet."""

OF_FUNCTION = ("mode", "pickle")
"""Options that are arguments of the executor."""


class Node(Struct):
    """One call of a task.

    Attributes:
        table: What would stand in a workflow file.
        needs: Keys of the tasks that come before it.
        file: Where the call is.
        line: Likewise.
    """

    table: dict[str, Any]
    needs: dict[str, None]
    file: str = ""
    line: int = 0


class Builder(Graph, Protocol):
    """What tasks add their calls to."""

    def add(self, base: str, key: str, node: Node) -> Reference:
        """Add a node under a key, or under the first free one that begins with `base`."""
        ...


class FlowTask(Generic[P, R]):
    """A function of a workflow: each call is a node of the graph, and runs when the workflow does.

    A call returns what stands for the value, typed as the value is. Inside the function of a task, when the workflow
    runs, a call is a plain call.

    Attributes:
        function: The function itself, for tests and for other uses.
    """

    def __init__(
        self,
        graph: Builder,
        function: Callable[..., Any],
        options: CallOptions,
        after: tuple[object, ...] = (),
    ) -> None:
        self.function = function
        self._graph = graph
        self._options = options
        self._after = after
        self._signature = inspect.signature(function)
        self._name = function_name(function)
        self.__runwright_body__ = body(function)
        update_wrapper(self, function)
        if LOCAL in self._name and options.get("mode") == "process":
            message = f"{self._name} can't be found by another process, because it is made inside a function"
            raise UsageError((Problem(message=message, suggestion="move it to the top of a module"),))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Add a call to the graph and return what stands for its value.

        Raises:
            UsageError: If the function can't be called so, or an argument is neither plain data nor a value of this
                workflow.
        """
        if is_inside():
            return cast("R", self.function(*args, **kwargs))
        return cast("R", self._add(args, kwargs))

    def map(self, items: Iterable[Any], /, *args: Any, **kwargs: Any) -> list[R]:
        """Add a call for each item, which is the first argument; the others are the same for all.

        If the items are the value of a task, which is known only when the workflow runs, there is one node, which is
        mapped over them then; what is returned stands for the list of values. `pool` and `item_failures` are for this.

        Raises:
            UsageError: As by a call.
        """
        if is_inside():
            return [self.function(item, *args, **kwargs) for item in items]
        if isinstance(items, Reference):
            return cast("list[R]", self._add((EACH_ITEM, *args), kwargs, over=items))
        return [cast("R", self._add((item, *args), kwargs, many=True)) for item in items]

    def after(self, *others: object) -> "FlowTask[P, R]":
        """Return the same task, whose calls come after those of others that it takes no value of."""
        return FlowTask(self._graph, self.function, self._options, (*self._after, *others))

    def with_options(self, **options: Unpack[CallOptions]) -> "FlowTask[P, R]":
        """Return the same task with other options; `key` names the node of its call."""
        merged = cast("CallOptions", {**self._options, **options})
        return FlowTask(self._graph, self.function, merged, self._after)

    def __repr__(self) -> str:
        return f"<task {self._name}>"

    def _add(
        self,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        *,
        many: bool = False,
        over: Reference | None = None,
    ) -> Reference:
        base = str(self._options.get("key") or getattr(self.function, "__name__", "task"))
        arguments = Arguments(self._graph, f"task {base}")
        called = self._bound(base, args, kwargs)
        made = {
            "function": self._name,
            **_if_any(
                "args", [arguments.plain(each, f"argument {n}") for n, each in enumerate(called.args, 1)]
            ),
            **_if_any("kwargs", {name: arguments.plain(each, name) for name, each in called.kwargs.items()}),
        }
        arguments.come_after(self._after)
        table = _table(self._options, made)
        if over is not None:
            table["for_each"] = arguments.plain(over, "the list of items")
        node = Node(table, arguments.needs, *_place())
        named = "" if many else str(self._options.get("key", ""))
        return self._graph.add(base, named, node)

    def _bound(self, base: str, args: Sequence[object], kwargs: Mapping[str, object]) -> "_Called":
        try:
            found = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"task {base} can't be called so: {error}") from None
        return _by_name(found)

    @property
    def known(self) -> tuple[str, Callable[..., Any]]:
        """The name by which an executor knows the function, and what it calls."""
        return self._name, self.__runwright_body__


class _Called(Struct):
    args: list[object]
    kwargs: dict[str, object] = field(default_factory=dict)


def _by_name(found: inspect.BoundArguments) -> _Called:
    """Return arguments by name, those apart that can only be given by position."""
    called = _Called([])
    by_position = any(
        kind.kind is inspect.Parameter.VAR_POSITIONAL and found.arguments.get(name)
        for name, kind in found.signature.parameters.items()
    )
    for name, value in found.arguments.items():
        kind = found.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            called.args += value
        elif kind is inspect.Parameter.VAR_KEYWORD:
            called.kwargs.update(value)
        elif kind is inspect.Parameter.POSITIONAL_ONLY or (
            by_position and kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ):
            called.args.append(value)
        else:
            called.kwargs[name] = value
    return called


def _table(options: CallOptions, args: dict[str, Any]) -> dict[str, Any]:
    """Return a task as a workflow file would hold it."""
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    given.pop("key", None)
    if "condition" in given:
        given["if"] = given.pop("condition")
    more = {name: given.pop(name) for name in OF_FUNCTION if name in given}
    return {"executor": given.pop("executor", "python"), **given, "args": {**args, **more}}


def _if_any(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value else {}


def _place() -> tuple[str, int]:
    """Return file and line of the nearest caller outside of this package."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("runwright."):
        frame = frame.f_back
    return ("", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)
