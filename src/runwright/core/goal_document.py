"""The goal file as it stands on disk, the lines in which a command asks for actions, and their ways to checked records."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from runwright.core.check_fields import (
    Path,
    check_common,
    check_env,
    check_texts,
    check_variables,
    check_working_dir,
    secret_fault,
    shell_faults,
)
from runwright.core.convert import convert_fields
from runwright.core.errors import DefinitionError, Problem
from runwright.core.goal import ActionDefinition, GoalDefinition, GoalOptions
from runwright.core.suggest import did_you_mean
from runwright.core.tables import (
    Commands,
    Duration,
    Environment,
    FileName,
    Secrets,
    Shaped,
    Size,
    Variables,
    shaped,
)
from runwright.core.variables import references

MOST_COUNT = 1_000_000
"""No number of a goal file is larger."""

MOST_SUGGESTIONS = 100
"""So many unknown names get a suggestion."""

MOST_LINES = 20
"""So many wrong lines of a command are reported; the others are counted."""

ONE_LINE = 'print one JSON object a line, such as {"name": "make x", "perform": "touch x"}'

_COUNTS = {"errors_to_tolerate": 0, "workers": 1, "oscillation_limit": 0}
_OPTIONS = GoalOptions()


def _count(description: str, least: int) -> Any:
    return Meta(description=description, extra_json_schema={"minimum": least, "maximum": MOST_COUNT})


class GoalTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """A Runwright goal."""

    name: FileName = ""
    description: str = ""
    tags: list[str] = []
    env: Annotated[Environment, Meta(description="Environment variables of every command.")] = {}
    secrets: Secrets = []
    kill_grace: Duration = 10
    max_log_bytes: Size = 1 << 30
    working_dir: Annotated[
        str, Meta(description="Where the commands run; the current directory by default.")
    ] = ""
    variables: Variables = {}
    plan: Annotated[
        Commands,
        Meta(description="Prints the actions still needed, one JSON object a line; nothing if none."),
    ] = []
    sleep_between_runs: Annotated[Duration, Meta(description="Wait between two rounds.")] = (
        _OPTIONS.sleep_between_runs
    )
    longest_sleep: Annotated[
        Duration, Meta(description="Most that the wait grows to while rounds are fruitless.")
    ] = _OPTIONS.longest_sleep
    errors_to_tolerate: Annotated[int, _count("One error more ends the run.", 0)] = (
        _OPTIONS.errors_to_tolerate
    )
    execution_timeout: Annotated[
        Duration, Meta(description="Longest the whole run may take; 0 means no limit.")
    ] = _OPTIONS.execution_timeout
    workers: Annotated[int, _count("Most actions at a time.", 1)] = _OPTIONS.workers
    oscillation_limit: Annotated[
        int, _count("So many repetitions of the same rounds end the run; 0 means never.", 0)
    ] = _OPTIONS.oscillation_limit


class ActionTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """One action, as a command prints it: a JSON object on a line of its own.

    Such lines that `perform` appends to ``$RUNWRIGHT_ACTIONS`` are its children.
    """

    name: str = ""
    perform: Commands = []
    pre: Commands = []
    post: Commands = []
    env: Environment = {}
    timeout: Duration = 0


def decode_goal(data: Mapping[str, Any], *, default_name: str, given: Collection[str] = ()) -> GoalDefinition:
    """Turn the plain data of a goal file into a checked goal.

    Args:
        data: What the file holds; not changed.
        default_name: Name of the goal if the file gives none.
        given: Names of variables that come from outside (``--var``).

    Raises:
        DefinitionError: With every problem found; paths and offsets say where.
    """
    left = shaped(data, GoalTable)
    problems = left.problems
    fields = convert_fields(left.data, (), problems)
    fields["name"] = fields.get("name") or default_name
    options = {name: fields.pop(name) for name in GoalOptions.__struct_fields__ if name in fields}
    goal = GoalDefinition(options=GoalOptions(**options), **fields)
    _Checker(left).check(goal, given)
    if problems:
        raise DefinitionError(list(dict.fromkeys(problems)))
    return goal


class _Checker:
    """Finds what types can't say, and adds it to `problems`."""

    def __init__(self, left: Shaped) -> None:
        self.left = left
        self.problems = left.problems
        self.suggestions = 0

    def add(self, path: Path, message: str, suggestion: str, offset: int | None = None) -> None:
        self.problems.append(Problem(message=message, path=path, suggestion=suggestion, offset=offset))

    def check(self, goal: GoalDefinition, given: Collection[str]) -> None:
        check_common(goal, self.add)
        check_variables(goal.variables, self.add)
        check_working_dir(goal.working_dir, (), self.add)
        for name, least in _COUNTS.items():
            self._count(name, getattr(goal.options, name), least)
        commands = self.left.numbered(("plan",), goal.plan)
        self._plan(commands)
        if not any(path[:1] == ("variables",) for path in self.left.broken):
            known = {*goal.variables, *given}
            for path, text in _texts(goal, commands):
                self._names(goal, known, path, text)

    def _count(self, name: str, value: int, least: int) -> None:
        if not least <= value <= MOST_COUNT:
            advice = f"write {getattr(_OPTIONS, name)}, or leave it out"
            self.add((name,), f'"{name}" must be from {least} to {MOST_COUNT}', advice)

    def _plan(self, commands: Sequence[tuple[int, str]]) -> None:
        if not commands and ("plan",) not in self.left.broken:
            text = "a goal needs a command that prints the actions still needed"
            advice = (
                'add plan = "..."; it prints one JSON object a line, and nothing once the goal is reached'
            )
            self.add((), text, advice)
        check_texts(commands, ("plan",), self.add)
        for index, command in commands:
            self.problems += shell_faults(command, ("plan", index))

    def _names(self, goal: GoalDefinition, known: Collection[str], path: Path, text: str) -> None:
        for place in references(text):
            if place.name in known:
                continue
            if place.name in goal.secrets:
                self.add(path, *secret_fault(place.name), place.start)
            else:
                advice = self._near(place.name, known) or _advice(place.name)
                self.add(path, f'nothing sets "{place.name}"', advice, place.start)

    def _near(self, name: str, known: Collection[str]) -> str:
        self.suggestions += 1
        return did_you_mean(name, known) if self.suggestions <= MOST_SUGGESTIONS else ""


