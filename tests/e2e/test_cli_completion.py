"""Completion scripts: valid, static, and they complete what there is."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cli_project import Project

from runwright.cli.main import COMMANDS


def script(shell: str, folder: Path) -> Path:
    done = Project(folder)("completion", shell)
    assert done.returncode == 0
    path = folder / f"completion.{shell}"
    path.write_text(done.stdout)
    return path


def complete(folder: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of these words."""
    line = " ".join(f"'{word}'" for word in words)
    code = f"""
        source {script("bash", folder)}
        COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _runwright; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_valid(shell: str, tmp_path: Path) -> None:
    path = script(shell, tmp_path)
    assert all(name in path.read_text() for name in COMMANDS)
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n", path], check=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["runwright", ""], set(COMMANDS)),
        (["runwright", "va"], {"validate"}),
        (["runwright", "-C", "/tmp", "ru"], {"run", "runs"}),
        (["runwright", "run", "--str"], {"--strategy"}),
        (["runwright", "run", "--strategy", "w"], {"work-stealing"}),
        (["runwright", "runs", "--sort", "d"], {"duration"}),
        (["runwright", "completion", "f"], {"fish"}),
        (["runwright", "logs", "latest", "--fo"], {"--follow"}),
        (["runwright", "--store", "x", "export", "--format", ""], {"json", "tar"}),
    ],
)
def test_bash_completes(words: list[str], expected: set[str], tmp_path: Path) -> None:
    found = set(complete(tmp_path, *words))
    assert expected <= found
    assert words[-1] == "" or found == expected


@pytest.mark.parametrize("words", [["runwright", "run", "fi"], ["runwright", "run", "--var-file", "x"]])
def test_files_are_left_to_bash(words: list[str], tmp_path: Path) -> None:
    assert complete(tmp_path, *words) == []
