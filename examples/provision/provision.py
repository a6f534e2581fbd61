"""The same environment, made by Python functions: python3 provision.py, after a crash python3 provision.py resume.

Here the server lives across steps: it is a thread of this process.
"""

import asyncio
import shutil
import sys
import threading
from pathlib import Path
from uuid import uuid4

import books

from runwright import Plan, PlanOutcome, RunwrightError, State, Step

HERE = Path(__file__).resolve().parent
STORE = HERE / "out" / "plans.db"


def name_directory(state: State) -> None:
    state["root"] = str(HERE / f"out-{uuid4()}")


def make_directory(state: State) -> None:
    Path(state["root"]).mkdir()


def remove_directory(state: State) -> None:
    if "root" in state:
        shutil.rmtree(state["root"], ignore_errors=True)


def name_database(state: State) -> None:
    state["database"] = str(Path(state["root"], "books.db"))


def fill_database(state: State) -> None:
    books.fill(state["database"])


def check_database(state: State) -> None:
    if books.read(state["database"]) != books.BOOKS:
        raise ValueError("the database does not hold what was put in")


def remove_database(state: State) -> None:
    if "database" in state:
        Path(state["database"]).unlink(missing_ok=True)


class Server:
    """A step may be any object with hooks for methods; its own attributes last as long as the process."""

    name = "server"
    retries = 1

    def exec(self, state: State) -> None:
        server = books.make_server(state["database"])
        state["server"] = server  # no plain data, so it is not stored, and a resume calls it lost
        state["port"] = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def cleanup(self, state: State) -> None:
        server = state.pop("server", None)
        if server is not None:  # else it has died with the process that had it
            server.shutdown()
            server.server_close()


async def use(state: State) -> None:
    found = await asyncio.to_thread(books.visit, f"http://127.0.0.1:{state['port']}/")
    state["titles"] = len(found)
    state["oldest"] = found[0][0]


def make_plan() -> Plan:
    return (
        Plan(name="provision", store=STORE, limit_duration=60, cleanup_timeout=10)
        .add_step(Step("directory", pre_exec=name_directory, exec=make_directory, cleanup=remove_directory))
        .add_step(
            Step(
                "database",
                pre_exec=name_database,
                exec=fill_database,
                post_exec=check_database,
                cleanup=remove_database,
            ).with_retries(1)
        )
        .add_step(Server())
        .add_pause(0.05)
        .add_step(Step("use", exec=use, timeout=20))
    )


def main(command: str) -> PlanOutcome:
    STORE.parent.mkdir(exist_ok=True)
    plan = make_plan()
    outcome = asyncio.run(plan.resume()) if command == "resume" else plan.run()
    print(
        f"{outcome.state}: {plan.state.get('titles', 'no')} titles, the oldest is {plan.state.get('oldest')}"
    )
    return outcome


if __name__ == "__main__":
    try:
        sys.exit(bool(main(sys.argv[1] if len(sys.argv) > 1 else "run").cleanup_errors))
    except RunwrightError as error:
        sys.exit(str(error))
