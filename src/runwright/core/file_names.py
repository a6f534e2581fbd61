"""File names for any text."""

PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.=,@-")
LONGEST = 200
KEPT = 150


def safe_name(text: str) -> str:
    """Return a file name for any text; different texts get different names, and none leads elsewhere.

    All but letters, digits and ``_.=,@-`` is percent-encoded; a name of more than 200 characters ends in a digest.
    """
    data = text.encode("utf-8", "surrogatepass")
    encoded = "".join(chr(byte) if byte in PLAIN else f"%{byte:02X}" for byte in data)
    if encoded.strip(".") == "":
        return encoded.replace(".", "%2E") or "%"
    if len(encoded) <= LONGEST:
        return encoded
    from blake3 import blake3  # noqa: PLC0415 - hardly ever needed

    return f"{encoded[:KEPT]}%-{blake3(data).hexdigest()[:32]}"
