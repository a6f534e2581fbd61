"""The steps of a job in the order in which they run, and which one comes next."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from runwright.core.job import Job
from runwright.core.pattern import pattern

NEXT_STEP_FILE = ".runwright-next"
"""At the top of the workspace: a step whose key is ``step.N.pre`` may leave there the key of the step to go on with."""

NEXT_STEP_BYTES = 1024
"""What that file may hold."""

CHOOSER = pattern(r"step\.[0-9]+\.pre")


class JobStep(Struct, frozen=True, kw_only=True):
    """A step, of either kind.

    Attributes:
        name: Its key, or its index among those of its kind.
        log_key: Of its entry in the log.
        script: Lines for a shell; empty for a command line step.
        arguments: Of the configured command; empty for a step with a script.
        image: Where it runs.
        dir: Working directory.
        env: Its variables.
    """

    name: str
    log_key: str
    script: str = ""
    arguments: tuple[str, ...] = ()
    image: str = ""
    dir: str = ""
    env: dict[str, str] = {}

    @property
    def may_choose(self) -> bool:
        """True if it may say which step comes next."""
        return CHOOSER.fullmatch(self.name) is not None


def job_steps(job: Job) -> tuple[JobStep, ...]:
    """Return the steps of a job, in order."""
    return (*_scripts(job), *_command_lines(job))


def _scripts(job: Job) -> Iterator[JobStep]:
    for index, step in enumerate(job.docker_steps):
        name = step.key or str(index)
        yield JobStep(
            name=name,
            log_key=f"step.docker.{name}",
            script="\n".join(step.commands) + "\n",
            image=step.image,
            dir=step.dir,
            env=_variables(step.env),
        )


def _command_lines(job: Job) -> Iterator[JobStep]:
    for index, step in enumerate(job.cli_steps):
        name = step.key or str(index)
        yield JobStep(
            name=name,
            log_key=f"step.src.{name}",
            arguments=step.commands,
            dir=step.dir,
            env=_variables(step.env),
        )


def _variables(pairs: Sequence[str]) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def next_index(steps: Sequence[JobStep], index: int, wish: str) -> int:
    """Return the index of the step that a step wants to go on with.

    Args:
        steps: All of them.
        index: Of the one that has ended.
        wish: A key; empty for the next one.

    Raises:
        ValueError: If no later step has that key.
    """
    if not wish:
        return index + 1
    for later in range(index + 1, len(steps)):
        if steps[later].name == wish:
            return later
    raise ValueError(f'the step wants to go on with "{wish}", and no later step has that key')
