"""Which tasks come before which, asked about many pairs at once.

Asking pair by pair would walk a chain of 100,000 tasks 100,000 times. Instead tasks are put in order once, and one
pass along them carries a bit for each of some thousand targets, over the stretch between the targets and those who
ask.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from runwright.core.workflow import TaskDefinition

TARGETS_A_PASS = 2048


class Question(Struct, frozen=True, gc=False):
    """Does at least one of `targets` (a task key, or the id of one node of it) come before `task`?"""

    task: str
    targets: tuple[str, ...]


def unanswered(tasks: Mapping[str, TaskDefinition], questions: Sequence[Question]) -> set[int]:
    """Return the numbers of the questions whose answer is no.

    What lies in a circle of dependencies, or behind one, counts as answered: the circle is reported by itself.
    """
    far = _not_direct(tasks, questions)
    if not far:
        return set()
    position = {key: number for number, key in enumerate(_order(tasks))}
    by_target: dict[str, list[int]] = {}
    for number in far:
        if questions[number].task in position:
            for target in questions[number].targets:
                by_target.setdefault(target, []).append(number)
    targets = [target for target in by_target if _key(target) in position]
    targets.sort(key=lambda target: position[_key(target)])
    order = list(position)
    found: set[int] = set()
    for start in range(0, len(targets), TARGETS_A_PASS):
        batch = targets[start : start + TARGETS_A_PASS]
        found |= _pass(tasks, order, position, batch, by_target, questions)
    return {number for number in far if questions[number].task in position} - found


def _not_direct(tasks: Mapping[str, TaskDefinition], questions: Sequence[Question]) -> list[int]:
    """Leave out what a task's own ``depends_on`` answers, which is nearly everything."""
    far, last, direct = [], "", frozenset[str]()
    for number, question in enumerate(questions):
        if question.task != last:
            last, direct = question.task, frozenset(tasks[question.task].depends_on)
        if not any(target in direct or _key(target) in direct for target in question.targets):
            far.append(number)
    return far


def _key(target: str) -> str:
    return target.partition("[")[0]


def _order(tasks: Mapping[str, TaskDefinition]) -> list[str]:
    """Return the keys of all tasks that no circle holds up, each after its dependencies."""
    waiting: dict[str, int] = {}
    dependents: dict[str, list[str]] = {}
    ready = []
    for key, task in tasks.items():
        sources = {_key(name) for name in task.depends_on} & tasks.keys() if task.depends_on else ()
        for source in sources:
            dependents.setdefault(source, []).append(key)
        if sources:
            waiting[key] = len(sources)
        else:
            ready.append(key)
    for key in ready:
        for dependent in dependents.get(key, ()):
            waiting[dependent] -= 1
            if not waiting[dependent]:
                ready.append(dependent)
    return ready


def _pass(
    tasks: Mapping[str, TaskDefinition],
    order: list[str],
    position: Mapping[str, int],
    batch: list[str],
    by_target: Mapping[str, list[int]],
    questions: Sequence[Question],
) -> set[int]:
    """Return the questions about a batch of targets whose answer is yes."""
    asked: dict[str, list[tuple[int, int]]] = {}
    gives: dict[str, int] = {}
    for bit, target in enumerate(batch):
        gives[target] = gives.get(target, 0) | 1 << bit
        if "[" in target:
            gives[_key(target)] = gives.get(_key(target), 0) | 1 << bit
        for number in by_target[target]:
            asked.setdefault(questions[number].task, []).append((number, 1 << bit))
    stop = max(position[key] for key in asked) + 1
    before: dict[str, int] = {}
    found: set[int] = set()
    for key in order[position[_key(batch[0])] : stop]:
        bits = 0
        for name in tasks[key].depends_on:
            bits |= gives.get(name, 0) | before.get(_key(name), 0)
        if bits:
            before[key] = bits
            found.update(number for number, bit in asked.get(key, ()) if bits & bit)
    return found
