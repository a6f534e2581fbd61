"""A plugin that answers questions about the words of the files in the source tree; it reads them once a session."""

import re
import sqlite3

from msgspec import Struct

from runwright import Failure, Result, Session, Task, TaskFailed, serve


class Question(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a task may ask."""

    sql: str
    file: str = ""


class Words:
    """A database in memory for each session."""

    Args = Question

    def __init__(self) -> None:
        self.databases: dict[str, sqlite3.Connection] = {}

    async def open_session(self, session: Session) -> None:
        database = self.databases[session.id] = sqlite3.connect(":memory:")
        database.execute("CREATE TABLE words (word TEXT, file TEXT)")
        for path in sorted(session.source.glob("texts/*.txt")):
            words = re.findall(r"[a-z]+", path.read_text().lower())
            database.executemany("INSERT INTO words VALUES (?, ?)", [(word, path.name) for word in words])

    async def execute(self, session: Session, task: Task) -> Result:
        try:
            rows = self.databases[session.id].execute(task.args["sql"]).fetchall()
        except sqlite3.Error as error:
            raise TaskFailed(Failure(code="E_SQL", message=str(error))) from error
        text = "".join(f"{' '.join(map(str, row))}\n" for row in rows)
        session.log(task.id).write("stdout", text.encode())
        if not (name := task.args.get("file", "")):
            return Result(value=text.rstrip("\n"))
        (session.output_dir(task.id) / name).write_text(text)
        return Result(value=len(rows), outputs=(name,))

    async def close_session(self, session_id: str) -> None:
        self.databases.pop(session_id).close()


serve(Words(), name="words", version="1.0.0")
