"""Requests of workers: what is understood, what is refused, what is made of it."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from runwright.core.job import DockerAuthConfig, DockerStep, Job, JobFile, RegistryAuth
from runwright.core.job_mask import LARGEST_SHOWN, masked, secrets_of
from runwright.core.job_requests import (
    decode,
    document_version,
    job_number,
    job_numbers,
    settled_entry,
    settled_time,
)
from runwright.core.job_wire import (
    AddExecutionLogEntryRequest,
    ExecutionLogEntry,
    HeartbeatRequest,
    MarkCompleteRequest,
)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("", 1),
        ("dev", 2),
        ("0.0.0+dev", 2),
        ("4.2.9", 1),
        ("4.3.0", 2),
        ("v4.10.0", 2),
        ("5.0.0-rc.1", 2),
        ("3.99.99", 1),
        ("169135_2022-11-24_a2b623dce148", 2),
        ("169135_2022-11-23_a2b623dce148", 1),
        ("300000_2024-01-31_5.2-abc123", 2),
    ],
)
def test_the_version_of_a_worker_tells_which_document_it_understands(version: str, expected: int) -> None:
    assert document_version(version) == expected


@pytest.mark.parametrize(
    "version", ["four", "4.3", "4.3.0.1", " 4.3.0", "4.3.0\n", "x" * 10_000, "\u0664.3.0"]
)
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="no version"):
        document_version(version)


@pytest.mark.parametrize(
    ("wire_id", "number"),
    [
        (5, 5),
        ("5", 5),
        ("5-queue-2", 5),
        (0, None),
        (-5, None),
        ("", None),
        ("x", None),
        ("\u0665", None),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (10**40, None),
    ],
)
def test_ids_are_numbers_or_their_texts(wire_id: int | str, number: int | None) -> None:
    assert job_number(wire_id) == number


def test_numbers_of_jobs_come_once_each() -> None:
    assert job_numbers((3, "3", "3-q", "x", 1)) == (3, 1)


def test_lists_may_be_null_and_numbers_may_be_texts() -> None:
    beat = decode(b'{"executorName":"w","jobIds":null,"labels":null,"slots":"2"}', HeartbeatRequest)
    assert (beat.job_ids, beat.slots) == ((), 2)
    entry = decode(b'{"key":"k","command":null,"jobId":"7","exitCode":null}', AddExecutionLogEntryRequest)
    assert (entry.command, entry.job_id, entry.exit_code) == ((), 7, None)
    nested = b'{"jobIdsByQueue":[{"queueName":"q","jobIds":null}], "more":{"than":["we",null]}}'
    assert decode(nested, HeartbeatRequest).job_ids_by_queue[0].job_ids == ()


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"3", b'{"jobId":{}}', b'{"jobId":"x"}', b'{"jobId":1.5}'])
def test_json_of_another_shape_is_told_from_what_is_no_json(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(body, MarkCompleteRequest)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"executorName":"\\ud800"}'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        decode(body, MarkCompleteRequest)
    assert not isinstance(caught.value, msgspec.ValidationError)


def test_times_are_in_utc_or_none() -> None:
    east = timezone(timedelta(hours=5))
    assert settled_time(None) is None
    assert settled_time(datetime(1, 1, 1, tzinfo=east)) is None
    assert settled_time(datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5)))) is None
    assert settled_time(datetime(2026, 1, 1, 5, tzinfo=east)) == datetime(2026, 1, 1, tzinfo=UTC)
    assert settled_time(datetime(2026, 1, 1)) == datetime(2026, 1, 1, tzinfo=UTC)


def test_an_entry_loses_what_not_every_store_can_keep() -> None:
    request = AddExecutionLogEntryRequest(key="k", command=("a\0b",), out="c\0d", job_id=3)
    assert settled_entry(request) == ExecutionLogEntry(key="k", command=("a\ufffdb",), out="c\0d")


SECRET = "correct horse"


def job(**more: object) -> Job:
    return Job(redacted_values={SECRET: "***HORSE***", "": "nothing"}, **more)


def test_secrets_are_masked_wherever_they_stand() -> None:
    document = masked(
        job(
            commit=SECRET,
            sparse_checkout=(f"a/{SECRET}/b",),
            docker_steps=(DockerStep(commands=(f"echo '{SECRET}'",), env=(f"A={SECRET}",)),),
            files={
                f"{SECRET}.txt": JobFile(content=f"x{SECRET}y".encode()),
                "other": JobFile(bucket="b", key="k"),
            },
        )
    )
    text = msgspec.json.encode(document).decode()
    assert SECRET not in text
    assert "Y29ycmVjdCBob3JzZ" not in text
    assert document["files"]["***.txt"]["content"] == "eCoqKnk="
    assert document["files"]["other"] == {"bucket": "b", "key": "k"}
    assert document["redactedValues"] == ["***HORSE***", "nothing"]
    assert document["dockerAuthConfig"] == {"auths": {}}


def test_of_large_files_only_the_size_is_shown() -> None:
    whole, large = b"x" * LARGEST_SHOWN, b"x" * (LARGEST_SHOWN + 1)
    files = masked(job(files={"a": JobFile(content=whole), "b": JobFile(content=large)}))["files"]
    assert len(b64decode(files["a"]["content"])) == LARGEST_SHOWN
    assert files["b"] == {"sizeBytes": LARGEST_SHOWN + 1}


def test_credentials_are_masked_with_the_passwords_in_them() -> None:
    auths = {
        "one": RegistryAuth(auth="dXNlcjpwYXNzd29yZA=="),
        "two": RegistryAuth(auth="no base64!"),
        "three": RegistryAuth(),
    }
    with_auth = Job(
        docker_auth_config=DockerAuthConfig(auths=auths),
        docker_steps=(DockerStep(commands=("login -p password dXNlcjpwYXNzd29yZA==",)),),
    )
    assert set(secrets_of(with_auth)) == {"dXNlcjpwYXNzd29yZA==", "password", "no base64!", ""}
    document = masked(with_auth)
    assert document["dockerSteps"][0]["commands"] == ["login -p *** ***"]
    assert document["dockerAuthConfig"]["auths"] == {
        name: {"auth": "***"} for name in ("one", "two", "three")
    }


def test_control_without_redaction_the_secret_would_show() -> None:
    assert SECRET in msgspec.json.encode(job(commit=SECRET)).decode()
