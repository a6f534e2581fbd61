"""The files of a sandboxed task, on a real directory."""

import os
from pathlib import Path

import pytest

from runwright.core.errors import TaskFailed
from runwright.executors.sandbox_files import (
    MOST_SINGLE,
    Layout,
    discard_tree,
    files_below,
    find_inputs,
    keep_outputs,
    lay_out,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tree = tmp_path / "source"
    for name in ("src/a.c", "src/deep/b.c", "src/.hidden", "include/x.h", "top"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    return tree


def prepared(
    source: Path, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = (), working_dir: str = ""
) -> Layout:
    return lay_out(source.parent / "box", source, inputs, outputs, working_dir, -1)


def failure_of(source: Path, inputs: tuple[str, ...]) -> str:
    with pytest.raises(TaskFailed) as caught:
        prepared(source, inputs)
    assert caught.value.failure.code == "E_INPUT"
    assert not (source.parent / "box").exists()
    return caught.value.failure.message


# -- inputs


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (("top",), ["top"]),
        (("src",), ["src/.hidden", "src/a.c", "src/deep/b.c"]),
        (("src/",), ["src/.hidden", "src/a.c", "src/deep/b.c"]),
        (("src/**",), ["src/a.c", "src/deep/b.c"]),
        (("**/*.c", "./top"), ["src/a.c", "src/deep/b.c", "top"]),
        (("*.none",), []),
        (("none/*",), []),
        ((".",), ["include/x.h", "src/.hidden", "src/a.c", "src/deep/b.c", "top"]),
    ],
)
def test_what_inputs_stand_for(source: Path, inputs: tuple[str, ...], names: list[str]) -> None:
    assert sorted(find_inputs(source, inputs)) == names
    layout = prepared(source, inputs)
    assert sorted(files_below(layout.staged)) == names
    assert all((layout.staged / name).read_text() == name for name in names)
    assert layout.inputs == frozenset(names)


def test_whole_directories_are_mounted_where_nothing_is_written(source: Path) -> None:
    assert prepared(source, ("**/*", "src")).read_only == ("include", "src", "top")


def test_files_are_mounted_where_something_is_written(source: Path) -> None:
    layout = prepared(source, ("**/*",), ("src/a.o", "build/x/*.o"), "include/sub")
    assert layout.read_only == ("include/x.h", "src/a.c", "src/deep", "top")
    made = {str(path.relative_to(layout.work)) for path in layout.work.rglob("*")}
    assert made == {"src", "build", "build/x", "include", "include/sub"}


def test_too_many_single_files(source: Path) -> None:
    for number in range(MOST_SINGLE):
        (source / f"f{number}").touch()
    assert f"{MOST_SINGLE + 1} input files stand in directories that are written to" in failure_of(
        source, ("*",)
    )


def test_links_inside_the_tree_are_followed(source: Path) -> None:
    (source / "link").symlink_to("src/a.c")
    layout = prepared(source, ("link",))
    assert not (layout.staged / "link").is_symlink()
    assert (layout.staged / "link").read_text() == "src/a.c"


def test_links_of_directories_are_not_entered(source: Path) -> None:
    (source / "again").symlink_to("src")
    assert "again/a.c" not in find_inputs(source, ("**/*.c",))


