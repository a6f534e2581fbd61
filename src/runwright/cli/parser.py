"""Parsing of a command's arguments: argparse with our errors and our help."""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from runwright.cli.arguments import Arguments, add_common, merge
from runwright.cli.main import show
from runwright.core.errors import Problem, UsageError
from runwright.core.suggest import did_you_mean

HELP_WIDTH = 100


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
        add_common(self)

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
    merge(args, given)
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
