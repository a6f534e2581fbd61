"""Take jobs from a queue and work on them, until SIGTERM.

Once the server has answered, one line says so; what happens then is told on standard error. SIGTERM or Ctrl-C: no more jobs
are taken, those at work have --drain to finish, and then go back to the queue. A second signal hands them back at once, a
third one ends everything without a word.

Server and token may also be named by $RUNWRIGHT_SERVER and $RUNWRIGHT_TOKEN_FILE. `runwright doctor --worker` tries whether
a worker with the same options would work.
"""

import argparse
import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from runwright.cli import values
from runwright.cli.arguments import Arguments
from runwright.core.errors import Problem, UsageError

if TYPE_CHECKING:
    from runwright.wiring.worker import Working

SHORTEST_HEARTBEAT = 0.1
NAMES = ("shell", "sandbox", "container", "microvm")
SETTINGS = ("slots", "heartbeat", "drain", "max_jobs", "max_active", "max_job_time", "poll")
TOOLS = ("kill_grace", "max_output", "step_timeout", "cli_command", "git_url", "git_allow", "git_user")
MACHINE = ("qemu", "kernel", "modules", "busybox", "initramfs", "rootfs", "accelerator")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `worker`."""
    add_place(parser)
    _add_rhythm(parser)
    _add_limits(parser)
    _add_sources(parser)


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add what says where a worker works, and how it isolates: `doctor` takes the same."""
    parser.add_argument("--server", default="", metavar="URL", help="the queue's server")
    parser.add_argument("--token-file", default="", metavar="FILE", help="with a token of role worker")
    parser.add_argument("--ca-file", default="", metavar="FILE", help="with certificates to trust, PEM")
    parser.add_argument(
        "--queue", action="append", default=[], metavar="Q", help="take its jobs; repeat it for more"
    )
    parser.add_argument(
        "--runtime",
        action="append",
        choices=NAMES,
        default=[],
        metavar="NAME",
        help=f"{', '.join(NAMES)}; sandbox if none is given; a job chooses among several by a label runtime=NAME",
    )
    parser.add_argument(
        "--work-dir", default="", metavar="DIR", help="of this worker alone; .runwright/worker"
    )
    parser.add_argument(
        "--engine", choices=("auto", "docker", "podman"), default="auto", metavar="E", help="of containers"
    )
    parser.add_argument("--image", default="", metavar="IMAGE", help="of steps that name none")
    parser.add_argument(
        "--pull",
        choices=("missing", "never", "always"),
        default="missing",
        metavar="WHEN",
        help="when images are fetched",
    )
    for name in MACHINE:
        parser.add_argument(f"--vm-{name}", default="", metavar="FILE", help=f"microvm: its {name}")


def _add_rhythm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slots", type=values.workers, default=1, metavar="N", help="jobs at a time; 1")
    parser.add_argument(
        "--name", default="", metavar="NAME", help="what the server calls it; made of the host's name"
    )
    parser.add_argument(
        "--label", action="append", default=[], metavar="L", help="what it offers to jobs that ask for it"
    )
    for name, default, text in (
        ("--heartbeat", 5.0, "how often the server hears of it; 5s"),
        (
            "--lease-margin",
            8.0,
            "how long before the end of a lease that can't be renewed a job is stopped; 8s",
        ),
        ("--drain", 60.0, "how long jobs may go on after SIGTERM; 1m"),
        ("--max-active", 0.0, "take no more jobs after this time"),
        ("--max-job-time", 1_800.0, "how long a job may take; 30m; 0 for any time"),
        ("--poll", 1.0, "the least time between two questions for a job; 1s"),
    ):
        parser.add_argument(name, type=values.seconds, default=default, metavar="DURATION", help=text)
    parser.add_argument(
        "--max-jobs", type=values.count, default=0, metavar="N", help="end after so many jobs"
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cpus", type=values.number, default=0.0, metavar="N", help="processors for a job, such as 1.5"
    )
    parser.add_argument("--memory", type=values.size, default=0, metavar="SIZE", help="memory for each step")
    parser.add_argument(
        "--pids", type=values.count, default=0, metavar="N", help="processes of a job at a time"
    )
    parser.add_argument("--disk", type=values.size, default=0, metavar="SIZE", help="size of a workspace")
    parser.add_argument("--network", action="store_true", help="steps may use the network")
    parser.add_argument(
        "--max-output", type=values.size, metavar="SIZE", help="output of a step that is kept"
    )
    parser.add_argument(
        "--step-timeout", type=values.seconds, metavar="DURATION", help="how long a step may take"
    )
    parser.add_argument(
        "--kill-grace",
        type=values.seconds,
        default=10.0,
        metavar="DURATION",
        help="between SIGTERM and SIGKILL; 10s",
    )


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cli-command", metavar="COMMAND", help="what runs command line steps, with its first arguments"
    )
    parser.add_argument("--git-url", metavar="URL", help="where repositories are: https://host/{repository}")
    parser.add_argument(
        "--git-allow",
        action="append",
        default=[],
        metavar="PREFIX",
        help="how addresses may begin that jobs name",
    )
    parser.add_argument("--git-user", metavar="NAME", help="shown to the host of --git-url with the password")
    parser.add_argument("--git-password-file", default="", metavar="FILE", help="with the password for it")