def test_inputs_that_can_t_be(source: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    (source / "out").symlink_to(tmp_path / "outside")
    (source / "round").symlink_to("round")
    (source / "folder").symlink_to("src")
    (source / "broken").symlink_to("nothing")
    os.mkfifo(source / "pipe")
    assert failure_of(source, ("none",)) == "input 'none' is not in the source tree"
    assert failure_of(source, ("out",)) == "input 'out' is a link that leads out of the source tree"
    assert failure_of(source, ("round",)).startswith("input 'round' can't be read: ")
    assert failure_of(source, ("broken",)) == "input 'broken' can't be read: No such file or directory"
    assert "'pipe' is not a plain file" in failure_of(source, ("p*",))
    assert "'folder' is not a plain file" in failure_of(source, ("folder",))


def test_inputs_cost_no_copy_where_a_link_does(source: Path) -> None:
    layout = prepared(source, ("top",))
    assert (layout.staged / "top").stat().st_ino == (source / "top").stat().st_ino


def test_copies_where_there_can_be_no_link(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    (source / "src/a.c").chmod(0o700)
    layout = prepared(source, ("src/a.c", "top"))
    assert (layout.staged / "top").read_text() == "top"
    assert [(layout.staged / name).stat().st_mode & 0o777 for name in ("src/a.c", "top")] == [0o555, 0o444]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_nobody_can_read_what_root_alone_can(source: Path) -> None:
    (source / "top").chmod(0o600)
    layout = lay_out(source.parent / "box", source, ("top", "src/a.c"), ("build/x",), "", 65534)
    assert (layout.staged / "top").stat().st_mode & 0o777 == 0o444
    owned = [layout.work, layout.values, layout.work / "build"]
    assert [path.stat().st_uid for path in owned] == [65534] * 3
    assert layout.root.stat().st_mode & 0o777 == 0o700


# -- outputs


def kept(layout: Layout, source: Path, *outputs: str) -> tuple[str, ...]:
    folder = source.parent / "kept"
    folder.mkdir(exist_ok=True)
    return keep_outputs(layout, outputs, folder, source)


def write(layout: Layout, *names: str) -> None:
    for name in names:
        (layout.work / name).parent.mkdir(parents=True, exist_ok=True)
        (layout.work / name).write_text(f"made {name}")


def test_outputs_are_kept_in_both_places(source: Path) -> None:
    layout = prepared(source, ("top",), ("build/*.o",))
    write(layout, "build/a.o", "build/b.o", "build/c.txt", "tree/x/y", "top")
    assert kept(layout, source, "build/*.o", "tree") == ("build/a.o", "build/b.o", "tree/x/y")
    for folder in (source, source.parent / "kept"):
        assert (folder / "build/a.o").read_text() == "made build/a.o"
        assert not (folder / "build/c.txt").exists()
    assert (source / "top").read_text() == "top", "an input is no output, even if a pattern fits"
    assert kept(prepared_again(source), source, "*.none") == ()


def prepared_again(source: Path) -> Layout:
    discard_tree(source.parent / "box")
    return prepared(source)


def test_an_older_output_is_replaced(source: Path) -> None:
    layout = prepared(source)
    write(layout, "top")
    (layout.work / "top").chmod(0o6777)
    kept(layout, source, "top")
    assert (source / "top").read_text() == "made top"
    assert (source / "top").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda work, _: None, "the task did not make its output 'out'"),
        (lambda work, _: (work / "out").symlink_to("/etc/passwd"), "output 'out' is a symbolic link"),
        (lambda work, _: os.mkfifo(work / "out"), "output 'out' is not a plain file"),
        (
            lambda work, source: ((work / "out").touch(), (source / "out").mkdir()),
            "output 'out' can't be put into the source tree: Is a directory",
        ),
    ],
)
def test_outputs_that_can_t_be(source: Path, make: object, message: str) -> None:
    layout = prepared(source)
    make(layout.work, source)  # type: ignore[operator]
    with pytest.raises(TaskFailed) as caught:
        kept(layout, source, "out")
    assert (caught.value.failure.code, caught.value.failure.message) == ("E_OUTPUT", message)
    assert not list(source.glob(".runwright-*"))


def test_an_output_where_a_directory_is_kept(source: Path) -> None:
    layout = prepared(source)
    write(layout, "out")
    (source.parent / "kept/out").mkdir(parents=True)
    with pytest.raises(TaskFailed, match="output 'out' can't be kept: Is a directory"):
        kept(layout, source, "out")


def test_no_output_goes_behind_a_link(source: Path) -> None:
    (source / "build").symlink_to(source.parent)
    layout = prepared(source)
    write(layout, "build/out")
    with pytest.raises(TaskFailed, match="can't be put behind the link 'build'"):
        kept(layout, source, "build/out")


# -- the end


def test_everything_is_removed_however_deep_and_locked(tmp_path: Path) -> None:
    root = tmp_path / "box"
    folder = root / "work"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    inside = folder
    for _ in range(300):
        inside = inside / "directory-with-a-name"[:9]
        inside.mkdir()
    (inside / "file").touch()
    inside.chmod(0)
    folder.chmod(0o500)
    discard_tree(root)
    assert not root.exists()
    discard_tree(root)
    assert tmp_path.exists()
