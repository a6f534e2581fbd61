"""The functions of compress.toml."""

import bz2
import gzip
import lzma
import sysconfig
import tarfile
import zlib
from pathlib import Path

METHODS = {"bz2": bz2, "gzip": gzip, "lzma": lzma, "zlib": zlib}


def collect(package: str, target: str) -> int:
    """Pack the sources of a package of the standard library; returns the size in bytes."""
    root = Path(sysconfig.get_path("stdlib"))
    if not any((root / package).glob("*.py")):
        raise ValueError(f"the standard library has no package {package!r}")
    Path(target).parent.mkdir(exist_ok=True)
    with tarfile.open(target, "w") as archive:
        for path in sorted((root / package).glob("*.py")):
            archive.add(path, path.relative_to(root))
    return Path(target).stat().st_size


def squeeze(method: str, source: str) -> int:
    """Compress a file beside itself; returns the size in bytes."""
    packed = METHODS[method].compress(Path(source).read_bytes())
    return Path(f"{source}.{method}").write_bytes(packed)
