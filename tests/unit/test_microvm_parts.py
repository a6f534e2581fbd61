"""The parts of virtual machines that need none: archives, orders, command lines."""

import gzip
import io
import lzma
import os
import random
import shlex
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runwright.adapters.microvm import cpio, files, kernel, protocol, qemu, ticks
from runwright.adapters.microvm.files import MicrovmOptions, missing_parts, prepare_parts
from runwright.adapters.microvm.protocol import AgentFault, Ending, Marked, Setting

NONCE = "00ff" * 8


# -- archives


def read_archive(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Read an archive back, by its description alone."""
    found = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = data[at + 110 : at + 110 + fields[11] - 1].decode()
        at += -(-(110 + fields[11]) // 4) * 4
        content = data[at : at + fields[6]]
        at += -(-fields[6] // 4) * 4
        if name == "TRAILER!!!":
            assert at == len(data)
            return found
        assert name not in found
        found[name] = (fields[1], content)


def test_an_archive_holds_what_was_put_in() -> None:
    members = [
        cpio.folder("d"),
        cpio.file("d/file", b"odd", 0o755),
        cpio.file("d/four", b"four"),
        cpio.link("d/link", "../elsewhere"),
        cpio.Member(name="dev", mode=stat.S_IFCHR | 0o600, device=(5, 1)),
    ]
    assert read_archive(cpio.write_archive(members)) == {
        "d": (0o40755, b""),
        "d/file": (0o100755, b"odd"),
        "d/four": (0o100644, b"four"),
        "d/link": (0o120777, b"../elsewhere"),
        "dev": (0o20600, b""),
    }


# -- what is said


@given(st.lists(st.binary(max_size=80)), st.integers(1, 40), st.binary(max_size=80))
def test_output_comes_whole_however_it_is_cut(parts: list[bytes], step: int, tail: bytes) -> None:
    mark = protocol.mark_of(NONCE)
    sent = b"".join(parts).replace(mark, b"") + mark[: len(tail) % len(mark)] + tail.replace(mark, b"")
    marked = Marked(mark)
    pieces = [sent + mark][0]
    got = b"".join(marked.take(pieces[at : at + step]) for at in range(0, len(pieces), step))
    assert got == sent
    assert marked.is_done


def test_output_is_held_back_only_while_it_may_be_the_mark() -> None:
    marked = Marked(protocol.mark_of(NONCE))
    assert marked.take(b"ab\0") == b"ab"
    assert marked.take(b"cd\0" + NONCE[:5].encode()) == b"\0cd"
    assert marked.take(b"x\0\0") == b"\0" + NONCE[:5].encode() + b"x\0"
    assert not marked.is_done
    assert marked.rest() == b"\0"
    with pytest.raises(AgentFault, match="goes on after its end"):
        marked.take(protocol.mark_of(NONCE) + b"x")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ready",
        "ended",
        f"ended {NONCE} 0",
        f"ended {NONCE} 0 0 0",
        f"ended {NONCE} -1 0",
        "ended 00 0 0",
        "\xff",
    ],
)
def test_an_answer_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(AgentFault, match="instead of a step's end"):
        protocol.read_ending(line.encode("latin-1"), NONCE)


def test_an_answer_tells_how_a_step_ended() -> None:
    assert protocol.read_ending(f"ended {NONCE} 137 2".encode(), NONCE) == Ending(137, 2)
    assert protocol.read_ending(f"ended {NONCE} {'9' * 99} 0".encode(), NONCE).code == 255


def test_orders_say_what_is_to_be_done() -> None:
    assert protocol.setup_order(Setting(memory_bytes=5)) == b"setup 5 max max 0\n"
    full = Setting(memory_bytes=5, pids=7, cpus=1.5, network=True)
    assert protocol.setup_order(full) == b"setup 5 7 150000 1\n"
    assert protocol.step_order("ab", "go\n", "é") == b"step ab 3 2\ngo\n" + "é".encode()


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_]+", fullmatch=True), st.text().filter(lambda t: "\0" not in t), max_size=3
    )
)
def test_a_launcher_hands_over_every_value(env: dict[str, str]) -> None:
    words = shlex.split(protocol.launcher("/work/it's", env, ("/bin/sh", "-c", "x y", "key")))
    assert words[:6] == ["cd", "/work/it's", "||", "exit", "exec", f"{protocol.TOOLS}/setpriv"]
    assert words[6:] == [
        "--nnp",
        f"{protocol.TOOLS}/env",
        "-i",
        *(f"{n}={v}" for n, v in env.items()),
        "/bin/sh",
        "-c",
        "x y",
        "key",
    ]


def test_the_agent_is_a_script_that_a_shell_understands() -> None:
    subprocess.run(["sh", "-n", files.AGENT], check=True)


# -- kernels


def test_the_newest_kernel_is_taken_unless_one_is_chosen(tmp_path: Path) -> None:
    boot, own = tmp_path / "boot", tmp_path / "own"
    boot.mkdir()
    assert kernel.find_kernel("", own, boot) is None
    for name in ("vmlinuz-6.1.0-9-cloud-amd64", "vmlinuz-6.1.0-56-cloud-amd64", "vmlinuz-7.0-generic"):
        (boot / name).touch()
    assert kernel.find_kernel("", own, boot) == boot / "vmlinuz-6.1.0-56-cloud-amd64"
    own.mkdir()
    (own / "vmlinuz").touch()
    assert kernel.find_kernel("", own, boot) == own / "vmlinuz"
    assert kernel.find_kernel(str(boot / "vmlinuz-7.0-generic"), own, boot) == boot / "vmlinuz-7.0-generic"
    assert kernel.find_kernel("/nowhere/at/all", own, boot) is None


def bzimage(release: str) -> bytes:
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x100).to_bytes(2, "little")
    text = f"{release} (who built it)".encode()
    head[0x300 : 0x300 + len(text)] = text
    return bytes(head)


def test_a_kernel_tells_its_release() -> None:
    assert kernel.release_of(bzimage("6.1.0-18-cloud-amd64")) == "6.1.0-18-cloud-amd64"
    assert kernel.release_of(b"\x7fELF" + bytes(600)) == ""


def test_modules_are_found_in_the_order_in_which_they_are_loaded(tmp_path: Path) -> None:
    image = tmp_path / "boot/vmlinuz"
    tree = tmp_path / "lib/modules/6.1/kernel/drivers"
    (tree / "virtio").mkdir(parents=True)
    (tree / "block").mkdir()
    (tree / "virtio/virtio.ko").write_bytes(b"plain")
    (tree / "virtio/virtio_ring.ko.xz").write_bytes(lzma.compress(b"packed"))
    (tree / "block/virtio_blk.ko.gz").write_bytes(gzip.compress(b"zipped"))
    found = kernel.find_modules(image, "6.1")
    assert [kernel.read_module(path) for path in found] == [b"packed", b"plain", b"zipped"]
    assert kernel.find_modules(image, "") == []
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "virtio_console.ko").touch()
    assert kernel.find_modules(image, "6.1", str(flat)) == [flat / "virtio_console.ko"]


def elf(*kinds: int) -> bytes:
    head = bytearray(64)
    head[:5] = b"\x7fELF\x02"
    head[32:40] = (64).to_bytes(8, "little")
    head[54:58] = (56).to_bytes(2, "little") + len(kinds).to_bytes(2, "little")
    return bytes(head) + b"".join(kind.to_bytes(4, "little") + bytes(52) for kind in kinds)


def test_a_program_is_static_if_it_names_no_interpreter() -> None:
    assert kernel.is_static(elf(1, 2))
    assert not kernel.is_static(elf(1, 3))
    assert not kernel.is_static(b"#!/bin/sh\n")


# -- what machines are made of


@pytest.fixture
def options(tmp_path: Path) -> MicrovmOptions:
    busybox, image = tmp_path / "busybox", tmp_path / "vmlinuz"
    busybox.write_bytes(elf(1))
    busybox.chmod(0o755)
    image.write_bytes(bzimage("6.1"))
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/virtio.ko").write_bytes(b"module")
    return MicrovmOptions(busybox=str(busybox), kernel=str(image), qemu="/bin/true")


def test_parts_are_made_once_and_anew_when_something_changes(tmp_path: Path, options: MicrovmOptions) -> None:
    folder = tmp_path / "vm"
    first = prepare_parts(options, folder)
    assert first.kernel.read_bytes() == bzimage("6.1")
    members = read_archive(first.initramfs.read_bytes())
    assert members["runwright/init"] == (0o100755, files.AGENT.read_bytes())
    assert members["runwright/modules/order"][1] == b"virtio.ko"
    assert members["runwright/modules/virtio.ko"][1] == b"module"
    assert first.size_bytes == first.initramfs.stat().st_size
    assert prepare_parts(options, folder) == first
    (tmp_path / "modules/virtio.ko").write_bytes(b"newer")
    assert prepare_parts(options, folder).kernel != first.kernel
    assert not list(folder.glob("*.new"))


def test_an_archive_and_a_tar_add_to_the_guest(tmp_path: Path, options: MicrovmOptions) -> None:
    root, base = tmp_path / "root.tar", tmp_path / "base"
    base.write_bytes(b"packed")
    with tarfile.open(root, "w") as archive:
        for name, kind, target in (
            ("./", tarfile.DIRTYPE, ""),
            ("./etc", tarfile.DIRTYPE, ""),
            ("./etc/motd", tarfile.REGTYPE, ""),
            ("bin", tarfile.SYMTYPE, "usr/bin"),
            ("etc/twin", tarfile.LNKTYPE, "./etc/motd"),
            ("dev/null", tarfile.CHRTYPE, ""),
            ("../climbs", tarfile.REGTYPE, ""),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, target, 0o6755
            entry.size = 5 if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(b"hello"))
    chosen = MicrovmOptions(
        busybox=options.busybox, kernel=options.kernel, rootfs=str(root), initramfs=str(base)
    )
    data = prepare_parts(chosen, tmp_path / "vm").initramfs.read_bytes()
    assert data.startswith(b"packed\0\0" + b"070701")
    members = read_archive(data[8:])
    assert members["etc/motd"] == members["etc/twin"] == (0o100755, b"hello")
    assert members["bin"] == (0o120777, b"usr/bin")
    assert not {"dev/null", "climbs", "../climbs"} & set(members)


def test_what_is_missing_is_told_with_what_to_do(
    tmp_path: Path, options: MicrovmOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "search_path", lambda: str(tmp_path))
    missing = "\n".join(
        missing_parts(MicrovmOptions(kernel="/none", busybox="/none", rootfs="/none/r"), tmp_path / "vm")
    )
    for text in (
        "apt-get install qemu-system-x86",
        "e2fsprogs",
        "busybox-static",
        f"fetch-guest-kernel {tmp_path}/vm",
        "--vm-rootfs",
    ):
        assert text in missing
    with pytest.raises(FileNotFoundError, match="no kernel for guests"):
        prepare_parts(MicrovmOptions(kernel="/none"), tmp_path / "vm")


def test_two_workers_may_make_the_same_parts(tmp_path: Path) -> None:
    place = tmp_path / "vm/digest"
    for data in (b"first", b"second"):
        files._publish(place, {"kernel": data})
    assert (place / "kernel").read_bytes() == b"first"
    (tmp_path / "vm/other").touch()
    with pytest.raises(NotADirectoryError):
        files._publish(tmp_path / "vm/other", {"kernel": b"x"})
    assert sorted(path.name for path in place.parent.iterdir()) == ["digest", "other"]


# -- the command line


def hardware(**changes: object) -> qemu.Hardware:
    plain = {
        "name": qemu.name_of("place"),
        "qemu": "qemu",
        "accelerator": "tcg",
        "memory_bytes": (64 << 20) + 1,
        "processors": 2,
        "network": False,
        "disk_bytes": 1 << 20,
        "is_root": False,
    }
    return qemu.Hardware(**{**plain, **changes})  # type: ignore[arg-type]


def test_a_machine_has_a_disk_three_lines_and_nothing_else() -> None:
    argv = qemu.to_argv(hardware())
    assert argv[:5] == ("prlimit", "--fsize=1048576", "--core=0", "--", "qemu")
    devices = [argv[at + 1].partition(",")[0] for at, word in enumerate(argv) if word == "-device"]
    assert devices == ["virtio-blk-device", "virtio-serial-device", *["virtserialport"] * 3]
    assert argv[argv.index("-m") + 1] == "65M"
    assert "-nodefaults" in argv
    assert not any("enable-kvm" in word or "virtfs" in word or word == "-netdev" for word in argv)


def test_a_machine_of_root_is_nobody_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(qemu, "KVM", tmp_path)
    argv = qemu.to_argv(hardware(is_root=True, network=True))
    assert argv[:4] == ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert argv[-4:] == ("-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net")
    group = tmp_path.stat().st_gid
    assert f"--groups={group}" in qemu.to_argv(hardware(is_root=True, accelerator="kvm"))


def test_only_an_emulated_guest_is_told_how_fast_the_processor_counts() -> None:
    for changes, is_told in (
        ({"counter_khz": 5}, True),
        ({}, False),
        ({"counter_khz": 5, "accelerator": "kvm"}, False),
    ):
        argv = qemu.to_argv(hardware(**changes))
        assert ("tsc_early_khz=5 " in argv[argv.index("-append") + 1]) is is_told


def test_a_machine_is_found_by_its_place() -> None:
    assert qemu.place_of(qemu.name_of("x-1")) == "x-1"
    assert qemu.place_of("another") == ""


# -- the counter


def test_a_counter_is_measured_beside_a_clock() -> None:
    clock, counter = iter((1_000, 51_001_000)), iter((500, 132_600_500))
    assert ticks.measure(lambda: next(counter), lambda: next(clock), lambda _seconds: None) == 2_600_000


def test_this_machine_s_counter_runs() -> None:
    ticks.counter_khz.cache_clear()
    if os.uname().machine == "x86_64":
        assert 100_000 < ticks.counter_khz() < 20_000_000


def test_where_no_code_may_be_put_into_memory_the_guest_finds_out_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    ticks.counter_khz.cache_clear()
    monkeypatch.setattr(ticks.mmap, "mmap", refused)
    assert ticks.counter_khz() == 0
    ticks.counter_khz.cache_clear()


def test_noise_never_passes_for_an_answer() -> None:
    chance = random.Random(7)
    for _ in range(200):
        with pytest.raises(AgentFault):
            protocol.read_ending(chance.randbytes(chance.randrange(60)), NONCE)
