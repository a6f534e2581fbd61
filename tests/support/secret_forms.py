"""Secrets, the forms under which programs show them, and the search for what is left of them.

The steps of the tests use it too, in which there is nothing but the standard library.
"""

import json
import random
import re
import string
from base64 import b64encode, encodebytes, urlsafe_b64encode
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

WINDOW = 8
"""Bytes of a secret, or of a form of it, that count as found; shorter forms count as a whole."""

SHORTEST = 6
"""Bytes of the shortest secret."""

WRAPPED_FROM = 80
"""Bytes from which a secret is also shown as base64 text in lines."""

PIECE = 1 << 22
LETTERS = string.ascii_letters + string.digits
MARKS = ("/", "+", "&", '"', "\\", "%", "=", "?", " ", "<", "$", "`", "\t", "ü", "€", "😀", "'", ">>?")
NEIGHBOURS = (b"", b"a", b"ab")
"""What comes before a secret in base64 text, so that it stands there at each alignment."""


def plain(rng: random.Random, size: int) -> str:
    """Return a secret of letters and digits."""
    return "".join(rng.choices(LETTERS, k=size))


def _marked(rng: random.Random, index: int) -> str:
    return plain(rng, rng.randint(3, 9)) + MARKS[index % len(MARKS)] + plain(rng, rng.randint(3, 9))


def _lines(rng: random.Random, index: int) -> str:
    end = ("\n", "\r\n")[index % 2]
    return end.join(plain(rng, rng.randint(8, 48)) for _ in range(2 + index % 4)) + end * (index % 3 == 0)


def make_secrets(rng: random.Random, count: int = 50) -> list[str]:
    """Return different secrets: short and long ones, with marks, of several lines, and parts of one another."""
    found = [plain(rng, size) for size in (SHORTEST, 7, 8, 13, 40, 300)]
    found += [_marked(rng, index) for index in range(len(MARKS))]
    found += [_lines(rng, index) for index in range(12)]
    found += [found[4] + plain(rng, 9), found[3][2:11], found[4][30:] + found[3]]
    found += [plain(rng, rng.randint(SHORTEST, 64)) for _ in range(count - len(found))]
    assert len(set(found)) == count
    return found


def texts(secret: str) -> dict[str, bytes]:
    """Return how programs show a secret that stands by itself, by the name of the form."""
    return {
        "plain": secret.encode(),
        "JSON": json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        "ASCII JSON": json.dumps(secret)[1:-1].encode(),
        "URL": quote(secret, safe="").encode(),
        "form": quote_plus(secret).encode(),
    }


def shown(secret: str) -> dict[str, bytes]:
    """Return everything under which programs show a secret, base64 with neighbours at each alignment."""
    raw = secret.encode()
    found = texts(secret)
    for before in NEIGHBOURS:
        found[f"base64 after {len(before)}"] = b64encode(before + raw + b"z")
        found[f"URL-safe base64 after {len(before)}"] = urlsafe_b64encode(before + raw + b"z")
    if len(raw) >= WRAPPED_FROM:
        found["base64 in lines"] = encodebytes(raw)
    lines = secret.splitlines()
    if len(lines) > 1:
        found |= {f"line {number}": line.encode() for number, line in enumerate(lines)}
    return found


def _digits(raw: bytes) -> Iterable[bytes]:
    """Yield the digits of base64 that say nothing but a secret, at each alignment."""
    for before in NEIGHBOURS:
        first = -(-8 * len(before) // 6)
        last = 8 * (len(before) + len(raw)) // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(before + raw)[first:last]


class Hunt:
    """Finds secrets in bytes, whole ones and parts of them.

    Args:
        secrets: What is looked for, in each of its forms.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._windows: dict[int, str] = {}
        self._short: dict[bytes, str] = {}
        for number, secret in enumerate(secrets):
            self._add(f"secret {number}", secret)

    def _add(self, name: str, secret: str) -> None:
        forms = [*texts(secret).items(), *(("base64", digits) for digits in _digits(secret.encode()))]
        for form, text in forms:
            if len(text) < WINDOW:
                self._short[text] = f"{name} as {form}"
            for at in range(len(text) - WINDOW + 1):
                window = int.from_bytes(text[at : at + WINDOW], "little")
                self._windows[window] = f"{name} as {form} from byte {at}"

    def find(self, data: bytes, most: int = 5) -> list[str]:
        """Return what is found, with what stands around it; empty if nothing is."""
        found = [
            self._told(name, data, match.start())
            for text, name in self._short.items()
            if (match := re.search(re.escape(text), data))
        ]
        for begin in range(0, len(data), PIECE):
            piece = data[begin : begin + PIECE + WINDOW - 1]
            for shift in range(WINDOW):
                found += self._find(piece, shift, most - len(found))
        return found[:most]

    def _find(self, piece: bytes, shift: int, most: int) -> list[str]:
        """Look at every eighth window of a piece: as numbers, so that no Python code runs for each."""
        end = shift + (len(piece) - shift) // WINDOW * WINDOW
        numbers = memoryview(piece)[shift:end].cast("Q").tolist() if end > shift else []
        if most <= 0 or self._windows.keys().isdisjoint(numbers):
            return []
        places = [index for index, number in enumerate(numbers) if number in self._windows]
        return [
            self._told(self._windows[numbers[index]], piece, shift + WINDOW * index)
            for index in places[:most]
        ]

    def _told(self, name: str, data: bytes, at: int) -> str:
        return f"{name}: {data[max(0, at - 60) : at + 60]!r}"
