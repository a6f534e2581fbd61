"""Install the Python peers into an environment of their own; each one that can't be installed is named and left out."""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import ROOT

VENV = ROOT / ".venv-bench"
WANTED = Path(__file__).with_name("requirements.txt")


def install() -> bool:
    """Bring the environment up to date with requirements.txt; tell whether all of it is there."""
    stamp = VENV / ".installed"
    digest = hashlib.sha256(WANTED.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return True
    print("Installing the peers into .venv-bench", file=sys.stderr)
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False).returncode == 0
    done = made and (_pip("-r", str(WANTED)) or _one_by_one())
    if done:
        stamp.write_text(digest)
    return done


def _one_by_one() -> bool:
    lines = [line.partition("#")[0].strip() for line in WANTED.read_text().splitlines()]
    failed = [line for line in lines if line and not _pip(line)]
    for line in failed:
        print(f"could not install {line}: its rows will say so", file=sys.stderr)
    return not failed


def _pip(*wanted: str) -> bool:
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return subprocess.run([*command, *wanted], check=False).returncode == 0


if __name__ == "__main__":
    install()  # missing peers don't stop the benchmarks
