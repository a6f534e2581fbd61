"""From output to the text of a log: redacted, cut, in lines that tell their stream."""

import random
from base64 import b64encode

import pytest

from runwright.core import job_output
from runwright.core.job_output import JobOutput, cut_text
from runwright.core.redact import Redactor

SECRET = "correct-horse-battery"
PLAIN = Redactor(())
KNOWING = Redactor([SECRET])


def shown(
    *pieces: tuple[str, bytes] | None, redactor: Redactor = PLAIN, head: int = 10_000, tail: int = 0
) -> str:
    """Return the text of pieces of output; None is a tick."""
    output = JobOutput(redactor, head, tail)
    parts = [output.tick() if piece is None else output.take(*piece) for piece in pieces]
    return b"".join([*parts, output.end()]).decode()


def out(data: str | bytes) -> tuple[str, bytes]:
    return "stdout", data.encode() if isinstance(data, str) else data


def err(data: str | bytes) -> tuple[str, bytes]:
    return "stderr", data.encode() if isinstance(data, str) else data


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([], ""),
        ([out("a\nb\n")], "stdout: a\nstdout: b\n"),
        ([out("a")], "stdout: a\n"),
        ([out("a"), out("b\nc"), out("\n")], "stdout: ab\nstdout: c\n"),
        ([out("a"), err("e\n"), out("b\n")], "stderr: e\nstdout: ab\n"),
        ([out("\n\n")], "stdout: \nstdout: \n"),
        ([out("a"), None, err("e\n"), out("b\n")], "stdout: a\nstderr: e\nstdout: b\n"),
        ([out("a"), None, out("b"), None, out("\nc\n")], "stdout: ab\nstdout: c\n"),
        ([out("a"), None, err("b"), None, out("c")], "stdout: a\nstderr: b\nstdout: c\n"),
        ([out("a"), err("b")], "stdout: a\nstderr: b\n"),
        ([out("ü".encode()[:1]), out("ü".encode()[1:] + b"\n")], "stdout: ü\n"),
        ([out(b"\xff\0\n\xc3")], "stdout: \ufffd\ufffd\nstdout: \ufffd\n"),
        ([out("10%\r20%\r")], "stdout: 10%\r20%\r\n"),
    ],
)
def test_lines(pieces: list[tuple[str, bytes] | None], text: str) -> None:
    assert shown(*pieces) == text


def test_a_long_line_does_not_wait() -> None:
    output = JobOutput(PLAIN, 1 << 20, 0)
    assert output.take("stdout", b"x" * 65_000) == b""
    assert output.take("stdout", b"x" * 1_000) == b"stdout: " + b"x" * 66_000
    assert output.take("stdout", b"y") == b"y", "it is open: what comes is shown at once"
    assert output.end() == b"\n"


def test_head_and_tail() -> None:
    text = shown(*(out(f"{number:04}\n") for number in range(1_000)), head=50, tail=25)
    left_out = cut_text(5_000 - 75)
    expected = [f"stdout: {number:04}\n" for number in (*range(10), *range(995, 1_000))]
    assert text == "".join(expected[:10]) + f"stderr: {left_out}" + "".join(expected[10:])


def test_one_byte_too_much_is_not_cut() -> None:
    assert shown(out("abcdef"), out("ghij"), head=5, tail=5) == "stdout: abcdefghij\n"
    assert shown(out("a" * 5 + "b" * 6), head=5, tail=5) == (
        f"stdout: aaaaa\nstderr: {cut_text(1)}stdout: bbbbb\n"
    )


def test_the_end_of_a_silent_stream_is_kept() -> None:
    text = shown(out("x" * 9_999 + "\n"), err("last words\n"), redactor=KNOWING, head=100, tail=100)
    assert text.endswith("stderr: last words\n")
    assert text.count("left out") == 1


def test_a_tick_says_nothing_of_what_may_be_left_out() -> None:
    output = JobOutput(PLAIN, 3, 3)
    output.take("stdout", b"abcd")
    assert output.tick() == b""


def test_tiny_pieces_don_t_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_output, "MOST_PIECES", 10)
    pieces = [out("o") if number % 2 else err("e") for number in range(1_000)]
    text = shown(*pieces, head=0, tail=1_000)
    assert cut_text(990) in text
    assert len(text) < 300


def test_pieces_of_one_stream_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_output, "MOST_PIECES", 3)
    assert shown(*[out("o")] * 1_000, head=0, tail=1_000) == "stdout: " + "o" * 1_000 + "\n"


@pytest.mark.parametrize("cut", range(len(SECRET) + 1))
def test_a_secret_at_the_cut_is_not_shown_in_part(cut: int) -> None:
    """Neither where the head ends nor where the tail begins is a piece of a secret seen."""
    before, after = b"a" * 40, b"z" * 400
    text = shown(out(before + SECRET.encode() + after), redactor=KNOWING, head=40 + cut, tail=20)
    assert "corr" not in text
    data = b"a" * 400 + SECRET.encode() + b"z" * 20
    text = shown(out(data), redactor=KNOWING, head=10, tail=20 + len(SECRET) - cut)
    assert "tery" not in text
    assert text.endswith("z" * 20 + "\n")


def test_that_test_can_fail() -> None:
    """The control: without the margin the rest of a secret is seen."""
    data = b"a" * 400 + SECRET.encode() + b"z" * 20
    output = JobOutput(KNOWING, 10, 30)
    output.take("stdout", data)
    output._before._margin = 0
    assert b"battery" in output.end()


def test_pieces_of_any_size_give_the_same_text() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    words = [SECRET, b64encode(SECRET.encode()).decode(), "plain", "\n", "ü", SECRET[:9]]
    for _ in range(200):
        data = "".join(chance.choices(words, k=chance.randrange(60))).encode()
        head, tail = chance.randrange(200), chance.randrange(200)
        whole = shown(out(data), redactor=KNOWING, head=head, tail=tail)
        size = chance.randrange(1, 9)
        pieces = [out(data[at : at + size]) for at in range(0, len(data), size)]
        assert shown(*pieces, redactor=KNOWING, head=head, tail=tail) == whole
        assert SECRET not in whole
        assert SECRET[6:] not in whole, "no long end of it"


def test_output_that_grows_is_cut_sooner() -> None:
    redactor = Redactor((), {"abc": "x" * 200})
    text = shown(*[out(b"abc " * 1_000)] * 1_000, redactor=redactor, head=200_000, tail=50_000)
    assert len(text) < 1_500_000, "and not 200 MB"
    assert "left out" in text
    lines = shown(*[out(b"\n" * 1_000)] * 1_000, head=200_000, tail=50_000)
    assert len(lines) < 800_000
    assert lines.endswith("stdout: \n")
    ends = shown(*[out(b"\n" * 1_000)] * 100, head=0, tail=100_000)
    assert "left out" in ends, "also where all of it would fit otherwise"
    assert len(ends) < 1_000_000
