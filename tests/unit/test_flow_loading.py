"""Workflows in modules: found by module or file, and errors that say what is there."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from runwright.core.errors import DefinitionError, UsageError
from runwright.wiring.flow_loading import load_flow, make_importable
from runwright.wiring.flow_names import MAIN, function_name, main_file, main_module, module_of, workflow_name
from runwright.wiring.runs import is_flow

TEXT = """
from runwright import Workflow, decode_workflow

flow = Workflow("etl")

@flow.task
async def extract(day): return day

extract(flow.param("day"))
number = 5
record = decode_workflow({"tasks": {"a": {"cmd": "true"}}})
class Group:
    inner = flow
"""
ONE = """
from runwright import Workflow
only = Workflow("only")
only.task(print).with_options(key="p")(1)
"""
_numbers = count()


@pytest.fixture
def module(tmp_path: Path) -> Iterator[str]:
    """A module of a name that no other test uses, in a directory that is on no path yet."""
    name = f"flow_module_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(TEXT)
    before = list(sys.path)
    yield name
    sys.path[:] = before


@pytest.mark.parametrize("form", ["{}:flow", "{}.py:flow", "{}:Group.inner"])
def test_a_workflow_is_found(module: str, tmp_path: Path, form: str) -> None:
    loaded = load_flow(form.format(module), tmp_path)
    assert loaded.workflow.name == "etl"
    assert loaded.workflow.tasks["extract"].args["function"] == f"{module}:extract"
    path = form.format(module)
    assert loaded.to_work(()).path == (f"{tmp_path}/{path}" if ".py" in path else path)
    assert list(loaded.to_work(()).known) == [f"{module}:extract"]


def test_a_record_is_a_workflow_too(module: str, tmp_path: Path) -> None:
    assert load_flow(f"{module}:record", tmp_path).workflow.tasks["a"].cmd == "true"


def test_a_file_in_a_folder_is_a_module_of_a_package(module: str, tmp_path: Path) -> None:
    folder = tmp_path / f"{module}_folder"
    folder.mkdir()
    (folder / "one.py").write_text(ONE)
    loaded = load_flow(f"{folder.name}/one.py", tmp_path)
    assert loaded.work.path == f"{folder}/one.py:only"
    assert str(folder) in sys.path


def test_a_file_elsewhere_is_found_by_its_own_folder(module: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    assert (
        load_flow(f"../{module}.py:flow", here).workflow.tasks["extract"].args["function"]
        == f"{module}:extract"
    )


def test_variables_that_are_missing_are_told_with_their_place(module: str, tmp_path: Path) -> None:
    assert load_flow(f"{module}:flow", tmp_path, ["day"])
    with pytest.raises(DefinitionError, match='nothing sets "day"') as caught:
        load_flow(f"{module}:flow", tmp_path, [])
    assert caught.value.problems[0].file == str(tmp_path / f"{module}.py")


@pytest.mark.parametrize(
    ("name", "message", "advice"),
    [
        ("{}:flwo", 'has no "flwo"', 'did you mean "flow"?'),
        ("{}:zzzzzz", 'has no "zzzzzz"', "it has flow, record"),
        ("{}:number", "is a int, not a Workflow", "did you mean {}:flow?"),
        ("{}", "there are several workflows in {}: flow, record", "name one: {}:flow"),
        ("{}.py", "there are several workflows in {}.py: flow, record", "name one: {}.py:flow"),
        ("{}_:flow", 'there is no module "{}_"', "modules are looked for"),
        ("{}_.py:flow", "there is no file ", 'did you mean "{}.py"?'),
        ("not a module:flow", '"not a module" is no name of a module', "write module:name"),
        (":flow", '"" is no name of a module', "write module:name"),
    ],
)
def test_what_is_not_there_is_told(module: str, tmp_path: Path, name: str, message: str, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_flow(name.format(module), tmp_path)
    assert message.format(module) in str(caught.value)
    assert caught.value.problems[0].suggestion.startswith(advice.format(module))


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("x = 1\n1 / 0\n", "ZeroDivisionError: division by zero", 2),
        ("import nothing_of_the_kind\n", "No module named 'nothing_of_the_kind'", 1),
        ("import sys\n\nsys.exit(3)\n", "SystemExit: 3", 3),
        (
            "from runwright import Engine\nEngine('x.db')\n",
            "starts an engine of its own; put what starts it under",
            None,
        ),
        ("number = 5\n", "there is no workflow in ", 0),
    ],
)
def test_a_module_that_is_broken_is_told(
    module: str, tmp_path: Path, text: str, message: str, line: int | None
) -> None:
    (tmp_path / f"{module}.py").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_flow(f"{module}.py", tmp_path)
    assert message in str(caught.value)
    assert line is None or caught.value.problems[0].line == line
    assert not hasattr(sys, "_runwright_imports")


def test_names_without_a_workflow_say_that_there_is_none(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text("number = 5\n")
    for name, advice in (("flow", "there is no workflow in it"), ("number", "name a Workflow")):
        with pytest.raises(UsageError) as caught:
            load_flow(f"{module}:{name}", tmp_path)
        assert caught.value.problems[0].suggestion == advice


def test_places_are_put_on_the_path_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/a"])
    for _ in range(2):
        make_importable("flows/one.py:flow", tmp_path)
        make_importable("one:flow", tmp_path)
    assert sys.path == [str(tmp_path), "/a", str(tmp_path / "flows")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("etl:flow", True),
        ("a.b:flow.inner", True),
        ("/x/etl.py:flow", True),
        ("/x/etl.toml", False),
        ("/x:y/etl.toml", False),
        ("/x/a:b", False),
        ("", False),
    ],
)
def test_names_of_workflows_are_told_from_paths(path: str, expected: bool) -> None:
    assert is_flow(path) is expected


@pytest.mark.parametrize(
    ("file", "directory", "name"),
    [
        ("/p/etl.py", "/p", "etl"),
        ("/p/flows/etl.py", "/p", "flows.etl"),
        ("/p/my-flows/etl.py", "/p", "etl"),
        ("/q/etl.py", "/p", "etl"),
    ],
)
def test_files_are_modules(file: str, directory: str, name: str) -> None:
    assert module_of(Path(file), Path(directory)) == name


class Main:
    """What stands for the module of a script."""

    def __init__(self, **names: Any) -> None:
        vars(self).update({"__spec__": None, **names})


def as_main(monkeypatch: pytest.MonkeyPatch, **names: Any) -> None:
    monkeypatch.setitem(sys.modules, MAIN, Main(**names))  # type: ignore[arg-type]


def test_a_script_is_named_as_the_module_that_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flow = object()
    as_main(monkeypatch, __file__=str(tmp_path / "flows" / "etl.py"), flow=flow)
    assert main_module() == "flows.etl"
    assert workflow_name(flow, MAIN) == f"{tmp_path}/flows/etl.py:flow"
    assert workflow_name(object(), MAIN) == ""
    as_main(monkeypatch, __spec__=sys.modules["runwright"].__spec__, flow=flow)
    assert main_module() == "runwright"
    assert workflow_name(flow, MAIN) == "runwright:flow"
    as_main(monkeypatch, flow=flow)
    assert main_file() is None
    assert main_module() == MAIN
    assert workflow_name(flow, MAIN) == ""
    assert workflow_name(flow, "no_such_module") == ""

    def function() -> None: ...

    function.__module__ = MAIN
    assert function_name(function).startswith("__main__:test_a_script")


def test_the_script_that_runs_is_not_imported_again(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = load_flow(f"{module}:flow", tmp_path).workflow
    as_main(monkeypatch, __file__=str(tmp_path / f"{module}.py"), flow=flow, __name__=MAIN)
    assert load_flow(f"{module}.py:flow", tmp_path).workflow is flow


SCRIPT = """
import asyncio
from runwright import Engine, Workflow

