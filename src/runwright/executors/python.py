"""Functions as tasks: awaited in the engine's loop, in a thread of it, or in a process of their own."""

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from signal import Signals
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Result, SessionId, Task, replace
from runwright.executors.calls import Calls
from runwright.executors.output_file import discard, take_variables
from runwright.executors.python_child import PICKLED, REFUSED, RESULT, own_frames
from runwright.executors.python_values import Call, FunctionValues, not_plain
from runwright.ports.executor import Session, Stream
from runwright.ports.stores import ValueStore
from runwright.ports.system import Command, Exit, Processes

TRACEBACK_BYTES = 4096
"""Most of a traceback that a failure keeps; all of it is in the log."""


class PythonArgs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of the ``python`` executor.

    Attributes:
        function: ``package.module:name``; the session's source tree is on the module path.
        args: Arguments of the function by position, as plain data.
        kwargs: Arguments of the function by name, likewise.
        pickle: Hand the return value on as a pickle, so that it need not be plain data; only functions can take it.
        mode: ``async`` awaits a coroutine function in the engine's loop; ``thread`` calls the function in a thread,
            which can't be stopped; ``process`` starts an interpreter for it, which can, and which alone has the
            task's environment with ``$RUNWRIGHT_OUTPUT``. ``auto`` awaits coroutine functions and starts a process
            for all others.
    """

    function: Annotated[str, Meta(examples=["module:name"])]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    pickle: bool = False
    mode: Literal["auto", "async", "thread", "process"] = "auto"
    env: Mapping[str, str] = field(default_factory=dict)
    clean_env: bool = False
    working_dir: str = ""
    kill_grace: float = 10.0


LOCAL = "<locals>"
"""Part of the name of a function that was made by another one, and that no other process can find."""


class Python:
    """Runs functions; the return value is the task's value: plain data, any object if it is to be pickled, or a `Result`.

    The value of a `Result` is plain data, whether others are to be pickled or not.

    Args:
        processes: Starts interpreters.
        values: Keeps values that are too large for a record, or pickled; None refuses them.
        known: Functions of this process by name, which need not be imported.
    """

    Args = PythonArgs

    def __init__(
        self,
        processes: Processes,
        values: ValueStore | None = None,
        known: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
    ) -> None:
        self._processes = processes
        self._values = FunctionValues(values)
        self._known = {name: _Function(function) for name, function in known.items()}
        self._functions: dict[tuple[str, str], _Function | None] = {}
        self._threads: dict[SessionId, set[asyncio.Future[Any]]] = {}
        self._calls = Calls()

    async def open_session(self, session: Session) -> None:
        """Begin to note which threads the session starts."""
        self._threads[session.id] = set()

    async def execute(self, session: Session, task: Task) -> Result:
        """Call the function.

        Cancellation stops a coroutine and a process; it waits for a thread, which nothing can stop.

        Raises:
            TaskFailed: With code ``E_EXCEPTION`` and the end of the traceback if it raised; ``E_EXIT`` or
                ``E_SIGNAL`` if its process ended otherwise; ``E_VALUE`` if it returned what is not plain data;
                ``E_IMPORT`` if it can't be found; ``E_ARGS`` if the arguments are wrong; ``E_SESSION`` if its session was
                closed meanwhile.
            StoreError: If a stored value can't be read or written.
        """
        with self._calls.of(session.id):
            return await self._execute(session, task)

    async def _execute(self, session: Session, task: Task) -> Result:
        args = _to_args(task)
        if args.mode == "process":
            return await self._in_process(session, task, args)
        function = self._find(session, task, args.function)
        is_local = LOCAL in args.function
        if args.mode == "auto" and (function is None or not (function.is_async or is_local)):
            return await self._in_process(session, task, args)
        if function is None:
            raise _taken(args.function)
        perform = _awaited if function.is_async else partial(self._in_thread, session)
        call = await self._values.taken(Call(args.args, args.kwargs))
        value = await _called(session, task, perform(function.call, call))
        if isinstance(value, Result):
            return await self._whole(session, value)
        return Result(value=await self._values.kept(session, value, pickled=args.pickle))

    async def close_session(self, session_id: SessionId) -> None:
        """End what still runs, and wait for the session's threads: nothing can stop them."""
        await self._calls.end(session_id)
        threads = self._threads.pop(session_id, set())
        if threads:
            await asyncio.wait(threads)

    def _find(self, session: Session, task: Task, name: str) -> "_Function | None":
        """Return the function, or None if only another process can load it, because its module's name is taken."""
        if name in self._known:
            return self._known[name]
        key = (str(session.source), name)
        if key not in self._functions:
            other = _is_other_module(session, name)
            self._functions[key] = None if other else _Function(_import(session, task, name))
        return self._functions[key]

    async def _in_thread(self, session: Session, function: Callable[..., Any], given: Call) -> Any:
        call = _ThreadCall(function, given)
        future = asyncio.get_running_loop().run_in_executor(None, call.perform)
        threads = self._threads.setdefault(session.id, set())
        threads.add(future)
        future.add_done_callback(threads.discard)
        await _finished(future, call)
        value = call.result()
        return await value if inspect.isawaitable(value) else value

    async def _in_process(self, session: Session, task: Task, args: PythonArgs) -> Result:
        directory = session.output_dir(task.id)
        call = directory / ".call.json"
        answer = directory / ".answer.json"
        output = directory / ".output"
        answer.unlink(missing_ok=True)
        discard(output)
        given = await self._values.taken_by_process(Call(args.args, args.kwargs), directory)
        call.write_bytes(
            msgspec.json.encode(
                {"function": args.function, **given, **({"pickle": True} if args.pickle else {})}
            )
        )
        log = session.log(task.id)
        errors = bytearray()

        def put(stream: Stream, data: bytes) -> None:
            log.write(stream, data)
            if stream == "stderr":
                errors.extend(data)
                del errors[: -2 * TRACEBACK_BYTES]

        exit_ = await self._processes.run(_command(session, args, call, answer, output), put)
        if exit_.code:
            raise _ended(exit_, _tail(session, bytes(errors)))
        result, variables = await self._answer(session, answer), take_variables(output)
        return replace(result, variables={**variables, **result.variables})

    async def _answer(self, session: Session, path: Path) -> Result:
        """Return the result of what a process left as its value; an empty one if it ended before it could."""
        answer = _read(path)
        if answer is None:
            return Result()
        if answer.startswith(REFUSED):
            raise not_plain(answer.removeprefix(REFUSED).decode("utf-8", "replace"))
        if answer.startswith(RESULT):
            return await self._whole(session, _decoded(answer.removeprefix(RESULT)))
        if answer.startswith(PICKLED):
            return Result(value=await self._values.kept_pickle(session, answer.removeprefix(PICKLED)))
        return Result(value=await self._values.kept_json(session, answer))

    async def _whole(self, session: Session, result: Result) -> Result:
        return replace(result, value=await self._values.kept(session, result.value, pickled=False))


