"""The files of a project: where its state is, and its workflows."""

import os
from pathlib import Path

from msgspec import Struct

from runwright.core.errors import UsageError

STATE_DIRECTORY = ".runwright"
PROJECT_FILE = "runwright.toml"
STORE_VARIABLE = "RUNWRIGHT_STORE"
CACHE_VARIABLE = "RUNWRIGHT_CACHE"
WORKFLOW_FOLDERS = ("", "workflows", f"{STATE_DIRECTORY}/workflows")
SQLITE_PREFIX = "sqlite:///"
POSTGRES_PREFIXES = ("postgresql://", "postgres://")


class StateLocation(Struct, frozen=True, kw_only=True):
    """Where the state of a project is.

    Attributes:
        store_url: ``sqlite:///`` and an absolute path, or the URL of a server, which may hold a password.
        logs_dir: Directory of the logs.
        work_dir: Directory of the runs' private files.
        values_dir: Directory of values that are too large to be recorded with their run.
        project_dir: Where ``runwright.toml`` or the state directory is, else the current directory.
    """

    store_url: str
    logs_dir: Path
    work_dir: Path
    values_dir: Path
    project_dir: Path

    @property
    def cache_dir(self) -> Path:
        """Directory of the cache: the one that the environment names, or beside the rest of the state."""
        asked = os.environ.get(CACHE_VARIABLE, "")
        return Path(asked).absolute() if asked else self.work_dir.parent / "cache"

    @property
    def is_server(self) -> bool:
        """Whether the URL names a server; logs and other files are on this machine all the same."""
        return self.store_url.startswith(POSTGRES_PREFIXES)

    @property
    def database(self) -> Path:
        """The file that the URL names, if it is no server."""
        return Path(self.store_url.removeprefix(SQLITE_PREFIX))


def state_location(store: str | None = None) -> StateLocation:
    """Return where the state is: as asked for, else as the environment says, else that of the project.

    Args:
        store: ``sqlite:///path``, a path, ``postgresql://...``, or None.

    Raises:
        UsageError: If the URL is of a kind that is not known.
    """
    project = _project_dir(Path.cwd())
    asked = store or os.environ.get(STORE_VARIABLE, "")
    is_server = asked.startswith(POSTGRES_PREFIXES)
    own = project / STATE_DIRECTORY / "runs.db"
    path = _store_path(asked) if asked and not is_server else own
    return StateLocation(
        store_url=asked if is_server else f"{SQLITE_PREFIX}{path}",
        logs_dir=path.parent / "logs",
        work_dir=path.parent / "work",
        values_dir=path.parent / "values",
        project_dir=project,
    )


def _store_path(asked: str) -> Path:
    scheme, colon, _ = asked.partition("://")
    if colon and not asked.startswith(SQLITE_PREFIX):
        raise UsageError(f'can\'t use a store at "{scheme}://..."; give sqlite:///PATH or postgresql://...')
    return Path(asked.removeprefix(SQLITE_PREFIX)).absolute()


def _project_dir(start: Path) -> Path:
    for folder in (start, *start.parents):
        if (folder / STATE_DIRECTORY).is_dir() or (folder / PROJECT_FILE).is_file():
            return folder
    return start


def find_workflow(name: str) -> Path:
    """Return the file of a workflow given by path or by name.

    Raises:
        UsageError: If there is none, with near names.
    """
    given = Path(name)
    if given.is_file():
        return given.absolute()
    for folder in _workflow_folders():
        for candidate in (folder / name, folder / f"{name}.toml"):
            if candidate.is_file():
                return candidate
    from runwright.core.suggest import did_you_mean  # noqa: PLC0415 - only a wrong name needs it

    hint = (
        did_you_mean(name, [path.stem for path in list_workflows()])
        or "`runwright list` shows those there are"
    )
    raise UsageError(f'there is no workflow "{name}"; {hint}')


def _workflow_folders() -> list[Path]:
    here = Path.cwd()
    return [
        base / folder for base in dict.fromkeys((here, _project_dir(here))) for folder in WORKFLOW_FOLDERS
    ]


def list_workflows() -> list[Path]:
    """Return the workflow files of the project, sorted by name; ``runwright.toml`` is none."""
    found = {
        path.resolve(): path
        for folder in _workflow_folders()
        for path in sorted(folder.glob("*.toml"))
        if path.name not in (PROJECT_FILE, "pyproject.toml")
    }
    return sorted(found.values(), key=lambda path: (path.stem, str(path)))
