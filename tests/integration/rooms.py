"""Rooms of every runtime for tests: a workspace, steps, and what came of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from isolation import IMAGE, needs_bubblewrap

from runwright.adapters.microvm.files import MicrovmOptions, missing_parts
from runwright.adapters.process import WardenProcesses
from runwright.core.errors import Failure, TaskFailed
from runwright.ports.jobs import JobLimits, JobPlace, Room, RoomStep, Runtime
from runwright.ports.system import Exit
from runwright.wiring.job_runtimes import RuntimeOptions, make_runtimes

SANDBOX = pytest.param("sandbox", marks=needs_bubblewrap)
ISOLATING = [SANDBOX, "docker", "podman"]
KINDS = ["shell", *ISOLATING]
ENGINES = ("docker", "podman")

KERNEL = Path(__file__).parents[2] / "build/guest/vmlinuz"
"""Where the build puts a kernel for virtual machines."""


@cache
def machine_fault() -> str:
    """Say why there are no virtual machines here; empty if there are."""
    if not KERNEL.exists():
        return "there is no kernel for virtual machines; run tools/fetch-guest-kernel build/guest"
    return "; ".join(missing_parts(MicrovmOptions(kernel=str(KERNEL)), KERNEL.parent))


MICROVM = pytest.param(
    "microvm", marks=pytest.mark.skipif(bool(machine_fault()), reason=machine_fault() or "works")
)


class Said:
    """What came of a step.

    Attributes:
        code: Its exit status; -1 if it could not be run.
        out: Its standard output.
        err: Its standard error.
        failure: Why it could not be run.
    """

    def __init__(self) -> None:
        self.code = -1
        self.pieces: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self.failure: Failure | None = None

    @property
    def out(self) -> str:
        return self.pieces["stdout"].decode("utf-8", "replace")

    @property
    def err(self) -> str:
        return self.pieces["stderr"].decode("utf-8", "replace")


class Rooms:
    """One runtime and a place in it.

    Attributes:
        kind: ``shell``, ``sandbox``, ``docker``, ``podman`` or ``microvm``.
        folder: Directory of the test; the place is ``w`` in it.
    """

    def __init__(self, kind: str, folder: Path, name: str = "place") -> None:
        self.kind = kind
        self.folder = folder
        self.name = name
        self.workspace = folder / "w" / name / "work"
        self.scratch = folder / "w" / name / "scratch"
        for path in (self.workspace, self.scratch):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def uncaged(self) -> "Rooms":
        """Return the same without isolation, for controls."""
        return Rooms("shell", self.folder, self.name)

    def place(self, limits: JobLimits | None = None, **more: Any) -> JobPlace:
        return JobPlace(
            name=self.name,
            workspace=self.workspace,
            scratch=self.scratch,
            limits=limits or JobLimits(),
            **{"kill_grace": 1.0, **more},
        )

    @asynccontextmanager
    async def runtime(self, **options: Any) -> AsyncIterator[Runtime]:
        """Have the runtime as a worker has it."""
        name = "container" if self.kind in ENGINES else self.kind
        chosen: dict[str, Any] = {"vm": {"kernel": str(KERNEL), "accelerator": "tcg"}}
        if name == "container":
            chosen = {"engine": self.kind, "image": IMAGE}
        processes = WardenProcesses()
        made = make_runtimes([name], processes, self.folder / "w", RuntimeOptions(**{**chosen, **options}))
        try:
            yield made[name]
        finally:
            await processes.close()
            made.close()

    @asynccontextmanager
    async def room(self, place: JobPlace | None = None, **options: Any) -> AsyncIterator[Room]:
        async with self.runtime(**options) as runtime:
            room = await runtime.open(place or self.place(), no_log)
            try:
                yield room
            finally:
                await room.close()

    def attempt(self, script: str, **limits: Any) -> Said:
        """Run one script to its end."""
        (said,) = self.steps([RoomStep(key="step", script=script)], self.place(JobLimits(**limits)))
        return said

    def steps(self, steps: Sequence[RoomStep], place: JobPlace | None = None, **options: Any) -> list[Said]:
        """Run steps in one room."""

        async def scope() -> list[Said]:
            async with self.room(place, **options) as room:
                return [await run(room, step) for step in steps]

        said = asyncio.run(scope())
        assert list(self.scratch.iterdir()) == [], "what the room wrote beside the workspace is gone"
        return said


async def run(room: Room, step: RoomStep) -> Said:
    said = Said()
    try:
        exit_ = await room.run(step, lambda stream, data: said.pieces[stream].extend(data))
    except TaskFailed as error:
        said.failure = error.failure
    else:
        said.code = exit_.code
    return said


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - only the files tell
            await asyncio.sleep(0.01)


async def no_log(key: str, command: tuple[str, ...], work: Callable[..., Any]) -> Exit:
    """Run what would be an entry of a job's log."""
    done: Exit = await work(lambda _stream, _data: None)
    return done


def script(text: str, key: str = "step", env: Mapping[str, str] | None = None, **more: Any) -> RoomStep:
    return RoomStep(key=key, script=text, env=env or {}, **more)
