"""Check the wheel that wheel.toml left: python3 check.py, in this folder, after the run."""

import subprocess
import sys
import zipfile
from base64 import urlsafe_b64decode
from email import message_from_bytes
from hashlib import sha256
from pathlib import Path

(wheel,) = Path("out/dist").glob("runwright-*.whl")
assert wheel.read_bytes() == Path("out/second", wheel.name).read_bytes(), "both builds are the same"

with zipfile.ZipFile(wheel) as archive:
    assert archive.testzip() is None
    names = archive.namelist()
    info = next(name for name in names if name.endswith("/METADATA")).rpartition("/")[0]
    rows = [line.rsplit(",", 2) for line in archive.read(f"{info}/RECORD").decode().splitlines()]
    assert sorted(row[0] for row in rows) == sorted(names)
    for name, digest, size in rows[:-1]:
        data = archive.read(name)
        assert urlsafe_b64decode(digest.removeprefix("sha256=") + "=") == sha256(data).digest(), name
        assert len(data) == int(size), name
    metadata = message_from_bytes(archive.read(f"{info}/METADATA"))

assert metadata["Name"] == "runwright"
assert wheel.name == f"runwright-{metadata['Version']}-py3-none-any.whl"
code = f"import sys; sys.path.insert(0, {str(wheel)!r}); import runwright; print(runwright.__version__)"
assert subprocess.check_output([sys.executable, "-I", "-c", code], text=True).strip() == metadata["Version"]
print(f"{wheel}: {len(names)} files, version {metadata['Version']}")
