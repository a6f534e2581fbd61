"""Every example runs with the installed command, ends as its first line says (``# expect: exit 1``), and leaves what
the ``check.py`` beside it asks for.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runwright.wiring import kind_of

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(path for path in EXAMPLES.glob("*/*.toml") if path.name != "runwright.toml")
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__")
BIN = Path(sys.executable).parent
SECRET = "correct horse battery staple"
STATE = shutil.ignore_patterns(".runwright", "__pycache__", "node_modules", "out", "out-*")
LACKING = 77
OPTIONS = {"run": ("--workers", "2")}


def label(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


def expected_status(text: str) -> int:
    """Return the exit status that the file's first line announces, 0 if it announces none."""
    match = re.match(r"# expect: exit (\d+)", text)
    return int(match[1]) if match else 0


def call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in an example as its reader would, who has installed Runwright."""
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DEPLOY_TOKEN": SECRET},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / folder.name, ignore=STATE)


def set_up(folder: Path) -> None:
    """Run the example's own set-up; status 77 says that this machine lacks what the example needs, and what."""
    if (folder / "setup.sh").exists():
        done = call(folder, "sh", "setup.sh")
        if done.returncode == LACKING:
            pytest.skip(done.stderr.strip().splitlines()[-1])
        assert done.returncode == 0, done.stdout + done.stderr


def check(folder: Path, *arguments: str) -> None:
    checked = call(folder, sys.executable, "check.py", *arguments)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", FILES, ids=label)
def test_example_ends_as_it_says_and_leaves_what_it_should(path: Path, tmp_path: Path) -> None:
    folder = copy(path.parent, tmp_path)
    set_up(folder)
    kind = kind_of(path)
    assert kind is not None
    done = call(folder, "runwright", kind.command, path.name, *OPTIONS.get(kind.command, ()))
    assert done.returncode == expected_status(path.read_text()), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "warning" not in done.stderr
    check(folder, path.name)


def test_the_saga_goes_on_when_the_carrier_opens(tmp_path: Path) -> None:
    folder = copy(EXAMPLES / "saga", tmp_path)
    assert call(folder, "runwright", "run", "saga.toml").returncode == 1
    (folder / "out" / "carrier-is-open").touch()
    resumed = call(folder, "runwright", "resume", "latest")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "hold  its cleanup has undone it" in resumed.stdout
    check(folder, "--shipped")


@pytest.mark.parametrize("folder", FOLDERS, ids=label)
def test_a_check_fails_where_nothing_ran(folder: Path, tmp_path: Path) -> None:
    file = next(path for path in FILES if path.parent == folder)
    assert call(copy(folder, tmp_path), sys.executable, "check.py", file.name).returncode != 0


@pytest.mark.parametrize("folder", FOLDERS, ids=label)
def test_example_says_what_it_shows_and_keeps_to_its_folder(folder: Path) -> None:
    assert (folder / "README.md").is_file()
    assert "/out/" in (folder / ".gitignore").read_text().split()


def test_every_folder_holds_a_definition() -> None:
    assert {path.parent for path in FILES} == set(FOLDERS)
    assert len(FOLDERS) >= 6


def test_announced_status_is_read() -> None:
    assert expected_status("# expect: exit 1\n# A saga\n") == 1
    assert expected_status("# A saga\n") == 0