class _Function:
    """A function, and whether calling it makes a coroutine, which takes long to find out."""

    __slots__ = ("call", "is_async")

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call
        self.is_async = inspect.iscoroutinefunction(call)


class _ThreadCall:
    """A call for a thread, which gives up only before it has begun.

    What the function raises is kept: a future can't hold a StopIteration, and a SystemExit would end the loop.
    """

    def __init__(self, function: Callable[..., Any], given: Call) -> None:
        self._function = function
        self._given = given
        self._value: Any = None
        self._error: BaseException | None = None
        self.dropped = False

    def perform(self) -> None:
        if self.dropped:
            return
        try:
            self._value = self._function(*self._given.args, **self._given.kwargs)
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


async def _finished(future: "asyncio.Future[None]", call: _ThreadCall) -> None:
    """Wait for a thread, also if we are asked to stop: another attempt must not begin while it runs."""
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        call.dropped = True
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        raise


async def _awaited(function: Callable[..., Any], call: Call) -> Any:
    return await function(*call.args, **call.kwargs)


async def _called(session: Session, task: Task, call: Awaitable[Any]) -> Any:
    """Await a call, and turn whatever it raises into a failure; only a real cancellation gets through."""
    try:
        return await call
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is None or current.cancelling():
            raise
        raise _failed(session, task, error) from error
    except TaskFailed:
        raise
    except SystemExit as error:
        if not error.code:
            return None
        raise _exited(session, error) from error
    except (Exception, KeyboardInterrupt) as error:
        raise _failed(session, task, error) from error


def _to_args(task: Task) -> PythonArgs:
    try:
        return msgspec.convert(task.args, PythonArgs)
    except msgspec.ValidationError as error:
        raise TaskFailed(Failure(code="E_ARGS", message=f"executor python: {error}")) from None


