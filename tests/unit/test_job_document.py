"""The document of a job, in all its versions."""

import json

import msgspec
import pytest

from runwright.core.job import DockerAuthConfig, Job, JobFile, decode_job, encode_job

EARLY = {
    "id": 3,
    "repositoryName": "r",
    "commit": "deadbeef",
    "files": {"a": "plain"},
    "dockerSteps": [{"image": "i", "commands": ["x"], "dir": "d", "env": None}],
    "cliSteps": [{"command": ["batch"], "dir": "", "env": ["A=1"]}],
    "redactedValues": None,
}


def test_an_early_document_is_understood() -> None:
    job = decode_job(EARLY)
    assert (job.id, job.repository_name, job.commit) == (3, "r", "deadbeef")
    assert job.files == {"a": JobFile(content=b"plain")}
    assert (job.docker_steps[0].commands, job.docker_steps[0].env) == (("x",), ())
    assert job.cli_steps[0].commands == ("batch",)
    assert job.redacted_values == {}


def test_the_ids_of_a_job() -> None:
    assert (Job(id=7).record_id, Job(id=7).record_uid) == (7, "7")
    assert Job(id=7, queue="q").record_uid == "7-q"


def test_both_versions_are_written_and_read_again() -> None:
    job = decode_job({**EARLY, "queue": "q", "dockerAuthConfig": {"auths": {"r": {"auth": "YTpi"}}}})
    first, second = (json.loads(encode_job(job, version)) for version in (1, 2))
    assert ("version" in first, "dockerAuthConfig" in first, first["queue"]) == (False, False, "q")
    assert first["files"]["a"]["content"] == "plain"
    assert (second["version"], second["files"]["a"]["content"]) == (2, "cGxhaW4=")
    assert decode_job(second) == msgspec.structs.replace(job, version=2)
    assert json.loads(encode_job(decode_job(EARLY), 2))["dockerAuthConfig"] == {}
    assert decode_job({"version": 2, "dockerAuthConfig": {}}).docker_auth_config == DockerAuthConfig()


@pytest.mark.parametrize("files", [{"a": 3}, [1], {"a": {"content": 5}}])
def test_what_has_not_the_shape_of_files(files: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_job({"files": files})