flow = Workflow("script")

@flow.task
def make(count: int) -> list[int]:
    return list(range(count))

@flow.task
async def total(rows: list[int]) -> int:
    return sum(rows)

total(make(5))

async def main() -> None:
    async with Engine("runs.db") as engine:
        run = await engine.execute(flow)
        rows = await engine.store.tasks(run.id)
        print(run.path, run.state, rows[-1].value, run.reason)

%s
"""
GUARDED = 'if __name__ == "__main__":\n    asyncio.run(main())'


def run_script(folder: Path, end: str) -> str:
    (folder / "script.py").write_text(SCRIPT % end)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_a_script_runs_its_own_flow(tmp_path: Path) -> None:
    assert run_script(tmp_path, GUARDED) == f"{tmp_path}/script.py:flow succeeded 10 \n"


OBJECTS = """
import asyncio
from dataclasses import dataclass
from runwright import Engine, Workflow

@dataclass
class Row:
    number: int

flow = Workflow("objects")

@flow.task(pickle=True)
def far(number: int) -> Row:
    return Row(number)

@flow.task(pickle=True, mode="thread")
def near(row: Row) -> Row:
    assert isinstance(row, Row), type(row)
    return Row(row.number + 1)

@flow.task
def number(row: Row) -> int:
    assert isinstance(row, Row), type(row)
    return row.number

number(near(far(1)))

async def main() -> None:
    async with Engine("runs.db") as engine:
        run = await engine.execute(flow)
        rows = await engine.store.tasks(run.id)
        print(run.path, run.state, rows[-1].value, run.reason)

%s
"""


def test_classes_of_a_script_are_the_same_in_all_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SCRIPT", OBJECTS)
    assert run_script(tmp_path, GUARDED) == f"{tmp_path}/script.py:flow succeeded 2 \n"


def test_a_script_without_a_guard_does_not_start_itself_for_ever(tmp_path: Path) -> None:
    found = run_script(tmp_path, "asyncio.run(main())")
    assert "failed" in found
    assert '"script:make" is being imported, and starts an engine of its own' in found
