"""Secrets in every form they may take."""

import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest

from runwright.core.redact import Redactor, forms

SECRET = "pass word/+&ü\"'\\"
MASK = "***"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps("x" + SECRET + "y"),
        SECRET.encode("unicode_escape").decode(),
    ],
)
def test_every_form_is_masked(form: str) -> None:
    redacted = Redactor([SECRET]).text(f"<{form}>")
    assert MASK in redacted
    assert SECRET not in redacted
    assert "pass" not in redacted


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc", b"abcd"])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_base64_is_masked_at_every_alignment(before: bytes, encode: object) -> None:
    secret = "s3cr3t>>>???~~~"
    assert callable(encode)
    encoded = encode(before + secret.encode() + b" and more").decode()
    redacted = Redactor([secret]).text(encoded)
    assert MASK in redacted
    first, last = 8 * len(before) // 6, -(-8 * (len(before) + len(secret)) // 6)
    assert redacted == encoded[:first] + MASK + encoded[last:], "no digit with a bit of the secret is left"


def test_lines_of_wrapped_base64_are_masked() -> None:
    secret = "".join(chr(33 + 7 * n % 90) for n in range(200))
    wrapped = encodebytes(secret.encode())
    redacted = Redactor([secret]).bytes(wrapped)
    assert wrapped.count(b"\n") > 3
    assert not [line for line in wrapped.splitlines()[:-1] if line in redacted]
    other = b"\n".join(wrapped.replace(b"\n", b"")[at : at + 64] for at in range(0, 256, 64))
    assert Redactor([secret]).bytes(other) == b"***\n***\n***\n***"


def test_lines_of_a_secret_are_masked_one_by_one() -> None:
    redactor = Redactor(["first line\n  second line  \nxy\n"])
    assert redactor.text("a second line, a first line, xy") == "a ***, a ***, xy"


def test_a_character_beyond_the_basic_plane_is_masked_as_json() -> None:
    secret = "key-\N{GRINNING FACE}-key"
    assert Redactor([secret]).text(json.dumps(secret)) == '"***"'


@pytest.mark.parametrize("secret", ["", "a", "ab"])
def test_what_is_too_short_is_no_secret(secret: str) -> None:
    assert forms(secret) == set()
    redactor = Redactor([secret])
    assert not redactor
    assert redactor.text("abc") == "abc"
    assert redactor.bytes(b"abc") == b"abc"
    assert redactor.stream().feed(b"abc") == b"abc"


def test_a_secret_that_is_no_text_is_masked_as_its_bytes() -> None:
    redactor = Redactor([b"\xff\xfe\xfdkey".decode("utf-8", "surrogateescape")])
    assert redactor.bytes(b"a \xff\xfe\xfdkey b") == b"a *** b"
    assert redactor


def test_text_with_half_characters_is_redacted_too() -> None:
    redactor = Redactor(["secret"])
    assert redactor.text("\ud800 secret") == "? ***"
    assert redactor.finds("\ud800 secret")
    assert redactor.text("\udcff secret") == "\udcff ***"


def test_overlapping_and_touching_secrets_are_one_mask() -> None:
    redactor = Redactor(["abcdef", "defghi", "uvw", "xyz"])
    assert redactor.text("1 abcdefghi 2 uvwxyz 3 uvw xyz") == "1 *** 2 *** 3 *** ***"


def test_the_longest_secret_wins() -> None:
    assert Redactor(["abc", "abcdef"]).text("abcdefg") == "***g"


def test_a_stream_puts_out_what_can_be_no_secret_at_once() -> None:
    stream = Redactor(["secret"]).stream()
    assert stream.feed(b"line one\nse") == b"line one\n"
    assert stream.feed(b"cre") == b""
    assert stream.feed(b"t end sec") == b"*** end "
    assert stream.flush() == b"sec"


def test_a_stream_is_new_after_it_was_flushed() -> None:
    stream = Redactor(["secret"]).stream()
    assert stream.feed(b"secret") == b"***"
    assert stream.flush() == b""
    assert stream.feed(b"secret") == b"***"


def test_a_mask_goes_on_over_chunks() -> None:
    stream = Redactor(["aaaa"]).stream()
    whole = b"".join(stream.feed(b"a") for _ in range(20)) + stream.flush()
    assert whole == b"***"


def test_finding() -> None:
    redactor = Redactor(["secret-word"])
    assert redactor.finds("a secret-word")
    assert redactor.finds(b64encode(b"secret-word").decode())
    assert not redactor.finds("secret")


def test_a_secret_inside_what_may_become_another_waits_with_it() -> None:
    stream = Redactor(["abcdefgh", "def"]).stream()
    assert stream.feed(b"1 abcdef") == b"1 "
    assert stream.feed(b"z ") == b"abc***z "
    assert stream.feed(b"2 abcdef") == b"2 "
    assert stream.feed(b"gh") == b"***"


def test_a_digit_of_base64_waits_for_what_follows_it() -> None:
    encoded = b64encode(b"xx" + b"secret-word" + b"y")
    stream = Redactor(["secret-word"]).stream()
    assert stream.feed(encoded[:3]) == encoded[:2], "the third digit may carry bits of the secret"
    assert stream.feed(encoded[3:17]) == b"", "nor is it known yet whether it has a border behind it"
    assert stream.feed(encoded[17:]) == b"***" + encoded[18:]


def test_what_is_no_digit_of_base64_is_no_border() -> None:
    encoded = b64encode(b"secret-word")
    assert Redactor(["secret-word"]).bytes(b"<" + encoded + b">") == b"<***=>"
    sure = b64encode(b"x" + b"secret-word")[2:]
    assert Redactor(["secret-word"]).bytes(b"<" + sure + b">") == b"<***>"


def test_what_stands_in_the_place_of_a_secret() -> None:
    redactor = Redactor(["token1"], {"hunter2": "${{ secrets.A }}", "hunter22": "${{ secrets.B }}"})
    said = redactor.text(f"a hunter2 b hunter22 c token1 d {b64encode(b'hunter2').decode()}")
    assert said.startswith("a ${{ secrets.A }} b ${{ secrets.B }} c *** d ${{ secrets.A }}")
    assert redactor.text("xhunter2hunter22token1x") == "x${{ secrets.A }}x", "what touches is one"


def test_the_longest_of_those_that_begin_together_counts() -> None:
    one, other = {"abcdef": "[short]", "abcdefghij": "[long]"}, {"abcdefghij": "[long]", "abcdef": "[short]"}
    for instead in (one, other):
        stream = Redactor((), instead).stream()
        assert stream.feed(b"abcdefg") == b""
        assert stream.feed(b"hij abcdefg") + stream.flush() == b"[long] [short]g"


@pytest.mark.parametrize("text", ["", "the hunter2", "the swordfish", b64encode(b"swordfish").decode()])
def test_a_replacement_that_shows_a_secret_is_not_used(text: str) -> None:
    assert Redactor(["swordfish"], {"hunter2": text}).text("a hunter2 b") == "a *** b"


def test_texts_of_both_are_known_to_a_joined_redactor() -> None:
    both = Redactor((), {"hunter2": "[one]"}).joined(Redactor((), {"swordfish": "[two]"}))
    assert both.text("hunter2 swordfish") == "[one] [two]"
