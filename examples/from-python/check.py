"""Check what compress.toml left: python3 check.py, in this folder, after the run."""

import bz2
import gzip
import lzma
import zlib
from pathlib import Path

original = Path("out/source.tar").read_bytes()
packed = {name: Path(f"out/source.tar.{name}").read_bytes() for name in ("bz2", "gzip", "lzma", "zlib")}
openers = {"bz2": bz2.decompress, "gzip": gzip.decompress, "lzma": lzma.decompress, "zlib": zlib.decompress}

assert len(original) > 10_000
for name, data in packed.items():
    assert openers[name](data) == original, f"{name} gives back what went in"
    assert len(data) < len(original) / 2
print({name: len(data) for name, data in packed.items()})
