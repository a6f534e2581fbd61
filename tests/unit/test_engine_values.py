"""What tasks hand on: registered values, named values, environment, ownership, and secrets that nobody may see."""

from pathlib import Path

import msgspec
import pytest
from engine_bench import CANCELLED, FAILED, SUCCEEDED, Bench, Seen, fails, flow, handler, prints

from runwright.core.errors import DefinitionError, Failure, TaskFailed
from runwright.core.options import FailurePolicy, RunOptions
from runwright.core.states import RunState
from runwright.core.task import Result
from runwright.ports.system import Command
from runwright.testing import Script
from runwright.testing.processes import command_text

SECRET = "s3cr3t-t0ken"


def test_register_takes_the_last_line_that_is_not_empty() -> None:
    bench = Bench({"a": prints("one\ntwo \n\n")})
    seen = bench.execute(flow({"a": {"register": "v"}, "b": {"needs": "a", "argv": ("b", "{{.v}}")}}))
    assert bench.commands()[-1] == "b two"
    assert seen.variables == {"v": "two", "a.value": "two"}
    assert seen.rows["a"].value == "two"


def test_a_command_that_registers_nothing_keeps_no_value() -> None:
    seen = Bench({"a": prints("one\n")}).execute(flow("a"))
    assert seen.variables == {}
    assert seen.rows["a"].value is None


def test_a_silent_command_registers_the_empty_text() -> None:
    bench = Bench()
    seen = bench.execute(flow({"a": {"register": "v"}, "b": {"needs": "a", "argv": ("b", "<{{.v}}>")}}))
    assert bench.commands()[-1] == "b <>"
    assert seen.variables["v"] == ""


def test_named_values_are_read_from_the_output_file(tmp_path: Path) -> None:
    def write(command: Command) -> None:
        if command_text(command) == "a":
            Path(command.env["RUNWRIGHT_OUTPUT"]).write_text("x=1 = one\ny=zwei\n")

    bench = Bench(root=tmp_path, on_command=write)
    seen = bench.execute(flow({"a": "", "b": {"needs": "a", "argv": ("b", "{{.a.x}}", "{{.a.y}}")}}))
    assert bench.commands()[-1] == "b 1 = one zwei"
    assert seen.variables == {"a.x": "1 = one", "a.y": "zwei"}


def test_a_matrix_registers_one_variable_a_node() -> None:
    bench = Bench({"a x": prints("X"), "a y": prints("Y")})
    workflow = flow(
        {
            "a": {"argv": ("a", "{{.m}}"), "matrix": {"m": ("x", "y")}, "register": "v"},
            "b": {"needs": "a", "argv": ("b", "{{.a[m=x].v}}", "{{.a[m=y].v}}")},
        }
    )
    seen = bench.execute(workflow)
    assert bench.commands()[-1] == "b X Y"
    assert seen.variables["a[m=x].v"] == "X"


def test_a_value_of_a_function_is_read_by_its_task() -> None:
    bench = Bench()

    async def give(session: object, task: object) -> Result:
        return Result(value={"n": [1, 2.5, None]}, variables={"x": "y"})

    bench.functions.by_name["give"] = give
    workflow = flow(
        {"f": {"executor": "call.give"}, "b": {"needs": "f", "argv": ("{{.f.value}}", "{{.f.x}}")}}
    )
    seen = bench.execute(workflow)
    assert bench.commands() == ['{"n":[1,2.5,null]} y']
    assert seen.rows["f"].value == {"n": [1, 2.5, None]}


def test_two_tasks_can_not_set_one_variable() -> None:
    bench = Bench({"a": prints("1"), "b": prints("2")})
    seen = bench.execute(flow({"a": {"register": "v"}, "b": {"needs": "a", "register": "v", "retries": 3}}))
    assert seen.states() == {"a": SUCCEEDED, "b": FAILED}
    assert seen.failure("b").code == "E_VARIABLE"
    assert 'already set by task "a"' in seen.failure("b").message
    assert seen.rows["b"].attempts == 1, "another attempt could only fail again"
    assert seen.variables["v"] == "1"


def test_what_is_given_from_outside_wins() -> None:
    bench = Bench({"a": prints("of the task")})
    workflow = flow(
        {"a": {"register": "v"}, "b": {"needs": "a", "argv": ("b", "{{.v}}", "{{.w}}")}}, variables={"w": "d"}
    )
    bench.execute(workflow, variables={"v": "given"})
    assert bench.commands()[-1] == "b given d"


