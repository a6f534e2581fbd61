"""Placeholders, and how values are written into commands."""

import pytest

from runwright.core.errors import DefinitionError
from runwright.core.variables import (
    Reference,
    compile_shell,
    fill,
    fill_shell,
    has_placeholder,
    normal_name,
    references,
)


def test_references_are_found_with_their_places() -> None:
    text = "a {{.x}} {{ .y }} {{.z!raw}} {{!.no}} {{.t[b=2,a=1].v}} {{.}} {{.a|b}}"
    assert references(text) == [
        Reference("x", 2, 8),
        Reference("z", 18, 28, raw=True),
        Reference("t[a=1,b=2].v", 38, 55),
    ]
    assert references("nothing {here}") == []
    assert has_placeholder("{{!.x}}")
    assert not has_placeholder("{{x}}")
    assert normal_name("t[b=1") == "t[b=1"
    assert normal_name("t[b=1,a") == "t[b=1,a"


def test_fill_is_verbatim_and_knows_the_escape() -> None:
    values = {"x": "it's $HOME", "t[a=1,b=2].v": "7"}
    assert fill("<{{.x}}> {{.t[b=2,a=1].v}}", values.__getitem__) == "<it's $HOME> 7"
    assert fill("{{!.Names}} {{!!.Names}}", values.__getitem__) == "{{.Names}} {{!.Names}}"
    text = "nothing to do"
    assert fill(text, values.__getitem__) is text
    assert fill_shell(text, values.__getitem__) is text


def test_an_unknown_name_says_what_is_near() -> None:
    for use in (fill, fill_shell):
        with pytest.raises(DefinitionError) as caught:
            use("ab {{.versoin}}", {}.__getitem__, ["version"])
        (problem,) = caught.value.problems
        assert (problem.message, problem.offset) == ('undefined variable "versoin"', 3)
        assert problem.suggestion == 'did you mean "version"?'


@pytest.mark.parametrize(
    ("cmd", "filled"),
    [
        ("echo {{.x}}", "echo 'a'\\''b'"),
        ("echo '{{.x}}'", "echo 'a'\\''b'"),
        ('echo "{{.x}}"', "echo \"\"'a'\\''b'\"\""),
        ("echo {{.x!raw}}", "echo a'b"),
        ("echo `{{.x!raw}}`", "echo `a'b`"),
        ("echo {{.none}}", "echo ''"),
        ("echo $(( {{.n}} + {{.m}} ))", "echo $(( 7 + (-3) ))"),
        ("(( {{.n}} )) || [ {{.n}} ]", "(( 7 )) || [ '007' ]"),
        ("docker ps --format '{{!.Names}}'", "docker ps --format '{{.Names}}'"),
        ("# note {{.x}}\ntrue", "# note a_b\ntrue"),
        ("cat <<E\n{{.d}}\nE\n", "cat <<E\n\\$x\\`\\\\\nE\n"),
        ("cat <<'E'\n{{.d}}\nE\n", "cat <<'E'\n$x`\\\nE\n"),
        ('echo "${y:-{{.d}}}"', 'echo "${y:-\\$x\\`\\\\}"'),
    ],
)
def test_a_value_is_written_for_its_place(cmd: str, filled: str) -> None:
    values = {"x": "a'b", "none": "", "n": "007", "m": "-3", "d": "$x`\\"}
    assert fill_shell(cmd, values.__getitem__) == filled


@pytest.mark.parametrize(
    ("cmd", "value", "message"),
    [
        ("echo $(( {{.x}} ))", "a[$(id)]", "not an integer"),
        ("echo $(( {{.x}} ))", "", "not an integer"),
        ("cat <<E\n{{.x}}\nE\n", "a\nE\nid", "end it early"),
        ("cat <<'E'\nx{{.x}}\nE\n", "a\nE", "end it early"),
        ("cat <<E\nE{{.x}}\nOF\nEOF", "x", None),
        ("cat <<EOF\nE{{.x}}\nEOF", "OF", "end it early"),
        ("cat <<-E\n\t{{.x}}\n\tE\n", "\ta", "starts with a tab"),
        ("cat <<-'E'\n\t{{.x}}\n\tE\n", "a\n\tb", "starts with a tab"),
        ("cat <<-E\n\t{{.x}}\n\tE\n", "a\tb", None),
    ],
)
def test_some_values_can_not_stand_somewhere(cmd: str, value: str, message: str | None) -> None:
    template = compile_shell(cmd)
    if message is None:
        assert value in template.render({"x": value}.__getitem__)
    else:
        with pytest.raises(DefinitionError, match=message):
            template.render({"x": value}.__getitem__)


