"""Plans of commands on real processes, files and SQLite: values in the state, environment, secrets, failures."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from runwright.adapters.process import WardenProcesses
from runwright.adapters.project import StateLocation, state_location
from runwright.adapters.workspace import DirectoryWorkspaces
from runwright.core.events import StateSaved
from runwright.core.options import RunOptions
from runwright.core.plan import Hook, PlanDefinition, StepDefinition
from runwright.core.run import Run
from runwright.core.states import RunState, TaskState
from runwright.engines.work import Work
from runwright.wiring import open_logs, open_store
from runwright.wiring.runs import Runs

SECRET = "hunter2-hunter2"
AWKWARD = {
    "quotes": """it's "so" and '"'"'""",
    "newlines": "one\ntwo\r\n\n\tthree\n",
    "substitution": "$(touch hacked) `touch hacked` ${HOME} $$",
    "separators": "; touch hacked & | > hacked < * ? [a] ~ # ! \\ \\n",
    "unicode": "é ü \U0001f600",
    "spaces": "  two  spaces  ",
    "dash": "-n",
    "empty": "",
}
PYTHON = sys.executable


class Seen:
    """What is stored of a run, and what it has put down in its directory."""

    def __init__(self, folder: Path, location: StateLocation) -> None:
        self.folder = folder
        self.location = location
        self.run: Run
        self.rows: dict[str, Any] = {}
        self.values: dict[str, str] = {}
        self.events: list[Any] = []

    def text(self, name: str) -> str:
        return (self.folder / name).read_bytes().decode()

    def log(self, row: str, attempt: int = 1) -> bytes:
        logs = open_logs(self.location)
        return b"".join(chunk.data for chunk in logs.read(self.run.id, row, attempt))

    def everything(self) -> bytes:
        """Return every byte below the state directory."""
        found = [path for path in self.location.database.parent.rglob("*") if path.is_file()]
        return b"\n".join(path.read_bytes() for path in found)


def step(name: str, **fields: Any) -> StepDefinition:
    """Return a step; its hooks are given by name, as one command or several."""
    hooks = {hook: fields.pop(hook.value) for hook in Hook if hook.value in fields}
    made = {hook: (text,) if isinstance(text, str) else tuple(text) for hook, text in hooks.items()}
    return StepDefinition(name=name, hooks=made, **fields)


def performed(folder: Path, *steps: StepDefinition, clean_env: bool = False, **fields: Any) -> Seen:
    seen = Seen(folder, state_location(str(folder / "state" / "runs.db")))
    plan = PlanDefinition(name="p", elements=steps, **fields)
    asyncio.run(_perform(seen, plan, RunOptions(directory=str(folder), clean_env=clean_env)))
    return seen


async def _perform(seen: Seen, plan: PlanDefinition, options: RunOptions) -> None:
    store, processes = open_store(seen.location), WardenProcesses()
    workspaces = DirectoryWorkspaces(seen.location.work_dir)
    try:
        runs = Runs(store, open_logs(seen.location), workspaces, processes)
        seen.run = await runs.execute(Work(definition=plan), options)
        seen.rows = {row.id: row for row in await store.tasks(seen.run.id)}
        seen.values = {one.name: one.value for one in await store.variables(seen.run.id)}
        seen.events = [stored.event for stored in await store.events(seen.run.id)]
        integrity = await store.verify(seen.run.id)
        assert integrity.ok, integrity.problem
    finally:
        await processes.close()
        await store.close()


def failure(seen: Seen, row: str) -> Any:
    assert seen.rows[row].state is TaskState.FAILED
    return seen.rows[row].failure