@pytest.mark.parametrize(
    "field", [{"argv": ("x", "{{.nobody}}")}, {"env": {"X": "{{.nobody}}"}}, {"working_dir": "{{.nobody}}"}]
)
def test_an_unknown_variable_fails_the_task_without_a_retry(field: dict[str, object]) -> None:
    bench = Bench()
    seen = bench.execute(flow({"a": {**field, "retries": 2}}))
    assert seen.failure("a").code == "E_TEMPLATE"
    assert "nobody" in seen.failure("a").message
    assert seen.rows["a"].attempts == 1
    assert bench.commands() == []


def test_placeholders_in_args_environment_and_directory() -> None:
    bench = Bench()
    fields = {"cmd": "a {{.v}}", "env": {"X": "<{{.v}}>"}, "working_dir": "sub/{{.v}}"}
    bench.execute(flow({"a": fields}, env={"Y": "w", "X": "lost"}), variables={"v": "it's"})
    (command,) = bench.processes.ran
    assert command_text(command) == "a 'it'\\''s'"
    assert (command.env["X"], command.env["Y"]) == ("<it's>", "w")
    assert command.cwd == "/project/sub/it's"


@pytest.mark.parametrize("clean", ["no", "task", "run"])
def test_every_command_knows_its_place(clean: str) -> None:
    bench = Bench({"t": [fails(), Script()]})
    workflow = flow(
        {"a": {"cmd": "t", "retries": 1, "matrix": {"m": ("x",)}, "clean_env": clean == "task"}}, name="wf"
    )
    seen = bench.execute(workflow, variables={"plain": "p", "not-a-name": "q"}, clean_env=clean == "run")
    env = bench.processes.ran[-1].env
    named = {name: env.get(f"RUNWRIGHT_{name}") for name in ("RUN_ID", "WORKFLOW", "TASK_ID", "ATTEMPT")}
    assert named == {"RUN_ID": seen.id, "WORKFLOW": "wf", "TASK_ID": "a[m=x]", "ATTEMPT": "2"}
    assert {name for name in env if name.startswith("RUNWRIGHT_VAR_")} == {
        "RUNWRIGHT_VAR_PLAIN",
        "RUNWRIGHT_VAR_plain",
        "RUNWRIGHT_VAR_M",
        "RUNWRIGHT_VAR_m",
    }
    assert bench.processes.ran[-1].clean_env is (clean != "no")


def test_an_executor_of_another_kind_gets_its_arguments_alone() -> None:
    bench = Bench()
    got = []

    async def take(session: object, task: object) -> Result:
        got.append(task.args)  # type: ignore[attr-defined]
        return Result()

    bench.functions.by_name["take"] = take
    bench.execute(flow({"a": {"executor": "call.take", "args": {"n": [1, "{{.v}}"]}}}), variables={"v": "w"})
    assert got == [{"n": [1, "w"]}]


def test_arguments_may_name_their_own_environment() -> None:
    bench = Bench()
    args = {"cmd": "x", "env": {"OWN": "1", "X": "of the args"}, "kill_grace": 3.0}
    bench.execute(flow({"a": {"executor": "shell", "args": args, "env": {"X": "of the task"}}}))
    (command,) = bench.processes.ran
    assert (command.env["OWN"], command.env["X"], command.kill_grace) == ("1", "of the args", 3.0)
    assert command.env["RUNWRIGHT_TASK_ID"] == "a"


def test_the_grace_of_the_task_or_of_the_workflow() -> None:
    bench = Bench()
    bench.execute(flow({"a": {"kill_grace": 1.5}, "b": ""}, kill_grace=4.0))
    assert [command.kill_grace for command in bench.processes.ran] == [1.5, 4.0]


def test_the_log_limit_of_the_task_or_of_the_workflow() -> None:
    bench = Bench({"a": prints("x"), "b": prints("x")})
    bench.execute(flow({"a": {"max_log_bytes": 10}, "b": ""}, max_log_bytes=20))
    assert list(bench.logs.limits.values()) == [10, 20]


# -- secrets ---------------------------------------------------------------------------------------------------


def leaks(bench: Bench, seen: Seen) -> list[str]:
    """Return where the secret can be seen."""
    places = {
        "events": msgspec.json.encode(seen.events),
        "rows": msgspec.json.encode([seen.rows, seen.attempts, seen.run, seen.variables]),
        "progress": msgspec.json.encode(bench.events),
        "definitions": b"".join(d.content + d.source.encode() for d in bench.store._definitions.values()),
        "logs": b"".join(chunk.data for chunks in bench.logs.chunks.values() for chunk in chunks),
        "arguments": " ".join(" ".join(command.argv) for command in bench.processes.ran).encode(),
    }
    return [place for place, data in places.items() if SECRET.encode() in data]


def with_secret(**scripts: Script) -> Bench:
    return Bench(dict(scripts), environ={"TOKEN": SECRET, "PATH": "/bin"})


