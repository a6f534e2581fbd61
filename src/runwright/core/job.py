"""The document of a job: what a worker is told to do, as it stands on the wire, in all its versions.

Source: the protocol of the Sourcegraph executor. JSON names are exactly its own.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, structs

Texts = tuple[str, ...]


class DockerStep(Struct, frozen=True, kw_only=True):
    """Commands that run in one image.

    Attributes:
        key: Names the step's log entry; its index is used if it is empty.
        image: Reference of the image; a runtime without images ignores it.
        commands: Lines of one shell script; the first that fails ends it.
        dir: Working directory, relative to the workspace.
        env: ``NAME=value`` pairs.
    """

    key: str = ""
    image: str = ""
    commands: Texts = ()
    dir: str = ""
    env: Texts = ()


class CliStep(Struct, frozen=True, kw_only=True):
    """A call of the command that the worker is configured with.

    Attributes:
        key: Names the step's log entry; its index is used if it is empty.
        commands: Arguments of the command; ``command`` in JSON.
        dir: Working directory, relative to the workspace.
        env: ``NAME=value`` pairs.
    """

    key: str = ""
    commands: Texts = msgspec.field(default=(), name="command")
    dir: str = ""
    env: Texts = ()


class JobFile(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A file that is written into the workspace after the checkout.

    Attributes:
        content: Its bytes: base64 in version 2 of the document, plain text in version 1.
        bucket: With `key`, where its content is kept instead; it wins over `content`.
        modified_at: Time of its last change; None leaves the time at which it is written.
    """

    content: bytes = b""
    bucket: str = ""
    key: str = ""
    modified_at: datetime | None = None


class RegistryAuth(Struct, frozen=True, kw_only=True):
    """How to log in at a registry: base64 of ``user:password``."""

    auth: str = ""


class DockerAuthConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Credentials for registries of images, by registry."""

    auths: Mapping[str, RegistryAuth] = {}


class Job(Struct, frozen=True, kw_only=True, rename="camel"):
    """A series of steps for one worker.

    Attributes:
        id: Identifies the job in its queue, from 1; 0 while it is not queued.
        version: Of the document, 1 or 2.
        token: Of the lease under which it was handed out; empty in a job that is being submitted.
        queue: Name of its queue, where several were asked.
        repository_name: Repository to check out; empty for none.
        repository_directory: Where, relative to the workspace.
        commit: What to check out.
        fetch_tags: Fetch tags too.
        shallow_clone: Fetch that commit alone.
        sparse_checkout: Patterns of what to check out; empty for all.
        files: What is written into the workspace, by relative path.
        docker_steps: Run first, in order.
        cli_steps: Run after them, in order.
        redacted_values: What must not appear in any output, and what stands there instead.
        docker_auth_config: Credentials for images.
    """

    id: int = 0
    version: int = 1
    token: str = ""
    queue: str = ""
    repository_name: str = ""
    repository_directory: str = ""
    commit: str = ""
    fetch_tags: bool = False
    shallow_clone: bool = False
    sparse_checkout: Texts = ()
    files: Mapping[str, JobFile] = msgspec.field(default_factory=dict)
    docker_steps: tuple[DockerStep, ...] = ()
    cli_steps: tuple[CliStep, ...] = ()
    redacted_values: Mapping[str, str] = msgspec.field(default_factory=dict)
    docker_auth_config: DockerAuthConfig | None = None

    @property
    def record_id(self) -> int:
        """The id of the job within its queue."""
        return self.id

    @property
    def record_uid(self) -> str:
        """The id of the job among all queues."""
        return f"{self.id}-{self.queue}" if self.queue else str(self.id)


def decode_job(document: Mapping[str, Any]) -> Job:
    """Return the job of a document of any version, from plain data; `core.job_check` looks for what types can't tell.

    Raises:
        msgspec.ValidationError: If it has not the shape of a job.
    """
    filled = _without_nulls(document)
    files = filled.get("files")
    if isinstance(files, Mapping) and filled.get("version", 1) != 2:
        filled["files"] = {path: _upgraded(file) for path, file in files.items()}
    return msgspec.convert(filled, Job)


def encode_job(job: Job, version: int) -> bytes:
    """Return the JSON of a job in one version of the document.

    Args:
        job: What is to be written.
        version: 1 or 2. Version 1 has texts as the contents of files; bytes that are none become U+FFFD.
    """
    document: dict[str, Any] = msgspec.to_builtins(structs.replace(job, version=version))
    document["files"] = {path: _file_data(file, version) for path, file in job.files.items()}
    if version == 1:
        del document["version"], document["dockerAuthConfig"]
    elif job.docker_auth_config is None:
        document["dockerAuthConfig"] = {}
    if not job.queue:
        del document["queue"]
    return msgspec.json.encode(document)


def _without_nulls(document: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is null, in the document and in its steps: so other programs write lists that nobody filled."""
    filled = {name: value for name, value in document.items() if value is not None}
    for steps in ("dockerSteps", "cliSteps"):
        if isinstance(filled.get(steps), list):
            filled[steps] = [
                _without_nulls(step) if isinstance(step, dict) else step for step in filled[steps]
            ]
    return filled


def _upgraded(file: Any) -> Any:
    """Return a file of version 1, or of the time before it, as version 2 has it."""
    if isinstance(file, str):
        return {"content": file.encode()}
    if isinstance(file, Mapping) and isinstance(file.get("content"), str):
        return {**file, "content": file["content"].encode()}
    return file


def _file_data(file: JobFile, version: int) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(file)
    return data | {"content": file.content.decode("utf-8", "replace")} if version == 1 else data
