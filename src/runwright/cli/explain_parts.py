"""What only some explanations say: of plans and their steps, of goals and their actions, of runs within tasks."""

from collections import Counter
from collections.abc import Iterator, Sequence

from runwright.cli.goal_view import RoundView, action_name, is_round, needed_in, round_of, rounds
from runwright.cli.inspect import Everything, round_text
from runwright.cli.nested import STEP, inner_of
from runwright.cli.plan_view import plan_of
from runwright.cli.records import counted, plural
from runwright.cli.render.times import duration, elapsed
from runwright.core.definition import unpin_as
from runwright.core.goal import GoalDefinition
from runwright.core.plan import PlanDefinition, has_cleanup
from runwright.core.planlog import CLEANUP_SUFFIX, PlanLog, plan_resume
from runwright.core.run import TaskRow
from runwright.core.states import FINAL_RUN_STATES, RESUMABLE_RUN_STATES, RunState, TaskRole, TaskState

MOST_NAMES = 3


def names_of(names: Sequence[str]) -> str:
    """Return names as a phrase, the first ones only if there are many."""
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"


def error_of(row: TaskRow) -> str:
    """Return why a task ended as it did."""
    return row.failure.message if row.failure else row.reason


def attempts_of(row: TaskRow) -> str:
    """Return how many attempts there were, if there was more than one."""
    return f" (attempt {row.attempts})" if row.attempts > 1 else ""


# -- runs within tasks ------------------------------------------------------------------------------------------


def innermost(found: Everything, row: TaskRow) -> tuple[str, TaskRow] | None:
    """Return the path and the row of the innermost task that failed within a task; None if none did."""
    path, failed = row.id, None
    while runs := inner_of(found, row.id):
        found = runs[-1]
        bad = [one for one in found.tasks if one.state is TaskState.FAILED and not one.ignored]
        if not bad:
            break
        row = failed = bad[-1 if found.run.kind == "goal" else 0]
        path += STEP + row.id
    return (path, failed) if failed is not None else None


def inside(found: Everything, row: TaskRow, before: str = "") -> Iterator[str]:
    """Yield what runs are the work of a task, and what failed in the last of them."""
    runs = inner_of(found, row.id)
    if not runs:
        return
    run = runs[-1].run
    times = f", the last of {len(runs)}" if len(runs) > 1 else ""
    yield f"its work is the {run.kind} {run.name}, run {run.id}{times}: {run.state.value}; {counted(run)}"
    worst = innermost(found, row)
    if run.reason and run.state is not RunState.SUCCEEDED and (worst is None or run.kind == "goal"):
        yield f"in it: {run.reason}"
    if worst is not None:
        yield f"in it {before}{worst[0]} failed: {error_of(worst[1])}{attempts_of(worst[1])}"


# -- plans ------------------------------------------------------------------------------------------------------


def plan_facts(found: Everything) -> Iterator[str]:
    """Yield what is to say of a plan's run besides the steps that failed: cleanups, a resume, values that are lost."""
    for row in found.tasks:
        if row.role is TaskRole.CLEANUP and row.state is TaskState.FAILED:
            yield f"cleanup of {row.id.removesuffix(CLEANUP_SUFFIX)} failed: {error_of(row)}"
    plan = plan_of(found.definition)
    log = _log(found)
    if plan is not None and found.run.state in RESUMABLE_RUN_STATES:
        yield from _resume(plan, log)
    if log.lost:
        yield f"values of the state that are lost: {names_of(sorted(log.lost))}"


def _log(found: Everything) -> PlanLog:
    return PlanLog(stored.event for stored in found.events)


def _resume(plan: PlanDefinition, log: PlanLog) -> Iterator[str]:
    undo = plan_resume(plan, log, go_on=False).undo
    names = [plan.elements[index].name for index in reversed(undo)]
    yield f"a resume cleans up {names_of(names)}" if names else "a resume has nothing to clean up"
    todo = [plan.elements[index].name for index in plan_resume(plan, log, go_on=True).todo]
    yield f"with --continue it runs {names_of(todo)}" if todo else "with --continue it has nothing to run"


def resume_commands(found: Everything, short: str) -> Iterator[str]:
    """Yield the commands that continue a run; a plan may have something to clean up, or something to go on with."""
    plan = plan_of(found.definition) if found.run.kind == "plan" else None
    if plan is None:
        yield f"runwright resume {short}"
        return
    log = _log(found)
    if plan_resume(plan, log, go_on=False).undo:
        yield f"runwright resume {short}"
    if not plan_resume(plan, log, go_on=True).is_idle:
        yield f"runwright resume {short} --continue"


