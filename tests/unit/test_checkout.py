"""The git commands of a job, and what is around them."""

from typing import Any

import pytest

from runwright.core.checkout import GitAccess, GitCommand, checkout_commands, git_environment
from runwright.core.job import Job
from runwright.core.repositories import Location

PLACE = Location("https://git.example.com/org/x", "https", is_own=True)
ACCESS = GitAccess(
    url="https://git.example.com:8443/a/{repository}", user="me", password="pass word", env={"PATH": "/bin"}
)
SHA1, SHA256 = "a" * 40, "b" * 64


def commands(**fields: Any) -> dict[str, GitCommand]:
    job = Job(**{"repository_name": "org/x", "commit": SHA1, **fields})
    found = checkout_commands(job, PLACE, "sub")
    assert all(command.argv[:3] == ("git", "-C", "sub") for command in found)
    return {command.key.removeprefix("setup.git."): command for command in found}


def text(command: GitCommand) -> str:
    return " ".join(command.argv[3:])


def test_a_plain_checkout() -> None:
    found = commands()
    assert {key: text(command) for key, command in found.items()} == {
        "init": "init --quiet --template= --initial-branch=main",
        "add-remote": "remote add -- origin https://git.example.com/org/x",
        "disable-gc": "config gc.auto 0",
        "fetch": f"-c protocol.version=2 fetch --progress --no-recurse-submodules -- origin {SHA1}",
        "checkout": f"checkout --progress --force --detach {SHA1} --",
        "set-remote": "remote set-url -- origin org/x",
    }
    assert [key for key, command in found.items() if command.connects] == ["fetch"]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"fetch_tags": True}, "--tags"),
        ({"shallow_clone": True}, "--no-tags --depth=1"),
        ({"shallow_clone": True, "fetch_tags": True}, "--tags --depth=1"),
        ({"sparse_checkout": ("/a",)}, "--filter=blob:none"),
    ],
)
def test_what_is_fetched(fields: dict[str, Any], options: str) -> None:
    assert f"--no-recurse-submodules {options} -- origin" in text(commands(**fields)["fetch"])


def test_a_sparse_checkout_may_fetch_what_it_lacks() -> None:
    found = commands(sparse_checkout=("/a", "-x"))
    assert list(found)[4:7] == ["sparse-checkout-config", "sparse-checkout-set", "checkout"]
    assert text(found["sparse-checkout-set"]) == "sparse-checkout set --no-cone -- /a -x"
    assert found["checkout"].connects


def test_commits_of_every_kind() -> None:
    assert text(commands(commit="main")["checkout"]) == "checkout --progress --force --detach FETCH_HEAD --"
    assert text(commands(commit=SHA256)["init"]).endswith("--object-format=sha256")
    assert SHA256 in text(commands(commit=SHA256)["checkout"])


def settings(env: dict[str, str]) -> dict[str, str]:
    numbers = range(int(env["GIT_CONFIG_COUNT"]))
    return {env[f"GIT_CONFIG_KEY_{number}"]: env[f"GIT_CONFIG_VALUE_{number}"] for number in numbers}


def test_the_credential_is_for_its_host_and_for_what_connects() -> None:
    env = git_environment(ACCESS, PLACE, "/w/sub", connects=True)
    assert (env["RUNWRIGHT_GIT_USER"], env["RUNWRIGHT_GIT_PASSWORD"]) == ("me", "pass word")
    assert "RUNWRIGHT_GIT_PASSWORD" in settings(env)["credential.https://git.example.com:8443.helper"]
    assert "pass word" not in "".join(settings(env).values())
    assert env["GIT_ALLOW_PROTOCOL"] == "https"


@pytest.mark.parametrize(
    ("place", "connects"),
    [
        (PLACE, False),
        (Location("https://other/x", "https"), True),
        (Location("ssh://git.example.com/x", "ssh", is_own=True), True),
    ],
)
def test_nobody_else_gets_it(place: Location, connects: bool) -> None:
    env = git_environment(ACCESS, place, "/w", connects=connects)
    assert "pass word" not in "".join(env.values())
    assert not [name for name in settings(env) if name.startswith("credential.https")]
    assert env["GIT_ALLOW_PROTOCOL"] == (place.scheme if connects else "")


def test_nothing_of_the_machine_is_heeded() -> None:
    env = git_environment(
        GitAccess(env={"PATH": "/bin", "GIT_CONFIG_GLOBAL": "/evil"}), PLACE, "/w", connects=True
    )
    assert env["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert settings(env)["core.hooksPath"] == "/dev/null"
    assert settings(env)["credential.helper"] == ""
    assert settings(env)["safe.directory"] == "/w"