def test_the_instrument_sees_a_secret_that_nobody_declared() -> None:
    bench = with_secret(a=Script(output=(("stdout", SECRET.encode()),)), b=fails(stderr=SECRET))
    workflow = flow({"a": {"register": "v"}, "b": {"argv": ("b",)}, "c": {"argv": (SECRET,)}})
    seen = bench.execute(workflow, print_output=True, failure_policy=FailurePolicy.KEEP_GOING)
    assert leaks(bench, seen) == ["events", "rows", "progress", "definitions", "logs", "arguments"]


def test_a_secret_is_nowhere() -> None:
    half = len(SECRET) // 2
    noise = (
        ("stdout", f"<{SECRET[:half]}".encode()),
        ("stderr", b"!"),
        ("stdout", f"{SECRET[half:]}>".encode()),
    )
    bench = with_secret(
        a=Script(output=noise),  # type: ignore[arg-type]
        b=fails(stderr=f"no {SECRET}"),
        undo=fails(stderr=SECRET),
    )

    async def odd(session: object, task: object) -> Result:
        raise ValueError(f"what is {SECRET}?")

    async def odder(session: object, task: object) -> Result:
        raise TaskFailed(Failure(code="E_ODD", message=SECRET, stderr_tail=SECRET))

    bench.functions.by_name.update(odd=odd, odder=odder)
    workflow = flow(
        {
            "a": {"cleanup": ("undo",)},
            "b": {"on_failure": "h", "retries": 1},
            "c": {"executor": "call.odd"},
            "d": {"executor": "call.odder"},
            "h": handler(argv=("tell", "{{.error_message}}")),
        },
        secrets=("TOKEN", "NOT_THERE"),
    )
    seen = bench.execute(workflow, print_output=True, failure_policy=FailurePolicy.KEEP_GOING)
    assert leaks(bench, seen) == []
    assert bench.logs.text(seen.id, "a") in (b"!<***>", b"<!***>")
    assert "tell no ***" in bench.commands()
    assert seen.failure("c").message == "ValueError: what is ***?"


@pytest.mark.parametrize("where", ["register", "value", "named", "name"])
def test_a_variable_that_would_hold_a_secret_fails_the_task(where: str, tmp_path: Path) -> None:
    plain = SECRET.replace("-", "_")
    text = {"named": f"x=<{plain}>\n", "name": f"{plain}=1\n"}.get(where, "")

    def write(command: Command) -> None:
        if text:
            Path(command.env["RUNWRIGHT_OUTPUT"]).write_text(text)

    async def give(session: object, task: object) -> Result:
        return Result(value={"deep": [f"<{plain}>"]})

    bench = Bench({"a": prints(plain)}, environ={"TOKEN": plain}, root=tmp_path, on_command=write)
    bench.functions.by_name["give"] = give
    fields = {"register": {"register": "v"}, "value": {"executor": "call.give"}}.get(where, {})
    seen = bench.execute(flow({"a": {**fields, "retries": 2}, "b": "a"}, secrets=("TOKEN",)))
    assert seen.states() == {"a": FAILED, "b": CANCELLED}
    assert seen.failure("a").code == "E_SECRET"
    assert seen.rows["a"].attempts == 1
    assert plain.encode() not in msgspec.json.encode([seen.events, seen.rows, bench.events])


@pytest.mark.parametrize(
    ("holder", "options"),
    [
        ("variable v", {"variables": {"v": f"<{SECRET}>"}}),
        ("a tag", {"tags": (f"of-{SECRET}",)}),
        ("the workflow", {}),
        ("the workflow file", {}),
    ],
)
def test_what_would_store_a_secret_is_refused(holder: str, options: dict[str, object]) -> None:
    bench = with_secret()
    source = f"# {SECRET}" if holder == "the workflow file" else ""
    env = {"X": SECRET} if holder == "the workflow" else {}
    workflow = flow({"a": {"env": env}}, secrets=("TOKEN",))
    with pytest.raises(DefinitionError, match="holds the value of a secret") as caught:
        bench.run(bench.engine().execute(workflow, RunOptions(**options), source=source))  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{holder}: ")
    assert SECRET not in str(caught.value)
    assert bench.store._logs == {}


def test_a_resume_with_a_secret_in_a_variable_is_refused() -> None:
    bench = with_secret(a=fails())
    first = bench.execute(flow("a", secrets=("TOKEN",)))
    with pytest.raises(DefinitionError, match="variable v: holds the value of a secret"):
        bench.resume(first, variables={"v": SECRET})
    assert bench.run(bench.see(first.id)).run.owner is None
    assert first.state is RunState.FAILED
