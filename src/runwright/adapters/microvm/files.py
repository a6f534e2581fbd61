"""What machines are made of, put together once for each worker's directory: the kernel, and the guest's first files."""

import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from msgspec import Struct

from runwright.adapters.microvm import cpio
from runwright.adapters.microvm.kernel import find_kernel, find_modules, is_static, read_module, release_of

AGENT = Path(__file__).with_name("guest.sh")
OWN = "runwright"
"""Directory of the agent in the guest."""

NEEDED = {
    "qemu": "install QEMU (Debian: apt-get install qemu-system-x86), or name it with --vm-qemu",
    "mke2fs": "install e2fsprogs (Debian: apt-get install e2fsprogs)",
    "setpriv": "install util-linux (Debian: apt-get install util-linux)",
    "busybox": "install a static busybox (Debian: apt-get install busybox-static), or name one with --vm-busybox",
    "kernel": "fetch one (Debian: tools/fetch-guest-kernel {folder}), or name one with --vm-kernel",
}


class MicrovmOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What machines are made of.

    Attributes:
        qemu: Program, or its path.
        kernel: Path of a Linux kernel for x86-64; empty to look for one.
        modules: Directory of its modules; empty to look beside the kernel and in ``/lib/modules``.
        busybox: Path of a static busybox; empty to look for it on PATH.
        initramfs: Archive, compressed or not, whose files the guest has besides; empty for none.
        rootfs: Tar whose files the guest has besides, for instance a small distribution; empty for none.
        accelerator: ``kvm``, ``tcg`` (emulation), or ``auto`` for the first that a guest boots with.
        memory_bytes: Of steps without a limit.
        disk_bytes: Size of the workspace without a limit.
    """

    qemu: str = "qemu-system-x86_64"
    kernel: str = ""
    modules: str = ""
    busybox: str = ""
    initramfs: str = ""
    rootfs: str = ""
    accelerator: str = "auto"
    memory_bytes: int = 2 << 30
    disk_bytes: int = 10 << 30


class Parts(Struct, frozen=True):
    """Two files that every machine starts from.

    Attributes:
        kernel: As QEMU takes it.
        initramfs: The guest's first files.
        size_bytes: What they take of the guest's memory.
    """

    kernel: Path
    initramfs: Path
    size_bytes: int


def search_path() -> str:
    """Return the directories in which programs are looked for; PATH of a user often lacks those of the system."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def find_program(name: str) -> str | None:
    """Return the path of a program, or None if there is none."""
    return shutil.which(name, path=search_path())


def missing_parts(options: MicrovmOptions, folder: Path) -> list[str]:
    """Return what is not there, a line each with what to do.

    Args:
        options: What the user chose.
        folder: Where the worker keeps what its machines need.
    """
    looked_for = {
        "qemu": (find_program(options.qemu), f"there is no {options.qemu}"),
        "mke2fs": (find_program("mke2fs"), "there is no mke2fs"),
        "setpriv": (os.geteuid() != 0 or find_program("setpriv"), "there is no setpriv"),
        "busybox": (_find_busybox(options), "there is no busybox that needs no other file"),
        "kernel": (find_kernel(options.kernel, folder), "there is no kernel for guests"),
    }
    missing = [
        f"{text}; {NEEDED[name].format(folder=folder)}"
        for name, (found, text) in looked_for.items()
        if not found
    ]
    chosen = {"--vm-initramfs": options.initramfs, "--vm-rootfs": options.rootfs}
    missing += [
        f"there is no file {path}; see {name}" for name, path in chosen.items() if path and not _is_file(path)
    ]
    return missing


def prepare_parts(options: MicrovmOptions, folder: Path) -> Parts:
    """Return the kernel and the first files of guests, made if they are not there; named by what they are made of.

    Raises:
        OSError: If something can't be read or written.
        ValueError: If a file is not what it should be.
    """
    kernel = find_kernel(options.kernel, folder)
    busybox = _find_busybox(options)
    if kernel is None or busybox is None:
        raise FileNotFoundError("; ".join(missing_parts(options, folder)))
    data = kernel.read_bytes()
    modules = find_modules(kernel, release_of(data), options.modules)
    base = Path(options.initramfs).read_bytes() if options.initramfs else b""
    members = [*_root_files(options.rootfs), *_own_files(busybox, modules)]
    archive = base + bytes(-len(base) % cpio.ALIGNMENT) + cpio.write_archive(members)
    place = folder / blake2b(data + archive, digest_size=16).hexdigest()
    if not place.is_dir():
        _publish(place, {"kernel": data, "initramfs": archive})
    return Parts(place / "kernel", place / "initramfs", len(archive))


def _own_files(busybox: Path, modules: Sequence[Path]) -> Iterator[cpio.Member]:
    yield cpio.folder("dev")
    yield cpio.Member(name="dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1))
    yield cpio.folder(OWN)
    yield cpio.file(f"{OWN}/busybox", busybox.read_bytes(), 0o755)
    yield cpio.file(f"{OWN}/init", AGENT.read_bytes(), 0o755)
    yield cpio.folder(f"{OWN}/modules")
    names = [path.name.partition(".ko")[0] + ".ko" for path in modules]
    yield cpio.file(f"{OWN}/modules/order", "\n".join(names).encode())
    for name, path in zip(names, modules, strict=True):
        yield cpio.file(f"{OWN}/modules/{name}", read_module(path))


def _root_files(rootfs: str) -> Iterator[cpio.Member]:
    """Yield the files of a tar, without devices; a hard link becomes a file of its own."""
    if not rootfs:
        return
    with tarfile.open(rootfs) as archive:
        for entry in archive:
            name = os.path.normpath(entry.name).lstrip("/")
            if name in ("", ".") or name.split("/")[0] == "..":
                continue
            if entry.isdir():
                yield cpio.Member(name=name, mode=stat.S_IFDIR | entry.mode & 0o1777)
            elif entry.issym():
                yield cpio.link(name, entry.linkname)
            elif entry.isfile() or entry.islnk():
                content = archive.extractfile(entry)
                yield cpio.file(name, content.read() if content else b"", entry.mode & 0o755)


def _publish(place: Path, files: dict[str, bytes]) -> None:
    """Put files into a new directory, all or none; who comes second finds it there."""
    fresh = place.with_name(f"{place.name}.{os.getpid()}-{os.urandom(4).hex()}.new")
    fresh.mkdir(mode=0o700, parents=True)
    for name, data in files.items():
        (fresh / name).write_bytes(data)
        (fresh / name).chmod(0o444)
    try:
        fresh.rename(place)
    except OSError:
        shutil.rmtree(fresh)
        if not place.is_dir():
            raise


def _find_busybox(options: MicrovmOptions) -> Path | None:
    """Return the first busybox that is static."""
    names = [options.busybox] if options.busybox else ["busybox", "/bin/busybox", "busybox-static"]
    for name in names:
        path = find_program(name)
        if path and is_static(Path(path).read_bytes()):
            return Path(path)
    return None


def _is_file(path: str) -> bool:
    return Path(path).is_file()