def step_facts(found: Everything, row: TaskRow) -> Iterator[str]:
    """Yield whether the cleanup of a step ran and why or why not, and what a resume would do with it."""
    plan = plan_of(found.definition)
    if plan is None or row.role is not TaskRole.TASK:
        return
    index = next((n for n, one in enumerate(plan.elements) if one.name == row.id), None)
    if index is None:
        return
    yield _cleanup(found, plan, index, row)
    if found.run.state in RESUMABLE_RUN_STATES:
        yield _again(plan, _log(found), index)


def _cleanup(found: Everything, plan: PlanDefinition, index: int, row: TaskRow) -> str:
    cleanup = next((one for one in found.tasks if one.id == row.id + CLEANUP_SUFFIX), None)
    if cleanup is not None and cleanup.attempts:
        spent = duration(elapsed(cleanup.started_at, cleanup.ended_at))
        after = f" after {spent}" if spent else ""
        error = f": {error_of(cleanup)}" if cleanup.state is TaskState.FAILED else ""
        return f"its cleanup {'is ' if not after else ''}{cleanup.state.value}{after}{error}"
    if not has_cleanup(plan, index):
        return "it has no cleanup"
    if row.state not in {TaskState.SUCCEEDED, TaskState.RUNNING}:
        return "its cleanup did not run: only a step whose hooks all succeeded is cleaned up"
    if found.run.state is RunState.INTERRUPTED:
        return "its cleanup has not run: the engine died before"
    if found.run.state in FINAL_RUN_STATES:
        return "its cleanup did not run"
    return "its cleanup comes at the end of the plan"


def _again(plan: PlanDefinition, log: PlanLog, index: int) -> str:
    cleaning, going_on = (plan_resume(plan, log, go_on=go_on) for go_on in (False, True))
    undo = (
        f"runs its cleanup, because {cleaning.reasons[index]}"
        if index in cleaning.undo
        else "leaves it alone"
    )
    if index in going_on.todo:
        return f"a resume {undo}; with --continue it runs again: {going_on.reasons[index]}"
    return f"a resume {undo}; with --continue it stands"


# -- goals ------------------------------------------------------------------------------------------------------


def goal_facts(found: Everything) -> Iterator[str]:
    """Yield what is to say of a goal's run: its last round, its errors, and the actions that failed."""
    views = _views(found)
    if views:
        last = views[-1]
        needed = f" ({names_of(last.names)})" if last.names else ""
        yield f"round {last.number} is the last: {round_text(last)}{needed}"
    errors = sum(row.state is TaskState.FAILED for row in found.tasks)
    if errors and (goal := _goal(found)) is not None:
        yield f"{plural(errors, 'error')}, and {goal.options.errors_to_tolerate} are tolerated"
    yield from _failed_actions(found)


def _views(found: Everything) -> list[RoundView]:
    return rounds(found.tasks, (stored.event for stored in found.events))


def _goal(found: Everything) -> GoalDefinition | None:
    import msgspec  # noqa: PLC0415 - as the decoder's own errors are told apart here alone

    try:
        return unpin_as(found.definition, GoalDefinition) if found.definition else None
    except msgspec.MsgspecError:
        return None


def _failed_actions(found: Everything) -> Iterator[str]:
    failed = [row for row in found.tasks if row.state is TaskState.FAILED and not is_round(row.id)]
    times = Counter(action_name(row.id) for row in failed)
    last = {action_name(row.id): row for row in failed}
    for name, number in times.most_common(MOST_NAMES):
        often = f" {number} times, the last time" if number > 1 else ""
        yield f"{name} failed{often}: {error_of(last[name])}"


def action_facts(found: Everything, row: TaskRow) -> Iterator[str]:
    """Yield which rounds needed an action, and what came of it in each; of a round what it needed."""
    if is_round(row.id):
        view = next(view for view in _views(found) if view.number == round_of(row.id))
        yield round_text(view) + (f": {names_of(view.names)}" if view.names else "")
        return
    name = action_name(row.id)
    numbers = needed_in(_views(found), name)
    if len(numbers) > 1:
        yield f"{len(numbers)} rounds needed it: {numbers_of(numbers)}"
        states = Counter(one.state.value for one in found.tasks if action_name(one.id) == name)
        yield "in them it " + ", ".join(f"{state} {_often(number)}" for state, number in states.items())
    elif numbers:
        yield f"round {numbers[0]} alone needed it"
    if found.run.state in RESUMABLE_RUN_STATES:
        yield "a resume asks the goal again which actions it needs"


def _often(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def numbers_of(numbers: Sequence[int]) -> str:
    """Return ascending numbers as a phrase, those in a row as a span: ``1-3, 5``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(f"{span[0]}-{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans)
