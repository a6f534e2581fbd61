"""Set up what is compared: Runwright as its users have it, and the Python peers, in environments of their own.

A peer that can't be installed is named and left out.
"""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import ROOT

PEERS = ROOT / ".venv-bench"
OWN = ROOT / ".venv-bench-own"
WANTED = Path(__file__).with_name("requirements.txt")
EXTRAS = "grpc,postgres,server,worker"
PINS = ROOT / "tools" / "constraints.txt"


def install() -> None:
    """Bring both environments up to date."""
    _set_up(
        OWN, [ROOT / "pyproject.toml", PINS], lambda: _pip(OWN, "-e", f"{ROOT}[{EXTRAS}]", "-c", str(PINS))
    )
    own = str(OWN / "bin" / "python")
    # An installed wheel has its bytecode, so our sources get theirs.
    subprocess.run([own, "-m", "compileall", "-q", str(ROOT / "src")], check=False)
    _set_up(PEERS, [WANTED], lambda: _pip(PEERS, "-r", str(WANTED)) or _one_by_one())


def _set_up(venv: Path, sources: list[Path], fill: Callable[[], bool]) -> None:
    stamp = venv / ".installed"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    print(f"Setting up {venv.name}", file=sys.stderr)
    made = subprocess.run([sys.executable, "-m", "venv", str(venv)], check=False).returncode == 0
    if made and fill():
        stamp.write_text(digest)


def _one_by_one() -> bool:
    lines = [line.partition("#")[0].strip() for line in WANTED.read_text().splitlines()]
    failed = [line for line in lines if line and not _pip(PEERS, line)]
    for line in failed:
        print(f"could not install {line}: its rows will say so", file=sys.stderr)
    return not failed


def _pip(venv: Path, *wanted: str) -> bool:
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return subprocess.run([*command, *wanted], check=False).returncode == 0


if __name__ == "__main__":
    install()  # what is missing does not stop the benchmarks: its rows say so
