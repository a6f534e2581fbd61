"""Every example runs with the installed command, and ends as its first line says (``# expect: exit 1``)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(path for path in EXAMPLES.glob("*/*.toml") if path.name != "runwright.toml")
BIN = Path(sys.executable).parent
STATE = shutil.ignore_patterns(".runwright", "__pycache__", "out")


def label(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


def expected_status(text: str) -> int:
    """Return the exit status that the file's first line announces, 0 if it announces none."""
    match = re.match(r"# expect: exit (\d+)", text)
    return int(match[1]) if match else 0


@pytest.mark.parametrize("path", FILES, ids=label)
def test_example_ends_as_it_says(path: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(path.parent, tmp_path / path.parent.name, ignore=STATE)
    done = subprocess.run(
        [BIN / "runwright", "run", path.name],
        cwd=folder,
        env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected_status(path.read_text()), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=label)
def test_example_says_what_it_shows(folder: Path) -> None:
    texts = [path.read_text() for path in sorted(folder.glob("*.toml"))]
    assert (folder / "README.md").is_file() or any(text.startswith("#") for text in texts)


def test_every_folder_holds_a_workflow() -> None:
    folders = {path for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {path.parent for path in FILES}
    assert len(folders) >= 6


def test_announced_status_is_read() -> None:
    assert expected_status("# expect: exit 1\n# A saga\n") == 1
    assert expected_status("# A saga\n") == 0
