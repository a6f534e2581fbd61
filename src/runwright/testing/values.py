"""A `ValueStore` in memory."""

from blake3 import blake3

from runwright.core.errors import StoreCorrupt


class MemoryValues:
    """Keeps values in this process; obeys the same contract as the one on disk, except that nothing is durable."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        """Keep bytes and return their digest."""
        digest = blake3(data).hexdigest()
        self.kept[digest] = bytes(data)
        return digest

    async def get(self, digest: str) -> bytes:
        """Return the bytes of a digest, once they have been found to be unaltered."""
        if digest not in self.kept:
            raise StoreCorrupt(f"the value {digest} is gone; run its task again")
        data = self.kept[digest]
        if blake3(data).hexdigest() != digest:
            raise StoreCorrupt(f"the value {digest} has been altered; run its task again")
        return data
