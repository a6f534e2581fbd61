"""Every command of the table can be loaded, and explains itself."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from runwright.cli.main import COMMANDS, GROUPS

RUNWRIGHT = Path(sys.executable).with_name("runwright")


def runwright(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUNWRIGHT, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_explains_itself(name: str) -> None:
    done = runwright(name, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert name in done.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_resolves(name: str) -> None:
    module = import_module(COMMANDS[name][0])
    assert callable(module.configure)
    assert callable(module.execute)
    assert (module.__doc__ or "").strip()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_belongs_to_a_group(name: str) -> None:
    assert COMMANDS[name][1] in GROUPS


def test_the_overview_names_every_command() -> None:
    shown = runwright("--help").stdout.split()
    assert not set(COMMANDS) - set(shown)


def test_an_unknown_command_is_bad_input() -> None:
    done = runwright("nonsense")
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr
