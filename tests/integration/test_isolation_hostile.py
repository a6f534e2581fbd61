"""A hostile task reaches nothing that it was not given; each attempt succeeds where the protection is taken away."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import KINDS, Jail, home, is_locked, listener, outer_address
from isolation import needs_bubblewrap, needs_root
from process_survivors import wait_until

FORK_MANY = 'i=0; while [ $i -lt 40 ]; do sleep 3 & i=$((i+1)); done; echo "started $i"'
TAKE_MEMORY = "busybox dd if=/dev/zero of=/dev/null bs=200M count=1"


@pytest.fixture(params=KINDS)
def jail(request: pytest.FixtureRequest, tmp_path: Path) -> Jail:
    if request.param != "sandbox":
        request.getfixturevalue(request.param)
    return Jail(request.param, tmp_path)


@pytest.fixture
def sandbox(tmp_path: Path) -> Jail:
    return Jail("sandbox", tmp_path)


# -- reading


@pytest.fixture
def canary() -> Iterator[tuple[Path, str]]:
    """A file in the user's home, and what it says."""
    secret = uuid.uuid4().hex
    file = home() / f".runwright-canary-{uuid.uuid4().hex[:8]}"
    file.write_text(secret)
    yield file, secret
    file.unlink()


def test_the_home_can_t_be_read(jail: Jail, canary: tuple[Path, str]) -> None:
    file, secret = canary
    ways = (
        f"{file}",
        f"/proc/1/root{file}",
        f"/proc/self/root{file}",
        f"/task/../..{file}",
        f"../../..{file}",
    )
    cmd = (
        f"for way in {' '.join(ways)}; do cat $way; done; find / -name {file.name} -exec cat {{}} \\; ; true"
    )
    assert secret not in jail.attempt(cmd).printed
    assert secret in jail.uncaged().attempt(f"cat {file}").printed


def test_other_files_of_the_source_tree_can_t_be_read(jail: Jail) -> None:
    (jail.source / "given").mkdir()
    (jail.source / "given/file").write_text("this-is-given\n")
    (jail.source / "secret").write_text("this-is-not\n")
    if jail.kind == "sandbox":
        tried = jail.attempt("cat given/file; cat secret; cat given/../secret; ls -R; true", inputs=["given"])
    else:
        given = [{"source": "given", "target": "/given"}]
        tried = jail.attempt("cat /given/file; cat /given/../secret; ls -R /given; true", mounts=given)
    assert "this-is-given" in tried.printed
    assert "this-is-not" not in tried.printed
    assert "this-is-not" in jail.uncaged().attempt("cat given/../secret").printed


