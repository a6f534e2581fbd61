"""The front door: a table of commands, and just enough to find the one that is asked for.

`--version` and `--help` come from this module alone; a command's module, and with it everything it needs, is imported
when that command runs.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GROUPS: "Mapping[str, str]" = {
    "run": "Run and continue",
    "see": "Look at runs",
    "write": "Write workflows",
    "queue": "Queue jobs for workers",
    "care": "Set up and look after",
}

COMMANDS: "Mapping[str, tuple[str, str, str]]" = {
    "run": ("runwright.cli.run", "run", "run a workflow, from a file or by its name"),
    "plan": ("runwright.cli.plan", "run", "run a plan: steps with cleanup, from a file or by its name"),
    "reconcile": ("runwright.cli.reconcile", "run", "pursue a goal until it needs nothing more"),
    "resume": ("runwright.cli.resume", "run", "continue a failed, cancelled or interrupted run"),
    "cancel": ("runwright.cli.cancel", "run", "ask a run to stop, and wait until it has"),
    "runs": ("runwright.cli.runs", "see", "list runs"),
    "status": ("runwright.cli.status", "see", "show where a run stands, or wait for its end"),
    "logs": ("runwright.cli.logs", "see", "show what tasks printed, also while they run"),
    "explain": ("runwright.cli.explain", "see", "say why a task ran, failed, was skipped or reused"),
    "inspect": ("runwright.cli.inspect", "see", "show everything known of a run"),
    "audit": ("runwright.cli.audit", "see", "show the events of a run, or verify their chain"),
    "diff": ("runwright.cli.diff", "see", "compare two runs"),
    "export": ("runwright.cli.export", "see", "write a run to a file, as JSON or with its logs as tar"),
    "list": ("runwright.cli.list", "write", "list the workflows, plans and goals of this project"),
    "validate": (
        "runwright.cli.validate",
        "write",
        "check workflow, plan and goal files and show every error",
    ),
    "graph": ("runwright.cli.graph", "write", "draw a workflow or a run"),
    "schema": ("runwright.cli.schema", "write", "print the JSON Schema of a kind of file, for editors"),
    "serve": ("runwright.cli.serve", "queue", "serve the job queue over HTTP"),
    "jobs": ("runwright.cli.jobs", "queue", "submit jobs, show them and their logs, cancel and retry them"),
    "worker": ("runwright.cli.worker", "queue", "take jobs from a queue and work on them"),
    "queues": ("runwright.cli.queues", "queue", "list the queues of jobs, or say how one is served"),
    "tokens": ("runwright.cli.tokens", "queue", "make, list and revoke tokens for workers and users"),
    "init": ("runwright.cli.init", "care", "start a project in a directory"),
    "cache": ("runwright.cli.cache", "care", "list, show, check and clear what cached tasks have made"),
    "doctor": ("runwright.cli.doctor", "care", "check that this machine has what runs need"),
    "completion": ("runwright.cli.completion", "care", "print a completion script for bash, zsh or fish"),
}
"""Name to (module, group, one line of help). A module has `configure(parser)` and `execute(args) -> exit status`."""

USAGE = "runwright [-C DIR] [--store URL] [--no-color] [--verbose] COMMAND ..."

STARTERS = {"run", "plan", "reconcile", "resume"}
ASKING = {"-n", "--dry-run", "-h", "--help"}

VALUED_OPTIONS = {"-C": "directory", "--directory": "directory", "--store": "store"}
FLAG_OPTIONS = {"--no-color": "no_color", "--no-colour": "no_color", "--verbose": "verbose", "-v": "verbose"}


def command() -> int:
    """Be the `runwright` command: run the command line of this process, and end it."""
    if starts_tasks(sys.argv[1:]):
        import gc  # noqa: PLC0415 - as the next

        from runwright.wiring.early import drop_early, start_early  # noqa: PLC0415 - only for commands that need it

        start_early()
        gc.disable()  # importing makes no garbage; `drive` enables it
        status = main()
        drop_early()
    else:
        status = main()
    leave(status)
    return status


def starts_tasks(argv: "Sequence[str]") -> bool:
    """Return whether that command line is likely to start tasks."""
    _, rest, problem = split_globals(argv)
    return bool(not problem and rest and rest[0] in STARTERS and ASKING.isdisjoint(rest))


def leave(status: int) -> None:
    """End the process without taking the interpreter apart; return if somebody may wait for that."""
    threading = sys.modules.get("threading")
    if "atexit" in sys.modules or (threading is not None and threading.active_count() > 1):
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return
    os._exit(status)


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command line and return the exit status.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        0 ok, 1 the run failed or what was asked for did not work, 2 bad input, 70 a bug of ours, 124 the run's time
        limit, 128 + number if a signal ended it.
    """
    given, rest, problem = split_globals(sys.argv[1:] if argv is None else argv)
    if not problem and (not rest or rest[0] in {"-h", "--help"} or rest == ["help"]):
        return show(help_text())
    if not problem and rest[0] in {"-V", "--version"}:
        return show(version_text())
    from runwright.cli.startup import lighten  # noqa: PLC0415 - nothing of it is needed above

    lighten()
    from runwright.cli.dispatch import dispatch  # noqa: PLC0415 - imports what has just been lightened

    return dispatch(given, rest, problem)


def split_globals(argv: "Sequence[str]") -> "tuple[dict[str, str | bool], list[str], str]":
    """Take the options that stand before the command off the line; returns them, the rest, and what is wrong."""
    given: dict[str, str | bool] = {}
    words = list(argv)
    while words and words[0].startswith("-"):
        name, equals, value = words[0].partition("=")
        if name in FLAG_OPTIONS and not equals:
            given[FLAG_OPTIONS[name]] = True
            del words[0]
        elif name in VALUED_OPTIONS:
            if not equals and len(words) < 2:
                return given, words, f"{name} needs a value"
            given[VALUED_OPTIONS[name]] = value if equals else words[1]
            del words[: 1 if equals else 2]
        else:
            break
    return given, words, ""


def version_text() -> str:
    """Return the line that `--version` prints."""
    from runwright import __version__  # noqa: PLC0415 - the package is loaded already; its name is not

    return f"runwright {__version__}"


def help_text() -> str:
    """Return the text that `--help` prints."""
    lines = [f"usage: {USAGE}", "", "Run workflows of tasks that are recorded, resumed and explained.", ""]
    for group, title in GROUPS.items():
        lines.append(f"{title}:")
        lines.extend(
            f"  {name:<12}{line}" for name, (_, its_group, line) in COMMANDS.items() if its_group == group
        )
        lines.append("")
    lines += [
        "Options of every command:",
        "  -C DIR        work in this directory",
        "  --store URL   keep state there (sqlite:///path, postgresql://...); also RUNWRIGHT_STORE",
        "  --no-color    no colours; also NO_COLOR",
        "  --verbose     say more, with a traceback for errors",
        "  --version     print the version",
        "  -h, --help    this text, or with a command that command's",
    ]
    return "\n".join(lines)


def show(text: str) -> int:
    """Print one text; a reader that has gone away is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        from runwright.cli.dispatch import EXIT_BROKEN_PIPE, silence  # noqa: PLC0415 - rarely needed

        silence(sys.stdout)
        return EXIT_BROKEN_PIPE
    return 0
