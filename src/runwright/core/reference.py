"""What stands for values that are not known yet while a graph is built in code, and how it becomes plain data."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from msgspec import Struct

from runwright.core.errors import Problem, UsageError
from runwright.core.variables import escaped, references, split_owner


class Graph(Protocol):
    """A graph that is being built."""

    def order(self, key: str, others: Iterable[object]) -> None:
        """Let a task come after others."""
        ...


class Reference:
    """Stands for the value of a task, or of a variable, of a graph that is being built.

    It can be an argument of other tasks, also inside lists, tuples and dicts. It has no value until the graph runs, so
    it can't be looked into.

    Args:
        graph: Whose.
        name: Under which the value is read, for instance ``extract.value``.
        key: Of the task; empty for a variable.
    """

    __slots__ = ("graph", "key", "name")

    def __init__(self, graph: Graph, name: str, key: str = "") -> None:
        self.graph = graph
        self.name = name
        self.key = key

    def after(self, *others: object) -> "Reference":
        """Let the task come after others that it takes no value of; returns itself.

        Raises:
            UsageError: If one of them is no task of the same graph.
        """
        if not self.key:
            raise UsageError(f'variable "{self.name}" is there from the beginning; it comes after nothing')
        self.graph.order(self.key, others)
        return self

    def __repr__(self) -> str:
        return f"<{self.name}, known when the workflow runs>"

    def _unknown(self, what: str) -> UsageError:
        message = f'"{self.name}" has no value while the workflow is built, so {what}'
        advice = "pass it to a task, and do that there"
        return UsageError((Problem(message=message, suggestion=advice),))

    def __bool__(self) -> bool:
        raise self._unknown("it is neither true nor false")

    def __iter__(self) -> Iterator[Any]:
        raise self._unknown("there is nothing to iterate over")

    def __len__(self) -> int:
        raise self._unknown("it has no length")

    def __getitem__(self, item: object) -> Any:
        raise self._unknown("no part of it can be taken")

    def __str__(self) -> str:
        raise self._unknown("it is no text; for a text with the value in it write flow.text(...)")

    def __format__(self, spec: str) -> str:
        return str(self)


class Template(Struct, frozen=True):
    """A text in which ``{{.name}}`` is filled in."""

    text: str


class Arguments:
    """Turns arguments of a call into plain data.

    Args:
        graph: Whose references they may be.
        what: The task, for errors.

    Attributes:
        needs: Keys of the tasks whose values are among them, in order.
    """

    def __init__(self, graph: Graph, what: str) -> None:
        self.needs: dict[str, None] = {}
        self._graph = graph
        self._what = what

    def plain(self, value: object, place: str) -> Any:
        """Return an argument as it stands in a definition.

        Args:
            value: Plain data with references in it.
            place: Where it is, for errors.

        Raises:
            UsageError: If it is something else.
        """
        if isinstance(value, Reference):
            return self._reference(value)
        if isinstance(value, Template):
            return self._template(value.text)
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, str):
            return escaped(value)
        if isinstance(value, float) and value - value == 0:  # neither infinite nor no number
            return value
        if isinstance(value, list | tuple):
            return [self.plain(inner, f"{place}[{number}]") for number, inner in enumerate(value)]
        if isinstance(value, Mapping):
            return {
                self._name(name, place): self.plain(inner, f"{place}[{name!r}]")
                for name, inner in value.items()
            }
        message = f"{self._what}: {place} is {_kind(value)}, which a definition can't hold"
        advice = "pass plain data, or let a task make it and pass that task's value"
        raise UsageError((Problem(message=message, suggestion=advice),))

    def come_after(self, others: Iterable[object]) -> None:
        """Add tasks to `needs` whose values are not taken.

        Raises:
            UsageError: If one of them is no task of the same graph.
        """
        for other in others:
            if isinstance(other, list | tuple):
                self.come_after(other)
            elif isinstance(other, Reference) and other.graph is self._graph and other.key:
                self.needs[other.key] = None
            else:
                message = (
                    f"{self._what} can't come after {other!r}, which is no call of a task of this workflow"
                )
                raise UsageError(message)

    def _reference(self, reference: Reference) -> str:
        if reference.graph is not self._graph:
            raise UsageError(f"{self._what}: {reference.name} is of another workflow")
        if reference.key:
            self.needs[reference.key] = None
        return f"{{{{.{reference.name}}}}}"

    def _template(self, text: str) -> str:
        for place in references(text):
            owner, dot, _ = split_owner(place.name)
            if dot:
                self.needs[owner] = None
        return text

    def _name(self, name: object, place: str) -> str:
        if isinstance(name, str):
            return name
        raise UsageError(f"{self._what}: {place} has the name {name!r}; names of a table are texts")


def _kind(value: object) -> str:
    return str(value) if isinstance(value, float) else f"a {type(value).__name__}"
