"""What can be open in a POSIX shell command, and the signs that open and close it."""

import re
from typing import Final

from runwright.core.variables import PLACEHOLDER


class Kind:
    """What is open: plain numbers, because they are compared for every sign of a command."""

    COMMAND: Final = 0
    SINGLE: Final = 1
    DOLLAR_SINGLE: Final = 2
    DOUBLE: Final = 3
    EXPANSION: Final = 4
    ARITHMETIC: Final = 5
    BACKTICK: Final = 6
    COMMENT: Final = 7
    HEREDOC: Final = 8
    HEREDOC_VERBATIM: Final = 9


OPENERS = {
    Kind.SINGLE: "'",
    Kind.DOLLAR_SINGLE: "$'",
    Kind.DOUBLE: '"',
    Kind.EXPANSION: "${",
    Kind.ARITHMETIC: "$((",
    Kind.BACKTICK: "`",
    Kind.COMMAND: "$(",
}

_ESCAPE = r"\\(?=" + PLACEHOLDER + r")|\\(?s:.|$)"
_DOLLAR = r"\$(?=" + PLACEHOLDER + r")|\$\(\(|\$\(|\$\{"
_TOKENS = {
    Kind.COMMAND: rf"{PLACEHOLDER}|{_ESCAPE}|{_DOLLAR}|\$'|['\"`#\n]|\(\(|[()]|<<<|<<-?|\bcase\b",
    Kind.SINGLE: rf"{PLACEHOLDER}|'",
    Kind.DOLLAR_SINGLE: rf"{PLACEHOLDER}|\\|'",
    Kind.DOUBLE: rf'{PLACEHOLDER}|{_ESCAPE}|{_DOLLAR}|["`]',
    Kind.EXPANSION: rf"{PLACEHOLDER}|{_ESCAPE}|{_DOLLAR}|\$'|['\"`}}]",
    Kind.ARITHMETIC: rf"{PLACEHOLDER}|{_ESCAPE}|{_DOLLAR}|['\"`()]",
    Kind.BACKTICK: rf"{PLACEHOLDER}|\\[\\`$]|`",
    Kind.COMMENT: rf"{PLACEHOLDER}|\n",
    Kind.HEREDOC: rf"{PLACEHOLDER}|{_ESCAPE}|{_DOLLAR}|[`\n]",
    Kind.HEREDOC_VERBATIM: rf"{PLACEHOLDER}|\n",
}
PATTERNS = {kind: re.compile(pattern) for kind, pattern in _TOKENS.items()}
EXPANSION_HEAD = re.compile(
    r"\$\{(?:#(?=[\w@*?$!#-]+\}))?(?:[A-Za-z_]\w*|\d+|[@*#?$!-])?(:?[-=?+]|##?|%%?)?", re.ASCII
)
DELIMITER = re.compile(r"[ \t]*((?:\\.|'[^'\n]*'|\"[^\"\n]*\"|[^\s;&|<>()'\"\\`$])+)")
NAME_BEFORE = re.compile(r"\$(?:[A-Za-z_]\w*|\d|[@*#?$!-])\Z", re.ASCII)
PARENTHESIS = re.compile(r"[()]")
QUOTE = re.compile(r"['\"`\\]")
WORD_BREAKS = " \t\n;&|()<>"


class Frame:
    """One thing that is open."""

    __slots__ = ("delimiter", "first", "kind", "operator", "parens", "pending", "start", "strip_tabs")

    def __init__(self, kind: int, start: int) -> None:
        self.kind = kind
        self.start = start
        self.parens = 0
        self.operator: str | None = None
        self.pending: list[tuple[str, bool, bool]] = []
        self.delimiter = ""
        self.strip_tabs = False
        self.first = 0
