"""Parsing of a command's arguments: argparse with our errors and our help."""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from runwright.cli.main import show
from runwright.cli.render.terminal import Out
from runwright.core.errors import Problem, UsageError
from runwright.core.suggest import did_you_mean

HELP_WIDTH = 100


class Arguments(argparse.Namespace):
    """Parsed arguments; every command has these, and its own options beside them.

    Attributes:
        out: Standard output.
        err: Standard error.
        store: Value of ``--store``, or None.
        directory: Value of ``-C``, or None; already entered.
    """

    out: Out
    err: Out
    store: str | None
    directory: str | None
    no_color: bool
    verbose: bool

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal, up to a limit; asks the system once and imports nothing for it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_width())


def _width() -> int:
    try:
        return min(HELP_WIDTH, int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(1).columns)
    except (OSError, ValueError):
        return HELP_WIDTH


class Parser(argparse.ArgumentParser):
    """Parser of one command."""

    def __init__(self, name: str, line: str, description: str) -> None:
        super().__init__(
            prog=f"runwright {name}",
            description=description or line,
            formatter_class=Formatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.name = name

    def finish(self) -> None:
        """Add what every command has; after its own options, so that help shows those first."""
        group = self.add_argument_group("options of every command")
        group.add_argument("-C", "--directory", metavar="DIR", help="work in this directory")
        group.add_argument("--store", metavar="URL", help="keep state there (sqlite:///path)")
        group.add_argument("--no-color", "--no-colour", action="store_true", help="no colours")
        group.add_argument("--verbose", action="store_true", help="say more, with tracebacks")
        group.add_argument("-h", "--help", action="help", help="show this text")

    def print_help(self, file: object = None) -> None:
        """Print the help and end; a reader that has gone away is no error.

        Raises:
            SystemExit: Always.
        """
        raise SystemExit(show(self.format_help().rstrip()))

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print.

        Raises:
            UsageError: Always.
        """
        raise UsageError((Problem(message=message, suggestion=f"see `{self.prog} --help`"),))


def parse(parser: Parser, words: Sequence[str], given: Mapping[str, str | bool]) -> Arguments:
    """Parse the arguments of a command; options given before the command count unless repeated after it.

    Raises:
        UsageError: If they are wrong.
    """
    parser.finish()
    args = Arguments()
    few = sum(1 for action in parser._actions if not action.option_strings)
    read = parser.parse_known_args if few <= 1 else parser.parse_known_intermixed_args
    _, extra = read(list(words), args)
    if extra:
        raise _unknown(parser, extra)
    for name, value in given.items():
        if not getattr(args, name):
            setattr(args, name, value)
    return args


def _unknown(parser: Parser, extra: Sequence[str]) -> UsageError:
    wrong = next((word for word in extra if word.startswith("-")), extra[0])
    name = wrong.partition("=")[0]
    if not wrong.startswith("-"):
        message = f'"{wrong}" is one argument too many'
        return UsageError((Problem(message=message, suggestion=f"see `{parser.prog} --help`"),))
    known = [option for action in parser._actions for option in action.option_strings]
    suggestion = did_you_mean(name, known) or f"see `{parser.prog} --help`"
    return UsageError((Problem(message=f'there is no option "{name}"', suggestion=suggestion),))


def add_json(parser: argparse.ArgumentParser, short: bool = True) -> None:
    """Add ``--json`` to a command."""
    names = ["-j", "--json"] if short else ["--json"]
    parser.add_argument(*names, action="store_true", dest="json", help="print JSON, with stable keys")


def add_run(parser: argparse.ArgumentParser, name: str = "run", help_text: str = "") -> None:
    """Add a run id argument to a command."""
    text = help_text or "id of a run, or any unambiguous beginning of it, or `latest`"
    parser.add_argument(name, metavar="RUN", help=text)
