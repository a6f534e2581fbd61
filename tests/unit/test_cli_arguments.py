"""The quick reading of a command line says what argparse says, or nothing."""

import random
from typing import Any

import pytest

from runwright.cli.arguments import Arguments, read_quickly
from runwright.cli.dispatch import find, parser_of
from runwright.cli.main import COMMANDS
from runwright.cli.parser import parse
from runwright.core.errors import UsageError

WORDS = [
    "a.toml", "latest", "x", "", "-", "--", "-n", "-j", "-j4", "4", "0", "-1", "--json", "--json=1", "--var", "a=b", "--var=c=d",
    "--workers", "--workers=3", "--strategy", "levels", "--parallel", "--sequential", "--only", "--timeout", "3s", "never",
    "--fail-fast", "--keep-going", "-q", "-qn", "--store", "s.db", "-C", "/", "--no-colour", "--verbose", "--tag=t", "-h", "--wrong",
    "--events", "jsonl", "--from", "--pinned", "--var-file=f", "--clean-env", "--dry-run", "--dry", "--work-stealing", "--plain",
]  # fmt: skip
GIVEN: dict[str, str | bool] = {"store": "before.db", "verbose": True}


def slowly(name: str, words: list[str]) -> dict[str, Any] | None:
    try:
        return vars(parse(parser_of(name, find(name)), words, GIVEN))
    except (UsageError, SystemExit):
        return None


def quickly(name: str, words: list[str]) -> dict[str, Any] | None:
    args = read_quickly(find(name).configure, words, GIVEN)
    return None if args is None else vars(args)


@pytest.mark.parametrize("name", COMMANDS)
def test_lines_of_known_options_are_read_as_argparse_reads_them(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    for _ in range(150):
        words = rng.choices(WORDS, k=rng.randrange(5))
        found = quickly(name, words)
        assert found is None or found == slowly(name, words), (seed, words)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("run", ["a.toml"]),
        ("run", ["a.toml", "-j", "4", "--var", "a=b", "--var=c=d", "--keep-going", "--timeout=3s", "-q"]),
        ("run", ["--strategy", "levels", "a.toml", "--only", "x", "--only=y", "--store", "s.db"]),
        ("resume", ["latest", "--from", "x", "--pinned", "-n"]),
    ],
)
def test_what_people_type_is_read_quickly(name: str, words: list[str]) -> None:
    found = quickly(name, words)
    assert found is not None
    assert found == slowly(name, words)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a.toml", "b.toml"],
        ["a.toml", "--wrong"],
        ["a.toml", "-j", "0"],
        ["a.toml", "--parallel", "--sequential"],
        ["a.toml", "--strategy", "never"],
        ["a.toml", "--var"],
        ["a.toml", "--plain=yes"],
        ["a.toml", "-h"],
    ],
)
def test_lines_with_a_mistake_are_left_to_argparse(words: list[str]) -> None:
    assert quickly("run", words) is None


def test_options_that_need_argparse_are_left_to_it() -> None:
    def configure(parser: Any) -> None:
        parser.add_argument("files", nargs="*")

    def with_defaults(parser: Any) -> None:
        parser.set_defaults(a=1)

    assert read_quickly(configure, [], {}) is None
    assert read_quickly(with_defaults, [], {}) is None


def test_arguments_know_what_they_hold() -> None:
    args = Arguments(name="x")
    assert "name" in args
    assert "other" not in args
    with pytest.raises(AttributeError):
        _ = args.other
