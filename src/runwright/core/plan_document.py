"""The plan file as it stands on disk, and the way from its plain data to a checked plan."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from runwright.core.check_fields import (
    KEY,
    KEY_ADVICE,
    SHELL_NAME,
    Path,
    check_common,
    check_env,
    check_retries,
    check_texts,
    check_working_dir,
    secret_fault,
    shell_faults,
)
from runwright.core.convert import NOTHING, convert_fields
from runwright.core.errors import DefinitionError, Problem
from runwright.core.plan import (
    CLEANUP_SECONDS,
    Element,
    Hook,
    PauseDefinition,
    PlanDefinition,
    StepDefinition,
)
from runwright.core.tables import (
    Commands,
    Duration,
    Environment,
    FileName,
    Retries,
    Secrets,
    Shaped,
    Size,
    shaped,
)
from runwright.core.variables import references

PAUSE_KEYS = ("name", "pause")
"""All that a pause may have."""


class StepTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """One step: a name and at least one hook; or one pause: `pause` and perhaps a name."""

    name: Annotated[
        str,
        Meta(
            description="Unique among steps and pauses; pauses have one by default.",
            extra_json_schema={"pattern": "^[A-Za-z0-9_-]+$"},
        ),
    ] = ""
    description: str = ""
    pre_exec: Annotated[Commands, Meta(description="Runs before `exec`.")] = []
    exec: Annotated[Commands, Meta(description="The work of the step; `{{.name}}` is filled in.")] = []
    post_exec: Annotated[Commands, Meta(description="Runs after `exec`.")] = []
    cleanup: Annotated[
        Commands, Meta(description="Undoes the step at the end of the plan, last step first.")
    ] = []
    retries: Retries = 0
    retry_delay: Duration = 0
    timeout: Annotated[Duration, Meta(description="Longest an attempt may take, all its hooks together.")] = 0
    env: Annotated[Environment, Meta(description="Environment variables of the step.")] = {}
    working_dir: Annotated[
        str, Meta(description="Where the step runs; the current directory by default.")
    ] = ""
    pause: Annotated[Duration | UnsetType, Meta(description="Wait so long; for a pause only.")] = UNSET


class PlanTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """A Runwright plan."""

    name: FileName = ""
    description: str = ""
    tags: list[str] = []
    env: Annotated[Environment, Meta(description="Environment variables of every step.")] = {}
    secrets: Secrets = []
    kill_grace: Duration = 10
    max_log_bytes: Size = 1 << 30
    continue_on_error: Annotated[bool, Meta(description="Go on with the next step after a failed one.")] = (
        False
    )
    limit_duration: Annotated[
        Duration, Meta(description="Longest the steps and pauses may take together; 0 means no limit.")
    ] = 0
    cleanup_timeout: Annotated[Duration, Meta(description="Longest the cleanup of one step may take.")] = (
        CLEANUP_SECONDS
    )
    state: Annotated[
        dict[str, Any],
        Meta(
            description="What the shared state begins with, by name.",
            extra_json_schema={"propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}},
        ),
    ] = {}
    steps: Annotated[list[StepTable], Meta(description="Steps and pauses, in order.")] = []


def decode_plan(data: Mapping[str, Any], *, default_name: str) -> PlanDefinition:
    """Turn the plain data of a plan file into a checked plan.

    Args:
        data: What the file holds; not changed.
        default_name: Name of the plan if the file gives none.

    Raises:
        DefinitionError: With every problem found; paths and offsets say where.
    """
    reader = _Reader(shaped(data, PlanTable))
    plan = reader.plan(default_name)
    if reader.problems:
        raise DefinitionError(list(dict.fromkeys(reader.problems)))
    return plan


class _Reader:
    """Makes the records of a plan and notes what is wrong with them."""

    def __init__(self, left: Shaped) -> None:
        self.left = left
        self.problems = left.problems
        self.broken = left.broken
        self.names: dict[str, Path] = {}
        self.secrets: frozenset[str] = frozenset()

    def add(self, path: Path, message: str, suggestion: str, offset: int | None = None) -> None:
        self.problems.append(Problem(message=message, path=path, suggestion=suggestion, offset=offset))

    def plan(self, default_name: str) -> PlanDefinition:
        fields = convert_fields(self.left.data, (), self.problems)
        fields["name"] = fields.get("name") or default_name
        numbered = self.left.numbered(("steps",), fields.pop("steps", ()))
        self.secrets = frozenset(fields.get("secrets", ())) - fields.get("state", NOTHING).keys()
        elements = self._elements([(("steps", index), table) for index, table in numbered])
        plan = PlanDefinition(elements=tuple(elements), **fields)
        self._check(plan)
        return plan

    def _elements(self, tables: Sequence[tuple[Path, Mapping[str, Any]]]) -> Iterator[Element]:
        for path, table in tables:
            self._take_name(table.get("name", ""), path)
        pauses = 0
        for path, table in tables:
            if "pause" in table or (*path, "pause") in self.broken:
                pauses += 1
                yield self._pause(path, table, pauses)
            else:
                yield self._step(path, table)

    def _take_name(self, name: str, path: Path) -> None:
        if not name:
            return
        if not KEY.fullmatch(name):
            self.add((*path, "name"), f'"{name}" can\'t be the name of a step or pause', KEY_ADVICE)
        if name in self.names:
            self.add(
                (*path, "name"), f"{_element(self.names[name])} has this name already", "rename one of them"
            )
        self.names.setdefault(name, path)

    # Steps

    def _step(self, path: Path, table: Mapping[str, Any]) -> StepDefinition:
        fields = convert_fields(table, path, self.problems)
        hooks = {hook: commands for hook in Hook if (commands := fields.pop(hook, ()))}
        step = StepDefinition(name=fields.pop("name", ""), hooks=hooks, **fields)
        if not step.name and (*path, "name") not in self.broken:
            self.add(path, f"{_element(path)} needs a name", 'add name = "..."')
        if not hooks and not any((*path, hook) in self.broken for hook in Hook):
            who = f'step "{step.name}"' if step.name else _element(path)
            advice = 'add exec = "..." (or pre_exec, post_exec or cleanup), or pause = "..."'
            self.add(path, f"{who} has nothing to do", advice)
        self._check_step(step, path)
        return step

    def _check_step(self, step: StepDefinition, path: Path) -> None:
        for hook, commands in step.hooks.items():
            numbered = self.left.numbered((*path, hook.value), commands)
            check_texts(numbered, (*path, hook.value), self.add)
            for index, command in numbered:
                self.problems += shell_faults(command, (*path, hook.value, index))
                self._no_secrets(command, (*path, hook.value, index))
        check_retries(step.retries, path, self.add)
        check_env(step.env, (*path, "env"), self.add)
        self._env(step.env, (*path, "env"))
        check_working_dir(step.working_dir, path, self.add)
        self._no_secrets(step.working_dir, (*path, "working_dir"))

    def _env(self, env: Mapping[str, str], path: Path) -> None:
        for name, value in env.items():
            self._no_secrets(value, (*path, name))

    def _no_secrets(self, text: str, path: Path) -> None:
        for place in references(text):
            if place.name in self.secrets:
                self.add(path, *secret_fault(place.name), place.start)

    # Pauses

    def _pause(self, path: Path, table: Mapping[str, Any], number: int) -> PauseDefinition:
        for key in [key for key in table if key not in PAUSE_KEYS and self.left.has((*path, key))]:
            self.add((*path, key), f'a pause has no "{key}"', "remove it, or move it to a step")
        fields = convert_fields({key: table[key] for key in PAUSE_KEYS if key in table}, path, self.problems)
        seconds = fields.get("pause", 1.0)
        if not seconds:
            self.add((*path, "pause"), "a pause must take some time", 'write pause = "2s", or remove it')
        name = fields.get("name") or self._free_name(f"pause-{number}", path)
        return PauseDefinition(name=name, seconds=seconds)

    def _free_name(self, wanted: str, path: Path) -> str:
        name, number = wanted, 1
        while name in self.names:
            number += 1
            name = f"{wanted}-{number}"
        self.names[name] = path
        return name

    # The plan as a whole

    def _check(self, plan: PlanDefinition) -> None:
        check_common(plan, self.add)
        self._env(plan.env, ("env",))
        if plan.state:
            self._state(plan.state)
        if not plan.cleanup_timeout:
            self.add(("cleanup_timeout",), '"cleanup_timeout" must be more than 0', 'write for instance "5m"')
        if not plan.elements and not any(path[:1] == ("steps",) for path in self.broken):
            self.add((), "a plan needs at least one step", 'add [[steps]] with name = "..." and exec = "..."')

    def _state(self, state: Mapping[str, Any]) -> None:
        from runwright.core.shape import plain_faults  # noqa: PLC0415 - many plans begin without state

        for name, value in state.items():
            if not SHELL_NAME.fullmatch(name):
                text = f'"{name}" can\'t be the name of a state value'
                self.add(("state", name), text, "use letters, digits and _, no digit first")
            if isinstance(value, str) and "\0" in value:
                self.add(("state", name), "a state value can't hold a NUL", "remove the NUL")
        self.problems += plain_faults(state, ("state",))


def _element(path: Path) -> str:
    """Name an element by its place."""
    return f'element {int(path[1]) + 1} of "steps"'
