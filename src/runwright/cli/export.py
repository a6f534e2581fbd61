"""Write a run to a file: everything known of it as JSON, or that with its logs as a compressed tar archive.

Runs within it are a part of it, with their logs. The file is readable by its owner alone. Without -o it goes to standard output; a tar archive not to a terminal.
"""

import argparse
import os
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO
from urllib.parse import quote

import msgspec

from runwright import __version__
from runwright.cli.arguments import Arguments, add_run
from runwright.cli.common import Reading, now, with_reading
from runwright.cli.inspect import Everything, everything_record, gather
from runwright.cli.nested import every
from runwright.cli.records import Record
from runwright.core.errors import Problem, UsageError
from runwright.ports.system import Logs

FORMAT = 1
PRIVATE = 0o600


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `export`."""
    add_run(parser)
    parser.add_argument("-f", "--format", choices=["json", "tar"], default="json", help="default json")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write; it must not exist yet")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def execute(args: Arguments) -> int:
    """Export a run."""
    if args.format == "tar" and not args.output and args.out.is_terminal:
        raise UsageError(
            (Problem(message="a tar archive is not for a terminal", suggestion="give a file with -o FILE"),)
        )

    async def work(state: Reading) -> tuple[Everything, Logs]:
        return await gather(state.store, await state.store.find_run(args.run)), state.logs

    found, logs = with_reading(args, work)
    if not args.output:
        write(found, logs, args.format, sys.stdout.buffer)
        return 0
    path = Path(args.output)
    save(path, found, logs, args.format, force=args.force)
    args.err.line(f"{args.out.clean(str(path))}: {path.stat().st_size} bytes")
    return 0


def export_record(found: Everything) -> Record:
    """Return everything known of a run, with what made the export."""
    return {
        "format": FORMAT,
        "exported_at": now(),
        "exported_by": f"runwright {__version__}",
        **everything_record(found),
    }


def save(path: Path, found: Everything, logs: Logs, form: str, *, force: bool) -> None:
    """Write the export beside its place and move it there when it is complete.

    Raises:
        UsageError: If the file exists and must not be replaced.
    """
    if path.exists() and not force:
        raise UsageError((Problem(message=f"{path} exists already", suggestion="replace it with --force"),))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
            write(found, logs, form, file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write(found: Everything, logs: Logs, form: str, file: IO[bytes]) -> None:
    """Write the export to an open file."""
    text = msgspec.json.format(msgspec.json.encode(export_record(found)), indent=2) + b"\n"
    if form == "json":
        file.write(text)
    else:
        with tarfile.open(fileobj=file, mode="w|gz", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, "run.json", len(text), BytesIO(text), found)
            for name, path in log_files(found, logs):
                with path.open("rb") as log:
                    _add(archive, name, path.stat().st_size, log, found)
    file.flush()


def log_files(found: Everything, logs: Logs) -> Iterator[tuple[str, Path]]:
    """Yield the name in the archive and the file of each log.

    The names are ``logs/<task>/<attempt>.log``, tasks percent-encoded; those of inner runs begin with
    ``runs/<run id>/``.
    """
    for one in every(found):
        before = "" if one is found else f"runs/{quote(one.run.id, safe='')}/"
        for attempt in one.attempts:
            path = logs.path(one.run.id, attempt.task_id, attempt.number)
            if path.is_file():
                task = quote(attempt.task_id, safe="[]=,@ ")
                yield f"{before}logs/{task}/{attempt.number}.log", path


def _add(archive: tarfile.TarFile, name: str, size: int, file: IO[bytes], found: Everything) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = PRIVATE
    entry.mtime = (found.run.ended_at or found.run.created_at).timestamp()
    archive.addfile(entry, file)