# -- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AWKWARD)
def test_values_arrive_byte_for_byte_however_they_are_asked_for(tmp_path: Path, name: str) -> None:
    bare = "printf '%s' {{.value}} > bare"
    quoted = 'printf %s "{{.value}}" > quoted'
    single = "printf %s '{{.value}}' > single"
    from_env = 'printf %s "$RUNWRIGHT_VAR_VALUE" > env'
    seen = performed(
        tmp_path, step("use", exec=(bare, quoted, single, from_env)), state={"value": AWKWARD[name]}
    )
    assert seen.run.state is RunState.SUCCEEDED, seen.run.reason
    assert {file: seen.text(file) for file in ("bare", "quoted", "single", "env")} == dict.fromkeys(
        ("bare", "quoted", "single", "env"), AWKWARD[name]
    )
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("name", AWKWARD)
def test_a_value_that_a_program_writes_reaches_the_next_step(tmp_path: Path, name: str) -> None:
    program = tmp_path / "put.py"
    program.write_text(
        "import json, os, pathlib\n"
        "path = pathlib.Path(os.environ['RUNWRIGHT_STATE'])\n"
        "state = json.loads(path.read_text())\n"
        f"state['value'] = {AWKWARD[name]!r}\n"
        "path.write_text(json.dumps(state))\n"
    )
    steps = step("put", exec=f"{PYTHON} put.py"), step("use", exec='printf "%s" {{.value}} > out')
    seen = performed(tmp_path, *steps, state={"kept": [1, {"a": None}]})
    assert seen.run.state is RunState.SUCCEEDED, seen.run.reason
    assert seen.text("out") == AWKWARD[name]
    assert seen.values["kept"] == '[1,{"a":null}]'
    assert not (tmp_path / "hacked").exists()


def test_lines_and_outputs_of_commands_are_values(tmp_path: Path) -> None:
    put = ('echo "a=it\'s \\"so\\"" >> "$RUNWRIGHT_STATE"', 'echo "b=2" >> "$RUNWRIGHT_OUTPUT"')
    use = 'printf "%s|%s|%s" {{.a}} "{{.b}}" {{.n}} > out'
    seen = performed(tmp_path, step("put", pre_exec=put), step("use", cleanup=use), state={"n": 7})
    assert seen.text("out") == 'it\'s "so"|2|7'
    assert seen.values == {"a": '"it\'s \\"so\\""', "b": '"2"', "n": "7"}
    assert [event.task_id for event in seen.events if isinstance(event, StateSaved)] == ["state", "put"]


def test_a_value_can_be_taken_away(tmp_path: Path) -> None:
    take = "echo '{}' > \"$RUNWRIGHT_STATE\""
    seen = performed(tmp_path, step("take", exec=take), step("use", exec="echo {{.gone}}"), state={"gone": 1})
    assert seen.values == {}
    assert failure(seen, "use").code == "E_TEMPLATE"
    assert "gone" in failure(seen, "use").message


