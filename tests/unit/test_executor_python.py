"""Functions as tasks, with processes that are played."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runwright.core.document import decode_workflow
from runwright.core.errors import DefinitionError, TaskFailed
from runwright.core.runvars import VALUE_BYTES
from runwright.core.task import Result, Task, TaskId
from runwright.executors import python_child
from runwright.executors.python import TRACEBACK_BYTES, Python, PythonArgs
from runwright.ports.system import Command, Exit
from runwright.testing import FakeProcesses, LocalSession, Script

MODULE = """
import asyncio, sys, threading

def plain(**kwargs): return kwargs
async def soon(**kwargs): return kwargs
def later(**kwargs): return soon(**kwargs)
class Tools:
    @staticmethod
    def add(a, b): return a + b
number = 5
def fail(text): raise ValueError(text)
async def fail_soon(text): raise ValueError(text)
def stop(): return next(iter([]))
def leave(code): sys.exit(code)
async def leave_soon(code): sys.exit(code)
def interrupt(): raise KeyboardInterrupt
async def cancel_own():
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task
began, gate, ended = threading.Event(), threading.Event(), threading.Event()
def wait():
    began.set()
    gate.wait(30)
    ended.set()
"""
_numbers = iter(range(1000))


class Bench:
    """A session whose source tree has a module of a name that no other test uses."""

    def __init__(self, path: Path, secrets: tuple[str, ...] = ()) -> None:
        self.session = LocalSession(path, secrets=secrets)
        self.module = f"runwright_bench_{next(_numbers)}"
        self.file = self.session.source / f"{self.module}.py"
        self.file.write_text(MODULE)
        self.processes = FakeProcesses()
        self.python = Python(self.processes)

    def task(self, function: str, mode: str = "thread", **kwargs: Any) -> Task:
        args = {"function": f"{self.module}:{function}", "mode": mode, "kwargs": kwargs}
        return Task(id=TaskId("t"), args=args)

    async def execute(self, task: Task) -> Result:
        await self.python.open_session(self.session)
        try:
            return await self.python.execute(self.session, task)
        finally:
            await self.python.close_session(self.session.id)

    def call(self, function: str, mode: str = "thread", **kwargs: Any) -> Any:
        return asyncio.run(self.execute(self.task(function, mode, **kwargs))).value

    def failure(self, function: str, mode: str = "thread", **kwargs: Any) -> Any:
        with pytest.raises(TaskFailed) as caught:
            self.call(function, mode, **kwargs)
        return caught.value.failure

    def plays(self, code: int = 0, answer: bytes | None = None, stderr: bytes = b"", **more: Any) -> None:
        def play(command: Command) -> Script:
            if answer is not None:
                Path(command.argv[3]).write_bytes(answer)
            return Script(output=(("stderr", stderr),), exit=Exit(code=code, **more))

        self.processes = FakeProcesses(play)
        self.python = Python(self.processes)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("function", "mode"),
    [
        ("plain", "thread"),
        ("plain", "async"),
        ("soon", "async"),
        ("soon", "thread"),
        ("soon", "auto"),
        ("later", "thread"),
    ],
)
def test_functions_are_called(bench: Bench, function: str, mode: str) -> None:
    assert bench.call(function, mode, a=1, b=[None]) == {"a": 1, "b": [None]}
    assert bench.processes.ran == []


def test_names_may_be_dotted(bench: Bench) -> None:
    assert bench.call("Tools.add", a=1, b=2) == 3
    task = Task(id=TaskId("t"), args={"function": f"{bench.module}.plain", "mode": "thread"})
    assert asyncio.run(bench.execute(task)).value == {}


@pytest.mark.parametrize("mode", ["auto", "process"])
def test_a_function_in_a_process(bench: Bench, mode: str) -> None:
    bench.plays(answer=b'{"x":[1]}', stderr=b"a warning\n")
    assert bench.call("plain", mode, a=1) == {"x": [1]}
    (command,) = bench.processes.ran
    assert command.argv[0] == sys.executable
    assert command.argv[4] == str(bench.session.source)
    assert command.cwd == f"{bench.session.source}"
    called = msgspec.json.decode(Path(command.argv[2]).read_bytes())
    assert called == {"function": f"{bench.module}:plain", "kwargs": {"a": 1}}
    assert bench.session.log(TaskId("t")).read() == b"a warning\n"


def test_the_surroundings_of_a_process(bench: Bench) -> None:
    bench.plays()
    args = {
        **bench.task("plain", "process").args,
        "env": {"PYTHONPATH": "/lib", "A": "1"},
        "clean_env": True,
        "working_dir": "sub",
        "kill_grace": 2.0,
    }
    assert asyncio.run(bench.execute(Task(id=TaskId("t"), args=args))).value is None
    (command,) = bench.processes.ran
    assert command.argv[4] == f"{bench.session.source}:/lib"
    assert command.cwd == str(bench.session.source / "sub")
    env = {name: value for name, value in command.env.items() if name != "RUNWRIGHT_OUTPUT"}
    assert (env, command.clean_env, command.kill_grace) == (args["env"], True, 2.0)


def test_a_function_in_a_process_names_values_itself(bench: Bench) -> None:
    given = [b"rows=3\n", b"", b"nonsense"]

    def play(command: Command) -> Script:
        file = Path(command.env["RUNWRIGHT_OUTPUT"])
        assert not file.exists(), "what an earlier attempt left is gone"
        file.write_bytes(given.pop(0))
        return Script(exit=Exit(code=0 if given else 1))

    bench.python = Python(FakeProcesses(play))
    task = bench.task("plain", "process")
    assert asyncio.run(bench.execute(task)).variables == {"rows": "3"}
    assert asyncio.run(bench.execute(task)).variables == {}
    with pytest.raises(TaskFailed):
        asyncio.run(bench.execute(task))
    given = [b"nonsense", b""]
    with pytest.raises(TaskFailed, match="NAME=value was expected"):
        asyncio.run(bench.execute(task))


def test_an_answer_of_an_earlier_attempt_is_not_taken(bench: Bench) -> None:
    bench.plays(answer=b"1")
    assert bench.call("plain", "process") == 1
    bench.plays()
    assert bench.call("plain", "process") is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"NaN", "its value is not plain data"),
        (b'"\\ud800"', "its value is not plain data"),
        (b'"\xff"', "its value is not plain data"),
        (b"!Object of type set is none", "its value is not plain data: Object of type set is none"),
        (b'"' + b"x" * VALUE_BYTES + b'"', f"its value is {VALUE_BYTES + 2} bytes as JSON"),
    ],
)
def test_an_answer_that_can_not_be_kept(bench: Bench, answer: bytes, message: str) -> None:
    bench.plays(answer=answer)
    failure = bench.failure("plain", "process")
    assert failure.code == "E_VALUE"
    assert failure.message.startswith(message)


@pytest.mark.parametrize(
    ("played", "code", "message"),
    [
        ({"code": 1, "stderr": b"Traceback\nValueError: no\n"}, "E_EXCEPTION", "ValueError: no"),
        ({"code": 1}, "E_EXIT", "exit status 1"),
        ({"code": 3, "stderr": b"words\n"}, "E_EXIT", "exit status 3"),
        ({"code": 137, "signal": 9}, "E_SIGNAL", "killed by SIGKILL"),
        ({"code": 228, "signal": 100}, "E_SIGNAL", "killed by signal 100"),
    ],
)
def test_how_a_process_fails(bench: Bench, played: dict[str, Any], code: str, message: str) -> None:
    bench.plays(**played)
    failure = bench.failure("plain", "process")
    assert (failure.code, failure.message, failure.exit_code) == (code, message, played["code"])
    assert failure.signal == played.get("signal")


def test_the_end_of_a_long_error_output_is_kept_and_no_secret_is_cut_in_two(tmp_path: Path) -> None:
    bench = Bench(tmp_path, secrets=("secret-of-the-run",))
    tail = b"." * (TRACEBACK_BYTES - 10)
    bench.plays(code=3, stderr=b"first\n" + b"x" * TRACEBACK_BYTES + b"secret-of-the-run" + tail)
    failure = bench.failure("plain", "process")
    assert failure.stderr_tail.endswith(tail.decode())
    assert "run" not in failure.stderr_tail
    assert len(failure.stderr_tail) == TRACEBACK_BYTES


@pytest.mark.parametrize(("function", "mode"), [("fail", "thread"), ("fail_soon", "async")])
def test_an_exception_is_a_failure_with_its_traceback(tmp_path: Path, function: str, mode: str) -> None:
    bench = Bench(tmp_path, secrets=("secret-word",))
    failure = bench.failure(function, mode, text="too bad, secret-word \ud800")
    assert failure.code == "E_EXCEPTION"
    assert failure.message == "ValueError: too bad, *** \\ud800"
    assert failure.stderr_tail.startswith("Traceback")
    assert failure.stderr_tail.count('File "') == 1, "the user's own frame alone"
    assert "secret-word" not in failure.stderr_tail
    assert failure.stderr_tail in bench.session.log(TaskId("t")).read("stderr").decode()


def test_a_long_traceback_is_cut_to_its_end(bench: Bench) -> None:
    failure = bench.failure("fail", text="ü" * 5000)
    assert TRACEBACK_BYTES - 2 < len(failure.stderr_tail.encode()) <= TRACEBACK_BYTES
    assert len(bench.session.log(TaskId("t")).read("stderr")) > 10_000


@pytest.mark.parametrize(
    ("function", "mode", "code", "message"),
    [
        ("stop", "thread", "E_EXCEPTION", "RuntimeError: coroutine raised StopIteration"),
        ("interrupt", "thread", "E_EXCEPTION", "KeyboardInterrupt: "),
        ("cancel_own", "async", "E_EXCEPTION", "CancelledError: "),
        ("fail", "thread", "E_EXCEPTION", "TypeError: fail() missing 1 required"),
        ("fail_soon", "async", "E_EXCEPTION", "TypeError: fail_soon() missing 1 required"),
    ],
)
def test_whatever_is_raised_is_a_failure(
    bench: Bench, function: str, mode: str, code: str, message: str
) -> None:
    failure = bench.failure(function, mode)
    assert failure.code == code
    assert failure.message.startswith(message)


@pytest.mark.parametrize(
    ("code", "exit_code", "message"), [(3, 3, "exit status 3"), ("why", 1, "exit status 1: why")]
)
@pytest.mark.parametrize(("function", "mode"), [("leave", "thread"), ("leave_soon", "async")])
def test_a_function_that_exits_ends_alone(
    bench: Bench, function: str, mode: str, code: Any, exit_code: int, message: str
) -> None:
    failure = bench.failure(function, mode, code=code)
    assert (failure.code, failure.exit_code, failure.message) == ("E_EXIT", exit_code, message)


@pytest.mark.parametrize("code", [0, None])
def test_a_function_that_exits_well_has_succeeded(bench: Bench, code: Any) -> None:
    assert bench.call("leave", code=code) is None


def test_a_task_failed_of_the_function_s_own_comes_out_as_it_is(bench: Bench) -> None:
    bench.file.write_text(
        "from runwright.core.errors import Failure, TaskFailed\n"
        "def own(): raise TaskFailed(Failure(code='E_OWN', message='mine'))\n"
    )
    assert bench.failure("own").code == "E_OWN"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nobody", "can't be imported"),
        ("number", "is not a function"),
        ("Tools.nobody", "can't be imported"),
        ("", "can't be imported"),
    ],
)
@pytest.mark.parametrize("mode", ["thread", "auto"])
def test_a_function_that_is_not_there(bench: Bench, function: str, message: str, mode: str) -> None:
    failure = bench.failure(function, mode)
    assert failure.code == "E_IMPORT"
    assert message in failure.message


def test_a_module_that_can_not_be_loaded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, secrets=("secret-word",))
    bench.file.write_text("raise RuntimeError('secret-word')")
    failure = bench.failure("plain")
    assert (failure.code, failure.message.endswith("imported: ***")) == ("E_IMPORT", True)
    assert b"RuntimeError: ***" in bench.session.log(TaskId("t")).read("stderr")
    for name in ("", "nomodule", "..x:y"):
        task = Task(id=TaskId("t"), args={"function": name, "mode": "thread"})
        with pytest.raises(TaskFailed) as caught:
            asyncio.run(bench.execute(task))
        assert caught.value.failure.code == "E_IMPORT"


def test_a_module_of_the_same_name_from_elsewhere_is_not_taken_for_it(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first, second = map(Bench, folders)
    second.module = first.module
    (second.session.source / first.file.name).write_text(MODULE)
    assert first.call("plain", a=1) == {"a": 1}
    failure = second.failure("plain")
    assert failure.code == "E_IMPORT"
    assert 'use mode = "process"' in failure.message
    second.plays(answer=b'"in a process"')
    assert second.call("soon", "auto") == "in a process"
    second.session.source = first.session.source
    assert second.call("plain", a=2) == {"a": 2}


@pytest.mark.parametrize(
    "args", [{}, {"function": "a:b", "mode": "sideways"}, {"function": "a:b", "more": 1}, {"function": 1}]
)
def test_wrong_arguments(bench: Bench, args: dict[str, Any]) -> None:
    with pytest.raises(TaskFailed, match="executor python: ") as caught:
        asyncio.run(bench.execute(Task(id=TaskId("t"), args=args)))
    assert caught.value.failure.code == "E_ARGS"


async def begun(bench: Bench) -> Any:
    """Wait until the function has begun in its thread, and return its module."""
    async with asyncio.timeout(30):
        while bench.module not in sys.modules:  # noqa: ASYNC110 - no event tells of an import
            await asyncio.sleep(0.001)
        module = sys.modules[bench.module]
        await asyncio.to_thread(module.began.wait)
    return module


def test_a_cancelled_thread_is_waited_for(bench: Bench) -> None:
    async def run() -> None:
        work = asyncio.create_task(bench.execute(bench.task("wait")))
        module = await begun(bench)
        for _ in range(3):
            work.cancel()
            await asyncio.sleep(0)
        assert not work.done()
        module.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert module.ended.is_set()

    asyncio.run(run())


def test_closing_waits_for_threads(bench: Bench) -> None:
    async def run() -> None:
        work = asyncio.create_task(bench.execute(bench.task("wait")))
        module = await begun(bench)
        closing = asyncio.create_task(bench.python.close_session(bench.session.id))
        await asyncio.sleep(0)
        assert not closing.done()
        module.gate.set()
        await closing
        assert module.ended.is_set()
        with pytest.raises(TaskFailed, match="its session was closed while it ran"):
            await work

    asyncio.run(run())


def test_a_call_cancelled_before_its_thread_begins_never_begins(bench: Bench) -> None:
    from concurrent.futures import ThreadPoolExecutor

    async def run() -> None:
        busy = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            asyncio.get_running_loop().set_default_executor(pool)
            pool.submit(busy.wait, 30)
            work = asyncio.create_task(bench.execute(bench.task("wait")))
            await asyncio.sleep(0)
            work.cancel()
            await asyncio.sleep(0)
            busy.set()
            with pytest.raises(asyncio.CancelledError):
                await work
        assert not sys.modules[bench.module].began.is_set()

    asyncio.run(run())


def test_a_coroutine_is_cancelled_where_it_waits(bench: Bench) -> None:
    bench.file.write_text("import asyncio\nasync def forever(): await asyncio.Event().wait()\n")

    async def run() -> None:
        work = asyncio.create_task(bench.execute(bench.task("forever", "async")))
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(run())


def child(tmp_path: Path, function: str, **kwargs: Any) -> bytes:
    """Run the script of a child in this process and return its answer."""
    from runwright.executors import python_child

    call, answer = tmp_path / "call", tmp_path / "answer"
    call.write_bytes(msgspec.json.encode({"function": function, "kwargs": kwargs}))
    path = list(sys.path)
    try:
        python_child.main(str(call), str(answer), str(tmp_path))
    finally:
        sys.path[:] = path
    return answer.read_bytes()


def test_the_script_of_a_child(tmp_path: Path) -> None:
    name = f"runwright_bench_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    assert child(tmp_path, f"{name}:plain", a=[1]) == b'{"a": [1]}'
    assert child(tmp_path, f"{name}.soon", a="ü") == b'{"a": "\\u00fc"}'
    assert child(tmp_path, f"{name}:Tools.add", a=1, b=2) == b"3"
    refused = child(tmp_path, f"{name}:Tools.add", a=1e308, b=float("1e308"))
    assert refused.startswith(b"!")
    assert b"not JSON compliant" in refused


def interpreted(bench: Bench, function: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Call a function as the executor's process does, with a real interpreter."""
    call, answer = bench.session.source / "call", bench.session.source / "answer"
    call.write_text(json.dumps({"function": f"{bench.module}:{function}", "kwargs": {}}))
    argv = [sys.executable, python_child.__file__, str(call), str(answer), str(bench.session.source)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False), answer


