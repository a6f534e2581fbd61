"""The arguments of a command, and the quick way to them for the command lines that most people type.

Every command describes its options to argparse, which takes as long to load as the interpreter itself. So they are
described to `Sketch` first. It reads lines of known options with good values; for any other line, one with a mistake
or a call for help among them, it gives up and argparse reads the line.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from runwright.cli.render.terminal import Out

FLAGS = {"store_true": True, "store_false": False}
ACTIONS = {"store", "append", "store_const", "help", *FLAGS}
KNOWN = {"action", "choices", "const", "default", "dest", "help", "metavar", "required", "type"}
"""What a description may say for this reader to understand it."""


class Arguments:
    """Parsed arguments; every command has these, and its own options beside them.

    Attributes:
        out: Standard output.
        err: Standard error.
        store: Value of ``--store``, or None.
        directory: Value of ``-C``, or None; already entered.
    """

    out: "Out"
    err: "Out"
    store: str | None
    directory: str | None
    no_color: bool
    verbose: bool

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__


def merge(args: Arguments, given: Mapping[str, str | bool]) -> None:
    """Add the options given before the command, unless they are repeated after it."""
    for name, value in given.items():
        if not getattr(args, name):
            setattr(args, name, value)


def add_common(parser: "argparse.ArgumentParser") -> None:
    """Add what every command has; after its own options, so that help shows those first."""
    group = parser.add_argument_group("options of every command")
    group.add_argument("-C", "--directory", metavar="DIR", help="work in this directory")
    group.add_argument("--store", metavar="URL", help="keep state there (sqlite:///path, postgresql://...)")
    group.add_argument("--no-color", "--no-colour", action="store_true", help="no colours")
    group.add_argument("--verbose", action="store_true", help="say more, with tracebacks")
    group.add_argument("-h", "--help", action="help", help="show this text")


def add_json(parser: "argparse.ArgumentParser", short: bool = True) -> None:
    """Add ``--json`` to a command."""
    names = ["-j", "--json"] if short else ["--json"]
    parser.add_argument(*names, action="store_true", dest="json", help="print JSON, with stable keys")


def add_run(parser: "argparse.ArgumentParser", name: str = "run", help_text: str = "") -> None:
    """Add a run id argument to a command."""
    text = help_text or "id of a run, or any unambiguous beginning of it, or `latest`"
    parser.add_argument(name, metavar="RUN", help=text)


class Unclear(Exception):
    """This line, or this option, is for argparse."""


class _Option:
    """One option or argument, as described."""

    def __init__(self, names: tuple[str, ...], about: dict[str, Any], group: object) -> None:
        self.group = group
        self.positional = not names[0].startswith("-")
        self.action = about.get("action", "store")
        if self.action not in ACTIONS or not about.keys() <= KNOWN or about.get("required"):
            raise Unclear
        self.choices = about.get("choices")
        self.const = about.get("const", FLAGS.get(self.action))
        self.convert = about.get("type", str)
        self.default = about.get("default", not FLAGS[self.action] if self.action in FLAGS else None)
        if isinstance(self.default, str) and "type" in about:
            raise Unclear
        long = next((name for name in names if name.startswith("--")), names[0])
        self.dest = about.get("dest") or (long if self.positional else long.lstrip("-").replace("-", "_"))

    @property
    def takes_value(self) -> bool:
        return self.action in {"store", "append"}

    def apply(self, args: Arguments, text: str) -> None:
        """Set what the option says, with its value if it takes one."""
        if self.action == "help":
            raise Unclear
        value = self.value(text) if self.takes_value else self.const
        if self.action == "append":
            value = [*getattr(args, self.dest), value]
        setattr(args, self.dest, value)

    def value(self, text: str) -> Any:
        try:
            value = self.convert(text)
        except Exception:
            raise Unclear from None  # argparse says what is wrong with it
        if self.choices is not None and value not in self.choices:
            raise Unclear
        return value


class Sketch:
    """Takes the description of a command's options as an argparse parser would."""

    def __init__(self) -> None:
        self._names: dict[str, _Option] = {}
        self._options: list[_Option] = []

    def add_argument(self, *names: str, group: object = None, **about: Any) -> None:
        """Take the description of one option or argument."""
        option = _Option(names, about, group)
        self._options.append(option)
        if not option.positional:
            self._names.update(dict.fromkeys(names, option))

    def add_argument_group(self, *_: str, **__: str) -> "Sketch":
        """Return what takes the options of a group, which only the help shows."""
        return self

    def add_mutually_exclusive_group(self) -> "_Either":
        """Return what takes options of which a line has one at most."""
        return _Either(self)

    def read(self, words: Sequence[str]) -> Arguments:
        """Return the arguments of a line.

        Raises:
            Unclear: If it is for argparse.
        """
        args = Arguments()
        for option in reversed(
            self._options
        ):  # of several for one name, the first says what it is without them
            if option.action != "help":
                setattr(args, option.dest, option.default)
        places = [option for option in self._options if option.positional]
        seen: dict[object, _Option] = {}
        rest = iter(words)
        for word in rest:
            option, text = self._match(word, rest, places)
            if option.group is not None and seen.setdefault(option.group, option) is not option:
                raise Unclear
            option.apply(args, text)
        if places:
            raise Unclear
        return args

    def _match(self, word: str, rest: Iterator[str], places: list[_Option]) -> tuple[_Option, str]:
        """Return what a word stands for, with its value, which may be the next word."""
        if not word.startswith("-"):
            if not places:
                raise Unclear
            return places.pop(0), word
        name, equals, text = word.partition("=")
        option = self._names.get(name)
        if option is None or (equals and not (option.takes_value and name.startswith("--"))):
            raise Unclear
        if option.takes_value and not equals:
            text = next(rest, "-")
            if text.startswith("-"):
                raise Unclear
        return option, text


class _Either:
    """Options of which a line has one at most."""

    def __init__(self, sketch: Sketch) -> None:
        self._sketch = sketch

    def add_argument(self, *names: str, **about: Any) -> None:
        self._sketch.add_argument(*names, group=self, **about)


def read_quickly(configure: Any, words: Sequence[str], given: Mapping[str, str | bool]) -> Arguments | None:
    """Return the arguments of a line, or None if argparse is to read it.

    Args:
        configure: Describes a command's options to a parser.
        words: What stands behind the command's name.
        given: Options that stood before it.
    """
    sketch: Any = Sketch()
    try:
        configure(sketch)
        add_common(sketch)
        args: Arguments = sketch.read(words)
    except (Unclear, AttributeError, TypeError):
        return None
    merge(args, given)
    return args
