"""The front door: which module runs, how arguments are read, and what becomes of errors."""

import os
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from types import ModuleType

import pytest
from cli_state import pipe, text

from runwright import __version__
from runwright.cli import main as front
from runwright.cli.arguments import Arguments
from runwright.cli.dispatch import guarded
from runwright.cli.render.terminal import Out
from runwright.core.errors import (
    DefinitionError,
    InternalError,
    Problem,
    StoreError,
    UsageError,
)

Execute = Callable[[Arguments], int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Execute], None]:
    """Put a command of one's own into the table, under the name `try`."""
    module = ModuleType("runwright.cli.attempted", "Try something.")

    def configure(parser: ArgumentParser) -> None:
        parser.add_argument("what", nargs="?")
        parser.add_argument("more", nargs="?")
        parser.add_argument("--flag", action="store_true")

    def install(execute: Execute) -> None:
        module.configure = configure  # type: ignore[attr-defined]
        module.execute = execute  # type: ignore[attr-defined]

    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(front.COMMANDS, "try", (module.__name__, "care", "try something"))  # type: ignore[arg-type]
    return install


def raises(error: BaseException) -> Execute:
    def execute(args: Arguments) -> int:
        raise error

    return execute


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["--version"]) == 0
    assert capsys.readouterr().out == f"runwright {__version__}\n"


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"], ["--no-color", "--help"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(words) == 0
    out = capsys.readouterr().out
    assert all(name in out and line in out for name, (_, _, line) in front.COMMANDS.items())


@pytest.mark.parametrize("words", [["help", "runs"], ["runs", "--help"], ["runs", "-h"]])
def test_help_of_a_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        front.main(words)
    assert ended.value.code == 0
    assert "--min-duration" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["valdate"], 'did you mean "validate"?'),
        (["zzzz"], "see `runwright --help`"),
        (["--frobnicate"], 'there is no option "--frobnicate"'),
        (["--store"], "--store needs a value"),
        (["try", "--flog"], 'did you mean "--flag"?'),
        (["try", "--zzzzzz=1"], 'there is no option "--zzzzzz"'),
        (["try", "a", "b", "c"], '"c" is one argument too many'),
        (["-C", "/no/such/place", "try"], "can't work in /no/such/place"),
    ],
)
def test_bad_command_lines(
    words: list[str], message: str, command: Callable[[Execute], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raises(InternalError("not reached")))
    assert front.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


@pytest.mark.parametrize(
    "words",
    [
        ["--store", "x.db", "--verbose", "-C", "{tmp}", "--no-color", "try", "--flag", "one", "two"],
        ["--store=x.db", "-v", "--directory={tmp}", "--no-colour", "try", "one", "--flag", "two"],
        ["try", "one", "--store", "x.db", "--flag", "--verbose", "two", "-C", "{tmp}", "--no-color"],
    ],
)
def test_options_of_every_command_stand_before_or_after_it(
    words: list[str],
    command: Callable[[Execute], None],
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(".")
    seen: list[Arguments] = []
    command(lambda args: seen.append(args) or 0)  # type: ignore[func-returns-value]
    assert front.main([word.format(tmp=tmp_path) for word in words]) == 0
    (args,) = seen
    assert (args.store, args.directory, args.verbose, args.no_color) == ("x.db", str(tmp_path), True, True)
    assert (args.what, args.more, args.flag) == ("one", "two", True)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (StoreError("disk full"), 1, "error: disk full"),
        (DefinitionError("wrong"), 2, "error: wrong"),
        (UsageError("what?"), 2, "error: what?"),
        (PermissionError(13, "Permission denied", "/f\x1b"), 1, "error: Permission denied: /f\\x1b"),
        (InternalError("impossible"), 70, "this is a bug of Runwright: impossible"),
        (ZeroDivisionError("division"), 70, "this is a bug of Runwright: ZeroDivisionError: division"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_messages(
    error: BaseException,
    status: int,
    message: str,
    command: Callable[[Execute], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command(raises(error))
    assert front.main(["try"]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.partition("\n")[0] == message
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [["try", "--verbose"], ["--verbose", "try"]])
@pytest.mark.parametrize("error", [StoreError("x"), ValueError("x"), OSError(5, "x")])
def test_tracebacks_are_for_those_who_ask(
    words: list[str],
    error: Exception,
    command: Callable[[Execute], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command(raises(error))
    front.main(words)
    assert "Traceback" in capsys.readouterr().err


def test_tracebacks_by_environment(
    command: Callable[[Execute], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNWRIGHT_TRACEBACK", "1")
    command(raises(ValueError("x")))
    front.main(["try"])
    assert "Traceback" in capsys.readouterr().err


def test_all_problems_are_shown(
    command: Callable[[Execute], None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raises(DefinitionError([Problem(message="first"), Problem(message="second")])))
    assert front.main(["try"]) == 2
    assert capsys.readouterr().err == "error: first\nerror: second\n2 errors\n"


def test_messages_cannot_drive_the_terminal() -> None:
    err = pipe()

    def work() -> int:
        raise StoreError("\x1b]0;title\x07 two\nlines")

    assert guarded(work, err, verbose=False) == 1
    assert text(err) == "error: \\x1b]0;title\\x07 two\nlines\n"


def test_a_closed_pipe_is_quiet() -> None:
    code = "import sys; from runwright.cli.main import main; sys.exit(main(sys.argv[1:]))"
    for words in (["--help"], ["runs"], ["help", "run"]):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "RUNWRIGHT_STORE": "nothing.db"},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait() == 141


def test_a_stream_without_marks_gets_ascii() -> None:
    assert Out(pipe("ascii").stream).mark("succeeded") == "+"
    assert Out(pipe("utf-8").stream).mark("succeeded") == "✓"
    assert Out(pipe("no-such-encoding").stream).mark("succeeded") == "+"
