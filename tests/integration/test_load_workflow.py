"""Reading workflow files: what a person gets to see, and how fast."""

import os
import time
from pathlib import Path

import pytest

from runwright.adapters.toml import load_workflow, parse_workflow
from runwright.adapters.toml_positions import locate, scan
from runwright.adapters.toml_syntax import parse
from runwright.core.document import decode_workflow
from runwright.core.errors import DefinitionError, Problem

TASKS = int(os.environ.get("RUNWRIGHT_TASKS", "100000"))


def test_a_good_file_comes_with_text_and_warnings(tmp_path: Path) -> None:
    path = tmp_path / "etl.toml"
    text = 'name = "other"\r\n[tasks.a]\r\ncmd = """\r\necho a\r\necho b"""\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    loaded = load_workflow(path)
    assert loaded.workflow.tasks["a"].cmd == "echo a\necho b"
    assert loaded.source_text.endswith(text)
    assert loaded.path == path
    (warning,) = loaded.warnings
    assert (warning.line, warning.column, warning.file, warning.source_line) == (
        1,
        1,
        str(path),
        'name = "other"',
    )


def problem_of(path: Path) -> Problem:
    with pytest.raises(DefinitionError) as caught:
        load_workflow(path)
    (problem,) = caught.value.problems
    assert problem.file == str(path)
    return problem


def test_files_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no TOML file" in problem_of(tmp_path / "x.toml").suggestion
    assert "no directory" in problem_of(tmp_path / "nowhere" / "x.toml").suggestion
    (tmp_path / "deploy.toml").write_text('[tasks.a]\ncmd = "x"\n')
    assert problem_of(tmp_path / "depoly.toml").suggestion == f'did you mean "{tmp_path / "deploy.toml"}"?'
    assert problem_of(tmp_path / "deploy").suggestion == f'did you mean "{tmp_path / "deploy.toml"}"?'
    assert problem_of(tmp_path / "quite-another.toml").suggestion == "there are deploy.toml"
    assert "can't be read" in problem_of(tmp_path).message
    monkeypatch.setattr("runwright.adapters.toml.LONGEST_FILE", 10)
    assert "longer than" in problem_of(tmp_path / "deploy.toml").message


POSITIONS = '''# comment
"quoted key" = 'x' # another
a.b = { c = [1, """
two""", {d = """\\u00e9\\n\\
   x\"""}] }
[tasks]
t.cmd = """
first \\
  second"""
[[list]]
[[list]]
[list.sub]
[[list.sub.deep]]
k = 2026-01-01 10:00:00
m = \'\'\'
raw\'\'\'
'''


@pytest.mark.parametrize(
    ("path", "offset", "expected"),
    [
        (("quoted key",), None, '"quoted key"'),
        (("quoted key",), 0, "x'"),
        (("a", "b", "c", 1), None, '"""\ntwo'),
        (("a", "b", "c", 1), 0, "two"),
        (("a", "b", "c", 2, "d"), 2, 'x"""}'),
        (("a", "b", "c", 2, "d"), 1, "\\n"),
        (("a", "b", "c", 2, "gone", "deeper"), None, '{d = "'),
        (("a", "b", 0), None, "b = {"),
        (("tasks", "t", "cmd"), 6, "second"),
        (("tasks", "t", "cmd"), 0, "first"),
        (("tasks", "t", "cmd", 0), 2, "rst"),
        (("list", 1), None, "list]]\n[list.sub]"),
        (("list", 1, "sub", "deep", 0, "k"), 3, "k = 2026"),
        (("list", 1, "sub", "deep", 0, "m"), 1, "aw'''"),
        (("unknown",), None, "# comment"),
    ],
)
def test_every_key_has_its_place(path: tuple[str | int, ...], offset: int | None, expected: str) -> None:
    assert isinstance(parse(POSITIONS), dict)
    assert POSITIONS.startswith(expected, locate(POSITIONS, scan(POSITIONS), path, offset))


def test_a_long_file_with_a_syntax_error_gives_the_first() -> None:
    text = "".join(f'[tasks.t{i}]\ncmd = "x"\n' for i in range(12_000)) + "a = oops\nb = oops\n"
    found = parse(text)
    assert isinstance(found, list)
    assert [problem.line for problem in found] == [24_001]


def chain_text(count: int) -> str:
    first = '[tasks.t0]\ncmd = "true"\n'
    rest = (f'[tasks.t{i}]\ncmd = "true"\ndepends_on = ["t{i - 1}"]\n' for i in range(1, count))
    return first + "".join(rest)


def test_a_hundred_thousand_tables_are_decoded_and_checked_fast() -> None:
    data = parse(chain_text(TASKS))
    assert isinstance(data, dict)
    start = time.process_time()
    workflow = decode_workflow(data, default_name="chain")
    taken = time.process_time() - start
    print(f"{TASKS} tables decoded and checked in {taken:.2f} s of processor time")
    assert len(workflow.tasks) == TASKS
    assert taken < 5.0


def test_a_long_chain_of_references_is_not_quadratic() -> None:
    count = TASKS // 5
    parts = [
        '[tasks.t0]\ncmd = "x"\nregister = "v0"\n[tasks.t1]\ncmd = "x"\ndepends_on = ["t0"]\nregister = "v1"\n'
    ]
    parts += [
        f'[tasks.t{i}]\ncmd = "echo {{{{.v{i - 2}}}}} {{{{.v0}}}}"\nregister = "v{i}"\ndepends_on = ["t{i - 1}"]\n'
        for i in range(2, count)
    ]
    start = time.process_time()
    workflow = parse_workflow("".join(parts), "refs")
    taken = time.process_time() - start
    print(f"{count} tasks with two references each in {taken:.2f} s of processor time")
    assert len(workflow.tasks) == count
    assert taken < 10.0


def test_a_fault_in_every_table_is_found_and_placed() -> None:
    count = TASKS // 10
    text = "".join(
        f'[tasks.t{i}]\ncmd = "true"\ntimeot = "3s"\ndepends_on = ["u{i}"]\n' for i in range(count)
    )
    start = time.process_time()
    with pytest.raises(DefinitionError) as caught:
        parse_workflow(text, "faults")
    taken = time.process_time() - start
    assert len(caught.value.problems) == 2 * count
    assert caught.value.problems[-1].line == 4 * count
    assert taken < 20.0
