"""How a value is written at one place of a shell command."""

import re

from runwright.core.variables import Reference, refuse

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)
_NOT_FOR_COMMENTS = re.compile(r"[^A-Za-z0-9_./:@%+=, -]")
_DOUBLE_QUOTE_SPECIALS = re.compile(r"[\\$`\"}]")
_HEREDOC_SPECIALS = re.compile(r"[\\$`]")


def as_raw(reference: Reference, value: str) -> str:
    """Write the value as it is."""
    return value


def as_word(reference: Reference, value: str) -> str:
    """Write a value that stands bare: as one word in single quotes."""
    return "'" + value.replace("'", "'\\''") + "'"


def as_single_quoted(reference: Reference, value: str) -> str:
    """Write a value that stands between single quotes."""
    return value.replace("'", "'\\''")


def in_double_quotes(reference: Reference, value: str) -> str:
    """Write a value that stands between double quotes: leave them, and come back.

    Nothing before or after the value can join with it this way, not even the ``$name`` of a parameter.
    """
    return f'"{as_word(reference, value)}"'


def in_quoted_expansion(reference: Reference, value: str) -> str:
    """Write a value that stands in ``"${x:-here}"``, where quotes can't be relied on but backslashes can."""
    return _DOUBLE_QUOTE_SPECIALS.sub(r"\\\g<0>", value)


def as_comment(reference: Reference, value: str) -> str:
    """Write a value into a comment: what it is does not matter, that it stays on the line does."""
    return _NOT_FOR_COMMENTS.sub("_", value)


def as_heredoc(reference: Reference, value: str) -> str:
    """Write a value into a here-document whose delimiter is not quoted."""
    return _HEREDOC_SPECIALS.sub(r"\\\g<0>", value)


def as_stripped_heredoc(reference: Reference, value: str) -> str:
    """Write a value into a ``<<-`` here-document, which would take the tabs off the start of its lines."""
    return as_heredoc(reference, as_stripped_verbatim(reference, value))


def as_stripped_verbatim(reference: Reference, value: str) -> str:
    """Write a value into a ``<<-`` here-document with a quoted delimiter."""
    if value.startswith("\t") or "\n\t" in value:
        refuse(
            reference,
            f'the value of "{reference.name}" has a line that starts with a tab, which <<- would take off',
            "write << instead of <<-",
        )
    return value


def as_integer(reference: Reference, value: str) -> str:
    """Write a value into ``$(( ))``: integers only, in decimal whatever zeros lead, negative ones in parentheses."""
    if not _INTEGER.fullmatch(value):
        refuse(
            reference,
            f'the value of "{reference.name}" stands in arithmetic and is not an integer',
            "check the value before, or compute with another tool",
        )
    number = int(value)
    return f"({number})" if number < 0 else str(number)
