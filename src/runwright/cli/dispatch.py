"""From a name in the command table to an exit status: options, errors, signals and broken pipes."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from runwright.cli.arguments import Arguments, read_quickly
from runwright.cli.main import COMMANDS
from runwright.cli.render.terminal import Out
from runwright.core.errors import DefinitionError, InternalError, Problem, RunwrightError, UsageError
from runwright.core.suggest import did_you_mean

if TYPE_CHECKING:
    from runwright.cli.parser import Parser

EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_ERROR = 1


def dispatch(given: Mapping[str, str | bool], words: Sequence[str], problem: str = "") -> int:
    """Run the command that `words` begins with.

    Args:
        given: Values of the options that stood before the command.
        words: The command and its arguments.
        problem: What is already known to be wrong with the command line.
    """
    no_color = bool(given.get("no_color")) or "--no-color" in words
    err = Out(sys.stderr, no_color=no_color)
    args: Arguments | None = None
    verbose = bool(given.get("verbose")) or "--verbose" in words

    def work() -> int:
        nonlocal args, verbose
        if problem:
            raise usage(problem, "see `runwright --help`")
        args, module = prepare(given, words)
        verbose = args.verbose
        status = module.execute(args)
        args.out.flush()
        return int(status)

    return guarded(work, err, verbose=verbose or bool(os.environ.get("RUNWRIGHT_TRACEBACK")))


def prepare(given: Mapping[str, str | bool], words: Sequence[str]) -> tuple[Arguments, ModuleType]:
    """Find the command's module and parse its arguments."""
    name, rest = words[0], list(words[1:])
    if name == "help":
        name, rest = (rest[0] if rest else ""), ["--help"]
    module = find(name)
    args = read_quickly(module.configure, rest, given) or _read(name, module, rest, given)
    if args.directory:
        enter(args.directory)
    args.out = Out(sys.stdout, no_color=args.no_color)
    args.err = Out(sys.stderr, no_color=args.no_color)
    return args, module


def _read(name: str, module: ModuleType, rest: Sequence[str], given: Mapping[str, str | bool]) -> Arguments:
    from runwright.cli.parser import parse  # noqa: PLC0415 - only for what is not read quickly

    return parse(parser_of(name, module), rest, given)


def find(name: str) -> ModuleType:
    """Return the module of a command.

    Raises:
        UsageError: If there is no such command; with the nearest name.
    """
    if name in COMMANDS:
        return import_module(COMMANDS[name][0])
    kind = "option" if name.startswith("-") else "command"
    raise usage(f'there is no {kind} "{name}"', did_you_mean(name, COMMANDS) or "see `runwright --help`")


def parser_of(name: str, module: ModuleType) -> "Parser":
    """Return the parser of a command, complete with the options that every command has."""
    from runwright.cli.parser import Parser  # noqa: PLC0415 - as above

    parser = Parser(name, COMMANDS[name][2], (module.__doc__ or "").strip())
    module.configure(parser)
    return parser


def usage(message: str, suggestion: str) -> UsageError:
    """Return an error about the command line."""
    return UsageError((Problem(message=message, suggestion=suggestion),))


def enter(directory: str) -> None:
    """Work in that directory from here on."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise usage(
            f"can't work in {directory}: {error.strerror}", "give -C a directory that exists"
        ) from None


def guarded(work: Callable[[], int], err: Out, *, verbose: bool) -> int:
    """Return what `work` returns, or for an exception its exit status after a message on `err`."""
    try:
        return work()
    except BrokenPipeError:
        silence(sys.stdout)
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except RunwrightError as error:
        explain_error(error, err, verbose=verbose)
        return error.exit_status
    except OSError as error:
        traceback_if(err, verbose=verbose)
        where = f": {error.filename}" if error.filename else ""
        err.line(f"{err.paint('error:', 'bad')} {error.strerror or error}{err.clean(where)}")
        return EXIT_ERROR
    except Exception as error:  # whatever is left is a bug, which people are told in one line
        traceback_if(err, verbose=verbose)
        report_bug(error, err, verbose=verbose)
        return EXIT_BUG


def explain_error(error: RunwrightError, err: Out, *, verbose: bool) -> None:
    """Print an error of ours: problems in full, anything else as one line."""
    traceback_if(err, verbose=verbose)
    if isinstance(error, DefinitionError):
        from runwright.cli.render.problems import render_problems  # noqa: PLC0415 - only for errors

        err.lines(render_problems(error.problems, err))
    else:
        err.line(f"{err.paint('error:', 'bad')} {err.clean_lines(str(error))}")


def report_bug(error: Exception, err: Out, *, verbose: bool) -> None:
    """Say that this is our fault, and how to see more."""
    kind = "" if isinstance(error, InternalError) else f"{type(error).__name__}: "
    err.line(f"{err.paint('this is a bug of Runwright:', 'bad')} {err.clean(kind + str(error))}")
    if not verbose:
        err.line("  run it again with --verbose to see the traceback, and please report it")


def traceback_if(err: Out, *, verbose: bool) -> None:
    """Print the traceback of the exception being handled, if it is wanted."""
    if verbose:
        import traceback  # noqa: PLC0415 - only when asked for

        err.write(traceback.format_exc())


def silence(stream: object) -> None:
    """Send whatever is still buffered for a closed pipe nowhere, so that the interpreter can end quietly."""
    fileno = getattr(stream, "fileno", None)
    if fileno is None:
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return
