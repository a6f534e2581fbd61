"""Check that this machine has what runs need, by trying it; and find runs whose engine has died.

What is tried is tried in a temporary directory beside the state, which is removed. Exit status 1 if something essential
fails. With --worker it tries, in place of the state, what a worker with the same options needs.
"""

import argparse
import asyncio
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from runwright import __version__, wiring
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import reading, short_ids
from runwright.cli.records import Record, plural
from runwright.cli.render.terminal import Out
from runwright.core.errors import RunwrightError
from runwright.core.states import RunState
from runwright.core.workflow import TaskDefinition, Workflow
from runwright.ports.stores import RunFilter

OLDEST_SQLITE = (3, 51, 3)
"""Earlier versions can corrupt a database when its write-ahead log is reset."""

SPARE_BYTES = 1 << 30
LEAST_BYTES = 64 << 20
EARLIEST_YEAR = 2025
PR_GET_CHILD_SUBREAPER = 37

OK, WARNING, FAILURE = "ok", "warning", "failure"
MARKS = {OK: "succeeded", WARNING: "interrupted", FAILURE: "failed"}


class Check(Struct, frozen=True):
    """What came of one check: ``ok``, ``warning`` or ``failure``, and what to do."""

    name: str
    result: str
    detail: str
    advice: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `doctor`."""
    from runwright.cli.worker import add_place  # noqa: PLC0415 - it has more to say than this

    add_json(parser)
    parser.add_argument("--worker", action="store_true", help="try what a worker needs; the rest is for it")
    add_place(parser)


def execute(args: Arguments) -> int:
    """Check the machine."""
    checks = [*machine(), *asyncio.run(_for_worker(args) if args.worker else state(args))]
    if args.json:
        args.out.json([check_record(check) for check in checks])
    else:
        args.out.lines(lines(checks, args.out))
    return 1 if any(check.result == FAILURE for check in checks) else 0


async def _for_worker(args: Arguments) -> list[Check]:
    from runwright.cli.worker_checks import worker_checks  # noqa: PLC0415 - only for that

    return [check async for check in worker_checks(args)]


def check_record(check: Check) -> Record:
    """Return one check as data."""
    return {
        "name": check.name,
        "result": check.result,
        "detail": check.detail,
        "advice": check.advice or None,
    }


def lines(checks: Sequence[Check], out: Out) -> Iterator[str]:
    """Yield what came of the checks."""
    for check in checks:
        yield f"{out.state_mark(MARKS[check.result])} {check.name:<10} {out.clean(check.detail)}"
        for text in check.advice.splitlines():
            yield f"  {'':<10} {out.paint(out.mark('arrow'), 'dim')} {out.clean(text)}"
    bad = sum(check.result == FAILURE for check in checks)
    if bad:
        yield f"{plural(bad, 'essential check')} failed"


def machine() -> Iterator[Check]:
    """Yield what is true of the machine, whatever the project."""
    yield python_check(sys.version_info[:3])
    yield sqlite_check()
    yield clock_check(time.time())
    yield subreaper_check()
    yield cgroup_check(Path("/sys/fs/cgroup"))


def python_check(version: tuple[int, ...]) -> Check:
    """Check the interpreter."""
    text = ".".join(map(str, version))
    detail = f"{text} on {platform.system()} {platform.machine()}, runwright {__version__}"
    if version < (3, 11):
        return Check("python", FAILURE, detail, "use Python 3.11 or newer")
    return Check("python", OK, detail)


def sqlite_check() -> Check:
    """Check the SQLite that is bundled with apsw."""
    import apsw  # noqa: PLC0415 - a failing import is a result here

    version = apsw.sqlite_lib_version()
    detail = f"{version}, by apsw {apsw.apsw_version()}"
    if tuple(int(part) for part in version.split(".")[:3]) < OLDEST_SQLITE:
        return Check("sqlite", FAILURE, detail, "upgrade apsw: this SQLite can corrupt its write-ahead log")
    return Check("sqlite", OK, detail)


def clock_check(now: float) -> Check:
    """Check that the clock has been set: run ids and leases depend on it."""
    year = time.gmtime(now).tm_year
    if year < EARLIEST_YEAR:
        return Check("clock", WARNING, f"says that it is {year}", "set the clock: runs are ordered by it")
    return Check("clock", OK, time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now)))


def subreaper_check() -> Check:
    """Check whether descendants that detach themselves can be caught."""
    if sys.platform != "linux":
        return Check("subreaper", WARNING, "not on this system: daemons that tasks start may outlive them")
    import ctypes  # noqa: PLC0415 - only here

    found = ctypes.c_int(0)
    if ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0) != 0:
        return Check("subreaper", FAILURE, "refused by the kernel", "use a kernel from 3.4 on")
    return Check("subreaper", OK, "available: detached descendants of tasks are caught")


def cgroup_check(root: Path) -> Check:
    """Tell which control groups there are; runs do not need them."""
    for path, name in ((root, "version 2"), (root / "unified", "version 2 beside version 1")):
        if (path / "cgroup.procs").exists() and (path / "cgroup.controllers").exists():
            return Check("cgroups", OK, f"{name}, {'writable' if os.access(path, os.W_OK) else 'read-only'}")
    return Check("cgroups", OK, "none; not needed")


async def state(args: Arguments) -> list[Check]:
    """Return what is true of the project's state, and try a run beside it."""
    location = wiring.state_location(args.store)
    parent = next(folder for folder in location.logs_dir.parents if folder.is_dir())
    if location.is_server:
        checks = [await guarded("store", lambda: server_check(location))]
    else:
        checks = [store_check(location.database)]
    checks.append(disk_check(parent))
    checks.append(await guarded("processes", lambda: trial(parent)))
    checks.append(await guarded("runs", lambda: stale(args)))
    return checks


