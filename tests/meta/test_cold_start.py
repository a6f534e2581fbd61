"""Cold start is a feature: each path loads the packages on its list, what those load themselves, and no others.

The modules come from ``-X importtime``, which reports each one as it is loaded, whatever way the process ends.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

RUNWRIGHT = Path(sys.executable).with_name("runwright")
LINE = re.compile(r"^import time:\s+\d+ \|\s+\d+ \| +(\S+)$", re.MULTILINE)

FRONT = ["re"]
"""The command's own file, as some installers write it, takes this one."""

RUN = ["asyncio", "apsw", "bisect", "blake3", "gc", "msgspec", "queue", "rtoml"]
HEAVY = {
    "dataclasses",
    "email",
    "http",
    "json",
    "multiprocessing",
    "rich",
    "sqlalchemy",
    "sqlite3",
    "unittest",
    "xml",
}


LATE = {
    "argparse",
    "ast",
    "bz2",
    "inspect",
    "locale",
    "logging",
    "shutil",
    "ssl",
    "string",
    "subprocess",
    "tokenize",
}
"""What the libraries load by themselves, or argparse for a line with a mistake, but a plain run does without."""


def loaded(folder: Path, *command: str | Path) -> set[str]:
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "RUNWRIGHT"))
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + LINE.sub("", done.stderr)
    return {name.partition(".")[0] for name in LINE.findall(done.stderr)}


def extra(folder: Path, allowed: list[str], *arguments: str) -> set[str]:
    """Return the top-level packages that a command line loads beyond the allowed ones and what those load."""
    expected = loaded(folder, "-c", "import " + ", ".join(allowed))
    return loaded(folder, RUNWRIGHT, *arguments) - expected - {"runwright"}


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_front_door(tmp_path: Path, option: str) -> None:
    assert extra(tmp_path, FRONT, option) == set()


def test_run(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('name = "one"\n[tasks.a]\ncmd = "true"\n')
    assert extra(tmp_path, RUN, "run", "one.toml") == set()
    assert not LATE & loaded(tmp_path, RUNWRIGHT, "run", "one.toml")
    assert LATE & loaded(tmp_path, RUNWRIGHT, "run", "one.toml", "--timeout=1m", "-qn")


@pytest.mark.parametrize("allowed", [FRONT, RUN])
def test_what_is_allowed_loads_nothing_heavy(tmp_path: Path, allowed: list[str]) -> None:
    assert not HEAVY & loaded(tmp_path, "-c", "import " + ", ".join(allowed))


@pytest.mark.parametrize("package", ["asyncio", "msgspec", "rich"])
def test_the_instrument_sees_what_is_loaded(tmp_path: Path, package: str) -> None:
    assert package in loaded(tmp_path, "-c", f"import {package}; import os; os._exit(0)")