def _advice(name: str) -> str:
    return (
        f"give it with --var {name}=..., or add it to [variables]; write {{{{!.{name}}}}} for the text itself"
    )


def _texts(goal: GoalDefinition, commands: Sequence[tuple[int, str]]) -> Iterator[tuple[Path, str]]:
    """Yield the texts that may hold placeholders, each with its place."""
    for index, command in commands:
        yield ("plan", index), command
    for name, value in goal.env.items():
        yield ("env", name), value
    yield ("working_dir",), goal.working_dir


# -- actions ----------------------------------------------------------------------------------------------------


def decode_actions(text: str) -> list[ActionDefinition]:
    """Return the actions that a command asks for, in order.

    Args:
        text: What it printed: one JSON object a line, in the shape of `ActionTable`; empty lines don't count.

    Raises:
        DefinitionError: With every wrong line, `MOST_LINES` at most; each problem names its line.
    """
    reader = _Lines()
    actions = [
        action
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and (action := reader.action(number, line)) is not None
    ]
    if reader.problems:
        raise DefinitionError(reader.shown())
    return actions


class _Lines:
    """Reads line by line, and remembers what is wrong and which names are taken."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.names: dict[str, int] = {}
        self.number = 0
        self.line = ""

    def add(self, path: Path, message: str, suggestion: str) -> None:
        self.problems.append(
            Problem(
                message=f"line {self.number}: {message}",
                path=path,
                suggestion=suggestion,
                line=self.number,
                column=1,
                source_line=self.line,
            )
        )

    def action(self, number: int, line: str) -> ActionDefinition | None:
        """Read one line; returns None, with problems noted, if it is no action."""
        self.number, self.line = number, line.removesuffix("\r")
        before = len(self.problems)
        data = self._object()
        if data is None:
            return None
        left = shaped(data, ActionTable)
        problems = left.problems
        fields = convert_fields(left.data, (), problems)
        for problem in problems:
            self.add(problem.path, problem.message, problem.suggestion)
        action = ActionDefinition(**{"name": "", "perform": (), **fields})
        self._check(action, left)
        return action if len(self.problems) == before else None

    def _object(self) -> dict[str, Any] | None:
        try:
            data = msgspec.json.decode(self.line)
        except (ValueError, RecursionError) as error:
            self.add((), f"it is not JSON ({error})", f"{ONE_LINE}; send other output to standard error")
            return None
        if not isinstance(data, dict):
            from runwright.core.shape import type_name  # noqa: PLC0415 - only for lines with faults

            self.add((), f"an action is a JSON object, not {type_name(data)}", ONE_LINE)
            return None
        return data

    def _check(self, action: ActionDefinition, left: Shaped) -> None:
        if ("name",) not in left.broken:
            self._name(action.name)
        if not action.perform and ("perform",) not in left.broken:
            self.add(("perform",), 'an action needs "perform"', "name the command that does it")
        for key in ("perform", "pre", "post"):
            check_texts(left.numbered((key,), getattr(action, key)), (key,), self.add)
        check_env(action.env, ("env",), self.add)

    def _name(self, name: str) -> None:
        if not name.strip():
            self.add(("name",), 'an action needs a "name"', "say what it does, and to what")
        elif "\0" in name:
            self.add(("name",), "a name can't hold a NUL", "remove the NUL")
        elif name in self.names:
            text = f'the action "{name}" is asked for in line {self.names[name]} already'
            self.add(("name",), text, "print it once, or give it a name of its own")
        self.names.setdefault(name, self.number)

    def shown(self) -> list[Problem]:
        """Return the problems of the first lines, and how many lines there are more."""
        lines = list(dict.fromkeys(problem.line for problem in self.problems))
        if len(lines) <= MOST_LINES:
            return self.problems
        shown = [problem for problem in self.problems if problem.line <= lines[MOST_LINES - 1]]
        more = len(lines) - MOST_LINES
        return [
            *shown[:-1],
            replace(shown[-1], suggestion=f"{shown[-1].suggestion}; {more} more lines are wrong"),
        ]
