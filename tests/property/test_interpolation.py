"""Values arrive at programs started by the real /bin/sh as exactly one argument, byte for byte."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.core.errors import DefinitionError
from runwright.core.variables import compile_shell, fill, fill_shell, references

COUNT = int(os.environ.get("RUNWRIGHT_VALUES", "10000"))
SEED = int(os.environ.get("RUNWRIGHT_SEED", "20260101"))
BATCH = 400
NASTY = [
    *"'\"`$\\\n\t\r *?[]{}()<>|&;#~!=%^-+,.:/@é😀\u0081\u0085\u0088\u2028ab01",
    "$(id)",
    "`id`",
    "${HOME}",
    "$'x'",
    "'; exit 3; '",
    "--",
    "-n",
    "EOF",
    "{{.x}}",
    "\\n",
    "$((1))",
]

POSITIONS = [
    ("{{.x}}", "%s"),
    ("'{{.x}}'", "%s"),
    ('"{{.x}}"', "%s"),
    ("a{{.x}}b", "a%sb"),
    ("'a{{.x}}b'", "a%sb"),
    ('"$one{{.x}}$one"', "1%s1"),
    ("$one{{.x}}", "1%s"),
    ("\"a'{{.x}}'$\"", "a'%s'$"),
    ('"$(printf %s {{.x}}; echo .)"', "%s."),
    ('"$(printf %s "{{.x}}"; echo .)"', "%s."),
    ('"$(printf %s "$(printf %s {{.x}}; echo .)"; echo .)"', "%s.."),
    ('"${none:-{{.x}}}"', "%s"),
    ("${none:-'{{.x}}'}", None),
    ('"${one:+{{.x}}}"', "%s"),
    ('"${one:+a$(printf %s {{.x}}; echo .)b}"', "a%s.b"),
]


def random_values(count: int) -> list[str]:
    source = random.Random(SEED)
    print(f"RUNWRIGHT_SEED={SEED}")
    values = ["", "-", "'", '"', "\n", "\n\n", " ", "\\", "*"]
    while len(values) < count:
        values.append("".join(source.choices(NASTY, k=source.randint(0, 12))))
    return values[:count]


def run(script: str) -> list[str]:
    done = subprocess.run(["/bin/sh"], input=script.encode(), capture_output=True, check=False)
    assert done.stderr == b"", done.stderr.decode(errors="replace")[:2000]
    return done.stdout.decode().split("\0")[:-1]


def recorded(commands: list[str]) -> list[str]:
    """Run commands that call ``rec`` in one shell, and return its arguments: their number, then each."""
    head = 'none=; unset none; one=1\nrec() { printf \'%s\\0\' "$#" "$@"; }\n'
    return run(head + "\n".join(commands) + "\n")


@pytest.mark.parametrize(("place", "expected"), [pair for pair in POSITIONS if pair[1] is not None])
def test_a_value_arrives_as_one_argument(place: str, expected: str) -> None:
    share = COUNT if place in ("{{.x}}", "'{{.x}}'", '"{{.x}}"') else COUNT // 10
    template = compile_shell(f"rec {place}")
    values = random_values(share)
    for start in range(0, len(values), BATCH):
        batch = values[start : start + BATCH]
        got = recorded([template.render({"x": value}.__getitem__) for value in batch])
        wanted = [text for value in batch for text in ("1", expected.replace("%s", value))]
        assert got == wanted


def test_naive_substitution_is_caught() -> None:
    """The control: without escapes the same values do not arrive."""
    caught = 0
    for value in random_values(200):
        script = f'rec() {{ printf \'%s\\0\' "$#" "$@"; }}\nrec {value}\n'
        done = subprocess.run(
            ["/bin/sh"],
            input=script.encode(),
            capture_output=True,
            check=False,
            cwd="/",
            env={"PATH": "/nowhere"},
        )
        caught += done.stdout != f"1\0{value}\0".encode() or done.stderr != b""
    assert caught > 100


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('y={{.x}}; rec "$y"', "%s"),
        ('y=${none:-{{.x}}}; rec "$y"', "%s"),
        ("y=${none:-'{{.x}}'}; rec \"$y\"", "%s"),
        ('y=${none:-"{{.x}}"}; rec "$y"', "%s"),
        ('y={{.x}}tail; rec "${y%tail}"', "%s"),
        ('y=z{{.x}}; y=${y%{{.x}}}; rec "$y"', "z"),
        ("case {{.x}} in {{.x}}) rec yes;; *) rec no;; esac", "yes"),
        ("rec a # {{.x}}", "a"),
        ("# it's {{.x}}\nrec a", "a"),
        ('for i in {{.x}}; do rec "$i"; done', "%s"),
        ('f() { rec "$1"; }; f {{.x}}', "%s"),
        ("(rec {{.x}})", "%s"),
        ("y=$(cat <<'E1'\n<{{.x}}>\nE1\n)\nrec \"$y\"", "<%s>"),
        ('y=$(cat <<E1\n<{{.x}}>$one\nE1\n)\nrec "$y"', "<%s>1"),
        ("rec \\\n{{.x}}", "%s"),
        ("rec a\\\n#{{.x}}", "a#%s"),
        ('rec "$((one + 1))"{{.x}}', "2%s"),
        ("rec \\\\{{.x}}", "\\%s"),
    ],
)
def test_a_value_arrives_wherever_it_stands(script: str, expected: str) -> None:
    template = compile_shell(script)
    values = random_values(COUNT // 25)
    for start in range(0, len(values), BATCH):
        batch = values[start : start + BATCH]
        got = recorded([template.render({"x": value}.__getitem__) for value in batch])
        assert got == [text for value in batch for text in ("1", expected.replace("%s", value))]


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_command_or_a_definition_error(text: str) -> None:
    for cmd in (text, f"echo {text} {{{{.x}}}}", f'"{text}{{{{.x}}}}'):
        try:
            filled = fill_shell(cmd, lambda name: "v")
        except DefinitionError as error:
            outside = [problem for problem in error.problems if not 0 <= (problem.offset or 0) <= len(cmd)]
        else:
            outside = [] if isinstance(filled, str) else [filled]
        assert outside == []
        assert all(cmd[place.start : place.end].startswith("{{.") for place in references(cmd))


FRAGMENTS = [
    *("'", '"', "`", "$(", ")", "${a:-", "${b#", "${", "}", "$((", "((", "))", "\\", "\n", " ", "#", " #"),
    *(
        "<<E\n",
        "<<'E'\n",
        "<<-E\n",
        "\nE\n",
        "<<E",
        "case a in ",
        "a)",
        ";;",
        "esac",
        "$",
        "$'",
        "$a",
        "\\\n",
    ),
    *(
        "echo ",
        "a",
        "1",
        "+",
        "{{.x}}",
        "{{.x}}",
        "{{.x}}",
        ";",
        "(",
        "|",
        "=",
        "y=",
        "{{!.x}}",
        "then ",
        "if ",
    ),
]
HOSTILE = "$(:>PWNED)`:>PWNED`';:>PWNED;'\";:>PWNED;\"\n:>PWNED\n}));:>PWNED;\nE\n:>PWNED\n"
NEARLY = [
    "';:>PWNED;'",
    '";:>PWNED;"',
    "$(:>PWNED)",
    "`:>PWNED`",
    "\n:>PWNED\n",
    ";:>PWNED;#",
    "a[$(:>PWNED)]",
    HOSTILE,
]


def shells() -> list[list[str]]:
    return [["/bin/sh"], *([[found, "--posix"]] if (found := shutil.which("bash")) else [])]


def attack(cmd: str, directory: Path) -> bool:
    """Run a command in each shell there is; tell whether the value in it ran as code."""
    for shell in shells():
        subprocess.run(
            [*shell, "-c", cmd],
            cwd=directory,
            env={"PATH": "/nowhere"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=20,
        )
    marker = directory / "PWNED"
    hit = marker.exists()
    marker.unlink(missing_ok=True)
    return hit


def test_no_mix_of_signs_makes_a_value_run(tmp_path: Path) -> None:
    """Whatever stands around it, a value never runs; putting it in as it is does, which is the control."""
    source = random.Random(SEED)
    print(f"RUNWRIGHT_SEED={SEED}")
    filled, control = 0, 0
    for number in range(COUNT // 10):
        cmd = "".join(source.choices(FRAGMENTS, k=source.randint(1, 9))) + source.choice(
            ["{{.x}}", "", " {{.x}} a"]
        )
        value = source.choice(NEARLY)
        try:
            safe = fill_shell(cmd, {"x": value}.__getitem__)
        except DefinitionError:
            continue
        if safe == cmd:
            continue
        filled += 1
        assert not attack(safe, tmp_path), (cmd, value, safe)
        if number % 5 == 0:
            control += attack(cmd.replace("{{.x}}", value), tmp_path)
    assert filled > COUNT // 50
    assert control > 5


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "x\udcffy"])
def test_what_no_argument_can_hold_is_refused(value: str) -> None:
    for use in (fill, fill_shell):
        with pytest.raises(DefinitionError, match=r"NUL|UTF-8"):
            use("echo {{.x}}", {"x": value}.__getitem__)
