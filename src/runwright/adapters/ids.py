"""Random things: run ids and jitter."""

import os
import time


def new_id() -> str:
    """Return a UUIDv7 in text form: 48 bits of milliseconds, then random bits (RFC 9562)."""
    return format_id(time.time_ns() // 1_000_000, os.urandom(10))


def format_id(milliseconds: int, random: bytes) -> str:
    """Return the UUIDv7 of an instant and ten random bytes."""
    head = milliseconds.to_bytes(6, "big")
    version = bytes([0x70 | random[0] & 0x0F, random[1]])
    variant = bytes([0x80 | random[2] & 0x3F, random[3]])
    digits = (head + version + variant + random[4:10]).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def draw() -> float:
    """Return a random number in [0, 1)."""
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)
