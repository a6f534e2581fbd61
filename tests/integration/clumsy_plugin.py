"""A plugin in Python that does with `serve` what executors should not, and some of what they may."""

import asyncio
import sys
from datetime import UTC, datetime

from runwright import ProgressEvent, ProgressKind, Result, Session, Task, serve
from runwright.core.errors import NoExecutorFound
from runwright.core.task import TaskId

HOW = sys.argv[1] if len(sys.argv) > 1 else ""


class Worse(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


class Clumsy:
    async def open_session(self, session: Session) -> None:
        if HOW == "opening":
            raise ValueError("can't open")
        session.log(TaskId("nobody")).write("stdout", b"session is open\n")

    async def close_session(self, session_id: str) -> None:
        if HOW == "closing":
            raise ValueError("can't close")

    async def execute(self, session: Session, task: Task) -> Result:
        return await getattr(self, str(task.args["do"]))(session, task)

    async def fine(self, session: Session, task: Task) -> Result:
        secret = session.redact("as it is")
        assert session.output_dir(TaskId("../else")).is_dir()
        return Result(value=[secret, session.captures, bool(session.redactor)], followups=(Task(id="next"),))

    async def nothing(self, session: Session, task: Task) -> Result:
        return {"value": 1}  # type: ignore[return-value]

    async def large(self, session: Session, task: Task) -> Result:
        return Result(value="x" * (5 << 20))

    async def odd(self, session: Session, task: Task) -> Result:
        return Result(value=1j)

    async def escapes(self, session: Session, task: Task) -> Result:
        return Result(outputs=("../x",))

    async def unknown(self, session: Session, task: Task) -> Result:
        raise NoExecutorFound("no executor at all")

    async def raises(self, session: Session, task: Task) -> Result:
        raise ValueError("just so")

    async def worse(self, session: Session, task: Task) -> Result:
        raise Worse

    async def tells(self, session: Session, task: Task) -> Result:
        event = ProgressEvent(
            kind=ProgressKind.RUN_DONE, run_id="inner", at=datetime.now(UTC), within=(task.id,)
        )
        session.tell(event)
        return Result()

    async def blocks(self, session: Session, task: Task) -> Result:
        import time

        time.sleep(task.args["seconds"])  # noqa: ASYNC251 - that is the fault
        return Result(value="done")

    async def waits(self, session: Session, task: Task) -> Result:
        session.log(task.id).write("stdout", b"waiting\n")
        await asyncio.sleep(3600)
        return Result()


serve(Clumsy())
