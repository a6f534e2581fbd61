"""Real sandboxes and container engines for tests, set up where they are not there."""

import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

IMAGE = "runwright-test-busybox:latest"
DEADLINE = 30.0
FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp")


@cache
def bubblewrap_fault() -> str:
    """Say why there is no sandbox here; empty if there is one."""
    if not shutil.which("bwrap"):
        return "bubblewrap is not installed"
    command = ["bwrap", "--unshare-user", "--disable-userns", "--unshare-net", "--dev-bind", "/", "/", "true"]
    if os.geteuid() == 0:  # as the executor does it
        outer = [
            "bwrap",
            "--unshare-pid",
            "--cap-drop",
            "ALL",
            "--cap-add",
            "CAP_SETUID",
            "--cap-add",
            "CAP_SETGID",
        ]
        become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        command = [*outer, "--dev-bind", "/", "/", "--proc", "/proc", *become, *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"bubblewrap can't work here: {done.stderr.strip()}" if done.returncode else ""


needs_bubblewrap = pytest.mark.skipif(bool(bubblewrap_fault()), reason=bubblewrap_fault())
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@contextmanager
def container_engine(name: str) -> Iterator[str]:
    """Have a container engine with the image `IMAGE` while the context lasts, on the environment of this process."""
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    if not shutil.which("busybox"):
        pytest.skip("there is no busybox to make an image of")
    with tempfile.TemporaryDirectory(prefix="rw-", ignore_cleanup_errors=True) as folder:
        make = _docker if name == "docker" else _podman
        with make(Path(folder)):
            archive = _image_archive(Path(folder))
            subprocess.run([name, "import", archive, IMAGE], capture_output=True, check=True)
            try:
                yield name
            finally:
                subprocess.run([name, "rmi", "--force", IMAGE], capture_output=True, check=False)


def containers(engine: str, *filters: str) -> list[str]:
    """Return the names of the containers that there are, running or not."""
    chosen = [part for one in filters for part in ("--filter", one)]
    command = [engine, "ps", "--all", "--format", "{{.Names}}", *chosen]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = os.environ.copy()
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name)
        os.environ.update(before)


@contextmanager
def _docker(folder: Path) -> Iterator[None]:
    """Use the daemon that answers; start one if none does."""
    if _answers():
        yield
        return
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("no Docker daemon answers, and none can be started")
    host = f"unix://{folder}/docker.sock"
    options = ["--iptables=false", "--bridge=none", "--storage-driver=vfs", "--pidfile", f"{folder}/pid"]
    places = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--host", host]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(["dockerd", *options, *places], stdout=log, stderr=log)
    try:
        with _environment(DOCKER_HOST=host):
            _await_daemon(daemon, folder / "log")
            yield
    finally:
        daemon.terminate()
        daemon.wait(DEADLINE)


def _await_daemon(daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + DEADLINE
    while not _answers():
        if daemon.poll() is not None or time.monotonic() > end:
            last = log.read_text().strip().rpartition("\n")[2]
            pytest.skip(f"no Docker daemon can run here: {last}")
        time.sleep(0.05)


def _answers() -> bool:
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def _podman(folder: Path) -> Iterator[None]:
    """Use Podman with a storage of its own, and what works without systemd."""
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    (folder / "containers.conf").write_text(
        f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n{runtime}'
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
    )
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
    )
    configured = {
        "CONTAINERS_CONF": f"{folder}/containers.conf",
        "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf",
    }
    with _environment(**configured):
        done = subprocess.run(["podman", "info"], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"Podman can't work here: {done.stderr.strip()}")
        yield


def _image_archive(folder: Path) -> Path:
    """Return the file system of an image with busybox and little else in it."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    path = folder / "image.tar"
    with tarfile.open(path, "w") as archive:
        files = _files_of("flock")  # Debian's busybox does without
        parents = {str(parent)[1:] for file in files for parent in Path(file).parents[:-1]}
        for name in (*FOLDERS, *sorted(parents)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(entry)
        archive.add(busybox, "bin/busybox")
        for applet in applets:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            if applet not in ("busybox", "flock"):
                archive.addfile(entry)
        for file in files:
            archive.add(Path(file).resolve(), file.lstrip("/"))
    return path


def _files_of(program: str) -> list[str]:
    """Return a program and the libraries that it is linked to, at the places where it looks for them."""
    path = shutil.which(program)
    assert path is not None
    linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    return [path, *(word for word in linked.split() if word.startswith("/"))]
