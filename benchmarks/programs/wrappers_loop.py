"""A task that does nothing, run through a stack of executors, one after another: ``wrappers_loop.py STACK COUNT``."""

import asyncio
import json
import sys
import time

from runwright import Followups, NoSessions, Observe, Result, Retry, RetryPolicy, Router, Task

DONE = Result()


class Nothing(NoSessions):
    """Does nothing."""

    async def execute(self, session, task):
        return DONE


class Wide(NoSessions):
    """Asks for so many tasks, each of which does nothing."""

    async def execute(self, session, task):
        names = range(task.args["wide"])
        return Result(followups=tuple(Task(id=str(name), args={"wide": 0}) for name in names))


class Local:
    """A session that has an id and nothing else."""

    id = "session"


def heard(inner):
    observe = Observe(inner)
    observe.listen(lambda event: None)
    return observe


def everything(inner):
    return Followups(Retry(heard(Router({"a.b.c": inner})), RetryPolicy(retries=1)), 4)


STACKS = {
    "nothing": lambda inner: inner,
    "router": lambda inner: Router({"a": inner}),
    "router-deep": lambda inner: Router({"a.b.c": inner}),
    "router-any": lambda inner: Router({"x": inner, "*": inner}),
    "retry": lambda inner: Retry(inner, RetryPolicy(retries=1)),
    "observe": Observe,
    "listener": heard,
    "followups": Followups,
    "followups-limit": lambda inner: Followups(inner, 4),
    "everything": everything,
}
ROUTES = {"router": "a", "router-deep": "a.b.c", "router-any": "other", "everything": "a.b.c"}


async def one_by_one(stack, task, count):
    session = Local()
    await stack.open_session(session)
    started = time.perf_counter()
    for _ in range(count):
        await stack.execute(session, task)
    await stack.close_session(session.id)
    return time.perf_counter() - started


def main(name, count):
    if name.startswith("children"):
        limit = 4 if name.endswith("limit") else None
        task = Task(id="root", args={"wide": count})
        return one_by_one(Followups(Wide(), limit), task, 1)
    task = Task(id="task", executor=ROUTES.get(name, ""))
    return one_by_one(STACKS[name](Nothing()), task, count)


if __name__ == "__main__":
    name, count = sys.argv[1], int(sys.argv[2])
    print(json.dumps({"seconds": asyncio.run(main(name, count)), "tasks": count}))
