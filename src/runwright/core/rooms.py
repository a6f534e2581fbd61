"""What a step of a job finds around it, whichever way it is isolated."""

from collections.abc import Mapping, Sequence

WORKSPACE = "/work"
"""Where the workspace is, in every room but that of the plain shell."""

HOME = "/tmp"  # noqa: S108 - of the step alone
"""Home and place of temporary files, in the same rooms: empty when a step begins, and gone when it ends."""

SHELL = ("/bin/sh", "-e")
"""What runs a script; it stops at the first command that fails."""


def shown_command(script: str, argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command line of a step for the log: what was asked for, without what isolates it."""
    return (*SHELL, "-c", script) if script else tuple(argv)


def step_environment(env: Mapping[str, str], workspace: str, home: str) -> dict[str, str]:
    """Return a step's environment, but for PATH where the step names none.

    Args:
        env: What the job says.
        workspace: Path of the workspace as the step sees it.
        home: Private directory of the step as it sees it.
    """
    return {"HOME": home, "TMPDIR": home, **env, "RUNWRIGHT_WORKSPACE": workspace}


def out_of_memory(limit: int, *, is_certain: bool) -> str:
    """Return the line that tells of a step that was killed with a bound on its memory."""
    fact = "ran out of memory" if is_certain else "was killed; it may have run out of memory"
    return f"runwright: the step {fact}: its limit is {limit} bytes\n"
