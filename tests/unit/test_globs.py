"""Patterns for names of files."""

import pytest

from runwright.core.globs import has_wildcard, matches, static_parent


@pytest.mark.parametrize(
    ("text", "path", "fits"),
    [
        ("a.c", "a.c", True),
        ("a.c", "abc", False),
        ("*.c", "a.c", True),
        ("*.c", "src/a.c", False),
        ("*.c", ".a.c", False),
        (".*.c", ".a.c", True),
        ("?.c", "a.c", True),
        ("?.c", "/.c", False),
        ("src/*.c", "src/a.c", True),
        ("src/*.c", "src/b/a.c", False),
        ("./src/*.c", "src/a.c", True),
        ("**/a.c", "a.c", True),
        ("**/a.c", "x/y/a.c", True),
        ("**/a.c", "x/.y/a.c", False),
        ("src/**", "src/a.c", True),
        ("src/**", "src/x/y/a", True),
        ("src/**", "src/.hidden", False),
        ("src/**", "srcs/a", False),
        ("src/**/x.h", "src/x.h", True),
        ("src/**/x.h", "src/a/b/x.h", True),
        ("[ab].c", "b.c", True),
        ("[!ab].c", "b.c", False),
        ("[^ab].c", "c.c", True),
        ("[!a].c", "/.c", False),
        ("[]].c", "].c", True),
        ("[*].c", "*.c", True),
        ("[*].c", "a.c", False),
        (r"[\d^&~|[].c", r"\.c", True),
        (r"[\d].c", "7.c", False),
        ("a[.c", "a[.c", True),
        ("a+(b).c", "a+(b).c", True),
        ("a**b", "axxb", True),
        ("a\nb*", "a\nbc\n", True),
    ],
)
def test_matches(text: str, path: str, fits: bool) -> None:
    assert matches(text, path) is fits


def test_what_is_known_of_a_pattern() -> None:
    assert [has_wildcard(text) for text in ("a/b.c", "*", "a?", "[a]")] == [False, True, True, True]
    assert static_parent("a/b/c.o") == "a/b"
    assert static_parent("a/*/c/*.o") == "a"
    assert static_parent("**/x") == static_parent("x") == ""
