"""Steps in a virtual machine: what goes in, what comes out, how they end, and that nothing is left."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hostile import listener, outer_address
from machines import Machines, machines_of, needs_machines
from process_survivors import wait_until
from rooms import Rooms, Said, run, script
from test_job_runtimes import CODES, FORK_MANY, JOB, SPIN, TAKE_MEMORY, _without_hints

from runwright.adapters.microvm import files, machine, runtime
from runwright.core.errors import TaskFailed
from runwright.ports.jobs import JobLimits, Room, RoomStep
from runwright.ports.system import Exit

pytestmark = needs_machines
MIB = 1 << 20


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    yield Machines(tmp_path)
    assert machines_of(tmp_path) == []


class Watched(Said):
    """What a running step says, to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.came = asyncio.Event()

    def take(self, stream: str, data: bytes) -> None:
        self.pieces[stream].extend(data)
        self.came.set()

    async def until(self, text: str, seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while text not in self.out:
                self.came.clear()
                await self.came.wait()


def begin(room: Room, step: RoomStep) -> tuple["asyncio.Task[Exit]", Watched]:
    said = Watched()
    return asyncio.create_task(room.run(step, said.take)), said


# -- jobs


def test_a_job_is_the_same_as_in_the_shell(machines: Machines, tmp_path: Path) -> None:
    results = []
    shell = Rooms("shell", tmp_path / "plain")
    for one in (shell, machines):
        (one.workspace / "given").write_text("given\n")
        said = one.steps(JOB)
        assert [step.code for step in said] == CODES
        where = str(one.workspace) if one is shell else "/work"
        results.append([(step.out.replace(where, "/work"), _without_hints(step.err)) for step in said])
        assert (one.workspace / "sub/file").read_text() == "made\nmore\n"
        assert sorted(path.name for path in one.workspace.iterdir()) == ["given", "sub"]
    assert results[1] == results[0]


def test_files_go_in_and_changes_come_out_after_each_step(machines: Machines) -> None:
    work = machines.workspace
    odd = "ode \u00fc\n'\"$"
    (work / "deep/er").mkdir(parents=True)
    (work / "deep/er/kept").write_text("kept")
    (work / odd).write_text("odd")
    (work / "tool").write_text("#!/bin/sh\necho ran\n")
    (work / "tool").chmod(0o755)
    (work / "private").write_text("private")
    (work / "private").chmod(0o600)
    (work / "gone").write_text("x")
    (work / "kind").write_text("x")
    (work / "link").symlink_to("deep/er/kept")
    os.link(work / "private", work / "twin")
    before = (work / "deep/er/kept").stat()

    async def scope() -> None:
        async with machines.room() as room:
            said = await run(room, script("./tool; cat link private; ls -1A; cat ./ode* >/dev/null"))
            assert (said.code, said.err) == (0, "")
            assert said.out.startswith("ran\nkeptprivate")
            assert "lost+found" not in said.out
            said = await run(
                room,
                script(
                    "rm gone; rm kind; mkdir kind; echo in >kind/in; echo more >>private; mv deep shallow\n"
                    "echo sparse >s; busybox truncate -s 50M s; ln -s private to; ln tool too; chmod 700 tool\n"
                    "printf '%0100000d' 7 >long; touch -d 2001-02-03 long; mkdir -p empty a/b/c; ln -s ../../tool a/b/up"
                ),
            )
            assert (said.code, said.err) == (0, "")
            assert not (work / "gone").exists()
            assert (work / "kind/in").read_text() == "in\n"
            assert (work / "private").read_text() == "privatemore\n"
            said = await run(room, script("rm -r shallow a; rm -r kind; echo x >kind; cat s; exit 3"))
            assert (said.code, said.out[:7]) == (3, "sparse\n")

    asyncio.run(scope())
    assert sorted(path.name for path in work.iterdir()) == sorted(
        [odd, "tool", "too", "private", "twin", "kind", "s", "to", "long", "empty", "link"]
    )
    assert (work / "kind").read_text() == "x\n"
    assert (work / "s").stat().st_size == 50 * MIB
    assert (work / "s").stat().st_blocks < 100, "holes stay holes"
    assert (work / "long").read_text() == "7".rjust(100_000, "0")
    assert time.gmtime((work / "long").stat().st_mtime)[:3] == (2001, 2, 3)
    assert stat.S_IMODE((work / "tool").stat().st_mode) == 0o700
    assert (work / "twin").read_text() == "privatemore\n", "a second name follows"
    assert str((work / "to").readlink()) == "private"
    assert before.st_uid == (work / "long").stat().st_uid


def test_links_out_and_what_is_no_file_stay_in_the_machine(machines: Machines) -> None:
    told: list[tuple[str, str]] = []

    async def log(key: str, command: tuple[str, ...], work: Any) -> Exit:
        said = Said()
        exit_: Exit = await work(lambda stream, data: said.pieces[stream].extend(data))
        told.append((key, said.out))
        return exit_

    async def scope() -> Said:
        async with machines.runtime() as rt:
            room = await rt.open(machines.place(), log)
            await run(
                room,
                script(
                    "ln -s /etc/passwd abs; ln -s ../x up; mkdir d; ln -s ../ok d/in; ln -s ../../x d/out; mkfifo pipe\n"
                    "cp /bin/sh set; chmod 6755 set; echo ok >ok"
                ),
            )
            said = await run(room, script("for l in abs up d/out; do readlink $l; done; test -p pipe"))
            await room.close()
            await room.close()
            return said

    assert asyncio.run(scope()).out == "/etc/passwd\n../x\n../../x\n"
    assert sorted(path.name for path in machines.workspace.iterdir()) == ["d", "ok", "set"]
    assert [path.name for path in (machines.workspace / "d").iterdir()] == ["in"]
    assert stat.S_IMODE((machines.workspace / "set").stat().st_mode) == 0o755
    (first, ready), (last, left) = told
    assert (first, last) == ("setup.microvm.start", "teardown.microvm.remove")
    assert "(tcg)" in ready
    assert left.endswith(": abs, d/out, pipe, up\n")


def test_output_comes_while_the_step_runs_and_is_whole(machines: Machines) -> None:
    async def scope() -> None:
        async with machines.room() as room:
            task, said = begin(room, script("echo first; read x <hold; echo never", dir="."))
            await said.until("first\n")
            assert not task.done()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            noise = await run(room, script("head -c 3000000 /dev/urandom >noise; cat noise; cat noise >&2"))
            expected = (machines.workspace / "noise").read_bytes()
            assert bytes(noise.pieces["stdout"]) == expected == bytes(noise.pieces["stderr"])

    subprocess.run(["mkfifo", machines.workspace / "hold"], check=True)
    asyncio.run(scope())


# -- limits


def test_limits_hold(machines: Machines) -> None:
    limits = JobLimits(memory_bytes=64 * MIB, pids=10, disk_bytes=64 * MIB, cpus=0.1)
    fill = "busybox dd if=/dev/zero of=big bs=1M count=100 || echo full; ls; rm big"

    async def scope() -> list[Said]:
        async with machines.room(machines.place(limits)) as room:
            return [
                await run(room, script(text)) for text in (TAKE_MEMORY, FORK_MANY, fill, SPIN, "echo fine")
            ]

    memory, pids, disk, spin, fine = asyncio.run(scope())
    assert memory.code == 137
    assert f"runwright: the step ran out of memory: its limit is {64 * MIB} bytes\n" in memory.err
    assert pids.code not in (0, -1)
    assert "started 40" not in pids.out
    assert disk.out == "full\nbig\n"
    assert "No space left" in disk.err
    assert _used(spin) < 0.6
    assert fine.out == "fine\n"


def test_without_limits_the_same_is_fine(machines: Machines) -> None:
    """The control of the test above."""
    fill = "busybox dd if=/dev/zero of=big bs=1M count=100 || echo full; rm big"

    async def scope() -> list[Said]:
        async with machines.room() as room:
            return [await run(room, script(text)) for text in (TAKE_MEMORY, FORK_MANY, fill, SPIN)]

    memory, pids, disk, spin = asyncio.run(scope())
    assert (memory.code, memory.err.count("runwright:")) == (0, 0)
    assert "started 40" in pids.out
    assert (disk.code, disk.out) == (0, "")
    assert _used(spin) > 0.6


def _used(said: Said) -> float:
    times = said.out.split()
    return sum(int(t.partition("m")[0]) * 60 + float(t.partition("m")[2].rstrip("s")) for t in times[:2])


def test_a_workspace_that_is_too_large_is_told(machines: Machines) -> None:
    (machines.workspace / "large").write_bytes(os.urandom(20 * MIB))
    with pytest.raises(TaskFailed, match=r"can't be put on a disk of 16777216 bytes: ") as caught:
        machines.steps([script("true")], machines.place(JobLimits(disk_bytes=16 * MIB)))
    assert caught.value.failure.code == "E_LIMIT"
    assert list(machines.scratch.iterdir()) == []


def test_results_that_are_too_large_together_are_refused(machines: Machines) -> None:
    """A file full of holes takes no room on the disk, and all of it on its way."""
    limits = machines.place(JobLimits(disk_bytes=64 * MIB))
    (said, control) = machines.steps(
        [script("busybox truncate -s 1000G big; ls -l big >&2"), script("rm big; echo ok >ok")], limits
    )
    assert said.failure is not None
    assert (said.failure.code, said.failure.message) == (
        "E_RESULTS",
        "the disk of the machine can't be read: the files are larger together than 67108864 bytes",
    )
    assert control.code == 0
    assert [path.name for path in machines.workspace.iterdir()] == ["ok"]


# -- ends


IGNORE = "trap '' TERM; echo began; (trap '' TERM; while :; do sleep 0.1; done) & while :; do sleep 0.1; done"
HEED = "trap 'echo heeded; exit' TERM; echo began; while :; do sleep 0.05; done"


def test_a_cancelled_step_gets_sigterm_then_sigkill_and_the_next_one_runs(machines: Machines) -> None:
    async def cancelled(room: Room, text: str) -> tuple[float, str]:
        task, said = begin(room, script(text))
        await said.until("began\n")
        start = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return time.monotonic() - start, said.out

    async def scope() -> None:
        async with machines.room(machines.place(kill_grace=1.5)) as room:
            took, _ = await cancelled(room, IGNORE)
            assert 1.4 < took < 1.5 + machine.ANSWER_SECONDS
        async with machines.room(machines.place(kill_grace=60.0)) as room:
            took, out = await cancelled(room, HEED)
            assert took < 30
            assert out == "began\nheeded\n"
            assert (await run(room, script("ps | grep -c '[s]leep' || echo none"))).out == "0\nnone\n"

    asyncio.run(scope())


def test_a_machine_that_does_not_answer_is_ended(machines: Machines) -> None:
    async def scope() -> None:
        async with machines.room(machines.place(kill_grace=0.5)) as room:
            task, said = begin(room, script(IGNORE))
            await said.until("began\n")
            (pid,) = machines_of(machines.folder)
            os.kill(pid, signal.SIGSTOP)
            start = time.monotonic()
            task.cancel()
            await asyncio.wait([task])
            assert time.monotonic() - start < 0.5 + machine.ANSWER_SECONDS + 2
            assert task.cancelled()
            assert machines_of(machines.folder) == []
            last = await run(room, script("true"))
            assert last.failure is not None
            assert last.failure.code == "E_MACHINE"

    asyncio.run(scope())


def test_who_cancels_twice_does_not_wait_for_the_grace(machines: Machines) -> None:
    async def scope() -> None:
        async with machines.room(machines.place(kill_grace=600.0)) as room:
            task, said = begin(room, script(IGNORE))
            await said.until("began\n")
            task.cancel()
            await asyncio.wait([task], timeout=0.3)
            assert not task.done()
            task.cancel()
            await asyncio.wait([task], timeout=10)
            assert task.cancelled()

    asyncio.run(scope())


def test_a_machine_that_ends_in_the_middle_fails_its_step(machines: Machines) -> None:
    async def scope() -> Said:
        async with machines.room() as room:
            said = Watched()
            task = asyncio.create_task(room.run(script("echo began; sleep 600"), said.take))
            await said.until("began\n")
            (pid,) = machines_of(machines.folder)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(TaskFailed, match="it has ended by itself") as caught:
                await task
            said.failure = caught.value.failure
            return said

    said = asyncio.run(scope())
    assert said.failure is not None
    assert said.failure.code == "E_MACHINE"
    assert said.out == "began\n"


def test_who_does_not_take_the_output_ends_the_step(machines: Machines) -> None:
    def refuse(_stream: str, _data: bytes) -> None:
        raise ValueError("enough")

    async def scope() -> None:
        async with machines.room() as room:
            with pytest.raises(ValueError, match="enough"):
                await room.run(script("echo x; sleep 600"), refuse)
            assert (await run(room, script("echo next"))).out == "next\n"

    asyncio.run(scope())


def test_nothing_outlives_its_step(machines: Machines) -> None:
    escape = (
        "setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' >/dev/null 2>&1 </dev/null & echo out"
    )
    first, second = machines.steps(
        [script(escape), script("ps | grep -c '[s]leep' || echo none; ls -A /tmp /dev/shm")]
    )
    assert first.out == "out\n"
    assert second.out == "0\nnone\n/dev/shm:\n\n/tmp:\n"


@contextmanager
def working(machines: Machines, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Have a worker whose step runs."""
    program = Path(__file__).with_name("microvm_engine.py")
    log = machines.folder / "log"
    with log.open("wb") as out:
        command = [sys.executable, program, machines.folder, "echo began; sleep 600", *options]
        worker = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        wait_until(lambda: b"began" in log.read_bytes() or worker.poll() is not None, 90)
        assert worker.poll() is None, log.read_text()
        yield worker
    finally:
        worker.kill()
        worker.wait()


def sweep(machines: Machines, *alive: str) -> list[str]:
    async def scope() -> list[str]:
        async with machines.runtime() as rt:
            return await rt.sweep(lambda name: name in alive)

    return asyncio.run(scope())


def test_a_machine_ends_with_a_killed_worker(machines: Machines) -> None:
    with working(machines) as worker:
        assert len(machines_of(machines.folder)) == 1
        assert sweep(machines, "place") == []
        worker.kill()
        wait_until(lambda: not machines_of(machines.folder), 2)
    assert sweep(machines) == []


def test_without_the_processes_door_a_machine_lives_until_the_next_worker(machines: Machines) -> None:
    """The control of the test above, and the proof of the sweep."""
    with working(machines, "--unguarded") as worker:
        worker.kill()
        worker.wait()
        # Without its lines the agent of a guest still waits, and QEMU with it.
        assert len(machines_of(machines.folder)) == 1
        assert sweep(Machines(machines.folder / "elsewhere")) == [], "what is another's"
    assert sweep(machines) == ["ended the virtual machine runwright-place"]
    wait_until(lambda: not machines_of(machines.folder), 2)


# -- hostile steps


def test_no_step_can_forge_what_the_agent_says(machines: Machines) -> None:
    forge = (
        "for line in /dev/vport* /dev/vda /dev/kmsg /proc/1/fd/3 /proc/1/mem; do (echo ended x 0 0 >$line) 2>/dev/null && echo wrote $line\n"
        "done; (cat /proc/1/environ /proc/1/maps) 2>/dev/null && echo read\n"
        "printf 'ended 00 0 0\\n\\0'; printf '\\0%032x\\0' 1; (printf '\\0%032x\\0' 2; printf '\\0abc') >&2; kill -9 -1; echo end"
    )
    said, after = machines.steps([script(forge), script("echo fine")])
    assert said.code in (0, 137)
    assert said.out.startswith("ended 00 0 0\n\0\0" + "0" * 31 + "1\0")
    assert said.err.startswith("\0" + "0" * 31 + "2\0\0abc")
    assert "wrote" not in said.out
    assert "read" not in said.out
    assert after.out == "fine\n"


def test_the_machine_knows_nothing_of_what_it_runs_on(machines: Machines) -> None:
    secret = machines.folder / "secret"
    secret.write_text("canary")
    (said,) = machines.steps(
        [
            script(
                f"find / -xdev 2>/dev/null | grep -v '^/proc' >list; cat {secret} || true; ls /sys/class/net; mount | grep -v cgroup >&2"
            )
        ]
    )
    assert said.out == "lo\n"
    assert "canary" not in said.err
    assert {line.split(" ")[0] for line in said.err.splitlines() if line.startswith("/")} == {"/dev/vda"}
    listed = (machines.workspace / "list").read_text()
    assert "/runwright/init" in listed, "the control"
    assert str(machines.folder) not in listed


def test_qemu_has_no_rights(machines: Machines) -> None:
    async def scope() -> dict[str, str]:
        async with machines.room() as room:
            task, said = begin(room, script("echo began; sleep 600"))
            await said.until("began\n")
            (pid,) = machines_of(machines.folder)
            status = Path(f"/proc/{pid}/status").read_text()  # noqa: ASYNC240 - it is in memory
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
            task.cancel()
            await asyncio.wait([task])
            return dict(line.split(":\t", 1) for line in status.splitlines())

    status = asyncio.run(scope())
    assert status["Seccomp"] == "2"
    if os.geteuid() == 0:
        assert status["Uid"].split() == ["65534"] * 4
        assert int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"] == "1"


def test_there_is_a_network_only_if_asked_for(machines: Machines) -> None:
    address = outer_address()
    if not address:
        pytest.skip("this machine has no address but its loopback")
    with listener(address) as (port, visitors), listener("127.0.0.1") as (inner, guests):
        knock = f"busybox nc -w 3 {address} {port} </dev/null || true"
        loop = f"busybox nc -w 3 10.0.2.2 {inner} </dev/null || true"
        (none,) = machines.steps([script(knock)])
        assert ("reached" in none.out, visitors()) == (False, 0)
        said = machines.steps([script(knock), script(loop)], machines.place(JobLimits(network=True)))
        assert "reached" in said[0].out
        assert visitors() == 1
        assert ("reached" in said[1].out, guests()) == (False, 0), (
            "the worker's own loopback is not the network"
        )


# -- what machines are made of


def test_machines_that_work_have_no_faults(machines: Machines) -> None:
    async def scope() -> list[str]:
        async with machines.runtime() as rt:
            return await rt.faults()

    assert asyncio.run(scope()) == []


def test_what_is_missing_is_told(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "search_path", lambda: str(machines.folder))
    wrong = {
        "kernel": "/nowhere/k",
        "busybox": "/nowhere/b",
        "initramfs": "/nowhere/i",
        "rootfs": "/nowhere/r",
    }

    async def scope() -> list[str]:
        async with machines.runtime(**wrong) as rt:
            with pytest.raises(TaskFailed, match="no virtual machine can be made"):
                await rt.open(machines.place(), runtime._unlogged)
            return await rt.faults()

    faults = asyncio.run(scope())
    for text in (
        "install QEMU",
        "install e2fsprogs",
        "static busybox",
        "fetch-guest-kernel",
        "--vm-initramfs",
        "--vm-rootfs",
    ):
        assert any(text in fault for fault in faults), text


def test_a_kernel_that_is_none_is_told(machines: Machines) -> None:
    broken = machines.folder / "vmlinuz"
    broken.write_bytes(os.urandom(1 << 16))

    async def scope() -> list[str]:
        async with machines.runtime(kernel=str(broken)) as rt:
            return await rt.faults()

    (fault,) = asyncio.run(scope())
    assert fault.startswith("the virtual machine failed: ")
    assert "qemu" in fault


def test_a_guest_that_hangs_is_given_up(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is found which accelerator works; it is remembered."""
    if not os.access("/dev/kvm", os.W_OK):
        pytest.skip("there is no KVM to be tried")
    qemu, calls = machines.folder / "qemu", machines.folder / "calls"
    qemu.write_text(
        f'#!/bin/sh\necho "$*" >>{calls}\ncase "$*" in *"-accel kvm"*) exec sleep 600;; esac\nexec qemu-system-x86_64 "$@"\n'
    )
    qemu.chmod(0o755)
    monkeypatch.setattr(runtime, "PROBE_SECONDS", 0.5)

    async def scope() -> None:
        async with machines.room(qemu=str(qemu), accelerator="auto", is_root=False) as room:
            assert (await run(room, script("echo fine"))).out == "fine\n"

    for _ in range(2):
        asyncio.run(scope())
    tried = ["kvm" if "-accel kvm" in line else "tcg" for line in calls.read_text().splitlines()]
    assert tried == ["kvm", "tcg", "tcg"]
