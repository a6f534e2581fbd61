"""Between our records and the messages of the protocol.

What comes from a plugin is believed only as far as it has been checked: here its shape, in `files` its files.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from runwright.adapters.plugin import plugin_pb2 as pb
from runwright.adapters.plugin.limits import MESSAGE_BYTES, TEXT_CHARACTERS, failed
from runwright.core.errors import Failure
from runwright.core.events import ProgressEvent
from runwright.core.pattern import pattern
from runwright.core.task import Result, Task, TaskId
from runwright.ports.executor import Session, Stream

CODE = pattern(r"E_[A-Z][A-Z0-9_]{0,60}")
NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]*")
STREAMS: Mapping[Stream, "pb.Stream"] = {"stdout": pb.STDOUT, "stderr": pb.STDERR}
STREAM_NAMES: Mapping[int, Stream] = {pb.STDOUT: "stdout", pb.STDERR: "stderr"}
PART_ITEMS = 500
"""Follow-ups and children that go into one part of a result."""


class Lie(Exception):
    """A plugin said what can't be so; the message says what."""


def from_task(task: Task) -> pb.Task:
    """Return the message of a task.

    Raises:
        TaskFailed: With code ``E_ARGS`` if its arguments are no plain data, or too much.
    """
    try:
        args = msgspec.json.encode(task.args).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise failed("E_ARGS", f"the arguments are not plain data: {error}") from None
    if len(args) > MESSAGE_BYTES // 2:
        raise failed("E_ARGS", f"the arguments take {len(args)} bytes; the most is {MESSAGE_BYTES // 2}")
    return pb.Task(
        id=task.id,
        executor=task.executor,
        args=args,
        inputs=task.inputs,
        dependencies=task.dependencies,
    )


def to_task(message: pb.Task) -> Task:
    """Return the task of a message.

    Raises:
        Lie: If it is none.
    """
    args = _decoded(message.args or "{}", "the arguments of a task")
    if not isinstance(args, dict):
        raise Lie(f"the arguments of task {message.id!r} are no table")
    if not message.id:
        raise Lie("a task has no id")
    return Task(
        id=TaskId(message.id),
        executor=message.executor,
        args=args,
        inputs=tuple(message.inputs),
        dependencies=tuple(TaskId(name) for name in message.dependencies),
    )


def from_result(task_id: str, result: Result) -> Iterator[pb.Result]:
    """Yield the parts of a result, the last one without `more`.

    Raises:
        TaskFailed: If it holds what is no plain data.
    """
    followups = [from_task(task) for task in result.followups]
    children = [part for name, child in result.children.items() for part in [_whole(name, child)]]
    for start in range(0, len(followups), PART_ITEMS):
        yield pb.Result(task_id=task_id, followups=followups[start : start + PART_ITEMS], more=True)
    for start in range(0, len(children), PART_ITEMS):
        yield pb.Result(task_id=task_id, children=children[start : start + PART_ITEMS], more=True)
    yield _own(task_id, result)


def _own(task_id: str, result: Result) -> pb.Result:
    try:
        value = "" if result.value is None else msgspec.json.encode(result.value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise failed("E_OUTPUT", f"the value is not plain data: {error}") from None
    return pb.Result(task_id=task_id, outputs=result.outputs, value=value, variables=dict(result.variables))


def _whole(task_id: str, result: Result) -> pb.Result:
    message = _own(task_id, result)
    message.followups.extend(map(from_task, result.followups))
    message.children.extend(_whole(name, child) for name, child in result.children.items())
    return message


def to_result(message: pb.Result, task_id: str) -> Result:
    """Return the result of a task.

    Raises:
        Lie: If it is that of another task, or of the wrong shape.
    """
    if message.task_id != task_id:
        raise Lie(f"the result is for task {message.task_id!r}, not for {task_id!r}")
    bad = [name for name in message.variables if not NAME.fullmatch(name)]
    if bad:
        raise Lie(f"{bad[0][:100]!r} can't be the name of a variable")
    return Result(
        outputs=tuple(message.outputs),
        value=_decoded(message.value or "null", "the value"),
        variables=dict(message.variables),
        followups=tuple(map(to_task, message.followups)),
        children={TaskId(child.task_id): to_result(child, child.task_id) for child in message.children},
    )


def from_failure(failure: Failure) -> pb.Failure:
    """Return the message of a failure."""
    return pb.Failure(
        code=failure.code,
        message=_sendable(failure.message),
        exit_code=failure.exit_code,
        signal=failure.signal,
        stderr_tail=_sendable(failure.stderr_tail),
    )


def to_failure(message: pb.Failure, session: Session) -> Failure:
    """Return the failure of a message, redacted, and shortened to what we keep of one."""
    code = message.code if CODE.fullmatch(message.code) else "E_PLUGIN"
    text = message.message or "the plugin does not say why"
    return Failure(
        code=code,
        message=session.redact(text)[:TEXT_CHARACTERS],
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        signal=message.signal if message.HasField("signal") else None,
        stderr_tail=tail(message.stderr_tail, session),
    )


def tail(text: str, session: Session) -> str:
    """Return the end of standard error, redacted.

    The beginning may be the rest of a secret that was cut in two, which nobody can recognise, so a text that looks cut
    loses its first line.
    """
    if len(text.encode("utf-8", "replace")) >= TEXT_CHARACTERS - 8:
        text = text[text.find("\n", 0, TEXT_CHARACTERS // 2) + 1 or TEXT_CHARACTERS // 2 :]
    return session.redact(text)[-TEXT_CHARACTERS:]


def to_event(text: str, task_id: str, session: Session) -> ProgressEvent:
    """Return the event of a run that is the work of a task.

    Raises:
        Lie: If it is none, or of another task.
    """
    try:
        event = msgspec.json.decode(text, type=ProgressEvent)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Lie(f"an event is wrong: {error}") from None
    if event.within[:1] != (task_id,):
        raise Lie(f"an event is not from within task {task_id!r}")
    return msgspec.structs.replace(
        event, error=session.redact(event.error), output=session.redact(event.output)
    )


def stream_name(message: pb.Log) -> Stream:
    """Return which stream a piece of output belongs to.

    Raises:
        Lie: If there is no such stream.
    """
    name = STREAM_NAMES.get(message.stream)
    if name is None:
        raise Lie(f"there is no output stream {message.stream}")
    return name


def _decoded(text: str, what: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Lie(f"{what} can't be read as JSON: {error}") from None


def _sendable(text: str) -> str:
    """Return text that can be sent: half a character of two can't."""
    return text[-2 * TEXT_CHARACTERS :].encode("utf-8", "replace").decode()
