"""Streaming redaction: no known secret gets past, however the bytes are cut into chunks."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct, structs

MASK = b"***"

MIN_SECRET_BYTES = 3
"""Shorter values are not redacted: masking every occurrence of a letter or two would leave no readable log."""

WRAP_COLUMNS = (64, 76)
"""Where ``openssl`` and ``base64`` break the lines of base64 text."""

MIN_LINE_BYTES = 6
"""Shortest line of a multi-line secret that is masked on its own."""


BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
"""The digits of base64, of both kinds."""


class Form(Struct, frozen=True):
    """A byte string under which a secret may turn up.

    Attributes:
        text: What is looked for.
        before: 1 if the base64 digit before it carries bits of the secret too, else 0.
        after: 1 if the one behind it does, else 0.
        mask: What stands in its place.
    """

    text: bytes
    before: int = 0
    after: int = 0
    mask: bytes = MASK


def forms(secret: str) -> set[Form]:
    """Return how a secret may turn up.

    That is the text itself, its longer lines, and its URL-encoded, JSON-escaped and base64 forms. A secret inside a
    longer base64 text is found by the part of its encoding that does not depend on its neighbours, at each of the
    three alignments; the digits that it shares with its neighbours are its borders.
    """
    raw = secret.encode("utf-8", "surrogateescape")
    if len(raw) < MIN_SECRET_BYTES:
        return set()
    return {Form(text) for text in _texts(secret, raw) if len(text) >= MIN_SECRET_BYTES} | _base64_forms(raw)


def _texts(secret: str, raw: bytes) -> set[bytes]:
    from urllib.parse import quote, quote_plus  # noqa: PLC0415 - a run without secrets starts sooner

    found = {raw, *_lines(raw)}
    if raw.isascii() or _is_text(secret):
        found |= {quote(secret, safe="").encode(), quote_plus(secret).encode()}
        escaped = msgspec.json.encode(secret)[1:-1]
        found |= {escaped, _ascii_json(escaped.decode()), secret.encode("unicode_escape")}
    return found


def _is_text(secret: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in secret)


def _ascii_json(escaped: str) -> bytes:
    """Return JSON text with everything beyond ASCII as escapes, as many encoders write it."""
    units = escaped.encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    return "".join(chr(code) if code < 127 else f"\\u{code:04x}" for code in codes).encode()


def _lines(raw: bytes) -> set[bytes]:
    return {line.strip() for line in raw.splitlines() if len(line.strip()) >= MIN_LINE_BYTES}


def _base64_forms(raw: bytes) -> set[Form]:
    found = set()
    for shift in range(3):
        whole = _base64(bytes(shift) + raw)
        start = (8 * shift + 5) // 6
        end, rest = divmod(8 * (shift + len(raw)), 6)
        if end - start >= MIN_LINE_BYTES:
            stable = whole[start:end]
            for text in (stable, stable.replace(b"+", b"-").replace(b"/", b"_")):
                found.add(Form(text, before=int(shift > 0), after=int(rest > 0)))
    return found | _wrapped_base64(raw)


def _base64(data: bytes) -> bytes:
    from binascii import b2a_base64  # noqa: PLC0415 - as above

    return b2a_base64(data, newline=False)


def _wrapped_base64(raw: bytes) -> set[Form]:
    """Return the lines into which tools break the base64 text of a long secret."""
    size, rest = divmod(8 * len(raw), 6)
    text = _base64(raw)[:size]
    lines = {(at, text[at : at + width]) for width in WRAP_COLUMNS for at in range(0, size, width)}
    return {
        Form(line, after=int(rest > 0 and at + len(line) == size))
        for at, line in lines
        if MIN_LINE_BYTES <= len(line) < size
    }


def _merged(found: Iterable[Form]) -> list[Form]:
    """Return one form for each text, the longest first."""
    by_text: dict[bytes, Form] = {}
    for form in found:
        other = by_text.get(form.text, form)
        borders = (max(form.before, other.before), max(form.after, other.after))
        by_text[form.text] = Form(form.text, *borders, other.mask)
    return sorted(by_text.values(), key=lambda form: (-len(form.text), form.text))


Span = tuple[int, int, bytes]
"""Where a secret stands, from and to, and what stands in its place."""

Data = bytes
"""The type, under a name that no method below takes away."""


class Redactor:
    """Knows the secrets of a run; makes streams, and redacts whole texts.

    Args:
        secrets: What must not be shown.
        instead: What stands in the place of some of them, by secret; `MASK` for all others, and where it is empty or
            would itself show a secret. Where secrets overlap or touch, that of the first one stands for all.
    """

    def __init__(self, secrets: Iterable[str], instead: Mapping[str, str] | None = None) -> None:
        known = (*secrets, *(instead or ()))
        self._forms = _merged(form for secret in known for form in forms(secret))
        if instead:
            self._forms = _merged((*self._with_texts(instead), *self._forms))

    def __bool__(self) -> bool:
        return bool(self._forms)

    @property
    def longest(self) -> int:
        """Bytes of the longest text that is looked for, with its borders; 0 if nothing is."""
        return max((len(form.text) + form.before + form.after for form in self._forms), default=0)

    def joined(self, other: "Redactor") -> "Redactor":
        """Return a redactor that knows the secrets of both."""
        both = Redactor(())
        both._forms = _merged((*self._forms, *other._forms))
        return both

    def _with_texts(self, instead: Mapping[str, str]) -> Iterator[Form]:
        for secret, text in instead.items():
            if text and not self.finds(text):
                yield from (structs.replace(form, mask=_encoded(text)) for form in forms(secret))

    def stream(self) -> "RedactingStream":
        """Return a fresh stream; each sequence of chunks needs its own."""
        return RedactingStream(self._forms)

    def bytes(self, data: bytes) -> bytes:
        """Return `data` with every secret masked."""
        if not self._forms:
            return data
        stream = self.stream()
        return stream.feed(data) + stream.flush()

    def text(self, text: str) -> str:
        """Return `text` with every secret masked."""
        if not self._forms:
            return text
        return self.bytes(_encoded(text)).decode("utf-8", "surrogateescape")

    def finds(self, text: str) -> bool:
        """Tell whether `text` holds a secret in any form."""
        return finds(self._forms, _encoded(text))

    def found_in(self, text: str) -> list[str]:
        """Return the secrets that `text` holds, in the forms in which it holds them."""
        data = _encoded(text)
        return [form.text.decode("utf-8", "surrogateescape") for form in self._forms if form.text in data]

    def finds_in(self, data: Data) -> bool:
        """Tell whether `data` holds a secret in any form."""
        return finds(self._forms, data)


def finds(forms: Iterable[Form], data: Data) -> bool:
    """Tell whether `data` holds any of the forms."""
    return any(form.text in data for form in forms)


def _encoded(text: str) -> bytes:
    """Return text as bytes; half a character that stands for no byte becomes a question mark."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


