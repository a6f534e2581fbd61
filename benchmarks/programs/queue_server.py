"""A server of Runwright's queue for the programs that need one, with a token for users and one for workers."""

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runwright.adapters.http.connection import Server
from runwright.adapters.http.job_source import HttpJobSource

COMMAND = str(Path(sys.executable).with_name("runwright"))


class Running(NamedTuple):
    server: Server
    admin: str
    worker: str

    def source(self, name, queue="q"):
        return HttpJobSource(self.server, self.worker, name, (queue,))


@contextmanager
def serving(url):
    """Run a server on this store; it has ended when the block is left."""
    log = Path("server.log")
    with log.open("w") as file:
        server = subprocess.Popen([COMMAND, "serve", "--listen", "127.0.0.1:0", "--store", url], stdout=file)
    try:
        while "\n" not in log.read_text():
            assert server.poll() is None, "the server has ended"
            time.sleep(0.02)
        address = log.read_text().split("\n")[0].split()[-1]
        yield Running(Server(url=address), a_token(url, "admin"), a_token(url, "worker"))
    finally:
        server.terminate()
        server.wait()


def a_token(url, role):
    command = [COMMAND, "tokens", "create", role, "--role", role, "--store", url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
