"""The language of ``if``."""

import pytest

from runwright.core.condition import SHOWN_VALUE, Status, evaluate, explain, names, parse, uses_status
from runwright.core.errors import DefinitionError

VALUES = {
    "env": "prod",
    "count": "10",
    "ratio": "2.50",
    "empty": "",
    "flag": "True",
    "build[os=linux,v=1].digest": "abc",
    "task-a.result": "ok",
    "huge": "9" * 30,
}


def holds(text: str, *, failed: bool = False) -> bool:
    return evaluate(parse(text), VALUES.__getitem__, Status(failed=failed), VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('env == "prod"', True),
        ("env == prod", True),
        ("env == 'prod'", True),
        ("env==prod", True),
        ("env != prod", False),
        ("env == feature/x", False),
        ("{{.env}} == prod", True),
        ("prod == env", None),
        ('"prod" == env', True),
        ("env == {{.env}}", True),
        ("count > 9", True),
        ("count < 9", False),
        ("count >= 10", True),
        ("count <= 9.5", False),
        ("9 < count", True),
        ('count > "9"', True),
        ("count == 10.0", True),
        ('count == "10.0"', False),
        ("ratio == 2.5", True),
        ("ratio > -1e3", True),
        ('empty == ""', True),
        ("flag == true", True),
        ("flag != false", True),
        ('flag == "true"', False),
        ("build[v=1,os=linux].digest == abc", True),
        ("task-a.result == ok", True),
        (f"huge == {'9' * 29}8", False),
        (f"huge > {'9' * 29}8", True),
        ("env == prod and count == 10", True),
        ("env == dev or count == 10", True),
        ("env == dev && count == 10 || flag == true", True),
        ("not env == dev", True),
        ("! (env == dev or env == prod)", False),
        ("not not env == prod", True),
        ("env == dev or env == prod and count == 1", False),
        ("(env == prod or env == dev) and count == 10", True),
        ("true", True),
        ("false or not false", True),
        ("always() and env == prod", True),
        ("failed()", False),
        ("succeeded()", True),
        ("env == prod or missing == 1", True),
    ],
)
def test_a_condition_holds_or_not(text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(DefinitionError, match='undefined variable "prod"'):
            holds(text)
    else:
        assert holds(text) is expected


def test_functions_look_at_the_dependencies() -> None:
    assert holds("failed()", failed=True)
    assert not holds("succeeded()", failed=True)
    assert holds("always()", failed=True)
    assert uses_status(parse("env == prod and not failed()"))
    assert not uses_status(parse("env == prod or true"))


def test_names_come_with_their_offsets() -> None:
    assert names(parse("env == prod and {{.b[k=1,a=2].x}} > 3")) == (("env", 0), ("b[a=2,k=1].x", 16))


def test_an_undefined_variable_says_what_is_near() -> None:
    with pytest.raises(DefinitionError) as caught:
        holds("count == 10 and envv == prod")
    (problem,) = caught.value.problems
    assert (problem.message, problem.offset) == ('undefined variable "envv"', 16)
    assert problem.suggestion == 'did you mean "env"?'


@pytest.mark.parametrize(("text", "offset"), [("env > 5", 0), ("count > abc", 8), ("env < prod", 0)])
def test_text_can_not_be_ordered(text: str, offset: int) -> None:
    with pytest.raises(DefinitionError, match="is not a number") as caught:
        holds(text)
    assert caught.value.problems[0].offset == offset


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("", "ends too early", 0),
        ("env", "compared with nothing", 0),
        ("{{.env}}", "compared with nothing", 0),
        ('"x"', "compared with nothing", 0),
        ("env = 1", '"=" is not an operator', 4),
        ("env == ==", 'unexpected "=="', 7),
        ("env ==", "nothing stands right", 4),
        ("env == 'a", "never closed", 7),
        ("(env == a", "never closed", 0),
        ("(env == a b", "unexpected b", 10),
        ("env == a)", 'unexpected "\\)"', 8),
        ("env == a == b", "chained", 9),
        ("nothing()", 'no function "nothing"', 0),
        ("failed(x)", "takes no argument", 7),
        ("always", "is a function", 0),
        ("a/b == c", "not the name of a variable", 0),
        ("{{!.a}} == c", "escaped placeholder", 0),
        ("env ] x", 'unexpected "]"', 4),
        ("env | x", "not an operator", 4),
    ],
)
def test_what_is_no_condition_is_refused_at_its_place(text: str, message: str, offset: int) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        parse(text)
    (problem,) = caught.value.problems
    assert problem.offset == offset
    assert problem.suggestion


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("count > 11", "count > 11 (10 > 11)"),
        ("{{.count}} < {{.ratio!raw}}", "count < ratio (10 < 2.50)"),
        (
            "not (env == prod or empty == x)",
            'not (env == prod or empty == x) (not (prod == prod or "" == x))',
        ),
        ("build[v=1,os=linux].digest==x", "build[os=linux,v=1].digest==x (abc==x)"),
        ("missing == 1 and failed()", "missing == 1 and failed()"),
        ("false", "false"),
        ("long == x", f"long == x ({'y' * SHOWN_VALUE}... == x)"),
        ("two == x", 'two == x ("a b" == x)'),
    ],
)
def test_a_condition_is_explained_with_its_values(text: str, said: str) -> None:
    values = {**VALUES, "long": "y" * (SHOWN_VALUE + 1), "two": "a b"}
    assert explain(parse(text), values.__getitem__) == said
