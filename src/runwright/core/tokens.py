"""Tokens: how they are written, and the only form in which they are kept."""

from hashlib import sha256

from runwright.core.pattern import pattern

TOKEN_PREFIX = "rw_"  # noqa: S105 - what tokens begin with, so that scanners of secrets find them
LEASE_TOKEN = pattern(r"[0-9a-f]{40}")
"""The token of a lease: 20 random bytes."""

OWN_TOKEN = pattern(r"rw_[0-9A-Za-z_-]{20,100}")
"""The token of a worker or a user."""


def digest_of(token: str) -> bytes:
    """Return the SHA-256 of a token, which is all that is kept of it."""
    return sha256(token.encode("utf-8", "replace")).digest()
