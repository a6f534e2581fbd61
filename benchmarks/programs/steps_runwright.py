"""Steps of a plan, or actions of a goal, that do nothing: ``steps_runwright.py plan|goal COUNT STORE``.

STORE is a path or ``memory``. A step has an ``exec`` and a ``cleanup``; the actions are those of one round.
"""

import asyncio
import json
import sys
import time

from runwright import Action, Plan, Reconciler, ReconcilerOptions, Step


async def nothing(state):
    """Do nothing."""


async def no_work():
    """Do nothing."""


class Goal:
    """Needs so many actions once, and then none."""

    def __init__(self, count):
        self.needed = [Action(f"action {number}", perform=no_work) for number in range(count)]

    async def plan(self):
        needed, self.needed = self.needed, []
        return needed


def execution(what, count, store):
    if what == "goal":
        options = {"sleep_between_runs": 0}
        return lambda: Reconciler(ReconcilerOptions(**options), store=store).run(Goal(count))
    plan = Plan(store=store)
    for number in range(count):
        plan.add_step(Step(f"step-{number}", exec=nothing, cleanup=nothing))
    return plan.execute


async def main(execute):
    started = time.perf_counter()
    outcome = await execute()
    seconds = time.perf_counter() - started
    assert str(outcome.state) == "succeeded", outcome
    return seconds


if __name__ == "__main__":
    what, count = sys.argv[1], int(sys.argv[2])
    store = None if sys.argv[3] == "memory" else sys.argv[3]
    print(json.dumps({"seconds": asyncio.run(main(execution(what, count, store))), "tasks": count}))
