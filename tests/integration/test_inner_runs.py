"""Tasks whose work is a run of its own: real engines, a real store, real commands."""

import asyncio
from pathlib import Path

import pytest

from runwright import DefinitionError, Engine, RunOptions, RunState, load_workflow
from runwright.core.events import ProgressKind
from runwright.core.states import TaskRole, TaskState
from runwright.engines.parent import DEEPEST
from runwright.ports.stores import RunFilter

PLAN = """
[[steps]]
name = "make"
pre_exec = 'echo "place=$PWD/made" >> "$RUNWRIGHT_STATE"'
exec = 'mkdir {{.place}}; echo "{{.who}}" > {{.place}}/who'
cleanup = "rm -r {{.place}}"

[[steps]]
name = "use"
exec = "cat {{.place}}/who"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runwright.toml").touch()
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)


def run_file(folder: Path, name: str, options: RunOptions | None = None, listener=None):
    """Run a file and return the run, its tasks by id, and its inner runs, oldest first, with their tasks."""

    async def work():
        async with Engine(listener=listener) as engine:
            run = await engine.execute(folder / f"{name}.toml", options)
            return await told(engine.store, run)

    return asyncio.run(work())


def resume(run_id: str, options: RunOptions | None = None):
    async def work():
        async with Engine() as engine:
            return await told(engine.store, await engine.resume(run_id, options))

    return asyncio.run(work())


async def told(store, run):
    inner = []
    for one in reversed(await store.list_runs(RunFilter(parent=run.id))):
        assert (await store.verify(one.id)).ok
        inner.append((one, {row.id: row for row in await store.tasks(one.id)}))
    assert (await store.verify(run.id)).ok
    return run, {row.id: row for row in await store.tasks(run.id)}, inner


def error_of(row) -> tuple[str, str]:
    return row.failure.code, row.failure.message


def test_a_task_may_be_a_plan_whose_state_goes_on(folder):
    outer = """
    [tasks.env]
    executor = "plan"
    args = { file = "plan.toml", variables = { who = "it's {{.name}}" }, outputs = ["place", "who"] }
    [tasks.after]
    depends_on = ["env"]
    cmd = "echo {{.env.who}} at {{.env.place}}; test ! -e {{.env.place}}"
    register = "said"
    [variables]
    name = "bob"
    """
    write(folder, plan=PLAN, outer=outer)
    run, tasks, [(inner, steps)] = run_file(folder, "outer")
    assert run.state is RunState.SUCCEEDED
    assert (inner.kind, inner.parent_id, inner.parent_task, inner.state) == (
        "plan",
        run.id,
        "env",
        RunState.SUCCEEDED,
    )
    assert tasks["after"].value == f"it's bob at {folder}/made"
    assert steps["make.cleanup"].state is TaskState.SUCCEEDED
    assert steps["make.cleanup"].role is TaskRole.CLEANUP


def test_a_task_may_be_a_workflow_whose_variables_go_on(folder):
    write(
        folder,
        inner='[tasks.t]\ncmd = "echo hello {{.who}}"\nregister = "greeting"',
        outer="""
        [tasks.w]
        executor = "workflow"
        args = { file = "inner.toml", variables = { who = "$(rm -rf /) '" }, outputs = ["greeting"] }
        [tasks.z]
        depends_on = ["w"]
        cmd = "echo {{.w.greeting}}"
        register = "said"
        """,
    )
    run, tasks, [(inner, _)] = run_file(folder, "outer")
    assert run.state is RunState.SUCCEEDED
    assert inner.kind == "workflow"
    assert tasks["z"].value == "hello $(rm -rf /) '"


def test_files_are_found_beside_the_file_that_names_them(folder):
    deep = folder / "sub" / "deep"
    deep.mkdir(parents=True)
    (deep / "two.toml").write_text('[tasks.t]\ncmd = "pwd"\nregister = "at"')
    (folder / "sub" / "one.toml").write_text(
        '[tasks.t]\nexecutor = "workflow"\nargs = { file = "deep/two.toml" }'
    )
    write(
        folder,
        outer='[tasks.a]\nexecutor = "workflow"\nargs = { file = "sub/one.toml", working_dir = "sub" }',
    )
    run, _, [(one, _)] = run_file(folder, "outer")
    assert run.state is RunState.SUCCEEDED
    assert one.options["directory"] == str(folder / "sub")


def test_what_happens_inside_is_told_with_its_place(folder):
    write(folder, plan='[[steps]]\nname = "s"\nexec = "echo from within"')
    write(folder, middle='[tasks.m]\nexecutor = "plan"\nargs = { file = "plan.toml" }')
    write(folder, outer='[tasks.o]\nexecutor = "workflow"\nargs = { file = "middle.toml" }')
    events = []
    run_file(folder, "outer", RunOptions(print_output=True), events.append)
    places = {(event.within, event.task_id) for event in events if event.kind is ProgressKind.TASK_STARTED}
    assert places == {((), "o"), (("o",), "m"), (("o", "m"), "s")}
    outputs = [event.output for event in events if event.kind is ProgressKind.TASK_OUTPUT]
    assert outputs == ["from within\n"]


def test_a_failure_inside_is_the_failure_of_the_task(folder):
    write(folder, plan='[[steps]]\nname = "s"\nexec = "exit 3"')
    write(folder, outer='[tasks.o]\nexecutor = "plan"\nargs = { file = "plan.toml" }')
    run, tasks, _ = run_file(folder, "outer")
    assert run.state is RunState.FAILED
    assert error_of(tasks["o"]) == ("E_INNER", "plan plan failed: s failed: exit status 3")


def test_an_output_that_is_never_set_fails_the_task(folder):
    write(folder, plan='[[steps]]\nname = "s"\nexec = "true"')
    write(folder, outer='[tasks.o]\nexecutor = "plan"\nargs = { file = "plan.toml", outputs = ["x", "y"] }')
    _, tasks, _ = run_file(folder, "outer")
    assert error_of(tasks["o"]) == ("E_OUTPUT", "plan plan has set no x, y")


def test_another_attempt_continues_an_inner_workflow(folder):
    write(
        folder,
        inner='[tasks.a]\ncmd = "echo a >> log"\n[tasks.b]\ndepends_on = ["a"]\ncmd = "echo b >> log; test -e flag"',
        outer='[tasks.o]\nexecutor = "workflow"\nretries = 1\nargs = { file = "inner.toml" }',
    )
    run, tasks, [(inner, _)] = run_file(folder, "outer")
    assert run.state is RunState.FAILED
    assert tasks["o"].attempts == 2
    assert (folder / "log").read_text() == "a\nb\nb\n"
    (folder / "flag").touch()
    run, _, [(again, _)] = resume(run.id)
    assert run.state is RunState.SUCCEEDED
    assert again.id == inner.id
    assert (folder / "log").read_text() == "a\nb\nb\nb\n"


def test_another_attempt_with_other_variables_is_a_new_run(folder):
    write(
        folder,
        inner='[tasks.a]\ncmd = "echo {{.who}} >> log; test {{.who}} = good"',
        outer="""
        [tasks.o]
        executor = "workflow"
        args = { file = "inner.toml", variables = { who = "{{.who}}" } }
        [variables]
        who = "bad"
        """,
    )
    run, _, _ = run_file(folder, "outer")
    run, _, inner = resume(run.id, RunOptions(variables={"who": "good"}))
    assert run.state is RunState.SUCCEEDED
    assert [one.state for one, _ in inner] == [RunState.FAILED, RunState.SUCCEEDED]


def test_another_attempt_at_a_plan_begins_anew_because_it_was_cleaned_up(folder):
    plan = """
    [[steps]]
    name = "make"
    exec = "mkdir made; echo made >> log"
    cleanup = "rmdir made"
    [[steps]]
    name = "check"
    exec = "test -e flag || { touch flag; exit 1; }"
    """
    write(folder, plan=plan, outer='[tasks.o]\nexecutor = "plan"\nretries = 1\nargs = { file = "plan.toml" }')
    run, _, inner = run_file(folder, "outer")
    assert run.state is RunState.SUCCEEDED
    assert [one.state for one, _ in inner] == [RunState.FAILED, RunState.SUCCEEDED]
    assert (folder / "log").read_text() == "made\nmade\n"
    assert not (folder / "made").exists()


def test_stopping_the_outer_run_reaches_all_the_way_down(folder):
    plan = """
    [[steps]]
    name = "make"
    exec = "mkdir made"
    cleanup = "rmdir made"
    [[steps]]
    name = "long"
    exec = "touch started; sleep 600"
    """
    write(folder, plan=plan, middle='[tasks.m]\nexecutor = "plan"\nargs = { file = "plan.toml" }')
    write(folder, outer='[tasks.o]\nexecutor = "workflow"\nargs = { file = "middle.toml" }')

    async def work():
        async with Engine() as engine:

            async def stop_once_it_runs():
                while not (folder / "started").exists():  # noqa: ASYNC110 - a command makes it
                    await asyncio.sleep(0.01)
                engine.stop("enough")

            stopping = asyncio.create_task(stop_once_it_runs())
            run = await engine.execute(folder / "outer.toml")
            await stopping
            return run, await engine.store.list_runs(RunFilter())

    run, runs = asyncio.run(asyncio.wait_for(work(), 30))
    assert run.state is RunState.CANCELLED
    assert {(one.kind, one.state, one.reason) for one in runs} == {
        ("workflow", RunState.CANCELLED, "enough"),
        ("plan", RunState.CANCELLED, "enough"),
    }
    assert not (folder / "made").exists()


def test_the_time_limit_of_the_task_reaches_down(folder):
    plan = '[[steps]]\nname = "make"\nexec = "mkdir made"\ncleanup = "rmdir made"\n[[steps]]\npause = "10m"'
    write(folder, plan=plan)
    write(folder, outer='[tasks.o]\nexecutor = "plan"\ntimeout = "0.5s"\nargs = { file = "plan.toml" }')
    _, tasks, [(inner, _)] = run_file(folder, "outer")
    assert error_of(tasks["o"]) == ("E_TIMEOUT", "took longer than its limit of 0.5 s")
    assert inner.state is RunState.CANCELLED
    assert not (folder / "made").exists()


def test_a_file_that_leads_back_to_itself_through_a_variable_ends(folder):
    write(
        folder,
        loop="""
        [tasks.o]
        executor = "workflow"
        args = { file = "{{.next}}", variables = { next = "loop.toml" } }
        [variables]
        next = "loop.toml"
        """,
    )
    run, tasks, _ = run_file(folder, "loop")
    assert run.state is RunState.FAILED
    assert tasks["o"].failure.code == "E_INNER"

    async def deepest():
        async with Engine() as engine:
            runs = await engine.store.list_runs(RunFilter())
            rows = [row for one in runs for row in await engine.store.tasks(one.id)]
            return len(runs), {row.failure.code for row in rows}

    count, codes = asyncio.run(deepest())
    assert count == 1 + DEEPEST
    assert codes == {"E_INNER", "E_DEPTH"}


def test_a_file_named_by_a_variable_is_checked_when_it_is_known(folder):
    write(folder, bad='[tasks.t]\ncmnd = "true"')
    write(
        folder,
        outer="""
        [tasks.o]
        executor = "workflow"
        args = { file = "{{.which}}.toml" }
        [variables]
        which = "bad"
        """,
    )
    _, tasks, inner = run_file(folder, "outer")
    code, message = error_of(tasks["o"])
    assert code == "E_DEFINITION"
    assert f'{folder}/bad.toml:2: unknown key "cmnd" (did you mean "cmd"?)' in message
    assert not inner


def test_secrets_of_the_outer_run_are_masked_inside(folder, monkeypatch):
    monkeypatch.setenv("TOKEN", "sesame-open-42")
    write(folder, plan='[[steps]]\nname = "s"\nexec = "echo $TOKEN >&2; exit 1"')
    write(folder, outer='secrets = ["TOKEN"]\n[tasks.o]\nexecutor = "plan"\nargs = { file = "plan.toml" }')
    _, _, [(inner, steps)] = run_file(folder, "outer")
    assert steps["s"].failure.stderr_tail == "***\n"
    held = [path for path in folder.rglob("*") if path.is_file() and b"sesame" in path.read_bytes()]
    assert not held

    async def again():
        async with Engine() as engine:
            return await engine.resume(inner.id, go_on=True)

    assert asyncio.run(again()).state is RunState.FAILED
    held = [path for path in folder.rglob("*") if path.is_file() and b"sesame" in path.read_bytes()]
    assert not held


def test_a_secret_of_the_outer_run_is_not_stored_with_an_inner_one(folder, monkeypatch):
    monkeypatch.setenv("TOKEN", "sesame-open-42")
    write(folder, plan='[[steps]]\nname = "s"\nexec = "echo sesame-open-42"')
    write(folder, outer='secrets = ["TOKEN"]\n[tasks.o]\nexecutor = "plan"\nargs = { file = "plan.toml" }')
    _, tasks, inner = run_file(folder, "outer")
    code, message = error_of(tasks["o"])
    assert code == "E_DEFINITION"
    assert "would store the value of a secret" in message
    assert not inner


class TestFilesAreCheckedBeforeAnythingRuns:
    def problems(self, folder: Path, name: str = "outer"):
        with pytest.raises(DefinitionError) as caught:
            load_workflow(f"{name}.toml")
        return [(Path(p.file).name, p.line, p.message) for p in caught.value.problems]

    def test_every_fault_of_all_files_at_once(self, folder):
        write(folder, plan='[[steps]]\nname = "s"\nexce = "true"')
        write(
            folder,
            outer="""
            [tasks.a]
            executor = "plan"
            args = { file = "plan.toml" }
            env = { A = "1" }
            clean_env = true
            [tasks.b]
            executor = "workflow"
            args = { file = "plam.toml" }
            """,
        )
        assert self.problems(folder) == [
            ("outer.toml", 5, 'task "a" runs a file of its own, for which "env" has no meaning'),
            ("outer.toml", 6, 'task "a" runs a file of its own, for which "clean_env" has no meaning'),
            ("outer.toml", 9, "plam.toml: there is no such file"),
            ("plan.toml", 3, 'unknown key "exce"'),
        ]

    def test_a_circle_is_named_whole(self, folder):
        write(folder, outer='[tasks.o]\nexecutor = "workflow"\nargs = { file = "b.toml" }')
        write(folder, b='[tasks.o]\nexecutor = "workflow"\nargs = { file = "./outer.toml" }')
        assert self.problems(folder) == [
            ("b.toml", 3, "files lead back to themselves: outer.toml -> b.toml -> outer.toml")
        ]

    def test_a_plan_is_not_taken_for_a_workflow(self, folder):
        write(folder, plan=PLAN, outer='[tasks.o]\nexecutor = "workflow"\nargs = { file = "plan.toml" }')
        assert self.problems(folder) == [("plan.toml", 2, "this is a plan, not a workflow")]

    def test_variables_that_are_handed_on_are_known_inside(self, folder):
        write(folder, inner='[tasks.t]\ncmd = "echo {{.x}} {{.y}}"')
        given = 'args = { file = "inner.toml", variables = { x = "1" } }'
        write(folder, outer=f'[tasks.o]\nexecutor = "workflow"\n{given}')
        assert self.problems(folder) == [("inner.toml", 2, 'nothing sets "y"')]

    def test_an_executor_of_another_name_is_looked_through(self, folder):
        write(
            folder,
            outer="""
            [executors.deploy]
            executor = "plan"
            file = "gone.toml"
            [tasks.o]
            executor = "deploy"
            """,
        )
        assert self.problems(folder)[0][2] == "gone.toml: there is no such file"
