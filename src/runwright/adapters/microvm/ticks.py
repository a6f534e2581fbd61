"""How fast the processor counts, for guests that are emulated.

An emulated guest sees the counter of this machine's processor. To find its rate the guest's kernel would need a timer
whose interrupts QEMU's `microvm` loses under load, and then hangs; so it is told.
"""

import ctypes
import mmap
import time
from collections.abc import Callable
from functools import cache

READ_COUNTER = bytes.fromhex("0f31 48c1e220 4809d0 c3")
"""Machine code of x86-64: rdtsc; shl rdx, 32; or rax, rdx; ret."""

MEASURE_SECONDS = 0.05


@cache
def counter_khz() -> int:
    """Return how often the counter ticks in a millisecond; 0 if that can't be found out."""
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except (OSError, AttributeError):
        return 0  # a hardened kernel does not let us
    page.write(READ_COUNTER)
    start = ctypes.c_char.from_buffer(page)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(start))
    khz = measure(read, time.monotonic_ns, time.sleep)
    del read, start
    page.close()
    return khz


def measure(counter: Callable[[], int], clock_ns: Callable[[], int], sleep: Callable[[float], None]) -> int:
    """Return the rate of a counter beside a clock."""
    began, first = clock_ns(), counter()
    sleep(MEASURE_SECONDS)
    last, ended = counter(), clock_ns()
    return round((last - first) * 1_000_000 / (ended - began))
