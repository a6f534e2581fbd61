"""What is wrong with a job that its types can't tell: everything at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from msgspec import Struct, field

from runwright.core.check_fields import DENIED
from runwright.core.errors import Problem
from runwright.core.job import CliStep, DockerAuthConfig, DockerStep, Job, JobFile
from runwright.core.job_mask import secrets_of
from runwright.core.job_paths import CONTROL, file_names, folder_names, path_names
from runwright.core.pattern import pattern
from runwright.core.redact import Redactor
from runwright.core.repositories import commit_fault, repository_fault

MOST_STEPS = 1_000
"""Steps of a job, both kinds together."""

MOST_COMMANDS = 10_000
"""Commands or arguments of one step."""

LONGEST_SCRIPT = 1024 * 1024
"""Characters of all commands of one step."""

LONGEST_ARGUMENT = 64 * 1024
"""Characters of one argument of a command line step."""

MOST_VARIABLES = 1_000
"""Variables in the environment of one step."""

LONGEST_VARIABLE = 64 * 1024
"""Characters of a variable, with its name."""

MOST_FILES = 10_000
"""Files of a job."""

LARGEST_FILES = 64 * 1024 * 1024
"""Bytes of all their contents."""

MOST_PATTERNS = 10_000
"""Patterns of a sparse checkout."""

MOST_REDACTED = 1_000
"""Redacted values of a job."""

LONGEST_REDACTED = 64 * 1024
"""Characters of one redacted value."""

MOST_SECRET_CHARACTERS = 1024 * 1024
"""Characters of everything that is not to be shown of a job: looking for it takes many times as much."""

LONGEST_REPLACEMENT = 200
"""Characters of what stands in its place."""

MOST_REGISTRIES = 100
"""Registries that a job has credentials for."""

LONGEST_KEY = 100
"""Characters of the key of a step."""

LONGEST_IMAGE = 500
"""Characters of the name of an image."""

MOST_FAULTS = 100
"""Faults that are told of one job."""

STEP_KEY = pattern(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
VARIABLE_NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]*")
IMAGE = pattern(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*")
REGISTRY = pattern(r"[A-Za-z0-9][A-Za-z0-9._/:-]*")

T = TypeVar("T")
Path = tuple[str | int, ...]
Step = DockerStep | CliStep


def check_job(job: Job) -> list[Problem]:
    """Return everything that is wrong with a job, at most `MOST_FAULTS`; paths begin at the top of its document.

    What is told holds no secret of the job. If there are too many to look for, nothing else is told.
    """
    found = _Faults(job)
    _check_secrets(found, job)
    if found.problems:
        return found.problems
    _check_whole(found, job)
    _check_repository(found, job)
    for path, file in _first(job.files.items(), MOST_FILES):
        _check_file(found, path, file)
    _check_steps(found, job)
    if job.docker_auth_config is not None:
        _check_registries(found, job.docker_auth_config)
    return found.problems


class _Faults(Struct):
    """Gathers problems, as many as are told, without the secrets of the job."""

    job: Job
    problems: list[Problem] = field(default_factory=list)
    _redactor: Redactor | None = None

    def add(self, path: Path, message: str, advice: str = "") -> None:
        if len(self.problems) < MOST_FAULTS:
            place = tuple(self.clean(part) if isinstance(part, str) else part for part in path)
            self.problems.append(Problem(message=self.clean(message), path=place, suggestion=advice))

    def clean(self, text: str) -> str:
        if self._redactor is None:
            self._redactor = Redactor(secrets_of(self.job))
        return self._redactor.text(text)

    def shown(self, text: str) -> str:
        """Return a text of the user's as it can stand in a message: in one line, and not all of it if it is long."""
        if len(self.problems) >= MOST_FAULTS:
            return ""
        plain = CONTROL.sub("?", self.clean(text).encode("utf-8", "replace").decode())
        return f'"{plain[:80]}..."' if len(plain) > 80 else f'"{plain}"'

    def count(self, path: Path, what: str, count: int, most: int) -> None:
        if count > most:
            self.add(path, f"there are {count:,} {what}", f"give at most {most:,}")

    def size(self, path: Path, what: str, size: int, most: int, unit: str = "characters") -> None:
        if size > most:
            self.add(path, f"{what} takes {size:,} {unit}", f"give at most {most:,}")

    def path(self, place: Path, path: str, read: Callable[[str], object]) -> None:
        """Add what is wrong with a path, as `read` tells it."""
        try:
            read(path)
        except ValueError as error:
            fault, _, advice = str(error).partition("; ")
            self.add(place, f"{self.shown(path)} {fault}", advice)


def _check_whole(found: _Faults, job: Job) -> None:
    if job.version not in (1, 2):
        found.add(("version",), f"there is no version {job.version} of a job", "write 1 or 2")
    found.count(("dockerSteps",), "steps", len(job.docker_steps) + len(job.cli_steps), MOST_STEPS)
    found.count(("files",), "files", len(job.files), MOST_FILES)
    size = sum(len(file.content) for file in job.files.values())
    found.size(("files",), "what the files hold", size, LARGEST_FILES, "bytes")


def _check_repository(found: _Faults, job: Job) -> None:
    found.path(("repositoryDirectory",), job.repository_directory, folder_names)
    found.count(("sparseCheckout",), "patterns", len(job.sparse_checkout), MOST_PATTERNS)
    for index, text in _first(enumerate(job.sparse_checkout), MOST_PATTERNS):
        if not text or CONTROL.search(text) or not _is_text(text):
            found.add(("sparseCheckout", index), f"{found.shown(text)} is no pattern", "write a plain line")
    if not job.repository_name:
        if job.commit:
            found.add(
                ("commit",), "there is a commit and no repository", "give repositoryName, or leave it out"
            )
        return
    faults = (
        ("repositoryName", repository_fault(job.repository_name)),
        ("commit", commit_fault(job.commit) and commit_fault(found.clean(job.commit))),  # a mask is no commit
    )
    for name, fault in faults:
        if fault:
            message, _, advice = fault.partition("; ")
            found.add((name,), message, advice)