@pytest.mark.parametrize(
    ("function", "frames", "last"),
    [
        ("stop", 1, "StopIteration"),
        ("cancel_own", 1, "CancelledError"),
        ("nobody", 0, "has no attribute 'nobody'"),
    ],
)
def test_a_process_shows_the_user_s_own_frames_alone(
    bench: Bench, function: str, frames: int, last: str
) -> None:
    ended, answer = interpreted(bench, function)
    assert ended.returncode == 1
    assert last in ended.stderr.strip().splitlines()[-1]
    assert ended.stderr.count(str(bench.file)) == frames
    assert not [line for line in ended.stderr.splitlines() if "python_child" in line or "runners.py" in line]
    assert not answer.exists()


def test_a_process_says_why_its_value_is_none(bench: Bench) -> None:
    bench.file.write_text("def some(): return {1}\ndef one(): return 1\n")
    ended, answer = interpreted(bench, "some")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert answer.read_bytes() == b"!Object of type set is not JSON serializable"
    _, answer = interpreted(bench, "one")
    assert answer.read_bytes() == b"1"


def test_a_missing_function_is_asked_for_with_an_example() -> None:
    table = {"tasks": {"a": {"executor": "python"}}}
    with pytest.raises(DefinitionError) as caught:
        decode_workflow(table, default_name="w", executor_args={"python": PythonArgs})
    (problem,) = caught.value.problems
    assert problem.suggestion == 'add args.function = "module:name"'