def test_the_environment_can_t_be_read(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_ENGINE", "not-for-tasks")
    monkeypatch.setenv("HANDED_ON", "for-this-task")
    tried = jail.attempt("env; cat /proc/[0-9]*/environ; true", inherit=["HANDED_ON"])
    assert "not-for-tasks" not in tried.printed
    assert "for-this-task" in tried.printed
    assert "not-for-tasks" in jail.uncaged().attempt("env").printed


# -- writing


def test_nothing_is_written_outside(jail: Jail) -> None:
    outside = jail.folder / "outside"
    outside.mkdir()
    for folder in (jail.folder, outside, jail.source):
        folder.chmod(0o777)  # only the isolation is in the way
    (jail.source / "given").write_text("untouched")
    (jail.source / "given").chmod(0o666)
    places = ("/evil", "/usr/evil", "/etc/evil", "/bin/evil", f"{outside}/evil", f"{jail.source}/evil")
    given = "given" if jail.kind == "sandbox" else "/given"
    attack = "; ".join(f"(mkdir -p {Path(place).parent}; echo x >{place})" for place in places)
    attack += f"; (echo x >{given}); (rm -f {given}); (mv {given} {given}2); (chmod 777 {given}); true"
    if jail.kind == "sandbox":
        tried = jail.attempt(attack, inputs=["given"])
    else:
        tried = jail.attempt(attack, mounts=[{"source": "given", "target": "/given"}])
    assert tried.failure is None
    assert (jail.source / "given").read_text() == "untouched"
    assert (jail.source / "given").stat().st_mode & 0o777 == 0o666
    assert sorted(path.name for path in jail.source.iterdir()) == ["given"]
    assert not list(outside.iterdir())
    assert not [place for place in places if Path(place).exists()]
    jail.uncaged().attempt(f"echo x >{outside}/evil; echo x >given")
    assert (outside / "evil").exists()
    assert (jail.source / "given").read_text() == "x\n"


@needs_bubblewrap
@pytest.mark.parametrize(
    "attack",
    [
        "ln -s {canary} out",
        "mkdir d; ln -s {folder} d/e; mv d out",
        "ln {canary} out",
        "mkfifo out",
        "mknod out c 1 3",
        "mkdir out; ln -s {folder}/outside out/x",
    ],
)
def test_outputs_can_t_lead_elsewhere(sandbox: Jail, attack: str, canary: tuple[Path, str]) -> None:
    file, secret = canary
    (sandbox.folder / "outside").mkdir()
    (sandbox.folder / "outside/file").write_text("outside")
    tried = sandbox.attempt(f"{attack.format(canary=file, folder=sandbox.folder)}; true", outputs=["out"])
    assert tried.failure is not None
    assert tried.failure.code == "E_OUTPUT"
    assert not [path for path in sandbox.source.rglob("*") if path.is_file() and secret in path.read_text()]


@needs_bubblewrap
def test_a_link_in_the_source_tree_leads_no_output_outside(sandbox: Jail) -> None:
    (sandbox.folder / "outside").mkdir()
    (sandbox.source / "build").symlink_to(sandbox.folder / "outside")
    tried = sandbox.attempt("echo x >build/file", outputs=["build/*"])
    assert tried.failure is not None
    assert "can't be put behind the link 'build'" in tried.failure.message
    assert not list((sandbox.folder / "outside").iterdir())


@needs_bubblewrap
def test_what_is_left_in_the_sandbox_is_gone_however_deep_and_locked_it_is(sandbox: Jail) -> None:
    steps = "d/" * 1500
    deep = f"mkdir -p {steps}; mkdir e; mv d e/; mkdir -p {steps}; mv e {steps}"
    tried = sandbox.attempt(f"{deep} && echo deep; mkdir locked; echo x >locked/file; chmod 0 locked d/d d")
    assert tried.printed == "deep\n"
    assert not list((sandbox.folder / "outputs").rglob(".sandbox-*"))


# -- the network


@pytest.mark.parametrize("where", ["loopback", "outer"])
def test_the_network_can_t_be_reached(jail: Jail, where: str) -> None:
    address = "127.0.0.1" if where == "loopback" else outer_address()
    if not address:
        pytest.skip("this machine has no address but its loopback")
    with listener(address) as (port, visitors):
        knock = f"busybox nc -w 2 {address} {port} </dev/null; true"
        assert "reached" not in jail.attempt(knock).printed
        assert visitors() == 0
        assert "reached" in jail.uncaged().attempt(knock).printed
        assert visitors() == 1
        if jail.kind == "sandbox":
            assert "reached" in jail.attempt(knock, network=True).printed


# -- other processes


def test_other_processes_can_t_be_seen_or_ended(jail: Jail) -> None:
    mark = f"{3600 + os.getpid()}"
    other = subprocess.Popen(["sleep", mark])
    try:
        look = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
        attack = f"{look}; kill -9 {other.pid}; kill -9 -1; true"
        tried = jail.attempt(attack)
        assert f"sleep {mark}" not in tried.printed.replace(attack, "")
        assert other.poll() is None
        uncaged = jail.uncaged()
        assert f"sleep {mark}" in uncaged.attempt(look).printed
        uncaged.attempt(f"kill -9 {other.pid}")
        assert other.wait(10) == -signal.SIGKILL
    finally:
        other.kill()
        other.wait()


# -- outliving


ESCAPES = {
    "background": "( {hold} ) & ",
    "setsid": "setsid sh -c '{hold}' </dev/null >/dev/null 2>&1 & ",
    "double fork": "( ( setsid sh -c '{hold}' </dev/null >/dev/null 2>&1 & ) & ) ; ",
    "nohup": "(trap '' HUP TERM INT; exec setsid sh -c '{hold}' </dev/null >/dev/null 2>&1) & ",
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_nothing_outlives_the_task(jail: Jail, escape: str) -> None:
    shared = jail.source / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    hold = "exec 9>>$F/held; flock 9; echo x >>$F/began; while [ ! -e $F/release ]; do sleep 0.05; done"
    leave = ESCAPES[escape].format(hold=hold) + "while [ ! -s $F/began ]; do sleep 0.02; done"
    mount = {"source": "shared", "target": "/shared", "writable": True}
    tried = jail.attempt(leave, mounts=[mount], env={"F": "/shared"})
    assert tried.failure is None
    assert (shared / "began").exists()
    assert not is_locked(shared / "held")
    (shared / "began").unlink()
    subprocess.run(["sh", "-c", leave], env=os.environ | {"F": str(shared)}, check=True, timeout=30)
    assert is_locked(shared / "held"), "the control has ended by itself"
    (shared / "release").touch()
    wait_until(lambda: not is_locked(shared / "held"))


# -- limits


def test_memory_is_bounded(jail: Jail) -> None:
    tried = jail.attempt(TAKE_MEMORY, memory="64MiB")
    assert tried.failure is not None
    assert "memory" in tried.failure.message
    assert jail.attempt(TAKE_MEMORY).failure is None, "the control"


def test_memory_of_many_processes_is_bounded_together(jail: Jail) -> None:
    take = "busybox dd if=/dev/zero of=/dev/null bs=30M count=100"
    cmd = f"{take} & a=$!; {take} & b=$!; {take} & c=$!; wait $a && wait $b && wait $c"
    assert jail.attempt(cmd, memory="64MiB").failure is not None
    assert jail.attempt(cmd, memory="256MiB").failure is None, "the control"


@needs_bubblewrap
@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_memory_as_files_is_bounded(sandbox: Jail, folder: str) -> None:
    fill = f"busybox dd if=/dev/zero of={folder}/file bs=1M count=200"
    assert sandbox.attempt(fill, memory="64MiB").failure is not None
    assert sandbox.attempt(fill).failure is None, "the control"


def test_processes_are_bounded(jail: Jail) -> None:
    tried = jail.attempt(FORK_MANY, pids=10)
    assert tried.failure is not None
    assert "started 40" not in tried.printed
    assert "started 40" in jail.attempt(FORK_MANY, pids=60).printed, "the control"


def test_as_many_processes_as_are_allowed_can_run(jail: Jail) -> None:
    # Not fewer: what starts a container counts as well while it does, with some threads of its own.
    cmd = "i=0; while [ $i -lt 31 ]; do sleep 1 & i=$((i+1)); done; wait; echo fine"
    assert jail.attempt(cmd, pids=32).failure is None


@needs_bubblewrap
def test_the_size_of_files_is_bounded(sandbox: Jail) -> None:
    cmd = "busybox dd if=/dev/zero of=out bs=1M count=8"
    assert sandbox.attempt(cmd, file_size="1MiB", outputs=["out"]).failure is not None
    assert not (sandbox.source / "out").exists()
    assert sandbox.attempt(cmd, file_size="8MiB", outputs=["out"]).failure is None, "the control"
    assert (sandbox.source / "out").stat().st_size == 8 << 20


@needs_bubblewrap
def test_cpu_time_is_bounded(sandbox: Jail) -> None:
    tried = sandbox.attempt("while :; do :; done", cpu_time=1)
    assert tried.failure is not None
    assert tried.failure.exit_code in (128 + signal.SIGKILL, 128 + signal.SIGXCPU)
    assert sandbox.attempt("i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done", cpu_time=1).failure is None


# -- becoming more


@needs_bubblewrap
def test_no_privilege_can_be_gained(sandbox: Jail) -> None:
    shown = sandbox.attempt(
        "grep -E '^(Cap|NoNewPrivs)' /proc/self/status; id -u; unshare --user id; true"
    ).printed
    assert "CapEff:\t0000000000000000" in shown
    assert "CapBnd:\t0000000000000000" in shown
    assert "NoNewPrivs:\t1" in shown
    assert "uid=" not in shown, "it made a user namespace of its own"


@needs_bubblewrap
@needs_root
def test_the_kernel_can_t_be_tuned(sandbox: Jail) -> None:
    """Root outside without a capability inside is still the owner of the files of the kernel: the reason for *nobody*."""
    tune = (
        "cat /proc/sys/kernel/core_pattern >/tmp/x; cat /tmp/x >/proc/sys/kernel/core_pattern && echo tuned"
    )
    assert "tuned" not in sandbox.attempt(f"{tune}; true").printed
    system = ["--ro-bind", "/", "/", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"]
    plain = ["bwrap", "--unshare-all", "--uid", "65534", "--cap-drop", "ALL", *system, "sh", "-c", tune]
    control = subprocess.run(plain, capture_output=True, text=True, check=False)
    assert "tuned" in control.stdout


def test_a_task_has_no_privilege(jail: Jail) -> None:
    shown = jail.attempt("grep -E '^(Cap|NoNewPrivs)' /proc/self/status; id -u").printed
    assert "CapEff:\t0000000000000000" in shown
    assert "NoNewPrivs:\t1" in shown
    assert shown.split()[-1] != "0"
