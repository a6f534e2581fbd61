"""The options that `run` and `resume` share: strategy and workers, variables, failure policy, how to show it."""

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from runwright.cli import values
from runwright.cli.arguments import Arguments
from runwright.core.errors import Problem, UsageError
from runwright.core.options import FailurePolicy, RunOptions, Strategy

if TYPE_CHECKING:
    import argparse

DEFAULT_WORKERS = 4
"""How many tasks run at a time when a strategy that has workers is chosen without a number."""


def add_schedule(parser: "argparse.ArgumentParser") -> None:
    """Add the options that choose strategy and workers."""
    group = parser.add_argument_group("what runs when").add_mutually_exclusive_group()
    names = [strategy.value for strategy in Strategy]
    group.add_argument("--strategy", choices=names, metavar="NAME", help=", ".join(names))
    for option, strategy, text in (
        ("--sequential", Strategy.SEQUENTIAL, "one task after the other"),
        ("--parallel", Strategy.LEVELS, "level by level, all tasks of a level at once"),
        ("--work-stealing", Strategy.WORK_STEALING, "each task as soon as what it needs is done"),
    ):
        group.add_argument(option, action="store_const", const=strategy.value, dest="strategy", help=text)
    parser.add_argument(
        "-j",
        "--workers",
        "--max-parallel",
        type=values.workers,
        metavar="N",
        help=f"most tasks at a time; more than 1 means --work-stealing (default 1, or {DEFAULT_WORKERS} with a strategy)",
    )


def add_variables(parser: "argparse.ArgumentParser") -> None:
    """Add the options that give values."""
    parser.add_argument(
        "--var",
        action="append",
        type=values.assignment,
        default=[],
        metavar="NAME=VALUE",
        dest="variables",
        help="a variable, for {{.NAME}} in the workflow; may be repeated",
    )
    parser.add_argument(
        "--var-file",
        action="append",
        default=[],
        metavar="FILE",
        dest="variable_files",
        help="variables from a file of NAME=VALUE lines or a JSON object",
    )


def add_limits(parser: "argparse.ArgumentParser", time_limit: str) -> None:
    """Add the options that new runs of every kind have: time limit, tags and environment."""
    parser.add_argument("--timeout", type=values.seconds, default=0.0, metavar="DURATION", help=time_limit)
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="TAG",
        dest="tags",
        help="a tag for this run; may be repeated",
    )
    parser.add_argument("--clean-env", action="store_true", help="start every task from an empty environment")


def add_policy(parser: "argparse.ArgumentParser") -> None:
    """Add the options that say what a failure does to the rest."""
    group = parser.add_mutually_exclusive_group()
    for option, policy, text in (
        ("--fail-fast", FailurePolicy.FAIL_FAST, "a failure also stops the tasks that run"),
        ("--keep-going", FailurePolicy.KEEP_GOING, "a failure stops only what depends on it"),
    ):
        group.add_argument(option, action="store_const", const=policy.value, dest="policy", help=text)


def add_display(parser: "argparse.ArgumentParser") -> None:
    """Add the options that say how the run is shown."""
    group = parser.add_argument_group("what is shown")
    group.add_argument("--print-output", action="store_true", help="what tasks print, when they end")
    group.add_argument(
        "--events", choices=["jsonl"], metavar="jsonl", help="every event as a line of JSON, nothing else"
    )
    group.add_argument("--json", action="store_true", help="the final summary alone, as JSON")
    group.add_argument("-q", "--quiet", action="store_true", help="nothing, unless the run fails")
    group.add_argument("--plain", action="store_true", help="plain lines, on a terminal too")


def check_display(args: Arguments) -> None:
    """Refuse options that contradict each other.

    Raises:
        UsageError: If they do.
    """
    if args.events and args.json:
        raise UsageError(
            (
                Problem(
                    message="--events and --json can't share standard output",
                    suggestion="the last event, run_done, tells how the run ended",
                ),
            )
        )


def options_of(args: Arguments) -> RunOptions:
    """Return what `add_variables`, `add_limits` and `add_display` were given."""
    return RunOptions(
        variables=variables(args),
        clean_env=args.clean_env,
        print_output=args.print_output,
        timeout=args.timeout,
        tags=tuple(args.tags),
        directory=os.getcwd(),  # noqa: PTH109 - pathlib is not needed on this path
    )


def schedule(args: Arguments) -> tuple[Strategy, int]:
    """Return strategy and workers for a new run."""
    if args.strategy is None:
        workers = args.workers or 1
        return (Strategy.WORK_STEALING if workers > 1 else Strategy.SEQUENTIAL), workers
    strategy = Strategy(args.strategy)
    if strategy is Strategy.SEQUENTIAL:
        return strategy, 1
    return strategy, args.workers or DEFAULT_WORKERS


def variables(args: Arguments) -> dict[str, str]:
    """Return the variables given; those of ``--var`` win over those of files.

    Raises:
        UsageError: If a file can't be read or is not one of variables.
    """
    found: dict[str, str] = {}
    for name in args.variable_files:
        found.update(read_variables(name))
    found.update(args.variables)
    return found


def read_variables(name: str) -> Mapping[str, str]:
    """Return the variables of a file of ``NAME=VALUE`` lines or a JSON object of texts, numbers and booleans."""
    try:
        with open(name, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is not needed on this path
            text = file.read()
    except OSError as error:
        raise _unreadable(name, 0, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise _unreadable(name, 0, "it is not UTF-8") from None
    return _json(name, text) if text.lstrip().startswith("{") else dict(_lines(name, text))


def _lines(name: str, text: str) -> Iterable[tuple[str, str]]:
    from argparse import ArgumentTypeError  # noqa: PLC0415 - slow to load

    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                yield values.assignment(line.strip())
            except ArgumentTypeError as error:
                raise _unreadable(name, number, str(error)) from None


def _json(name: str, text: str) -> Mapping[str, str]:
    import msgspec  # noqa: PLC0415 - only for files of this kind

    try:
        found = msgspec.json.decode(text, type=dict[str, str | int | float | bool])
    except msgspec.DecodeError as error:
        raise _unreadable(name, 0, str(error)) from None
    return {key: value if isinstance(value, str) else _text(value) for key, value in found.items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unreadable(name: str, line: int, why: str) -> UsageError:
    return UsageError((Problem(message=f"can't take variables from it: {why}", file=name, line=line),))