def _command(session: Session, args: PythonArgs, call: Path, answer: Path, output: Path) -> Command:
    child = Path(__file__).with_name("python_child.py")
    path = [str(session.source), *([args.env["PYTHONPATH"]] if "PYTHONPATH" in args.env else [])]
    return Command(
        argv=(sys.executable, str(child), str(call), str(answer), ":".join(path), ":".join(sys.path)),
        cwd=str(session.source / args.working_dir),
        env={**args.env, "RUNWRIGHT_OUTPUT": str(output)},
        clean_env=args.clean_env,
        kill_grace=args.kill_grace,
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _decoded(answer: bytes) -> Result:
    try:
        return msgspec.json.decode(answer, type=Result)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_plain(error) from None


def _ended(exit_: Exit, tail: str) -> TaskFailed:
    """Return the failure of a process; the interpreter ends with 1 after a traceback, whose last line says why."""
    last = tail.strip().rpartition("\n")[2]
    if exit_.signal is not None:
        code, message = "E_SIGNAL", f"killed by {_signal_name(exit_.signal)}"
    elif exit_.code == 1 and last:
        code, message = "E_EXCEPTION", last
    else:
        code, message = "E_EXIT", f"exit status {exit_.code}"
    return TaskFailed(
        Failure(code=code, message=message, exit_code=exit_.code, signal=exit_.signal, stderr_tail=tail)
    )


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(session: Session, data: bytes) -> str:
    """Return the end of an error output, at most 4 KiB.

    Twice as much is redacted, because a secret that is cut in two is not recognised.
    """
    if len(data) >= 2 * TRACEBACK_BYTES:
        data = data[data.find(b"\n", 0, TRACEBACK_BYTES) + 1 :]
    text = session.redact(data.decode("utf-8", "replace"))
    return text.encode()[-TRACEBACK_BYTES:].decode("utf-8", "ignore")


def _is_other_module(session: Session, name: str) -> bool:
    """Tell whether the source tree has a module whose name is taken, in this process, by another one."""
    top = name.partition(":")[0].partition(".")[0]
    loaded = getattr(sys.modules.get(top), "__file__", None)
    own = f"{session.source}/{top}"
    if loaded is None or loaded in (f"{own}.py", f"{own}/__init__.py"):
        return False
    found = PathFinder.find_spec(top, [str(session.source)])
    return found is not None and found.origin is not None and found.origin != loaded


def _import(session: Session, task: Task, name: str) -> Callable[..., Any]:
    module, colon, attribute = name.partition(":")
    if not colon:
        module, _, attribute = name.rpartition(".")
    source = str(session.source)
    if source not in sys.path:
        sys.path.insert(0, source)
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        _log_traceback(session, task, error)
        message = session.redact(_printable(f'function "{name}" can\'t be imported: {error}'))
        raise TaskFailed(Failure(code="E_IMPORT", message=message)) from None
    if not callable(found):
        raise TaskFailed(Failure(code="E_IMPORT", message=f'"{name}" is not a function'))
    return getattr(found, "__runwright_body__", found)  # type: ignore[no-any-return]


def _taken(name: str) -> TaskFailed:
    message = f'function "{name}": another module of that name is loaded already; use mode = "process"'
    return TaskFailed(Failure(code="E_IMPORT", message=message))


def _exited(session: Session, error: SystemExit) -> TaskFailed:
    """Return the failure of a function that asked to end the process, which is the engine's."""
    code = error.code if isinstance(error.code, int) else 1
    text = "" if isinstance(error.code, int) else f": {error.code}"
    message = session.redact(_printable(f"exit status {code}{text}"))
    return TaskFailed(Failure(code="E_EXIT", message=message, exit_code=code))


def _failed(session: Session, task: Task, error: BaseException) -> TaskFailed:
    """Log the traceback of a function and return the failure that it means."""
    tail = _tail(session, _log_traceback(session, task, error))
    message = session.redact(_printable(f"{type(error).__name__}: {error}"))
    return TaskFailed(Failure(code="E_EXCEPTION", message=message, stderr_tail=tail))


def _log_traceback(session: Session, task: Task, error: BaseException) -> bytes:
    from traceback import format_exception  # noqa: PLC0415 - only failures need it

    data = _printable("".join(format_exception(type(error), error, own_frames(error.__traceback__)))).encode()
    with suppress(OSError):
        session.log(task.id).write("stderr", data)
    return data


def _printable(text: str) -> str:
    """Return text that every encoder takes: what is no character is written as an escape, as on standard error."""
    return text.encode("utf-8", "backslashreplace").decode()