@pytest.mark.parametrize(
    ("cmd", "message", "offset"),
    [
        ("echo `ls {{.x}}`", "backticks", 9),
        ('echo "`ls {{.x}}`"', "backticks", 10),
        ("cat <<E\n`{{.x}}`\nE\n", "backticks", 9),
        ("echo ${y:-`{{.x}}`}", "backticks", 11),
        ("echo $((`{{.x}}`))", "disagree", 9),
        ("echo \\{{.x}}", "backslash", 5),
        ('echo "\\{{.x}}"', "backslash", 6),
        ("echo ${{.x}}", "\\$ before", 5),
        ("cat <<E\n${{.x}}\nE\n", "\\$ before", 8),
        ("echo ${y{{.x}}}", "name or index", 8),
        ("echo ${y:{{.x}}}", "name or index", 9),
        ("echo $'{{.x}}'", "disagree", 7),
        ("echo $'a\\'' {{.x}}", "disagree", 12),
        ("echo \"${y:-$'a'}\" {{.x}}", "disagree", 18),
        ('echo "${y#{{.x}}}"', "inside quotes", 10),
        ('echo "${y:-"{{.x}}"}"', "inside quotes", 12),
        ("echo \"${y:-'a'}{{.x}}\" \"${y%'a'}\" {{.x}}", "disagree", 34),
        ("cat <<E\n${y:-{{.x}}}\nE\n", "here-document", 13),
        ("cat <<E\n$y{{.x}}\nE\n", "part of the name", 10),
        ('echo "${y:-$z{{.x}}}"', "part of the name", 13),
        ("cat <<{{.x}}\n", "delimiter", 6),
        ("cat <<E$y\nE\n{{.x}}", "delimiter", 12),
        ("cat <<E 'a\nb' {{.x}}\nE\n", "here-document before it starts", 14),
        ("x=$(cat <<E) {{.x}}", "no body", 13),
        ("x=$(case a in a) echo;; esac; echo {{.x}})", "case", 35),
        ("echo $((a); b) {{.x}}", "disagree", 15),
        ("((a); b) {{.x}}", "disagree", 9),
        ("echo $((1 + '2')) {{.x}}", "disagree", 18),
        ("echo $(( (1) ) ) {{.x}}", "disagree", 17),
        ('echo "${y:-"}"}" {{.x}}', "disagree", 17),
        ("echo ${y#{{!.x}}} {{.x}}", "would close", 9),
        ('echo "{{.x}}', "never closed", 5),
        ("echo $(ls {{.x}}", "never closed", 5),
    ],
)
def test_where_no_value_is_safe_a_placeholder_is_refused(cmd: str, message: str, offset: int) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        compile_shell(cmd)
    assert offset in [problem.offset for problem in caught.value.problems]
    assert all(problem.suggestion for problem in caught.value.problems)


def test_all_bad_places_are_named_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        compile_shell("echo `{{.a}}` \\{{.b}} ${{.c}} {{.d}}")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("cmd", "filled"),
    [
        ("x=$(cat <<E\n{{.x}}\nE\n); cat <<A <<B\n{{.x}}\nA\n{{.x}}\nB\necho {{.x}}", None),
        ('echo ${#y} ${y%%{{.x}}} "${y}" a#b {{.x}}', "echo ${#y} ${y%%'v'} \"${y}\" a#b 'v'"),
        ("case {{.x}} in a) {{.x}};; esac", "case 'v' in a) 'v';; esac"),
        ("cat <<<word {{.x}}", "cat <<<word 'v'"),
        (
            "echo ${y:-'{{.x}}'}${z:-\"{{.x}}\"}${a:-$(b {{.x}})}",
            "echo ${y:-'v'}${z:-\"\"'v'\"\"}${a:-$(b 'v')}",
        ),
        ("(a; (b {{.x}}))", "(a; (b 'v'))"),
        ("echo $(( (1 + 2) * {{.n}} )) {{.x}}", "echo $(( (1 + 2) * 5 )) 'v'"),
        ("cat <<E\n$(echo {{.x}}) $((1+{{.n}})) {{.x}}", "cat <<E\n$(echo 'v') $((1+5)) v"),
        ("cat <<'E'\n'\"`$( {{.x}}\nE\necho {{.x}}", "cat <<'E'\n'\"`$( v\nE\necho 'v'"),
        ("echo a \\\n# note {{.n}}\necho {{.x}}", "echo a \\\n# note 5\necho 'v'"),
        ("echo \\#{{.x}} '' \\' {{.x}}", "echo \\#'v' '' \\' 'v'"),
        ("#\\\n#it's\n{{.x}}", "#\\\n#it's\n'v'"),
        ("echo $(a)#' {{.x}} '", "echo $(a)#' v '"),
        ("echo \\ #' {{.x}} '", "echo \\ #' v '"),
        ("(a)#' {{.n}}\n{{.x}}", "(a)#' 5\n'v'"),
        ("echo \\", "echo \\"),
        ("{{!.x}} '{{!.y}}' \\", "{{.x}} '{{.y}}' \\"),
    ],
)
def test_the_reader_follows_what_is_open(cmd: str, filled: str | None) -> None:
    expected = filled or "x=$(cat <<E\nv\nE\n); cat <<A <<B\nv\nA\nv\nB\necho 'v'"
    assert fill_shell(cmd, {"x": "v", "n": "5"}.__getitem__) == expected
