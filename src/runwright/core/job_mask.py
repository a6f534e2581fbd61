"""What a job looks like to those who only look: its secrets are masked."""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterator
from typing import Any

import msgspec

from runwright.core.job import Job
from runwright.core.redact import Redactor

MASKED = "***"

LARGEST_SHOWN = 64 * 1024
"""Bytes of a file whose content is shown; of a larger one only the size is."""


def secrets_of(job: Job) -> Iterator[str]:
    """Yield everything in a job that must not be shown: redacted values, credentials, and the passwords in them."""
    yield from job.redacted_values
    if job.docker_auth_config is None:
        return
    for login in job.docker_auth_config.auths.values():
        yield login.auth
        try:
            yield b64decode(login.auth, validate=True).decode("utf-8", "replace").partition(":")[2]
        except (NotBase64, ValueError):
            continue


def masked(job: Job) -> dict[str, Any]:
    """Return the document of a job as plain data, version 2, without id and token.

    Redacted values are a list of what stands in their place. Every text is free of secrets, also in base64, also the
    contents of files and the names of things.
    """
    redactor = Redactor(text for text in secrets_of(job) if text)
    document: dict[str, Any] = msgspec.to_builtins(job)
    for name in ("id", "token", "redactedValues", "dockerAuthConfig", "queue"):
        document.pop(name)
    document["files"] = {
        redactor.text(path): _file(redactor, file) for path, file in document["files"].items()
    }
    shown: dict[str, Any] = _clean(redactor, document)
    shown["redactedValues"] = [redactor.text(text) for text in job.redacted_values.values()]
    auths = job.docker_auth_config.auths if job.docker_auth_config else {}
    shown["dockerAuthConfig"] = {"auths": {redactor.text(registry): {"auth": MASKED} for registry in auths}}
    return shown


def _file(redactor: Redactor, file: dict[str, Any]) -> dict[str, Any]:
    """Mask the content of a file, which may hold a secret that its base64 text does not show."""
    if "content" not in file:
        return file
    content = b64decode(file["content"])
    if len(content) > LARGEST_SHOWN:
        return {name: value for name, value in file.items() if name != "content"} | {
            "sizeBytes": len(content)
        }
    return {**file, "content": b64encode(redactor.bytes(content)).decode("ascii")}


def _clean(redactor: Redactor, value: Any) -> Any:
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, dict):
        return {redactor.text(name): _clean(redactor, each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(redactor, each) for each in value]
    return value
