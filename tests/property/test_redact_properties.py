"""Redaction of random secrets in random texts, cut anywhere."""

import json
import os
import time
from base64 import b64encode, encodebytes, urlsafe_b64encode
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.core.redact import BASE64, MASK, Form, Redactor, forms

EXAMPLES = int(os.environ.get("RUNWRIGHT_EXAMPLES", "300"))
MIB = 1 << 20

overlapping = st.lists(st.text("ab", min_size=3, max_size=8), min_size=1, max_size=4)
"""Secrets of two letters overlap each other and themselves all the time."""

secrets = st.text(
    st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=6, max_size=40
).filter(lambda text: text.strip())


@st.composite
def texts(draw: st.DrawFn, parts: list[str]) -> str:
    """Draw a text made of secrets, halves of secrets and noise."""
    halves = [part[:cut] for part in parts for cut in range(1, len(part))]
    halves += [part[cut:] for part in parts for cut in range(1, len(part))]
    pieces = st.one_of(st.sampled_from(parts), st.sampled_from(halves), st.text("abc\n", max_size=3))
    return "".join(draw(st.lists(pieces, max_size=10)))


def streamed(redactor: Redactor, chunks: list[bytes]) -> bytes:
    stream = redactor.stream()
    return b"".join([*(stream.feed(chunk) for chunk in chunks), stream.flush()])


def brute_force(patterns: set[Form], data: bytes) -> bytes:
    """Mask every byte that is part of a secret or its border, each run of them by one mask."""
    hidden = [False] * len(data)
    for pattern in patterns:
        for at in range(len(data) - len(pattern.text) + 1):
            if data.startswith(pattern.text, at):
                stop = at + len(pattern.text)
                if pattern.before and at and data[at - 1] in BASE64:
                    hidden[at - 1] = True
                if pattern.after and stop < len(data) and data[stop] in BASE64:
                    hidden[stop] = True
                hidden[at:stop] = [True] * len(pattern.text)
    out = bytearray()
    for at, byte in enumerate(data):
        if not hidden[at]:
            out.append(byte)
        elif not at or not hidden[at - 1]:
            out += MASK
    return bytes(out)


@settings(max_examples=EXAMPLES, deadline=None)
@given(overlapping, st.data())
def test_streaming_equals_the_whole_at_every_split(parts: list[str], data: st.DataObject) -> None:
    text = data.draw(texts(parts)).encode()
    if data.draw(st.booleans()):
        text = b64encode(text)
    redactor = Redactor(parts)
    whole = redactor.bytes(text)
    assert whole == brute_force({form for part in parts for form in forms(part)}, text)
    for cut in range(len(text) + 1):
        assert streamed(redactor, [text[:cut], text[cut:]]) == whole
    for size in (1, 2, 3):
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        assert streamed(redactor, chunks) == whole


@settings(max_examples=EXAMPLES, deadline=None)
@given(overlapping, st.data(), st.lists(st.integers(0, 80), max_size=6))
def test_streaming_equals_the_whole_at_random_splits(
    parts: list[str], data: st.DataObject, cuts: list[int]
) -> None:
    text = data.draw(texts(parts)).encode()
    edges = [0, *sorted(cuts), len(text)]
    chunks = [text[start:end] for start, end in pairwise(edges)]
    redactor = Redactor(parts)
    assert streamed(redactor, chunks) == redactor.bytes(b"".join(chunks))


def every_form(secret: str, before: bytes, after: bytes) -> list[bytes]:
    """Return the texts under which a program may show a secret, each with something around it."""
    raw = secret.encode()
    shown = [
        raw,
        quote(secret, safe="").encode(),
        quote_plus(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
    ]
    around = [before + form + after for form in shown]
    return [*around, b64encode(before + raw + after), urlsafe_b64encode(before + raw + after)]


@settings(max_examples=EXAMPLES, deadline=None)
@given(secrets, st.binary(max_size=4), st.binary(max_size=4), st.data())
def test_no_form_of_a_secret_survives(secret: str, before: bytes, after: bytes, data: st.DataObject) -> None:
    redactor = Redactor([secret])
    patterns = forms(secret)
    for text in every_form(secret, before, after):
        cut = data.draw(st.integers(0, len(text)))
        out = streamed(redactor, [text[:cut], text[cut:]])
        assert MASK in out
        assert not [pattern for pattern in patterns if pattern.text in out]
    core = b64encode(before + secret.encode() + after)
    first, last = 8 * len(before) // 6, -(-8 * (len(before) + len(secret.encode())) // 6)
    masked = redactor.bytes(core)
    assert masked.startswith(core[:first] + MASK), (
        "no digit with a bit of the secret is left at its beginning"
    )
    assert masked == core[:first] + MASK + core[last:] or MASK in masked[first + 3 :], "nor at its end"


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(secrets, min_size=2, max_size=5), st.integers(1, 7))
def test_no_long_line_of_a_secret_of_many_lines_survives(lines: list[str], size: int) -> None:
    secret = "\n".join(lines)
    text = f"a {secret} b\n{encodebytes(secret.encode()).decode()}".encode()
    out = streamed(Redactor([secret]), [text[at : at + size] for at in range(0, len(text), size)])
    for line in secret.encode().splitlines():
        assert len(line.strip()) < 6 or line.strip() not in out


def test_a_replacement_chunk_by_chunk_is_caught() -> None:
    """The control: what most programs do leaks at every split inside the secret."""
    text, secret = b"x secret y", b"secret"
    leaks = [cut for cut in range(len(text)) if secret in naive(secret, [text[:cut], text[cut:]])]
    assert leaks == [3, 4, 5, 6, 7]
    assert secret not in streamed(Redactor(["secret"]), [text[:5], text[5:]])


def naive(secret: bytes, chunks: list[bytes]) -> bytes:
    return b"".join(chunk.replace(secret, MASK) for chunk in chunks)


PEM = "-----BEGIN KEY-----\n" + "\n".join(b64encode(bytes([n] * 48)).decode() for n in range(40))
CASES = {
    "words": (["correct-horse-battery"], b"the quick brown fox jumps over the lazy dog\n"),
    "secrets everywhere": (["secret-one", "secret-two"], b"a secret-one and a secret-two\n"),
    "overlapping itself": (["a" * 64], b"a" * 64),
    "almost the secret": (["a" * 500 + "b"], b"a" * 64),
    "a long secret of many lines": ([PEM], b"-----BEGIN KEY-----\nAAAA and so on\n"),
    "a very long secret": (["".join(chr(33 + n * n % 90) for n in range(20_000))], b'!"%*1:ET and so on\n'),
}


def seconds(redactor: Redactor, line: bytes, size: int) -> float:
    data = line * (size // len(line))
    stream = redactor.stream()
    began = time.process_time()
    for at in range(0, len(data), 1 << 16):
        stream.feed(data[at : at + (1 << 16)])
    stream.flush()
    return time.process_time() - began


@pytest.mark.parametrize("case", CASES)
def test_time_is_linear(case: str) -> None:
    parts, line = CASES[case]
    redactor = Redactor(parts)
    small = min(seconds(redactor, line, MIB) for _ in range(2))
    large = seconds(redactor, line, 10 * MIB)
    print(f"{case}: {large:.2f} s for 10 MiB")
    assert large < 10 * small * 3 + 0.5, "ten times the data, with room for noise"
    assert large < 20.0