class RedactingStream:
    """One sequence of chunks. Holds back only bytes that may be the beginning of a secret.

    Overlapping secrets are masked as one. A digit of base64 that may be the border of a secret waits for what follows
    it, and a secret that may have a border behind it waits for that. When the held bytes are already covered by a mask that was put out, they
    are remembered so that what follows directly joins the same mask.
    """

    def __init__(self, forms: list[Form]) -> None:
        self._forms = forms
        self._any_before = any(form.before for form in forms)
        self._held = b""
        self._covered = 0
        self._in_mask = False

    @property
    def held_bytes(self) -> int:
        """How much is held back, as it may be the beginning of a secret."""
        return len(self._held)

    def feed(self, chunk: bytes) -> bytes:
        """Return what can be put out now."""
        data = self._held + chunk
        return self._emit(data, self._hold_from(data))

    def flush(self) -> bytes:
        """Return what was held back; the stream is then as new."""
        out = self._emit(self._held, len(self._held))
        self._in_mask = False
        return out

    def _emit(self, data: bytes, end: int) -> bytes:
        """Mask `data` up to `end` and hold the rest."""
        if not end:
            self._held = data
            return b""
        spans = self._spans(data)
        out: list[bytes] = []
        position = 0
        covered = 0
        for start, stop, mask in spans:
            if start >= end:
                break
            if start > position:
                out.append(data[position:start])
                self._in_mask = False
            if not self._in_mask:
                out.append(mask)
                self._in_mask = True
            position = min(stop, end)
            covered = max(0, stop - end)
        if position < end:
            out.append(data[position:end])
            self._in_mask = False
        self._held = data[end:]
        self._covered = covered
        return b"".join(out)

    def _spans(self, data: bytes) -> list[Span]:
        """Return where secrets stand, joined where they overlap or touch, in order."""
        found = [(0, self._covered, MASK)] if self._covered else []
        for form in self._forms:
            text, size = form.text, len(form.text)
            at = data.find(text)
            while at >= 0:
                found.append(_with_borders(data, form, at))
                last = data.rfind(text, at + 1, at + 2 * size)  # all between are parts of the same mask
                at = last if last >= 0 else data.find(text, at + size + 1)
        return _joined(sorted(found, key=_place)) if len(found) > 1 else found

    def _hold_from(self, data: bytes) -> int:
        """Return where the longest end of `data` begins that a secret with its borders could begin with."""
        held = int(self._any_before and _is_digit(data, len(data) - 1))
        for form in self._forms:
            start = len(data) - min(len(form.text) - 1 + form.after, len(data))
            at = data.find(form.text[0], start)
            while 0 <= at < len(data) - held + form.before:
                if form.text.startswith(data[at:]):
                    held = max(held, len(data) - at + (form.before and _is_digit(data, at - 1)))
                    break
                at = data.find(form.text[0], at + 1)
        return len(data) - held


def _with_borders(data: bytes, form: Form, at: int) -> Span:
    stop = at + len(form.text)
    before = form.before and _is_digit(data, at - 1)
    after = form.after and _is_digit(data, stop)
    return at - before, stop + after, form.mask


def _is_digit(data: bytes, at: int) -> bool:
    return 0 <= at < len(data) and data[at] in BASE64


def _place(span: Span) -> tuple[int, int]:
    """Order spans by where they begin, the longest first."""
    return span[0], -span[1]


def _joined(spans: list[Span]) -> list[Span]:
    joined = [spans[0]]
    for start, stop, mask in spans[1:]:
        last_start, last_stop, last_mask = joined[-1]
        if start <= last_stop:
            joined[-1] = (last_start, max(last_stop, stop), last_mask)
        else:
            joined.append((start, stop, mask))
    return joined
