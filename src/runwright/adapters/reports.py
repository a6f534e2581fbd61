"""What guards report, as the ends and failures that callers see."""

import os
from errno import E2BIG, EACCES, ENOENT, ENOEXEC

from runwright.core.errors import Failure, TaskFailed
from runwright.ports.system import Command, Exit


def leaves_usable(report: bytes) -> bool:
    """Tell whether the guard that said this can run another command: it lives and has no child left."""
    return report[:1] == b"!" or report[:-1].isdigit()


def to_exit(command: Command, report: str) -> Exit:
    """Return how a command ended.

    Raises:
        TaskFailed: If it did not end by itself: ``E_SPAWN``, ``E_SUPERVISOR`` or ``E_REMAINS``.
    """
    report = report.rstrip("\n")
    if report.isdigit():
        code = os.waitstatus_to_exitcode(int(report))
        return Exit(code=code) if code >= 0 else Exit(code=128 - code, signal=-code)
    raise _to_error(command, report)


def _to_error(command: Command, report: str) -> TaskFailed:
    kind, text = report[0], report[1:]
    if kind == "?":
        return failure("E_SUPERVISOR", f"the helper process that ran this command has died: {text}")
    if kind != "!":
        pids = report.partition(" ")[2]
        return failure(
            "E_REMAINS", f"processes it left behind can't be ended, they belong to another user: {pids}"
        )
    number, _, where = text.partition(" ")
    if where == "cwd":
        return failure(
            "E_SPAWN", f"can't enter the working directory {command.cwd!r}: {_describe(int(number))}"
        )
    return failure("E_SPAWN", _explain_exec(command, int(number)))


def _describe(number: int) -> str:
    return os.strerror(number) if number else "it holds a NUL byte or what is no text"


def _explain_exec(command: Command, number: int) -> str:
    program = command.argv[0]
    if number == ENOENT and "/" not in program:
        return f"command not found: {program}"
    if number == ENOENT and os.path.lexists(os.path.join(command.cwd, program)):  # noqa: PTH118
        return f"can't run {program}: the interpreter named in its first line does not exist"
    if number == E2BIG:
        return f"can't run {program}: arguments and environment together are too big for this system"
    if number == ENOEXEC:
        return f"can't run {program}: neither a program nor a script with a #! line"
    if number == EACCES:
        return f"can't run {program}: permission denied; is it executable?"
    if not number:
        return f"can't run {program!r}: a NUL byte or a name with '=' in its arguments or environment"
    return f"can't run {program}: {os.strerror(number)}"


def failure(code: str, message: str) -> TaskFailed:
    """Return a failure of the door."""
    return TaskFailed(Failure(code=code, message=message))
