"""Names of variables and how their values get into text.

A placeholder is ``{{.NAME}}``, or ``{{.NAME!raw}}`` where the value is to be taken as code by the shell. NAME is made
of letters, digits and ``_ . + - [ ] = ,``, without spaces; any other text in braces stays as it is.
``{{!.NAME}}`` stands for the text ``{{.NAME}}`` itself: one exclamation mark is taken off and nothing is filled in.

`fill` puts values in verbatim (for arguments, environment and paths); `fill_shell` escapes each for the place in a
POSIX shell command where it stands, so that it arrives as exactly one argument, byte for byte.
"""

import re
from collections.abc import Callable, Iterable
from typing import NoReturn

from msgspec import Struct

from runwright.core.errors import DefinitionError, Problem
from runwright.core.pattern import pattern
from runwright.core.suggest import closest, did_you_mean

NAME = r"[A-Za-z0-9_.+\-\[\]=,]+"
PLACEHOLDER = rf"\{{\{{!*\.{NAME}(?:!raw)?\}}\}}"
_PLACEHOLDER = pattern(rf"\{{\{{(!*)\.({NAME})(!raw)?\}}\}}")

_NOTHING_OPENS = pattern(r"[^'\"\\`$#<(\n]*")

Lookup = Callable[[str], str]
"""Where values come from; raises KeyError for a name that has none, as ``{...}.__getitem__`` does.

One that can be iterated over tells the names there are, to suggest one instead of a name that has no value.
"""

MOST_WRITTEN = 8
"""So many names of what a task did write are told to whoever reads one that it did not."""


class Reference(Struct, frozen=True, gc=False):
    """One placeholder of a text.

    Attributes:
        name: In normal form: matrix keys inside brackets are sorted.
        start: Offset of its first character.
        end: Offset after its last character.
        raw: True if the value goes in without any escape.
    """

    name: str
    start: int
    end: int
    raw: bool = False


def normal_name(name: str) -> str:
    """Return a name or node id with the matrix keys in its brackets sorted, as node ids have them."""
    if "," not in name:
        return name
    head, bracket, rest = name.partition("[")
    inside, closing, tail = rest.partition("]")
    if not bracket or not closing or "," not in inside:
        return name
    return f"{head}[{','.join(sorted(inside.split(','), key=_dimension))}]{tail}"


def _dimension(pair: str) -> str:
    return pair.partition("=")[0]


def has_placeholder(text: str) -> bool:
    """Tell at once whether a text needs filling in at all; true for escaped placeholders too."""
    return "{{" in text and _PLACEHOLDER.search(text) is not None


def is_plain(cmd: str) -> bool:
    """Tell whether every placeholder of a command stands bare, so that nothing can be wrong with any."""
    return _NOTHING_OPENS.fullmatch(cmd) is not None


def sole_reference(text: str) -> Reference | None:
    """Return the placeholder that a text consists of, if it is nothing else."""
    if not text.startswith("{{."):
        return None
    found = _PLACEHOLDER.fullmatch(text)
    return None if found is None or found[1] else _reference(found)


def escaped(text: str) -> str:
    """Return a text in which nothing is filled in: what `fill` makes of it is the text itself."""
    return _PLACEHOLDER.sub(lambda found: "{{!" + found[0][2:], text) if "{{" in text else text


def references(text: str) -> list[Reference]:
    """Return the placeholders of a text in order; escaped ones are not among them."""
    if "{{." not in text:
        return []
    return [_reference(found) for found in _PLACEHOLDER.finditer(text) if not found[1]]


def match_placeholder(text: str, start: int) -> tuple[Reference | str, int]:
    """Read the placeholder that starts at an offset: the reference, or the text that an escaped one stands for."""
    found = _PLACEHOLDER.match(text, start)
    assert found is not None
    if found[1]:
        return "{{" + found[0][3:], found.end()
    return _reference(found), found.end()


def _reference(found: re.Match[str]) -> Reference:
    return Reference(normal_name(found[2]), found.start(), found.end(), bool(found[3]))


def value_of(reference: Reference, lookup: Lookup, names: Iterable[str] = ()) -> str:
    """Return the value for a placeholder.

    Raises:
        DefinitionError: If there is no such variable, or if its value can't be passed to a program.
    """
    value = look_up(reference.name, reference.start, lookup, names)
    if "\0" in value:
        refuse(
            reference, f'the value of "{reference.name}" holds a NUL, which no argument can', "remove the NUL"
        )
    if not value.isascii() and not _is_utf8(value):
        refuse(
            reference,
            f'the value of "{reference.name}" is not text: it can\'t be written as UTF-8',
            "pass binary data in a file",
        )
    return value


