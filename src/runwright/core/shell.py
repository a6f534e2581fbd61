"""Where in a POSIX shell command a placeholder stands, and how a value is written there.

The command is read once, left to right, with a stack of what is open: quotes, ``$( )``, ``${ }``, ``$(( ))``,
backticks, comments and here-documents. It is not a parser of the whole language: where shells disagree, or where
telling would need one, a placeholder is refused with advice, because a wrong guess would let a value run as code.
"""

import re
from collections.abc import Callable

from runwright.core.errors import DefinitionError, Problem
from runwright.core.shellplaces import ADVICE_VARIABLE, Writer, choose_writer
from runwright.core.shellquote import as_raw
from runwright.core.shellsyntax import (
    DELIMITER,
    EXPANSION_HEAD,
    OPENERS,
    PARENTHESIS,
    PATTERNS,
    QUOTE,
    WORD_BREAKS,
    Frame,
    Kind,
)
from runwright.core.variables import Body, Reference, Slot, Template, is_plain, match_placeholder


def read_command(text: str) -> Template:
    """Read a command; see `variables.compile_shell`."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.copied = 0
        self.stack = [Frame(Kind.COMMAND, 0)]
        self.parts: list[str | Slot] = []
        self.bodies: list[Body] = []
        self.problems: list[Problem] = []
        self.doubt = ""
        self.continuations: dict[int, int] = {}
        self.glued: set[int] = set()
        self.last_slot = -1

    def read(self) -> Template:
        if not self._read_simple():
            while self._step():
                pass
            self._finish()
        self._copy(len(self.text))
        if self.problems:
            raise DefinitionError(self.problems)
        return Template(self.parts, self.bodies)

    def _read_simple(self) -> bool:
        """Read a command without any quote or expansion, which most are, in one go."""
        if not is_plain(self.text):
            return False
        pattern = PATTERNS[Kind.SINGLE]
        while found := pattern.search(self.text, self.at):
            self._placeholder(found.start())
        return True

    def _step(self) -> bool:
        frame = self.stack[-1]
        found = PATTERNS[frame.kind].search(self.text, self.at)
        if found is None:
            return False
        sign, start = found[0], found.start()
        self.at = found.end()
        if sign.startswith("{{"):
            self._placeholder(start)
        elif sign[0] == "\\":
            self._backslash(frame, sign, start)
        elif sign[0] == "$":
            self._dollar(frame, sign, start)
        else:
            _HANDLERS[frame.kind](self, frame, sign, start)
        return True

    def _placeholder(self, start: int) -> None:
        what, end = match_placeholder(self.text, start)
        self._copy(start)
        self.copied = self.at = end
        if isinstance(what, str):
            self._literal(what, start)
            return
        self.last_slot = start
        writer = as_raw if what.raw else self._writer(what)
        if writer is not None:
            self.parts.append(Slot(what, writer))

    def _literal(self, text: str, start: int) -> None:
        self.parts.append(text)
        if self.stack[-1].kind == Kind.EXPANSION:
            self._refuse(start, "the braces of this text would close the ${ } around it", ADVICE_VARIABLE)

    def _writer(self, reference: Reference) -> Writer | None:
        if self.doubt:
            return self._refuse(reference.start, self.doubt, ADVICE_VARIABLE)
        choice = choose_writer(self.text, reference, self._inside())
        if isinstance(choice, tuple):
            return self._refuse(reference.start, *choice)
        return choice

    def _inside(self) -> list[Frame]:
        """Return what is open within the innermost command, outermost first."""
        index = len(self.stack) - 1
        while self.stack[index].kind != Kind.COMMAND:
            index -= 1
        return self.stack[index + 1 :]

    def _is_quoted(self) -> bool:
        """Tell whether an expansion stands in double quotes or a here-document, where quotes act otherwise."""
        return any(frame.kind in (Kind.DOUBLE, Kind.HEREDOC) for frame in self._inside())

    def _backslash(self, frame: Frame, sign: str, start: int) -> None:
        if frame.kind == Kind.DOLLAR_SINGLE:
            self.doubt = self.doubt or "shells disagree about the $'...' with a backslash before it"
        elif sign == "\\" and self.at < len(self.text):
            self._refuse(
                start,
                "the backslash before the placeholder would escape what protects the value",
                "remove the backslash, or write two",
            )
        elif sign == "\\\n":
            self.continuations[self.at] = start
        else:
            self.glued.add(self.at)

    def _dollar(self, frame: Frame, sign: str, start: int) -> None:
        if sign == "$":
            if frame.kind != Kind.DOUBLE:
                self._refuse(
                    start, "the $ before the placeholder would act on the value", "write \\$ for the sign"
                )
        elif sign == "$'":
            self._dollar_quote(start)
        elif sign == "${":
            self._expansion(start)
        elif sign == "$((" and self._is_arithmetic(self.at):
            self._push(Kind.ARITHMETIC, start)
        else:
            self.at = start + 2
            self._push(Kind.COMMAND, start)

    def _dollar_quote(self, start: int) -> None:
        """In ``"${x:-$'...'}"`` the quote is one only to some shells; elsewhere it opens a string."""
        if self._is_quoted():
            self.doubt = self.doubt or "shells disagree about the $' before it"
        else:
            self._push(Kind.DOLLAR_SINGLE, start)

    def _expansion(self, start: int) -> None:
        head = EXPANSION_HEAD.match(self.text, start)
        assert head is not None
        self.at = head.end()
        self._push(Kind.EXPANSION, start).operator = head[1]

    def _is_arithmetic(self, start: int) -> bool:
        """Tell ``$((1+2))`` from ``$((a); b)``: the former closes both parentheses side by side."""
        depth = 2
        for found in PARENTHESIS.finditer(self.text, start):
            depth += 1 if found[0] == "(" else -1
            if depth == 1:
                closed = self.text.startswith(")", found.end())
                if not closed or QUOTE.search(self.text, start, found.end()):
                    self.doubt = self.doubt or "shells disagree about where the (( before it ends; write ( ("
                return closed
        return True

    def _push(self, kind: int, start: int) -> Frame:
        frame = Frame(kind, start)
        self.stack.append(frame)
        return frame

    def _pop(self) -> None:
        frame = self.stack.pop()
        parent = self.stack[-1]
        inner = self.text[frame.start : self.at]
        if frame.kind == Kind.COMMENT:
            return
        if inner.startswith("$("):
            self.glued.add(self.at)
        if "\n" in inner and any(outer.pending for outer in self.stack):
            self.doubt = self.doubt or "it can't be told where the here-document before it starts"
        if frame.kind == Kind.DOUBLE and parent.kind == Kind.EXPANSION and "}" in inner and self._is_quoted():
            self.doubt = self.doubt or "shells disagree about a } in quotes inside the ${ } before it"

    def _in_command(self, frame: Frame, sign: str, start: int) -> None:
        if sign == "'":
            self._push(Kind.SINGLE, start)
        elif sign == '"':
            self._push(Kind.DOUBLE, start)
        elif sign == "`":
            self._push(Kind.BACKTICK, start)
        elif sign == "#":
            self._hash(start)
        elif sign == "\n":
            self._newline(frame)
        elif sign in ("<<", "<<-"):
            self._redirection(frame, sign, start)
        elif sign == "case":
            self._case()
        elif sign != "<<<":
            self._parenthesis(frame, sign, start)

    def _hash(self, start: int) -> None:
        while start in self.continuations:
            start = self.continuations[start]
        if start == 0 or (self.text[start - 1] in WORD_BREAKS and start not in self.glued):
            self._push(Kind.COMMENT, start)

    def _case(self) -> None:
        if len(self.stack) > 1:
            self.doubt = self.doubt or "it can't be told where the $( ) with a `case` in it ends"

    def _parenthesis(self, frame: Frame, sign: str, start: int) -> None:
        if sign == "((":
            if self._is_arithmetic(self.at):
                self._push(Kind.ARITHMETIC, start)
            else:
                self.at = start + 1
                frame.parens += 1
        elif sign == "(":
            frame.parens += 1
        elif frame.parens:
            frame.parens -= 1
        elif len(self.stack) > 1:
            if frame.pending:
                self.doubt = self.doubt or "the here-document before it has no body"
            self._pop()

    def _redirection(self, frame: Frame, sign: str, start: int) -> None:
        found = DELIMITER.match(self.text, self.at)
        word = found[1] if found else ""
        if found is None or "{{" in word:
            self.doubt = self.doubt or "the delimiter of the here-document is not plain text"
            return
        self.at = found.end()
        if self.text[self.at : self.at + 1] in ("$", "`", "\\", "'", '"'):
            self.doubt = self.doubt or "the delimiter of the here-document is not plain text"
        delimiter = re.sub(r"\\(.)|['\"]", r"\1", word)
        frame.pending.append((delimiter, delimiter != word, sign == "<<-"))

    def _newline(self, frame: Frame) -> None:
        if not frame.pending:
            return
        delimiter, verbatim, strip_tabs = frame.pending.pop(0)
        body = self._push(Kind.HEREDOC_VERBATIM if verbatim else Kind.HEREDOC, self.at)
        body.delimiter, body.strip_tabs = delimiter, strip_tabs
        self._copy(self.at)
        body.first = len(self.parts)
        self._heredoc_line(body)

    def _heredoc_line(self, body: Frame) -> None:
        """At the start of a line of a here-document: end it if this is its last."""
        stop = self.text.find("\n", self.at)
        stop = len(self.text) if stop < 0 else stop
        line = self.text[self.at : stop]
        if (line.lstrip("\t") if body.strip_tabs else line) != body.delimiter:
            return
        self._copy(self.at)
        self._close_body(body)
        self.at = min(stop + 1, len(self.text))
        self.stack.pop()
        self._newline(self.stack[-1])

    def _close_body(self, body: Frame) -> None:
        if any(isinstance(part, Slot) for part in self.parts[body.first :]):
            self.bodies.append(Body(body.first, len(self.parts), body.delimiter))

    def _in_heredoc(self, frame: Frame, sign: str, start: int) -> None:
        if sign == "`":
            self._push(Kind.BACKTICK, start)
        else:
            self._heredoc_line(frame)

    def _in_quotes(self, frame: Frame, sign: str, start: int) -> None:
        if sign == "`" and frame.kind == Kind.DOUBLE:
            self._push(Kind.BACKTICK, start)
        else:
            self._pop()

    def _in_comment(self, frame: Frame, sign: str, start: int) -> None:
        self.at = start
        self._pop()

    def _in_expansion(self, frame: Frame, sign: str, start: int) -> None:
        quoted = self._is_quoted()
        if sign == "}":
            self._pop()
        elif sign == "`":
            self._push(Kind.BACKTICK, start)
        elif sign == '"':
            self._push(Kind.DOUBLE, start)
        elif not quoted:
            self._push(Kind.SINGLE, start)
        elif (frame.operator or "#")[0] in "#%":
            self.doubt = self.doubt or "shells disagree about a quote in ${ } inside quotes before it"

    def _in_arithmetic(self, frame: Frame, sign: str, start: int) -> None:
        if sign == "(":
            frame.parens += 1
        elif sign == ")" and frame.parens:
            frame.parens -= 1
        elif sign == ")":
            self._end_arithmetic()
        elif sign == "`":
            self._push(Kind.BACKTICK, start)
        else:
            self.doubt = self.doubt or "shells disagree about quotes inside $(( )) before it"

    def _end_arithmetic(self) -> None:
        if self.text.startswith(")", self.at):
            self.at += 1
        else:
            self.doubt = self.doubt or "it can't be told where the (( before it ends"
        self._pop()

    def _finish(self) -> None:
        self._copy(len(self.text))
        for frame in self.stack[1:]:
            if frame.kind in (Kind.HEREDOC, Kind.HEREDOC_VERBATIM):
                self._close_body(frame)
            elif frame.kind in OPENERS and self.last_slot > frame.start:
                self._refuse(
                    frame.start,
                    f"this {OPENERS[frame.kind]} is never closed",
                    "close it before or after the placeholder",
                )

    def _copy(self, end: int) -> None:
        if self.copied < end:
            self.parts.append(self.text[self.copied : end])
            self.copied = end

    def _refuse(self, offset: int, message: str, suggestion: str) -> Writer | None:
        self.problems.append(Problem(message=message, offset=offset, suggestion=suggestion))
        return None


_HANDLERS: dict[int, Callable[[_Reader, Frame, str, int], None]] = {
    Kind.COMMAND: _Reader._in_command,
    Kind.SINGLE: _Reader._in_quotes,
    Kind.DOLLAR_SINGLE: _Reader._in_quotes,
    Kind.DOUBLE: _Reader._in_quotes,
    Kind.EXPANSION: _Reader._in_expansion,
    Kind.ARITHMETIC: _Reader._in_arithmetic,
    Kind.BACKTICK: _Reader._in_quotes,
    Kind.COMMENT: _Reader._in_comment,
    Kind.HEREDOC: _Reader._in_heredoc,
    Kind.HEREDOC_VERBATIM: _Reader._in_heredoc,
}
