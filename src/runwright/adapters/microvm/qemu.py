"""The command line of QEMU."""

import os
from pathlib import Path

from msgspec import Struct

KERNEL_WORDS = "console=ttyS0 quiet panic=-1 reboot=t rdinit=/runwright/init"
LINES = ("control", "output", "errors")
"""Names of the lines into a machine, which are sockets in its directory, in the order of their ports."""

NOBODY = 65534
KVM = Path("/dev/kvm")


class Hardware(Struct, frozen=True, kw_only=True):
    """What a machine is made of.

    Attributes:
        name: By which it is found again.
        qemu: Path of the program.
        accelerator: ``kvm`` or ``tcg``.
        memory_bytes: All of it.
        processors: How many.
        network: True if it has a network card.
        disk_bytes: Size of its disk.
        is_root: True if we are root, and QEMU must become nobody.
        counter_khz: Rate of this machine's counter, for an emulated guest; 0 if it must find out itself.
    """

    name: str
    qemu: str
    accelerator: str
    memory_bytes: int
    processors: int
    network: bool
    disk_bytes: int
    is_root: bool
    counter_khz: int = 0


def to_argv(hardware: Hardware) -> tuple[str, ...]:
    """Return the whole command line; its files are in the working directory: `kernel`, `initramfs`, `disk`, and `LINES`."""
    megabytes = -(-hardware.memory_bytes // (1 << 20))
    machine = (
        *("-name", hardware.name, "-M", "microvm,x-option-roms=off,rtc=on", "-accel", hardware.accelerator),
        *("-cpu", "max", "-m", f"{megabytes}M", "-smp", str(hardware.processors)),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-kernel", "kernel", "-initrd", "initramfs", "-append", _kernel_words(hardware)),
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        *("-drive", "if=none,id=disk,file=disk,format=raw,cache=unsafe"),
        *("-device", "virtio-blk-device,drive=disk", "-device", "virtio-serial-device"),
    )
    return (*_confined(hardware), hardware.qemu, *machine, *_lines(), *_network(hardware))


def _kernel_words(hardware: Hardware) -> str:
    if hardware.accelerator != "tcg" or not hardware.counter_khz:
        return KERNEL_WORDS
    return f"{KERNEL_WORDS} tsc_early_khz={hardware.counter_khz} tsc=reliable no_timer_check"


def name_of(place: str) -> str:
    """Return the name of the machine of a place."""
    return f"runwright-{place}"


def place_of(name: str) -> str:
    """Return the place of a machine; empty if it is none of ours."""
    return name.removeprefix("runwright-") if name.startswith("runwright-") else ""


def _lines() -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    for number, name in enumerate(LINES, 1):
        found += ("-chardev", f"socket,id={name},path={name}")
        found += ("-device", f"virtserialport,nr={number},chardev={name},name={name}")
    return found


def _network(hardware: Hardware) -> tuple[str, ...]:
    if not hardware.network:
        return ()
    return ("-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net")


def _confined(hardware: Hardware) -> tuple[str, ...]:
    """Have QEMU run without rights: it may write no more than the disk, and dump no memory."""
    limits = ("prlimit", f"--fsize={hardware.disk_bytes}", "--core=0", "--")
    if not hardware.is_root:
        return limits
    groups = ("--clear-groups",)
    if hardware.accelerator == "kvm":
        groups = (f"--groups={os.stat(KVM).st_gid}",)  # noqa: PTH116
    rights = ("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", *groups, *rights, "--", *limits)