def look_up(name: str, offset: int, lookup: Lookup, names: Iterable[str] = ()) -> str:
    """Return the value of a variable that is read at an offset of some text.

    Raises:
        DefinitionError: If there is none; suggests the nearest of `names`, or of those that `lookup` tells.
    """
    try:
        return lookup(name)
    except KeyError:
        there = list(names or (lookup if isinstance(lookup, Iterable) else ()))
        message, suggestion = f'undefined variable "{name}"', _instead(name, there)
        raise DefinitionError([Problem(message=message, offset=offset, suggestion=suggestion)]) from None


def _instead(name: str, names: list[str]) -> str:
    """Return what to do about a name that has no value."""
    owner, dot, rest = split_owner(name)
    written = [other for other in names if dot and split_owner(other)[0] == owner != other]
    if near := closest(rest, [split_owner(other)[2] for other in written]):
        return f'did you mean "{owner}.{near}"?'
    if written:
        more = f" and {len(written) - MOST_WRITTEN} more" if len(written) > MOST_WRITTEN else ""
        return f'"{owner}" wrote {", ".join(written[:MOST_WRITTEN])}{more}'
    if near := did_you_mean(name, names):
        return near
    if dot:
        return f'append {rest}=... to "$RUNWRIGHT_OUTPUT" in task "{owner}", or give it with --var {name}=...'
    return f"give it with --var {name}=..., or register it in a task before"


def split_owner(name: str) -> tuple[str, str, str]:
    """Split ``task[k=v.w].x`` at the dot after the brackets, and any other name at its first dot."""
    close = name.find("]")
    if "[" in name.partition(".")[0] and close >= 0:
        return name[: close + 1], name[close + 1 : close + 2], name[close + 2 :]
    return name.partition(".")


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse(reference: Reference, message: str, suggestion: str) -> NoReturn:
    """Raise a `DefinitionError` that points at a placeholder."""
    raise DefinitionError([Problem(message=message, offset=reference.start, suggestion=suggestion)])


def fill(text: str, lookup: Lookup, names: Iterable[str] = ()) -> str:
    """Put values in verbatim; for arguments, environment and paths.

    Args:
        text: With or without placeholders.
        lookup: Where values come from.
        names: What there is, to suggest the nearest when a name is unknown.

    Raises:
        DefinitionError: If a variable is undefined or its value holds a NUL or is not valid text.
    """
    if "{{" not in text:
        return text
    return _PLACEHOLDER.sub(lambda found: _plain(found, lookup, names), text)


def _plain(found: re.Match[str], lookup: Lookup, names: Iterable[str]) -> str:
    return "{{" + found[0][3:] if found[1] else value_of(_reference(found), lookup, names)


class Slot(Struct, frozen=True):
    """A place in a command for a value, and how the value is written there."""

    reference: Reference
    write: Callable[[Reference, str], str]


class Body(Struct, frozen=True):
    """A here-document: parts of the template from `first` up to and without `last`."""

    first: int
    last: int
    delimiter: str


class Template:
    """A command with places for values; made by `compile_shell`."""

    __slots__ = ("bodies", "parts")

    def __init__(self, parts: list[str | Slot], bodies: list[Body]) -> None:
        self.parts = parts
        self.bodies = bodies

    def render(self, lookup: Lookup, names: Iterable[str] = ()) -> str:
        """Return the command with every value written so that the shell takes it as it is.

        Raises:
            DefinitionError: If a variable is undefined, or if its value can't stand where it is asked for.
        """
        if len(self.parts) == 1 and isinstance(self.parts[0], str):
            return self.parts[0]
        written = [part if isinstance(part, str) else _write(part, lookup, names) for part in self.parts]
        for body in self.bodies:
            self._check_body(body, written)
        return "".join(written)

    def _check_body(self, body: Body, written: list[str]) -> None:
        lines = "".join(written[body.first : body.last]).split("\n")
        if body.delimiter not in (line.lstrip("\t") for line in lines):
            return
        slot = next(part for part in self.parts[body.first :] if isinstance(part, Slot))
        refuse(
            slot.reference,
            f'a value in the here-document makes a line "{body.delimiter}", which would end it early',
            "choose another delimiter, or pass the value in a variable",
        )


def _write(slot: Slot, lookup: Lookup, names: Iterable[str]) -> str:
    return slot.write(slot.reference, value_of(slot.reference, lookup, names))


def compile_shell(cmd: str) -> Template:
    """Read a POSIX shell command and find out how a value must be written at each placeholder.

    Raises:
        DefinitionError: If a value can't be made safe where a placeholder stands; with all such places.
    """
    if "{{" not in cmd:
        return Template([cmd], [])
    from runwright.core.shell import read_command  # noqa: PLC0415 - most commands have no placeholder

    return read_command(cmd)


def fill_shell(cmd: str, lookup: Lookup, names: Iterable[str] = ()) -> str:
    """Put values into a shell command so that each arrives as exactly one argument, byte for byte.

    Raises:
        DefinitionError: As `compile_shell` and `Template.render` do.
    """
    return compile_shell(cmd).render(lookup, names)