def test_the_script_runs_its_workflow_and_prints_a_table(tmp_path: Path) -> None:
    folder = copy(EXAMPLES / "from-python", tmp_path)
    done = call(tmp_path, sys.executable, str(folder / "run.py"), "json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"succeeded  squeeze\[method=\w+\]", done.stdout)) == 4
    sizes = [
        int(size.replace(",", ""))
        for size in re.findall(r"^\w+ +([\d,]+) +[\d.]+%$", done.stdout, re.MULTILINE)
    ]
    assert len(sizes) == 4
    assert sizes == sorted(sizes), "smallest first"
    check(folder)


def test_the_script_says_why_a_run_failed(tmp_path: Path) -> None:
    folder = copy(EXAMPLES / "from-python", tmp_path)
    done = call(folder, sys.executable, "run.py", "nothing")
    assert done.returncode == 1
    assert "the standard library has no package 'nothing'" in done.stdout
    assert "compress failed" in done.stderr


@pytest.mark.parametrize("name", ["weather:flow", "weather.py"])
def test_the_workflow_of_functions_ends_like_the_one_in_toml(tmp_path: Path, name: str) -> None:
    folder = copy(EXAMPLES / "python-flow", tmp_path)
    done = call(folder, "runwright", "run", name, "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    check(folder)


def test_backups_are_kept_by_number_and_a_failed_one_costs_none(tmp_path: Path) -> None:
    folder = copy(EXAMPLES / "sqlite-backup", tmp_path)
    run = ("runwright", "run", "backup.toml", "--workers", "3")
    assert [call(folder, *run).returncode for _ in range(3)] == [0, 0, 0]
    check(folder)
    kept = sorted(path.name for path in (folder / "out" / "backups").iterdir())
    assert len(kept) == 2
    (folder / "out" / "live" / "users.db").write_text("broken")
    assert call(folder, *run).returncode == 1
    assert sorted(path.name for path in (folder / "out" / "backups").iterdir()) == kept
    assert "users.db: file is not a database" in (folder / "out" / "alerts.txt").read_text()


def test_the_plan_made_in_python_ends_like_the_one_in_toml(tmp_path: Path) -> None:
    folder = copy(EXAMPLES / "provision", tmp_path)
    done = call(tmp_path, sys.executable, str(folder / "provision.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded: 3 titles, the oldest is Emma" in done.stdout
    check(folder, "provision.py")
    assert not list(folder.glob("out-*"))
    again = call(folder, sys.executable, "provision.py", "resume")
    assert again.returncode == 1
    assert "has succeeded" in again.stderr or "nothing to clean up" in again.stderr


def test_the_goal_in_python_is_reached_like_the_one_in_sh(tmp_path: Path) -> None:
    folder = copy(EXAMPLES / "manifest", tmp_path)
    done = call(tmp_path, sys.executable, str(folder / "keep.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded after 3 rounds, 5 actions performed" in done.stdout
    check(folder, "keep.py")


def equals_its_manifest(folder: Path) -> bool:
    tree = folder / "out" / "tree"
    wanted = (line.split(" ", 2) for line in (folder / "manifest.txt").read_text().splitlines())
    try:
        found = {
            str(path.relative_to(tree)): (f"{path.stat().st_mode & 0o777:o}", path.read_text())
            for path in tree.rglob("*")
            if not path.is_dir()
        }
    except OSError:  # it is being mended
        return False
    return found == {path: (mode, f"{text}\n") for mode, path, text in wanted}


def wait_until_equal(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not equals_its_manifest(folder):
        assert time.monotonic() < deadline, "the tree never became equal to its manifest"
        time.sleep(0.02)


@pytest.mark.parametrize(
    "command",
    [
        (str(BIN / "runwright"), "reconcile", "manifest.toml", "--var", "rounds=40"),
        (sys.executable, "keep.py", "40"),
    ],
    ids=["sh", "python"],
)
def test_drift_is_healed_while_the_goal_is_pursued(command: tuple[str, ...], tmp_path: Path) -> None:
    folder = copy(EXAMPLES / "manifest", tmp_path)
    tree = folder / "out" / "tree"
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for _ in range(2):
            wait_until_equal(folder)
            (tree / "etc" / "motd").write_text("broken\n")
            (tree / "bin" / "hello").chmod(0o777)
            (tree / "etc" / "private").unlink()
            (tree / "stray").symlink_to("etc/motd")
            assert not equals_its_manifest(folder)
            assert running.poll() is None, "the drift came after the end"
        wait_until_equal(folder)
        output, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 0, output.decode()
    assert output.count(b"remove stray") >= 2
    check(folder, *command[1:2] if command[0] == sys.executable else [])
