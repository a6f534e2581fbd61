"""The kernel of the guests, and the modules without which it finds no disk and no line."""

import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path

MODULES = (
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_mmio",
    "drivers/block/virtio_blk",
    "drivers/char/virtio_console",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
)
"""In the order in which they need each other. One that a kernel has within itself is no file."""

UNPACK: dict[str, Callable[[bytes], bytes]] = {".ko": bytes, ".xz": lzma.decompress, ".gz": gzip.decompress}
BOOT_SIGN = b"HdrS"
INTERPRETER = 3


def find_kernel(chosen: str, folder: Path, boot: Path = Path("/boot")) -> Path | None:
    """Return the kernel to use: the chosen one, else that of the worker's directory, else the newest for clouds.

    Args:
        chosen: Path that the user named; empty for none.
        folder: Where the worker keeps what its machines need.
        boot: Where a system has its kernels.
    """
    if chosen:
        return Path(chosen) if Path(chosen).is_file() else None
    own = folder / "vmlinuz"
    found = sorted(boot.glob("vmlinuz-*cloud*"), key=_age, reverse=True)
    return next((path for path in (own, *found) if path.is_file()), None)


def release_of(kernel: bytes) -> str:
    """Return the release of a kernel, for instance ``6.1.0-18-cloud-amd64``; empty if it does not tell."""
    if kernel[0x202:0x206] != BOOT_SIGN:
        return ""
    at = int.from_bytes(kernel[0x20E:0x210], "little") + 0x200
    return kernel[at : at + 256].partition(b"\0")[0].partition(b" ")[0].decode("ascii", "replace")


def find_modules(kernel: Path, release: str, chosen: str = "") -> list[Path]:
    """Return the files of the modules that there are for a kernel, in the order in which they are loaded."""
    places = _places(kernel, release, chosen)
    for folder in places:
        found = [path for name in MODULES if (path := _module(folder, name)) is not None]
        if found:
            return found
    return []


def read_module(path: Path) -> bytes:
    """Return a module as a kernel takes it."""
    return UNPACK[path.suffix](path.read_bytes())


def is_static(program: bytes) -> bool:
    """Tell whether an ELF file of 64 bits needs no other file to run."""
    if program[:5] != b"\x7fELF\x02":
        return False
    start = int.from_bytes(program[32:40], "little")
    size, count = (int.from_bytes(program[at : at + 2], "little") for at in (54, 56))
    kinds = (program[start + size * index :][:4] for index in range(count))
    return all(int.from_bytes(kind, "little") != INTERPRETER for kind in kinds)


def _places(kernel: Path, release: str, chosen: str) -> Iterator[Path]:
    if chosen:
        yield Path(chosen)
        return
    yield kernel.parent / "modules"
    if release:
        for root in (kernel.parent, kernel.parent.parent, Path("/")):
            yield root / "lib/modules" / release / "kernel"


def _module(folder: Path, name: str) -> Path | None:
    """Return the file of a module, in a tree like the kernel's or beside the others."""
    for stem in (name, os.path.basename(name)):  # noqa: PTH119 - of a text
        for suffix in UNPACK:
            path = folder / f"{stem}.ko{suffix.removeprefix('.ko')}"
            if path.is_file():
                return path
    return None


def _age(path: Path) -> list[int]:
    """Return the numbers in a name, which sort as its version does."""
    return [int(digits) for digits in "".join(c if c.isdigit() else " " for c in path.name).split()]
