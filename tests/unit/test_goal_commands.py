"""Goals made of commands, with scripted processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_bench import Bench, Seen, fails, prints, takes

from runwright.core.errors import FatalError
from runwright.core.goal import FATAL_STATUS, GoalDefinition, GoalOptions, GoalOutcome
from runwright.core.options import RunOptions
from runwright.core.states import RunState, TaskState
from runwright.engines.reconcile import GoalEngine
from runwright.executors.goal_commands import LONGEST_PLAN, CommandPerformer
from runwright.ports.system import Command
from runwright.testing import Script


def line(name: str, **fields: Any) -> str:
    return json.dumps({"name": name, "perform": name, **fields})


def needs(*lines: str) -> list[Script]:
    """Return what a command prints first, and that nothing is needed after it."""
    return [prints("\n".join(lines)), Script()]


class Pursued:
    """A goal of commands, pursued to its end."""

    def __init__(
        self,
        tmp_path: Path,
        scripts: dict[str, Script | list[Script]],
        run_options: RunOptions | None = None,
        options: GoalOptions | None = None,
        environ: dict[str, str] | None = None,
        on_command: Callable[[Command], None] = lambda _: None,
        **fields: Any,
    ) -> None:
        self.bench = Bench(scripts, root=tmp_path, environ=environ, on_command=on_command)
        options = options or GoalOptions(errors_to_tolerate=0)
        goal = GoalDefinition(**{"name": "g", "plan": ("needed",), "options": options, **fields})
        self.outcome, self.seen = self.bench.run(self._pursue(goal, run_options or RunOptions()))

    async def _pursue(self, goal: GoalDefinition, options: RunOptions) -> tuple[GoalOutcome, Seen]:
        doors = self.bench.doors()
        engine = GoalEngine(doors, listener=self.bench.events.append)
        outcome = await engine.execute(
            goal, lambda *given: CommandPerformer(given[1], doors.executor, given[0], given[2]), options
        )
        return outcome, await self.bench.see(outcome.run_id)

    def env(self, text: str) -> dict[str, str]:
        return dict(self.bench.command(text).env)

    def log(self, task_id: str) -> bytes:
        return self.bench.logs.text(self.seen.id, task_id)


def test_a_command_says_what_is_needed_and_the_rest_follows(tmp_path: Path) -> None:
    first = line("a", perform=["one", "two"], pre="before", post=["after"])
    done = Pursued(tmp_path, {"needed": needs(first, "", line("b"))})
    assert (done.outcome.state, done.outcome.performed) == (RunState.SUCCEEDED, 2)
    assert done.bench.commands() == ["needed", "before", "one", "two", "after", "b", "needed"]
    assert done.log("1").decode().splitlines()[0] == first


def test_several_commands_say_together_what_is_needed(tmp_path: Path) -> None:
    done = Pursued(tmp_path, {"one": needs(line("a") + "\n"), "two": needs(line("b"))}, plan=("one", "two"))
    assert done.bench.commands() == ["one", "two", "a", "b", "one", "two"]


def test_commands_are_told_where_they_stand(tmp_path: Path) -> None:
    done = Pursued(
        tmp_path,
        {"needed {{.who}}": [], "needed 'ann b'": needs(line("a", env={"X": "action", "Y": "{{.who}}"}))},
        RunOptions(variables={"who": "ann b"}),
        plan=("needed {{.who}}",),
        variables={"who": "nobody", "n": "1"},
        env={"X": "goal", "Z": "{{.who}}"},
    )
    env = done.env("a")
    actions = env.pop("RUNWRIGHT_ACTIONS")
    del env["RUNWRIGHT_OUTPUT"]
    assert Path(actions).parent.name == ".actions"
    assert env == {
        "RUNWRIGHT_RUN_ID": done.seen.id,
        "RUNWRIGHT_GOAL": "g",
        "RUNWRIGHT_ROUND": "1",
        "RUNWRIGHT_TASK_ID": "1.a",
        "RUNWRIGHT_ATTEMPT": "1",
        "RUNWRIGHT_VAR_who": "ann b",
        "RUNWRIGHT_VAR_WHO": "ann b",
        "RUNWRIGHT_VAR_n": "1",
        "RUNWRIGHT_VAR_N": "1",
        "X": "action",
        "Y": "{{.who}}",
        "Z": "ann b",
    }
    assert done.env("needed 'ann b'")["RUNWRIGHT_TASK_ID"] == "2"


def test_only_perform_may_ask_for_children(tmp_path: Path) -> None:
    done = Pursued(tmp_path, {"needed": needs(line("a", pre="before", post="after"))})
    for text in ("needed", "before", "after"):
        assert "RUNWRIGHT_ACTIONS" not in done.env(text)
        assert done.bench.command(text).unset == ("RUNWRIGHT_ACTIONS",)
    assert done.bench.command("a").unset == ()


def test_the_commands_of_an_action_are_run_as_they_are(tmp_path: Path) -> None:
    done = Pursued(tmp_path, {"needed": needs(line("a", perform="echo {{.who}}"))})
    assert done.bench.commands()[1] == "echo {{.who}}"


def test_perform_may_ask_for_children(tmp_path: Path) -> None:
    def writing(command: Command) -> None:
        if "RUNWRIGHT_ACTIONS" in command.env and command.argv[-1] == "a":
            Path(command.env["RUNWRIGHT_ACTIONS"]).write_text(f"{line('b', post='after b')}\n{line('c')}\n")

    done = Pursued(tmp_path, {"needed": needs(line("a", post="after a"))}, on_command=writing)
    assert done.bench.commands() == ["needed", "a", "after a", "b", "after b", "c", "needed"]
    assert set(done.seen.rows) == {"1", "1.a", "1.a.b", "1.a.c", "2"}
    assert not list((tmp_path / done.seen.id / ".actions").iterdir())


@pytest.mark.parametrize("hook", ["pre", "perform", "post"])
def test_a_failed_command_ends_its_hook_and_skips_the_rest(tmp_path: Path, hook: str) -> None:
    hooks = {"pre": ["p1", "p2"], "perform": ["q1", "q2"], "post": ["r1", "r2"]}
    first = hooks[hook][0]
    done = Pursued(tmp_path, {"needed": needs(line("a", **hooks)), first: fails(3, stderr="sorry\n")})
    assert done.bench.commands()[-1] == first
    failure = done.seen.failure("1.a")
    assert (failure.code, failure.exit_code, failure.stderr_tail) == ("E_EXIT", 3, "sorry\n")
    assert failure.message == f"{hook}: exit status 3"
    assert done.outcome.reason.endswith(f"the last one is of a: {hook}: exit status 3")


def test_a_failed_plan_counts_as_an_error(tmp_path: Path) -> None:
    done = Pursued(tmp_path, {"needed": fails(4)}, options=GoalOptions(errors_to_tolerate=2))
    assert [(name, str(error)) for name, error in done.outcome.errors] == [
        ("plan", "plan: exit status 4")
    ] * 3


@pytest.mark.parametrize("which", ["needed", "a"])
def test_one_exit_status_is_fatal(tmp_path: Path, which: str) -> None:
    scripts: dict[str, Any] = {"needed": needs(line("a")), which: fails(FATAL_STATUS, stderr="no use\n")}
    done = Pursued(tmp_path, scripts, options=GoalOptions(errors_to_tolerate=100))
    assert isinstance(done.outcome.cause, FatalError)
    assert (done.outcome.state, len(done.outcome.errors)) == (RunState.FAILED, 1)
    failure = done.seen.failure("1" if which == "needed" else "1.a")
    assert (failure.code, failure.exit_code, failure.stderr_tail) == ("E_FATAL", FATAL_STATUS, "no use\n")


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        (b"not json", "standard output: line 1: it is not JSON"),
        (
            b'{"name": "a"}\n{"name": "b"}\n',
            'line 1: an action needs "perform"; name the command that does it; 1 more',
        ),
        (b'\n{"name": "a", "perform": "\xff"}', "standard output: line 2: it is not UTF-8"),
        (b"x" * (LONGEST_PLAN + 1), f"standard output: it is longer than {LONGEST_PLAN} bytes"),
    ],
)
def test_other_output_is_an_error(tmp_path: Path, printed: bytes, message: str) -> None:
    half = len(printed) // 2
    script = Script(output=(("stdout", printed[:half]), ("stderr", b"note"), ("stdout", printed[half:])))
    done = Pursued(tmp_path, {"needed": script})
    failure = done.seen.failure("1")
    assert failure.code == "E_OUTPUT"
    assert message in failure.message


def test_a_plan_may_be_as_long_as_the_limit(tmp_path: Path) -> None:
    text = line("a").encode()
    script = Script(output=(("stdout", text + b"\n" * (LONGEST_PLAN - len(text))),))
    assert Pursued(tmp_path, {"needed": [script, Script()]}).outcome.performed == 1


def test_what_is_told_besides_on_standard_error_harms_nothing(tmp_path: Path) -> None:
    script = Script(output=(("stderr", b"looking\n"), ("stdout", line("a").encode())))
    done = Pursued(tmp_path, {"needed": [script, Script()]})
    assert (done.outcome.performed, done.log("1")) == (1, b"looking\n" + line("a").encode())


def test_an_action_may_have_a_time_limit_over_all_its_hooks(tmp_path: Path) -> None:
    scripts = {
        "needed": needs(line("a", pre="p", post="q", timeout="5s")),
        "p": takes(2),
        "a": takes(2),
        "q": takes(2),
    }
    done = Pursued(tmp_path, scripts)  # type: ignore[arg-type]
    assert done.bench.clock.monotonic() == 5.0
    assert done.bench.stopped() == ["q"]
    failure = done.seen.failure("1.a")
    assert (failure.code, failure.message) == ("E_TIMEOUT", "took longer than its limit of 5 s")


def test_an_action_within_its_time_limit_succeeds(tmp_path: Path) -> None:
    scripts = {"needed": needs(line("a", timeout=5)), "a": takes(4)}
    assert Pursued(tmp_path, scripts).outcome.performed == 1  # type: ignore[arg-type]


def test_the_time_limit_of_all_stops_a_command(tmp_path: Path) -> None:
    done = Pursued(
        tmp_path, {"needed": needs(line("a")), "a": takes(50)}, options=GoalOptions(execution_timeout=3)
    )
    assert (done.outcome.state, done.bench.stopped()) == (RunState.CANCELLED, ["a"])
    assert done.seen.rows["1.a"].state is TaskState.CANCELLED


def test_commands_run_where_and_as_the_goal_says(tmp_path: Path) -> None:
    done = Pursued(
        tmp_path,
        {"needed": needs(line("a"))},
        RunOptions(clean_env=True),
        working_dir="sub/{{.n}}",
        variables={"n": "1"},
        kill_grace=3.0,
    )
    for text in ("needed", "a"):
        command = done.bench.command(text)
        assert (command.cwd, command.kill_grace, command.clean_env) == ("/project/sub/1", 3.0, True)


def test_a_text_that_can_not_be_filled_in_is_an_error(tmp_path: Path) -> None:
    done = Pursued(tmp_path, {}, env={"X": "{{.nothing}}"})
    assert done.seen.failure("1").code == "E_TEMPLATE"
    assert "nothing" in done.seen.failure("1").message


def test_a_secret_is_masked_in_names_and_output(tmp_path: Path) -> None:
    done = Pursued(
        tmp_path,
        {"needed": needs(line("use hunter2-secret", perform="a"))},
        environ={"TOKEN": "hunter2-secret"},
        secrets=("TOKEN",),
    )
    texts = [repr(done.seen.events), repr(done.seen.rows), repr(done.bench.events), repr(done.log("1"))]
    assert not [text for text in texts if "hunter2" in text]
    assert done.outcome.performed == 1


def test_what_is_printed_is_told(tmp_path: Path) -> None:
    done = Pursued(
        tmp_path, {"needed": needs(line("a")), "a": prints("hello\n")}, RunOptions(print_output=True)
    )
    told = [(event.task_id, event.output) for event in done.bench.events if event.output]
    assert told == [("1", line("a")), ("1.a", "hello\n")]
