"""The language of ``if``.

``A op B`` with ``== != < <= > >=``, joined by ``and or not`` (also ``&& || !``) and parentheses; ``succeeded()``,
``failed()`` and ``always()`` look at the task's dependencies. Text stands in ``'...'`` or ``"..."``.

A bare word on the left is a variable (``{{.name}}`` is one anywhere). A bare word on the right of an operator is text
if the left side is a variable, as in ``env == prod``; write ``{{.name}}`` to compare two variables.

Both sides are compared as numbers if both look like numbers, except that a quoted text is compared by ``==`` and
``!=`` as the text it is. Anything else is compared as text, and can't be ordered. ``and`` and ``or`` look at their
right side only if they need it.
"""

import operator
import re
from collections.abc import Callable, Iterable
from typing import NoReturn

from msgspec import Struct

from runwright.core.errors import DefinitionError, Problem
from runwright.core.pattern import pattern
from runwright.core.suggest import did_you_mean
from runwright.core.variables import PLACEHOLDER, Lookup, look_up, normal_name

LONGEST = 64 * 1024
DEEPEST = 100
SHOWN_VALUE = 40
"""Longest value, in characters, that `explain` shows whole."""

FUNCTIONS = ("succeeded", "failed", "always")
_WORDS = {"and": "and", "&&": "and", "or": "or", "||": "or", "not": "not", "!": "not"}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBER = pattern(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NAME = pattern(r"[A-Za-z0-9_.+\-]+(?:\[[^\]\s\"']*\][A-Za-z0-9_.+\-]*)?", re.ASCII)
_TOKEN = pattern(
    rf"""\s*(?:
      (?P<place>{PLACEHOLDER})
    | (?P<quoted>'[^']*'|"[^"]*")
    | (?P<operator>==|!=|<=|>=|<|>|&&|\|\||!|\(|\))
    | (?P<word>(?:\[[^\]\s"']*\]|[^\s'"()<>=!&|\[\]])+)
    | (?P<wrong>\S)
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


class Status(Struct, frozen=True):
    """What is known of a task's dependencies: `failed` if at least one did."""

    failed: bool = False


NOTHING_FAILED = Status()


class Operand(Struct, frozen=True):
    """One side of a comparison: ``name`` (value is a variable's name), ``text``, ``number`` or ``boolean``."""

    kind: str
    value: str
    offset: int


class Comparison(Struct, frozen=True):
    """``left op right``."""

    op: str
    left: Operand
    right: Operand


class Call(Struct, frozen=True):
    """``succeeded()``, ``failed()`` or ``always()``; or the constants ``true`` and ``false``."""

    function: str


class Negation(Struct, frozen=True):
    """``not inner``."""

    inner: "Node"


class Junction(Struct, frozen=True):
    """Two or more conditions joined by ``and`` or ``or``."""

    op: str
    items: "tuple[Node, ...]"


_Read = Callable[[Operand], str]
_SIMPLE = pattern(r"[\w.,:/@%+\-]+")
Node = Comparison | Call | Negation | Junction


class Condition(Struct, frozen=True):
    """A condition that was read without error."""

    text: str
    root: Node
    names: tuple[tuple[str, int], ...]
    functions: frozenset[str]


class _Token(Struct, frozen=True):
    kind: str
    text: str
    start: int


def parse(text: str) -> Condition:
    """Read a condition.

    Raises:
        DefinitionError: If it is not one; its problem has the offset of the fault.
    """
    if len(text) > LONGEST:
        _fail(
            0, f"a condition may have {LONGEST} characters, this one has {len(text)}", "move it into a task"
        )
    return _Parser(text).condition()


def names(condition: Condition) -> tuple[tuple[str, int], ...]:
    """Return the variables a condition looks at, each with its offset, in order."""
    return condition.names


def uses_status(condition: Condition) -> bool:
    """Tell whether a condition asks how its dependencies ended."""
    return not condition.functions.isdisjoint(FUNCTIONS)


def _fail(offset: int, message: str, suggestion: str) -> NoReturn:
    raise DefinitionError([Problem(message=message, offset=offset, suggestion=suggestion)])


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.names: list[tuple[str, int]] = []
        self.functions: set[str] = set()
        self.token = self._next()

    def condition(self) -> Condition:
        root = self._or()
        if self.token.kind != "end":
            self._unexpected()
        return Condition(self.text, root, tuple(self.names), frozenset(self.functions))

    def _next(self) -> _Token:
        found = _TOKEN.match(self.text, self.at)
        assert found is not None
        kind = found.lastgroup or ""
        text = found[kind]
        self.at = found.end()
        start = found.start(kind)
        if kind == "wrong":
            self._wrong(text, start)
        if kind in ("operator", "word") and text in _WORDS:
            kind = _WORDS[text]
        return _Token(kind, text, start)

    def _wrong(self, text: str, start: int) -> NoReturn:
        if text in "'\"":
            _fail(start, f"the text that starts with {text} is never closed", f"add a closing {text}")
        if text in "=&|":
            _fail(start, f'"{text}" is not an operator', f'did you mean "{text * 2}"?')
        _fail(start, f'unexpected "{text}"', 'put text in quotes, for instance name == "a[0]"')

    def _take(self) -> _Token:
        token, self.token = self.token, self._next()
        return token

    def _or(self) -> Node:
        return self._joined("or", lambda: self._joined("and", self._not))

    def _joined(self, word: str, item: Callable[[], Node]) -> Node:
        items = [item()]
        while self.token.kind == word:
            self._take()
            items.append(item())
        return items[0] if len(items) == 1 else Junction(word, tuple(items))

    def _not(self) -> Node:
        negate = False
        while self.token.kind == "not":
            self._take()
            negate = not negate
        inner = self._primary()
        return Negation(inner) if negate else inner

    def _primary(self) -> Node:
        if self.token.text == "(" and self.token.kind == "operator":
            return self._group()
        left = self._take() if self.token.kind in ("word", "place", "quoted") else self._unexpected()
        if left.kind == "word" and self.token.text == "(" and self.token.kind == "operator":
            return self._call(left)
        if self.token.kind == "operator" and self.token.text in _COMPARE:
            return self._comparison(left)
        return self._constant(left)

    def _group(self) -> Node:
        opening = self._take()
        self.depth += 1
        if self.depth > DEEPEST:
            _fail(opening.start, f"parentheses are nested more than {DEEPEST} deep", "split the condition")
        inner = self._or()
        if self.token.text != ")" or self.token.kind != "operator":
            if self.token.kind == "end":
                _fail(opening.start, 'this "(" is never closed', 'add a ")"')
            self._unexpected()
        self._take()
        self.depth -= 1
        return inner

    def _call(self, name: _Token) -> Node:
        if name.text not in FUNCTIONS:
            _fail(
                name.start,
                f'there is no function "{name.text}"',
                did_you_mean(name.text, FUNCTIONS) or "there are succeeded(), failed() and always()",
            )
        self._take()
        if self.token.text != ")" or self.token.kind != "operator":
            _fail(self.token.start, f"{name.text}() takes no argument", f"write {name.text}()")
        self._take()
        self.functions.add(name.text)
        return Call(name.text)

    def _constant(self, word: _Token) -> Node:
        if word.kind == "word" and word.text in ("true", "false"):
            return Call(word.text)
        if word.kind == "word" and word.text in FUNCTIONS:
            _fail(word.start, f"{word.text} is a function", f"write {word.text}()")
        name = word.text[3:-2] if word.kind == "place" else word.text
        if word.kind == "quoted" or _NUMBER.fullmatch(name):
            _fail(word.start, f"{word.text} is compared with nothing", f"write name == {word.text}")
        _fail(word.start, f'"{name}" is compared with nothing', f'write {name} == "..."')

    def _comparison(self, left: _Token) -> Node:
        first = self._operand(left, is_text=False)
        op = self._take()
        if self.token.kind not in ("word", "place", "quoted"):
            if self.token.kind == "end":
                _fail(op.start, f"nothing stands right of {op.text}", 'write "" for an empty text')
            self._unexpected()
        second = self._operand(self._take(), is_text=first.kind == "name")
        if self.token.kind == "operator" and self.token.text in _COMPARE:
            _fail(self.token.start, "comparisons can't be chained", "join two of them with `and`")
        return Comparison(op.text, first, second)

    def _operand(self, token: _Token, *, is_text: bool) -> Operand:
        if token.kind == "quoted":
            return Operand("text", token.text[1:-1], token.start)
        if token.kind == "place":
            return self._variable(token)
        if _NUMBER.fullmatch(token.text):
            return Operand("number", token.text, token.start)
        if token.text in ("true", "false"):
            return Operand("boolean", token.text, token.start)
        if is_text:
            return Operand("word", token.text, token.start)
        if not _NAME.fullmatch(token.text):
            _fail(token.start, f'"{token.text}" is not the name of a variable', "put text in quotes")
        return self._name(token.text, token.start)

    def _variable(self, token: _Token) -> Operand:
        if token.text.startswith("{{!"):
            _fail(token.start, "an escaped placeholder means nothing here", "remove the exclamation mark")
        return self._name(token.text[3:-2].removesuffix("!raw"), token.start)

    def _name(self, text: str, offset: int) -> Operand:
        name = normal_name(text)
        self.names.append((name, offset))
        return Operand("name", name, offset)

    def _unexpected(self) -> NoReturn:
        token = self.token
        if token.kind == "end":
            _fail(
                token.start,
                "the condition ends too early",
                'write a comparison, for instance name == "value"',
            )
        if token.kind in ("word", "quoted", "place"):
            _fail(
                token.start,
                f"unexpected {token.text}",
                "join conditions with `and` or `or`; put text in quotes",
            )
        _fail(token.start, f'unexpected "{token.text}"', 'write a comparison, for instance name == "value"')


def evaluate(
    condition: Condition, lookup: Lookup, status: Status = NOTHING_FAILED, names: Iterable[str] = ()
) -> bool:
    """Tell whether a condition holds.

    Args:
        condition: What `parse` returned.
        lookup: Where variables come from.
        status: How the task's dependencies ended.
        names: What variables there are, to suggest the nearest when one is unknown.

    Raises:
        DefinitionError: If a variable is undefined, or if text is to be ordered.
    """
    return _holds(condition.root, lambda operand: _value(operand, lookup, names), status)


def _holds(node: Node, read: _Read, status: Status) -> bool:
    if isinstance(node, Comparison):
        return _compare(node, read)
    if isinstance(node, Negation):
        return not _holds(node.inner, read, status)
    if isinstance(node, Junction):
        wanted = node.op == "or"
        return any(_holds(item, read, status) is wanted for item in node.items) is wanted
    if node.function == "failed":
        return status.failed
    return not status.failed if node.function == "succeeded" else node.function != "false"


def _compare(node: Comparison, read: _Read) -> bool:
    left, right = read(node.left), read(node.right)
    kinds = (node.left.kind, node.right.kind)
    ordering = node.op not in ("==", "!=")
    if (ordering or "text" not in kinds) and _NUMBER.fullmatch(left) and _NUMBER.fullmatch(right):
        return _compare_numbers(node.op, left, right)
    if ordering:
        bad = node.right if _NUMBER.fullmatch(left) else node.left
        shown = left if bad is node.left else right
        _fail(
            bad.offset,
            f'"{shown[:80]}" is not a number, so {node.op} can\'t order it',
            "compare with == or !=",
        )
    if "boolean" in kinds:
        left, right = left.lower(), right.lower()
    return (left == right) is (node.op == "==")


def _compare_numbers(op: str, left: str, right: str) -> bool:
    """Compare integers of any size exactly, and everything else as floats."""
    compare = _COMPARE[op]
    if max(len(left), len(right)) <= 1000 and _is_integer(left) and _is_integer(right):
        return compare(int(left), int(right))
    return compare(float(left), float(right))


def _is_integer(text: str) -> bool:
    return text.lstrip("+-").isdigit()


def _value(operand: Operand, lookup: Lookup, names: Iterable[str]) -> str:
    if operand.kind != "name":
        return operand.value
    return look_up(operand.value, operand.offset, lookup, names)


def explain(condition: Condition, lookup: Lookup) -> str:
    """Return the text of a condition as people say it, and behind it the same with the values it was asked with.

    For instance ``rows > least (1 > 2)``. A variable that has no value stands under its name there too, since only
    a part that was not looked at can read one.
    """
    said = _with_names(condition, lambda name: name)
    asked = _with_names(condition, lambda name: _shown(name, lookup))
    return said if asked == said else f"{said} ({asked})"


def _with_names(condition: Condition, show: Callable[[str], str]) -> str:
    parts, at = list[str](), 0
    for name, offset in condition.names:
        found = _TOKEN.match(condition.text, offset)
        assert found is not None
        parts += condition.text[at:offset], show(name)
        at = found.end()
    return "".join([*parts, condition.text[at:]])


def _shown(name: str, lookup: Lookup) -> str:
    try:
        value = lookup(name)
    except KeyError:
        return name
    short = value if len(value) <= SHOWN_VALUE else f"{value[:SHOWN_VALUE]}..."
    return short if _SIMPLE.fullmatch(short) else f'"{short}"'
