"""The ways to isolate the steps of jobs, put together for a worker.

Imports stay inside functions: a worker pays only for the runtimes that it offers.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runwright.core.errors import UsageError
from runwright.ports.jobs import Runtime
from runwright.ports.system import Processes

if TYPE_CHECKING:
    from runwright.adapters.container_ledger import FileLedger

RUNTIMES = ("shell", "sandbox", "container", "microvm")
"""Names of the runtimes that a worker can offer."""


class RuntimeOptions(Struct, frozen=True, kw_only=True):
    """What the command line says of runtimes.

    Attributes:
        engine: Of containers: ``docker``, ``podman``, or ``auto`` for the first of them that answers.
        image: Of steps that name none.
        pull: ``missing``, ``never`` or ``always``: when an image is fetched.
        vm: What virtual machines are made of: fields of `MicrovmOptions` by name.
    """

    engine: str = "auto"
    image: str = ""
    pull: str = "missing"
    vm: dict[str, Any] = {}


class JobRuntimes(dict[str, Runtime]):
    """Runtimes by name; closed when the worker ends."""

    ledger: "FileLedger | None" = None

    def close(self) -> None:
        """Let go what watches over the containers; safe to call twice."""
        if self.ledger is not None:
            self.ledger.close()


def make_runtimes(
    names: Sequence[str], processes: Processes, work_dir: Path, options: RuntimeOptions | None = None
) -> JobRuntimes:
    """Return runtimes by name.

    Args:
        names: Some of `RUNTIMES`, each once or more.
        processes: Starts what they run.
        work_dir: Directory of the worker; what must be found again after a crash is noted in it.
        options: What the command line says.

    Raises:
        UsageError: If a name is none of `RUNTIMES`.
    """
    options = options or RuntimeOptions()
    made = JobRuntimes()
    for name in dict.fromkeys(names):
        if name == "container":
            made[name] = _container(made, processes, work_dir, options)
        elif name == "microvm":
            made[name] = _microvm(processes, work_dir, options)
        else:
            made[name] = _plain(name, processes)
    return made


def _plain(name: str, processes: Processes) -> Runtime:
    from runwright.adapters.cgroups import LinuxControlGroups
    from runwright.executors.runtimes.sandbox import SandboxRuntime
    from runwright.executors.runtimes.shell import ShellRuntime

    path = os.environ.get("PATH", os.defpath)
    if name == "shell":
        return ShellRuntime(processes, LinuxControlGroups(), path)
    if name == "sandbox":
        return SandboxRuntime(processes, LinuxControlGroups(), path)
    raise UsageError(f"there is no runtime {name!r}; there are {', '.join(RUNTIMES)}")


def _container(made: JobRuntimes, processes: Processes, work_dir: Path, options: RuntimeOptions) -> Runtime:
    from runwright.adapters.container_ledger import FileLedger
    from runwright.adapters.owner import current_owner
    from runwright.executors.runtimes.container import ContainerOptions, ContainerRuntime

    made.ledger = FileLedger(work_dir / "containers", current_owner())
    chosen = ContainerOptions(engine=options.engine, image=options.image, pull=options.pull)
    return ContainerRuntime(processes, made.ledger, home_of(work_dir), chosen)


def home_of(work_dir: Path) -> str:
    """Return a name for a directory on this machine, as container engines may serve several."""
    place = f"{os.uname().nodename}:{work_dir.resolve()}"
    return hashlib.blake2b(place.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _microvm(processes: Processes, work_dir: Path, options: RuntimeOptions) -> Runtime:
    from runwright.adapters.microvm.files import MicrovmOptions
    from runwright.adapters.microvm.runtime import MicrovmRuntime

    return MicrovmRuntime(processes, work_dir / "vm", MicrovmOptions(**options.vm))
