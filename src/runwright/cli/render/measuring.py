"""About how wide texts are on paper, without looking at any font."""

from itertools import accumulate

_NARROW = frozenset("iljtfrI.,:;|!'()[]{}/\\ ")
_WIDE = frozenset("mwMW@%—…")


def text_width(text: str, size: float) -> float:
    """Return about how wide a text is in a sans serif face; rather too much than too little."""
    return size * sum(_em(letter) for letter in text)


def _em(letter: str) -> float:
    if letter in _NARROW:
        return 0.36
    if letter in _WIDE:
        return 0.95
    if letter.isascii():
        return 0.7 if letter.isupper() or letter.isdigit() else 0.6
    return 1.05 if ord(letter) > 0x2E7F else 0.7


def fit_text(text: str, size: float, room: float) -> str:
    """Return a text cut with an ellipsis to about `room` pixels."""
    if text_width(text, size) <= room:
        return text
    left = room - size * _em("…")
    widths = accumulate(size * _em(letter) for letter in text)
    return text[: sum(width <= left for width in widths)] + "…"
