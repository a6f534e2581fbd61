"""Functions as tasks: awaited in the engine's loop, in a thread of it, or in a process of their own."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Result, SessionId, Task
from runwright.ports.executor import Session, Stream
from runwright.ports.system import Command, Processes

TRACEBACK_BYTES = 4096
"""Most of a traceback that a failure keeps; all of it is in the log."""


class PythonArgs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of the ``python`` executor.

    Attributes:
        function: ``package.module:name``; the session's source tree is on the module path.
        kwargs: Arguments of the function, as plain data.
        mode: ``async`` awaits a coroutine function in the engine's loop; ``thread`` calls the function in a thread,
            which can't be stopped; ``process`` starts an interpreter for it, which can. ``auto`` awaits coroutine
            functions and starts a process for all others.
    """

    function: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    mode: Literal["auto", "async", "thread", "process"] = "auto"
    env: Mapping[str, str] = field(default_factory=dict)
    clean_env: bool = False
    working_dir: str = ""
    kill_grace: float = 10.0


class Python:
    """Runs functions; the return value, which must be plain data, is the task's value.

    Args:
        processes: Starts interpreters.
    """

    Args = PythonArgs

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._functions: dict[tuple[str, str], Callable[..., Any]] = {}
        self._threads: dict[SessionId, set[asyncio.Future[Any]]] = {}

    async def open_session(self, session: Session) -> None:
        """Begin to note which threads the session starts."""
        self._threads[session.id] = set()

    async def execute(self, session: Session, task: Task) -> Result:
        """Call the function.

        Raises:
            TaskFailed: With code ``E_EXCEPTION`` and the end of the traceback if it raised; ``E_IMPORT`` if it can't
                be found; ``E_ARGS`` if the arguments are wrong.
        """
        try:
            args = msgspec.convert(task.args, PythonArgs)
        except msgspec.ValidationError as error:
            raise TaskFailed(Failure(code="E_ARGS", message=f"executor python: {error}")) from None
        if args.mode == "process":
            return await self._in_process(session, task, args)
        function = self._find(str(session.source), args.function)
        is_async = inspect.iscoroutinefunction(function)
        if args.mode == "auto" and not is_async:
            return await self._in_process(session, task, args)
        if is_async:
            return Result(value=await self._called(session, task, function(**args.kwargs)))
        return Result(value=await self._called(session, task, self._in_thread(session, function, args)))

    async def close_session(self, session_id: SessionId) -> None:
        """Wait for the session's threads: nothing can stop them."""
        threads = self._threads.pop(session_id, set())
        if threads:
            await asyncio.wait(threads)

    def _find(self, source: str, name: str) -> Callable[..., Any]:
        function = self._functions.get((source, name))
        if function is None:
            function = self._functions[source, name] = _import(source, name)
        return function

    async def _called(self, session: Session, task: Task, call: Any) -> Any:
        try:
            return await call
        except (asyncio.CancelledError, TaskFailed):
            raise
        except Exception as error:
            raise _failed(session, task, error) from error

    async def _in_thread(self, session: Session, function: Callable[..., Any], args: PythonArgs) -> Any:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, lambda: function(**args.kwargs))
        threads = self._threads.setdefault(session.id, set())
        threads.add(future)
        future.add_done_callback(threads.discard)
        return await asyncio.shield(future)

    async def _in_process(self, session: Session, task: Task, args: PythonArgs) -> Result:
        directory = session.output_dir(task.id)
        call = directory / ".call.json"
        answer = directory / ".answer.json"
        answer.unlink(missing_ok=True)
        call.write_bytes(msgspec.json.encode({"function": args.function, "kwargs": args.kwargs}))
        log = session.log(task.id)
        errors = bytearray()

        def put(stream: Stream, data: bytes) -> None:
            log.write(stream, data)
            if stream == "stderr":
                errors.extend(data)
                del errors[:-TRACEBACK_BYTES]

        exit_ = await self._processes.run(_command(session, args, call, answer), put)
        if exit_.code:
            tail = session.redact(errors.decode("utf-8", "replace"))
            last = tail.strip().rpartition("\n")[2]
            message = last if exit_.code == 1 and last else f"exit status {exit_.code}"
            code = "E_EXCEPTION" if exit_.code == 1 else "E_EXIT"
            raise TaskFailed(
                Failure(
                    code=code,
                    message=message,
                    exit_code=exit_.code,
                    signal=exit_.signal,
                    stderr_tail=tail,
                )
            )
        return Result(value=msgspec.json.decode(answer.read_bytes()) if answer.exists() else None)


def _command(session: Session, args: PythonArgs, call: Path, answer: Path) -> Command:
    child = Path(__file__).with_name("python_child.py")
    path = [str(session.source), *([args.env["PYTHONPATH"]] if "PYTHONPATH" in args.env else [])]
    return Command(
        argv=(sys.executable, str(child), str(call), str(answer), ":".join(path)),
        cwd=str(session.source / args.working_dir),
        env=args.env,
        clean_env=args.clean_env,
        kill_grace=args.kill_grace,
    )


def _import(source: str, name: str) -> Callable[..., Any]:
    module, colon, attribute = name.partition(":")
    if not colon:
        module, _, attribute = name.rpartition(".")
    if source not in sys.path:
        sys.path.insert(0, source)
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        message = f'function "{name}" can\'t be imported: {error}'
        raise TaskFailed(Failure(code="E_IMPORT", message=message)) from None
    if not callable(found):
        raise TaskFailed(Failure(code="E_IMPORT", message=f'"{name}" is not a function'))
    return found  # type: ignore[no-any-return]


def _failed(session: Session, task: Task, error: Exception) -> TaskFailed:
    """Log the traceback of a function and return the failure that it means."""
    from traceback import format_exception  # noqa: PLC0415 - only failures need it

    text = "".join(format_exception(error))
    with suppress(OSError):
        session.log(task.id).write("stderr", text.encode("utf-8", "surrogateescape"))
    tail = session.redact(text)[-TRACEBACK_BYTES:]
    return TaskFailed(
        Failure(code="E_EXCEPTION", message=f"{type(error).__name__}: {error}", stderr_tail=tail)
    )
