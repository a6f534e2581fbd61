"""The layers hold, and a violation of each contract is caught."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")

ONE_WAY = "Imports point one way, and every package and module has its place"
VIOLATIONS = [
    ("homeless.py", "", ONE_WAY),
    ("homeless/__init__.py", "", ONE_WAY),
    ("core/bad.py", "import runwright.ports", ONE_WAY),
    ("ports/bad.py", "import runwright.engines", ONE_WAY),
    ("engines/bad.py", "import runwright.executors", ONE_WAY),
    ("engines/bad.py", "import runwright.adapters", ONE_WAY),
    ("executors/bad.py", "import runwright.adapters", ONE_WAY),
    ("adapters/bad.py", "import runwright.engines", "The world and the fakes know no engine"),
    ("cli/bad.py", "import runwright.adapters", "Ports meet adapters in the wiring alone"),
    ("core/bad.py", "import asyncio", "Core is pure"),
    ("core/bad.py", "from time import time", "Core is pure"),
    ("ports/bad.py", "import subprocess", "Ports are protocols"),
    ("engines/bad.py", "import random", "Engines take time, chance and the world from their doors"),
    ("testing/bad.py", "import runwright.executors", "The world and the fakes know no engine"),
    ("engines/bad.py", "from runwright.testing import *", "Fakes are for those who test"),
    ("cli/bad.py", "from runwright.testing import *", "Fakes are for those who test"),
    ("engines/bad.py", "import apsw", "SQLite stays in its room"),
    ("adapters/bad.py", "import grpc", "gRPC stays in its room"),
    ("adapters/bad.py", "import apsw", "SQLite stays in its room"),
    ("adapters/bad.py", "import psycopg", "PostgreSQL stays in its room"),
    ("wiring/bad.py", "import psycopg", "PostgreSQL stays in its room"),
    ("adapters/bad.py", "import rtoml", "TOML stays in its room"),
    ("wiring/bad.py", "import starlette", "The HTTP server stays in its room"),
    ("cli/bad.py", "import uvicorn", "The HTTP server stays in its room"),
    ("executors/bad.py", "import runwright.web", ONE_WAY),
    ("adapters/bad.py", "import httpx2", "The HTTP client stays in its room"),
    ("cli/bad.py", "import rich", "The terminal stays in its room"),
]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.run(
        [LINT, "--cache-dir", folder / ".cache", "--no-logo"],
        cwd=folder,
        env=env | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layers")
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_the_layers_hold(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("file", "line", "contract"), VIOLATIONS)
def test_a_violation_is_caught(copy: Path, file: str, line: str, contract: str) -> None:
    path = copy / "src/runwright" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n")
    try:
        done = lint(copy)
    finally:
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in done.stdout
