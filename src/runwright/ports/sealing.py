"""What keeps secrets of jobs out of sight while they are stored."""

from typing import Protocol


class Sealer(Protocol):
    """Encrypts what must not be readable in a store."""

    def seal(self, data: bytes) -> bytes:
        """Return the data encrypted, so that a change is found."""
        ...

    def unseal(self, data: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            StoreError: If it was sealed with another key, or altered.
        """
        ...
