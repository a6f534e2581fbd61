"""What the command line of a worker says of how jobs are run."""

from pathlib import Path
from typing import Any

import pytest

from runwright.core.errors import UsageError
from runwright.ports.jobs import JobLimits
from runwright.wiring.job_work import job_settings

LIMITS = JobLimits(cpus=2.0)


def test_what_is_not_said_has_a_default() -> None:
    settings = job_settings({}, LIMITS, "token")
    assert (settings.limits, settings.secrets, settings.cli_command) == (LIMITS, ("token",), ())
    assert (settings.kill_grace, settings.step_seconds, settings.output_bytes) == (10.0, 0.0, 16 << 20)
    assert (settings.git.url, settings.git.allow, settings.git.password) == ("", (), "")


def test_everything_that_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    (tmp_path / "password").write_text("pass word\n")
    said: dict[str, Any] = {
        "kill_grace": 1.0,
        "step_timeout": 60.0,
        "max_output": 1_000,
        "cli_command": "src -v 'a b'",
        "git_url": "https://host:8443/{repository}.git",
        "git_allow": ["/srv/"],
        "git_user": "me",
        "git_password_file": tmp_path / "password",
    }
    settings = job_settings(said, LIMITS, "token")
    assert (settings.kill_grace, settings.step_seconds, settings.output_bytes) == (1.0, 60.0, 1_000)
    assert settings.cli_command == ("src", "-v", "a b")
    assert (settings.git.allow, settings.git.user, settings.git.password) == (("/srv/",), "me", "pass word")
    assert settings.git.env["SSH_AUTH_SOCK"] == "/agent"
    assert "GIT_DIR" not in settings.git.env


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://host/x", "no {repository}"),
        ("host/{repository}", "is no address"),
        ("https://user:pw@host/{repository}", "a user or a password"),
        ("ext::sh {repository}", "can't be a repository"),
    ],
)
def test_addresses_that_are_wrong(url: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        job_settings({"git_url": url}, LIMITS, "token")
    assert message in str(caught.value)
    assert "https://host/{repository}" in caught.value.with_advice


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"\xff", None])
def test_passwords_that_are_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="password"):
        job_settings({"git_password_file": path}, LIMITS, "token")


def test_a_command_that_is_no_command_line() -> None:
    with pytest.raises(UsageError, match="--cli-command"):
        job_settings({"cli_command": "a 'b"}, LIMITS, "token")
