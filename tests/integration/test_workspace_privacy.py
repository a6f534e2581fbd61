"""What tasks are given to work in is for the eyes of its owner alone, whoever made the folder around it."""

import stat
from pathlib import Path

from runwright.adapters.workspace import DirectoryWorkspaces


def test_no_folder_of_a_run_is_open_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    workspaces = DirectoryWorkspaces(tmp_path / "work")
    folder = workspaces.task_dir("run", "build[os=linux]")

    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent, folder.parent.parent)
    }
    assert set(modes.values()) == {0o700}, modes
    workspaces.discard("run")
    assert list((tmp_path / "work").iterdir()) == []
