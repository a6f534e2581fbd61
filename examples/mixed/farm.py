"""A server of the job queue and a worker, until a file `done` appears: python3 farm.py FOLDER."""

import os
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(sys.argv[1]).absolute()
STORE = ("--store", f"sqlite:///{HOME}/queue.db")


def run(*words: str) -> "subprocess.Popen[str]":
    """Start a command and wait for the line with which it says that it is ready."""
    process = subprocess.Popen(["runwright", *STORE, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("runwright: "), line
    print(line, end="", flush=True)
    (HOME / "ready").write_text(line.split()[-1])
    return process


def token(role: str) -> Path:
    """Make a token, in a file that nobody else can read."""
    path = HOME / f"{role}.token"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:  # noqa: PTH123 - it has no mode
        subprocess.run(
            ["runwright", *STORE, "tokens", "create", role, "--role", role], stdout=file, check=True
        )
    return path


HOME.mkdir(parents=True, exist_ok=True)
token("admin")
server = run("serve", "--listen", "127.0.0.1:0")
url = (HOME / "ready").read_text()
words = [
    "--server",
    url,
    "--token-file",
    str(token("worker")),
    "--queue",
    "texts",
    "--work-dir",
    str(HOME / "worker"),
]
worker = run("worker", *words, "--runtime", "shell", "--slots", "2", "--poll", "100ms")
(HOME / "url.new").write_text(url)
(HOME / "url.new").rename(HOME / "url")
while not (HOME / "done").exists():
    assert server.poll() is None, "the server has ended"
    assert worker.poll() is None, "the worker has ended"
    time.sleep(0.05)
for process in (worker, server):
    process.terminate()
    process.wait()
