"""The functions of wheel.toml: a wheel is a zip file with a table of digests, and the standard library can make one."""

import csv
import io
import shutil
import sys
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path

import runwright

LONG_AGO = (2020, 1, 1, 0, 0, 0)  # the same instant in every build, so that the bytes are the same
TAG = "Wheel-Version: 1.0\nGenerator: an-example\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
KEPT = {"METADATA", "entry_points.txt", "LICENSE"}


def collect(tree: str) -> str:
    """Lay out the package that is running, and its metadata; returns the version."""
    shutil.rmtree(tree, ignore_errors=True)
    source = Path(runwright.__file__).parent
    shutil.copytree(source, Path(tree, "runwright"), ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    found = distribution("runwright")
    info = Path(tree, f"runwright-{found.version}.dist-info")
    info.mkdir()
    for file in found.files or ():
        if file.name in KEPT and ".dist-info" in str(file):
            shutil.copy(str(found.locate_file(file)), info / file.name)
    (info / "WHEEL").write_text(TAG)
    print(f"{source} {found.version}", file=sys.stderr)
    return found.version


def build(tree: str, target: str) -> str:
    """Pack a tree into a wheel; returns its path."""
    info = next(Path(tree).glob("*.dist-info"))
    wheel = Path(target, f"{info.stem}-py3-none-any.whl")
    wheel.parent.mkdir(parents=True, exist_ok=True)
    files = {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in Path(tree).rglob("*")
        if path.is_file()
    }
    record = io.StringIO()
    table = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(_entry(name), files[name])
            table.writerow([name, _digest(files[name]), len(files[name])])
        table.writerow([f"{info.name}/RECORD", "", ""])
        archive.writestr(_entry(f"{info.name}/RECORD"), record.getvalue())
    return str(wheel)


def check_record(path: str) -> int:
    """Compare a wheel with its RECORD; returns the number of files."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        rows = {row[0]: row[1:] for row in csv.reader(archive.read(name).decode().splitlines())}
        if set(rows) != set(archive.namelist()):
            raise ValueError(f"RECORD and contents differ in {sorted(set(rows) ^ set(archive.namelist()))}")
        for file in set(rows) - {name}:
            data = archive.read(file)
            if rows[file] != [_digest(data), str(len(data))]:
                raise ValueError(f"{file} is not what RECORD says")
    return len(rows)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, LONG_AGO)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _digest(data: bytes) -> str:
    return f"sha256={urlsafe_b64encode(sha256(data).digest()).rstrip(b'=').decode()}"
