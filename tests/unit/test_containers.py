"""How containers are removed."""

from runwright.core.containers import is_leaving, is_podman, is_unknown, list_argv, remove_argv


def test_the_two_engines() -> None:
    assert [is_podman(name) for name in ("docker", "podman", "/usr/bin/podman", "podman-remote")] == [
        False,
        True,
        True,
        True,
    ]


def test_command_lines() -> None:
    assert list_argv("docker", "a:b") == (
        "docker",
        "ps",
        "--all",
        "--quiet",
        "--filter",
        "label=runwright.owner=a:b",
    )
    assert remove_argv("docker", "x", "y") == ("docker", "rm", "--force", "--volumes", "x", "y")
    assert remove_argv("podman", "x") == ("podman", "rm", "--force", "--time", "0", "--volumes", "x")


def test_what_engines_say() -> None:
    assert is_unknown("Error response from daemon: No such container: x")
    assert is_unknown('Error: no container with name or ID "x" found: no such container')
    assert not is_unknown("x")
    assert is_leaving("Error response from daemon: removal of container x is already in progress")
    assert not is_leaving("x")
