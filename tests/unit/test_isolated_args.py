"""What the arguments of sandbox and container have in common."""

from pathlib import Path

import pytest

from runwright.core.errors import TaskFailed
from runwright.executors.isolated_args import (
    Mount,
    check_command,
    check_names,
    find_inside,
    relative_fault,
    size_of,
    to_bind,
)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("", "/x"),
        ("/etc", "/x"),
        ("../x", "/x"),
        ("a/../../x", "/x"),
        ("a\nb", "/x"),
        ("a", "x"),
        ("a", "/"),
        ("a", "//"),
        ("a", "/x/.."),
        ("a", "/x/../y"),
        ("a", "/x\0"),
    ],
)
def test_mounts_that_can_t_be(source: str, target: str) -> None:
    with pytest.raises(ValueError, match="of a mount"):
        Mount(source=source, target=target)


def test_what_is_not_known_yet_is_not_judged() -> None:
    assert Mount(source="{{.a}}", target="/x").source == "{{.a}}"
    assert Mount(source="a", target="{{.b}}").target == "{{.b}}"
    assert size_of("{{.size}}", "memory") == 0
    check_names(("{{.name}}",))


def test_relative_paths() -> None:
    assert relative_fault("a/b") == relative_fault(".") == relative_fault("..a/b..") == ""


def test_one_command() -> None:
    check_command("x", (), needed=True)
    check_command("", ("x",), needed=True)
    check_command("", (), needed=False)
    for cmd, argv, needed in (("", (), True), ("x", ("y",), False), ("", ("", "x"), True)):
        with pytest.raises(ValueError, match=r"cmd|argv"):
            check_command(cmd, argv, needed=needed)


def test_sizes() -> None:
    assert [size_of(value, "memory") for value in ("", 0, 4096, "64MiB")] == [0, 0, 4096, 64 << 20]
    with pytest.raises(ValueError, match="`memory`: a size is written like"):
        size_of("lots", "memory")


@pytest.mark.parametrize("name", ["", "1A", "A=B", "A B", "LD_PRELOAD", "A\n"])
def test_names_that_can_t_be(name: str) -> None:
    with pytest.raises(ValueError, match="can't be"):
        check_names((name,))


def test_places_in_a_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "inner").symlink_to("a")
    (tree / "outer").symlink_to(tmp_path)
    (tree / "round").symlink_to("round")
    assert find_inside(tree, "inner") == (tree / "a").resolve()
    bind = to_bind(tree, Mount(source="a", target="/x", writable=True))
    assert (bind.source, bind.target, bind.writable) == (str((tree / "a").resolve()), "/x", True)
    for path, message in (
        ("outer", "leads out"),
        ("round", "can't be mounted"),
        ("none", "can't be mounted: No such file"),
    ):
        with pytest.raises(TaskFailed, match=message) as caught:
            find_inside(tree, path)
        assert caught.value.failure.code == "E_MOUNT"