def store_check(path: Path) -> Check:
    """Check place and modes of the store."""
    if not path.exists():
        return Check("store", OK, f"{path}, created by the first run")
    exposed = [p for p in (path.parent, path) if p.stat().st_mode & 0o077]
    foreign = path.stat().st_uid != os.geteuid()
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    if foreign:
        return Check("store", WARNING, f"{path} belongs to another user", "run as its owner")
    if exposed:
        advice = "\n".join(f"chmod {'700' if p.is_dir() else '600'} {p}" for p in exposed)
        return Check("store", WARNING, f"{path} can be read by others", advice)
    return Check("store", OK, f"{path}, {size}, private")


async def server_check(location: wiring.StateLocation) -> Check:
    """Check that the server lets us in and has tables that can be read."""
    store = wiring.open_store(location, read_only=True)
    await store.close()
    return Check("store", OK, f"{wiring.shown_postgres(location.store_url)} can be reached")


def disk_check(parent: Path) -> Check:
    """Check how much room there is for state and logs."""
    free = shutil.disk_usage(parent).free
    detail = f"{free / 1e9:.1f} GB free at {parent}"
    if free < LEAST_BYTES:
        return Check("disk", FAILURE, detail, "make room: runs can't be recorded on a full disk")
    return Check("disk", OK if free >= SPARE_BYTES else WARNING, detail)


async def guarded(name: str, work: Callable[[], object]) -> Check:
    """Return the check that `work` makes, or a failure if it can't be made."""
    try:
        found = await work()  # type: ignore[misc]
    except (RunwrightError, OSError) as error:
        return Check(name, FAILURE, str(error), "runwright --verbose doctor shows more")
    assert isinstance(found, Check)
    return found


async def trial(parent: Path) -> Check:
    """Run a workflow of one task with everything real: store, log, process supervision."""
    import apsw  # noqa: PLC0415 - loaded already

    begun = time.monotonic()
    with TemporaryDirectory(prefix=".runwright-doctor-", dir=parent) as folder:
        database = Path(folder, "state", "runs.db")
        flow = Workflow(
            name="doctor", tasks={"true": TaskDefinition(key="true", name="true", argv=("true",))}
        )
        async with wiring.Engine(database) as engine:
            run = await engine.execute(flow)
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        mode = connection.pragma("journal_mode")
        connection.close()
    spent = time.monotonic() - begun
    if run.state is not RunState.SUCCEEDED:
        return Check("processes", FAILURE, f"a run of `true` {run.state.value}: {run.reason}")
    if mode != "wal":
        return Check("processes", FAILURE, "no write-ahead log here", "keep the state on a local file system")
    return Check(
        "processes", OK, f"a run of `true` took {spent * 1000:.0f} ms; recorded with a write-ahead log"
    )


async def stale(args: Arguments) -> Check:
    """Look for runs whose engine has died."""
    async with reading(args) as opened:
        found = await opened.store.list_runs(RunFilter(state=RunState.INTERRUPTED))
        shown = await short_ids(opened.store, [run.id for run in found])
    if not found:
        return Check("runs", OK, "none was interrupted")
    advice = "\n".join(f"runwright resume {shown[run.id]}  # {run.name}" for run in found[:5])
    return Check("runs", WARNING, f"{plural(len(found), 'run')} interrupted: the engine died", advice)