def _check_file(found: _Faults, path: str, file: JobFile) -> None:
    place = ("files", path)
    found.path(place, path, file_names)
    if file.bucket or file.key:
        message = f"the content of {found.shown(path)} is kept in a bucket, and there are no buckets here"
        found.add(place, message, "send it as content")


def _check_steps(found: _Faults, job: Job) -> None:
    kinds: tuple[tuple[str, Sequence[Step]], ...] = (
        ("dockerSteps", job.docker_steps),
        ("cliSteps", job.cli_steps),
    )
    for kind, steps in kinds:
        keys: set[str] = set()
        for index, step in _first(enumerate(steps), MOST_STEPS):
            name = step.key or str(index)
            if name in keys:
                found.add(
                    (kind, index, "key"), f"two steps have the key {found.shown(name)}", "give each its own"
                )
            keys.add(name)
            _check_step(found, (kind, index), step)


def _check_step(found: _Faults, place: Path, step: Step) -> None:
    if step.key and not (STEP_KEY.fullmatch(step.key) and len(step.key) <= LONGEST_KEY):
        advice = f'use letters, digits, "_", "-" and ".", at most {LONGEST_KEY}'
        found.add((*place, "key"), f"{found.shown(step.key)} can't be the key of a step", advice)
    found.path((*place, "dir"), step.dir, path_names)
    if isinstance(step, DockerStep):
        _check_script(found, place, step)
    else:
        _check_arguments(found, place, step)
    found.count((*place, "env"), "variables", len(step.env), MOST_VARIABLES)
    for index, pair in _first(enumerate(step.env), MOST_VARIABLES):
        _check_variable(found, (*place, "env", index), pair)


def _check_script(found: _Faults, place: Path, step: DockerStep) -> None:
    image = step.image
    if image and (len(image) > LONGEST_IMAGE or not IMAGE.fullmatch(image)):
        found.add((*place, "image"), f"{found.shown(image)} can't name an image", "write it like alpine:3")
    _check_texts(found, (*place, "commands"), step.commands, "commands")


def _check_arguments(found: _Faults, place: Path, step: CliStep) -> None:
    _check_texts(found, (*place, "command"), step.commands, "arguments")
    for index, argument in _first(enumerate(step.commands), MOST_COMMANDS):
        found.size((*place, "command", index), "the argument", len(argument), LONGEST_ARGUMENT)


def _check_texts(found: _Faults, place: Path, texts: Sequence[str], what: str) -> None:
    if not texts:
        found.add(place, "the step has nothing to do", f"give it {what}")
    found.count(place, what, len(texts), MOST_COMMANDS)
    found.size(place, "the step", sum(len(text) + 1 for text in texts), LONGEST_SCRIPT)
    for index, text in _first(enumerate(texts), MOST_COMMANDS):
        if not _is_text(text):
            found.add((*place, index), "it holds a NUL or half a character", "write plain text")


def _check_variable(found: _Faults, place: Path, pair: str) -> None:
    name, equals, value = pair.partition("=")
    if not equals or not VARIABLE_NAME.fullmatch(name):
        found.add(place, f"{found.shown(name)} is no variable", "write it as NAME=value")
    elif name.upper() in DENIED:
        found.add(place, f"{name} can't be set: it makes programs load foreign code", "take it out")
    elif not _is_text(value):
        found.add(place, f"{name} holds a NUL or half a character", "write plain text")
    found.size(place, "the variable", len(pair), LONGEST_VARIABLE)


def _check_secrets(found: _Faults, job: Job) -> None:
    place = ("redactedValues",)
    found.count(place, "redacted values", len(job.redacted_values), MOST_REDACTED)
    if "" in job.redacted_values:
        found.add(place, "a redacted value is empty", "take it out")
    if any(len(text) > LONGEST_REDACTED for text in job.redacted_values):
        found.add(place, "a redacted value is too long", f"give at most {LONGEST_REDACTED:,} characters")
    if sum(map(len, secrets_of(job))) > MOST_SECRET_CHARACTERS:
        advice = f"give at most {MOST_SECRET_CHARACTERS:,} characters"
        found.add(place, "all redacted values and credentials are too long together", advice)
    if any(len(text) > LONGEST_REPLACEMENT for text in job.redacted_values.values()):
        advice = f"give at most {LONGEST_REPLACEMENT} characters"
        found.add(place, "what stands in the place of a redacted value is too long", advice)


def _check_registries(found: _Faults, config: DockerAuthConfig) -> None:
    place = ("dockerAuthConfig", "auths")
    found.count(place, "registries", len(config.auths), MOST_REGISTRIES)
    for registry, login in _first(config.auths.items(), MOST_REGISTRIES):
        if not REGISTRY.fullmatch(registry.removeprefix("https://").removeprefix("http://")):
            found.add((*place, registry), f"{found.shown(registry)} is no registry", "write it like ghcr.io")
        if not login.auth or len(login.auth) > LONGEST_REDACTED or not login.auth.isascii():
            found.add((*place, registry), "its auth is no base64", "write base64 of user:password")


def _first(things: Iterable[T], most: int) -> Iterator[T]:
    """Yield no more things than there may be, so that the cost of a check is bounded."""
    return islice(things, most)


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
