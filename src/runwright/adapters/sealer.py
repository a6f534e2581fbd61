"""Encrypts what must not be readable in a store: AES-256-GCM, with a key in a file of its own."""

import os
import stat
from pathlib import Path

from runwright.core.errors import Problem, StoreError, UsageError

KEY_BYTES = 32
NONCE_BYTES = 12
FORM = b"rws1"
"""What sealed data begins with: names this way of sealing, and is protected with it."""


class AesSealer:
    """Seals with AES-256-GCM under a random nonce.

    Args:
        key: 32 bytes.

    Raises:
        UsageError: If the library is missing that does it.
    """

    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - in an extra, and slow to load
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - likewise
        except ImportError:
            message = "the library that encrypts jobs with secrets is not installed"
            raise UsageError(
                (Problem(message=message, suggestion="pip install 'runwright[server]'"),)
            ) from None
        self._cipher = AESGCM(key)
        self._wrong: type[Exception] = InvalidTag

    def seal(self, data: bytes) -> bytes:
        """Return the data encrypted, so that a change is found."""
        nonce = os.urandom(NONCE_BYTES)
        return FORM + nonce + self._cipher.encrypt(nonce, data, FORM)

    def unseal(self, data: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            StoreError: If it was sealed with another key, or altered.
        """
        head = len(FORM) + NONCE_BYTES
        if not data.startswith(FORM):
            raise StoreError("what is sealed in the store has been altered, or sealed by a newer version")
        try:
            return self._cipher.decrypt(data[len(FORM) : head], data[head:], FORM)
        except (self._wrong, ValueError):
            raise StoreError(
                "what is sealed in the store was sealed with another key, or altered; give the right --key-file"
            ) from None


def open_sealer(path: Path) -> AesSealer:
    """Return a sealer with the key in a file, which is made if it is not there: for its owner alone.

    Raises:
        UsageError: If others can read the file, or it is no key.
    """
    return AesSealer(_read(path) if path.exists() else _made(path))


def _made(path: Path) -> bytes:
    """Make a key; if somebody else makes one at the same time, there is still only one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = os.urandom(KEY_BYTES)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
        _sync_directory(path.parent)
    except FileExistsError:
        return _read(path)
    finally:
        draft.unlink()
    return key


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            message = f"others can read the key file {path} (its mode is {mode:04o})"
            raise UsageError((Problem(message=message, suggestion=f"chmod 600 {path}"),))
        text = file.read(1_000)
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        message = f"{path} is no key file: it must have {2 * KEY_BYTES} hexadecimal digits"
        raise UsageError((Problem(message=message, suggestion="name another, or one that does not exist"),))
    return key