def execute(args: Arguments) -> int:
    """Work until told to stop."""
    how = working(args)
    return asyncio.run(_work(args, how))


async def _work(args: Arguments, how: "Working") -> int:
    from runwright.cli.stop import Stopper, signals  # noqa: PLC0415 - for help it is not needed
    from runwright.wiring.worker import open_worker  # noqa: PLC0415 - as above

    def ready(name: str) -> None:
        where = f"{', '.join(how.queues)} at {how.server}"
        print(f"runwright: worker {name} is ready for {where} ({', '.join(how.runtimes)})", flush=True)

    async with open_worker(how, lambda text: say(args, text), ready) as opened:
        stopper = Stopper(opened.worker.stop, lambda _: None)
        with signals(stopper):
            await opened.worker.run()
    return 0


def say(args: Arguments, text: str) -> None:
    """Write a line of the worker's log, which is standard error."""
    try:
        args.err.line(f"runwright: {args.err.clean_lines(text)}")
        args.err.flush()
    except OSError:
        return


def working(args: Arguments) -> "Working":
    """Return how the worker is to work.

    Raises:
        UsageError: With everything that is missing or wrong.
    """
    how = possible(args)
    if faults := list(_missing(args, how)):
        raise UsageError(faults)
    return structs.replace(how, **_more(args))


def possible(args: Arguments) -> "Working":
    """Return what the command line and the environment say of where a worker works, also if something is missing."""
    from runwright.wiring.queue_clients import SERVER, TOKEN_FILE  # noqa: PLC0415 - for help it is not needed
    from runwright.wiring.worker import Working, work_dir  # noqa: PLC0415 - as above

    return Working(
        server=args.server or os.environ.get(SERVER, ""),
        token_file=Path(args.token_file or os.environ.get(TOKEN_FILE, "")).absolute(),
        ca_file=Path(args.ca_file).absolute() if args.ca_file else None,
        queues=tuple(dict.fromkeys(args.queue)),
        runtimes=tuple(dict.fromkeys(args.runtime)) or ("sandbox",),
        runtime_options=runtime_options(args),
        work_dir=Path(args.work_dir).absolute() if args.work_dir else work_dir(args.store),
    )


def _missing(args: Arguments, how: "Working") -> Iterator[Problem]:
    if not how.server:
        yield Problem(message="a worker needs the address of a server", suggestion="add --server URL")
    if not how.token_file.is_file():
        advice = "make one with `runwright tokens create NAME`, and add --token-file FILE"
        yield Problem(message="a worker needs a file with a token", suggestion=advice)
    if not how.queues:
        yield Problem(message="a worker needs a queue", suggestion="add --queue NAME")
    if args.heartbeat < SHORTEST_HEARTBEAT:
        yield Problem(message="--heartbeat must be 100ms at least", suggestion="5s is usual")


def runtime_options(args: Arguments) -> dict[str, Any]:
    """Return what the runtimes take."""
    machine = {name: getattr(args, f"vm_{name}") for name in MACHINE}
    return {
        "engine": args.engine,
        "image": args.image,
        "pull": args.pull,
        "vm": {name: value for name, value in machine.items() if value},
    }


def _more(args: Arguments) -> dict[str, Any]:
    from runwright.ports.jobs import JobLimits  # noqa: PLC0415 - for help it is not needed

    limits = JobLimits(
        cpus=args.cpus,
        memory_bytes=args.memory,
        pids=args.pids,
        disk_bytes=args.disk,
        network=args.network,
    )
    settings = {name: getattr(args, name) for name in SETTINGS} | {"margin": args.lease_margin}
    tools = {name: getattr(args, name) for name in TOOLS}
    if args.git_password_file:
        tools["git_password_file"] = Path(args.git_password_file).absolute()
    return {
        "name": args.name,
        "labels": tuple(args.label),
        "limits": limits,
        "settings": settings,
        "tools": {name: value for name, value in tools.items() if value is not None},
    }