def test_environment_and_directory_of_commands(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    show = 'echo "$RUNWRIGHT_PLAN/$RUNWRIGHT_TASK_ID/$RUNWRIGHT_HOOK/$RUNWRIGHT_ATTEMPT/$A/$B/${PWD##*/}" >> ../shown'
    made = step(
        "s",
        exec=(show, '[ "$RUNWRIGHT_ATTEMPT" = 2 ]'),
        cleanup=show,
        retries=1,
        working_dir="{{.dir}}",
        env={"B": "{{.dir}}!"},
    )
    seen = performed(tmp_path, made, state={"dir": "below"}, env={"A": "plan", "B": "plan"})
    assert seen.text("shown").splitlines() == [
        "p/s/exec/1/plan/below!/below",
        "p/s/exec/2/plan/below!/below",
        "p/s.cleanup/cleanup/1/plan/below!/below",
    ]


def test_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOUD", "1")
    show = 'echo "${LOUD-quiet} $RUNWRIGHT_VAR_N" >> shown'
    performed(tmp_path, step("s", exec=show), state={"n": 1})
    performed(tmp_path, step("s", exec=show), state={"n": 1}, clean_env=True)
    assert (tmp_path / "shown").read_text() == "1 1\nquiet 1\n"


# -- failures --------------------------------------------------------------------------------------------------


def test_the_first_command_that_fails_ends_a_hook_but_not_a_cleanup(tmp_path: Path) -> None:
    bad = ("echo 1 >> order", "echo oops >&2; exit 3", "echo 2 >> order")
    undo = ("exit 4", "echo undone >> order", "exit 5")
    seen = performed(tmp_path, step("a", exec="true", cleanup=undo), step("b", exec=bad))
    assert seen.text("order") == "1\nundone\n"
    assert failure(seen, "b").exit_code == 3
    assert failure(seen, "b").stderr_tail == "oops\n"
    assert failure(seen, "a.cleanup").exit_code == 4
    assert seen.log("b") == b"oops\n"


def test_what_a_command_put_down_before_it_failed_is_kept(tmp_path: Path) -> None:
    first = 'echo id=42 >> "$RUNWRIGHT_STATE"; [ "$RUNWRIGHT_ATTEMPT" = 2 ]'
    seen = performed(tmp_path, step("a", exec=first, post_exec="echo {{.id}} > out", retries=1))
    assert seen.run.state is RunState.SUCCEEDED, seen.run.reason
    assert seen.text("out") == "42\n"


def test_nonsense_in_the_state_fails_the_step_and_is_not_tried_again(tmp_path: Path) -> None:
    nonsense = 'echo x >> ran; echo nonsense >> "$RUNWRIGHT_STATE"'
    seen = performed(tmp_path, step("a", exec=nonsense, retries=5), state={"a": 1})
    assert failure(seen, "a").code == "E_OUTPUT"
    assert failure(seen, "a").message == "$RUNWRIGHT_STATE, line 2: NAME=value was expected"
    assert seen.text("ran") == "x\n"
    assert seen.values == {"a": "1"}


def test_nonsense_of_a_command_that_fails_hides_nothing(tmp_path: Path) -> None:
    seen = performed(tmp_path, step("a", exec='echo nonsense >> "$RUNWRIGHT_STATE"; exit 7'))
    assert failure(seen, "a").exit_code == 7


def test_a_step_that_takes_too_long_is_ended_and_what_it_put_down_kept(tmp_path: Path) -> None:
    slow = 'echo id=42 >> "$RUNWRIGHT_STATE"; echo ready; sleep 60'
    seen = performed(tmp_path, step("a", exec=slow, timeout=0.5), kill_grace=1.0)
    assert failure(seen, "a").code == "E_TIMEOUT"
    assert seen.values == {"id": '"42"'}


def test_state_files_are_gone_at_the_end(tmp_path: Path) -> None:
    seen = performed(tmp_path, step("a", exec="true", cleanup="false"), state={"marker": "here-it-is"})
    left = [path for path in seen.location.work_dir.rglob("*") if path.is_file()]
    assert left == []


# -- secrets ---------------------------------------------------------------------------------------------------


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TOKEN", SECRET)
    return SECRET


@pytest.mark.parametrize(
    "put",
    [
        'echo "stolen=$TOKEN" >> "$RUNWRIGHT_STATE"',
        'echo "stolen=x${TOKEN}y" >> "$RUNWRIGHT_OUTPUT"',
        'printf \'{"a": ["%s"]}\' "$TOKEN" > "$RUNWRIGHT_STATE"',
        'printf \'{"%s": 1}\' "$TOKEN" > "$RUNWRIGHT_STATE"',
    ],
)
def test_a_secret_never_gets_into_the_state(tmp_path: Path, token: str, put: str) -> None:
    seen = performed(
        tmp_path, step("a", exec=put, retries=3), step("b", exec="true"), secrets=("TOKEN",), state={"n": 1}
    )
    assert failure(seen, "a").code == "E_SECRET"
    assert seen.rows["a"].attempts == 1
    assert seen.values == {"n": "1"}
    assert token.encode() not in seen.everything()


def test_a_secret_of_a_command_that_fails_is_not_kept(tmp_path: Path, token: str) -> None:
    put = 'echo "stolen=$TOKEN" >> "$RUNWRIGHT_STATE"; exit 3'
    seen = performed(tmp_path, step("a", exec=put), secrets=("TOKEN",))
    assert failure(seen, "a").exit_code == 3
    assert token.encode() not in seen.everything()


def test_secrets_are_masked_in_logs_and_errors(tmp_path: Path, token: str) -> None:
    tell = 'echo "out $TOKEN"; echo "err $TOKEN" >&2; exit 3'
    seen = performed(tmp_path, step("a", exec="true", cleanup=tell), step("b", exec=tell), secrets=("TOKEN",))
    for row in ("a.cleanup", "b"):
        assert seen.log(row).startswith(b"out ")
        assert failure(seen, row).stderr_tail.startswith("err ")
    assert token.encode() not in seen.everything()


def test_control_without_the_list_of_secrets_they_are_found(tmp_path: Path, token: str) -> None:
    put = 'echo "stolen=$TOKEN" >> "$RUNWRIGHT_STATE"; echo "$TOKEN"'
    seen = performed(tmp_path, step("a", exec=put))
    assert seen.run.state is RunState.SUCCEEDED
    assert token.encode() in seen.everything()
