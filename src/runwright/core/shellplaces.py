"""How a value is written at a placeholder, by what is open around it; or why it can't be made safe there."""

from collections.abc import Callable, Sequence

from runwright.core.shellquote import (
    as_comment,
    as_heredoc,
    as_integer,
    as_raw,
    as_single_quoted,
    as_stripped_heredoc,
    as_stripped_verbatim,
    as_word,
    in_double_quotes,
    in_quoted_expansion,
)
from runwright.core.shellsyntax import NAME_BEFORE, Frame, Kind
from runwright.core.variables import Reference

Writer = Callable[[Reference, str], str]
"""Writes the value of a placeholder into its place."""

Refusal = tuple[str, str]
"""Why there is no writer, and what to do instead."""

ADVICE_VARIABLE = "put the value into a shell variable first: v={{.name}}; then use $v"


def choose_writer(text: str, reference: Reference, inside: Sequence[Frame]) -> Writer | Refusal:
    """Choose how a value is written.

    Args:
        text: The command.
        reference: The placeholder.
        inside: What is open within the innermost command, outermost first.
    """
    kinds = [frame.kind for frame in inside]
    if Kind.ARITHMETIC in kinds:
        return as_integer
    if Kind.BACKTICK in kinds:
        return "a value can't be made safe inside backticks", "write $( ) instead of backticks"
    if any(frame.kind == Kind.EXPANSION and frame.operator is None for frame in inside):
        return "a value can't stand in the name or index of ${ }", ADVICE_VARIABLE
    if Kind.EXPANSION not in kinds or kinds[0] == Kind.EXPANSION:
        return _by_last(text, reference, inside)
    outer = [kind for kind in kinds if kind != Kind.EXPANSION]
    if outer == [Kind.DOUBLE] and kinds[-1] == Kind.EXPANSION and (inside[-1].operator or "#")[0] not in "#%":
        return _after_name(text, reference, in_quoted_expansion)
    return "a value can't be made safe in ${ } inside quotes or a here-document", ADVICE_VARIABLE


def _by_last(text: str, reference: Reference, inside: Sequence[Frame]) -> Writer | Refusal:
    frame = inside[-1] if inside else None
    if frame is None or frame.kind == Kind.EXPANSION:
        return as_word
    if frame.kind == Kind.HEREDOC:
        return _after_name(text, reference, as_stripped_heredoc if frame.strip_tabs else as_heredoc)
    if frame.kind == Kind.HEREDOC_VERBATIM:
        return as_stripped_verbatim if frame.strip_tabs else as_raw
    if frame.kind == Kind.DOLLAR_SINGLE:
        return "shells disagree about $'...'", "write '{{.name}}' without the $"
    return {Kind.SINGLE: as_single_quoted, Kind.DOUBLE: in_double_quotes, Kind.COMMENT: as_comment}[
        frame.kind
    ]


def _after_name(text: str, reference: Reference, writer: Writer) -> Writer | Refusal:
    """Guard against a value that would lengthen the name of a parameter right before it."""
    before = NAME_BEFORE.search(text, max(0, reference.start - 200), reference.start)
    if before is None:
        return writer
    return f"the value would become part of the name {before[0]}", f"write ${{{before[0][1:]}}} before it"
