"""Paths in a workspace as jobs name them."""

from runwright.core.pattern import pattern

LONGEST_PATH = 4_096
"""Bytes of a path in a workspace."""

LONGEST_PATH_NAME = 255
"""Bytes of one name in it."""

MOST_PATH_NAMES = 100
"""Names in it, one inside the other."""

CONTROL = pattern(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What has no place in a name: it would forge lines of a log, or end a text too soon."""

REPOSITORY_FOLDER = ".git"


def path_names(path: str) -> tuple[str, ...]:
    """Return the names of which a path in a workspace is made, none for the workspace itself.

    Raises:
        ValueError: If it leads out of the workspace, or is no path; what is wrong with it, and what to do.
    """
    if fault := _form_fault(path):
        raise ValueError(fault)
    names = tuple(name for name in path.split("/") if name not in ("", "."))
    if ".." in names:
        raise ValueError('has ".." in it; write the path from the workspace on')
    if len(names) > MOST_PATH_NAMES:
        raise ValueError(f"is more than {MOST_PATH_NAMES} directories deep")
    if any(len(name.encode()) > LONGEST_PATH_NAME for name in names):
        raise ValueError(f"has a name of more than {LONGEST_PATH_NAME} bytes")
    return names


def file_names(path: str) -> tuple[str, ...]:
    """Return the names of the path of a file that is written into a workspace.

    Raises:
        ValueError: As `path_names`; also if it is a directory's, or lies in what git keeps for itself.
    """
    names = path_names(path)
    if not names or path.endswith(("/", "/.")):
        raise ValueError("is the path of a directory; name a file")
    return _outside_git(names)


def folder_names(path: str) -> tuple[str, ...]:
    """Return the names of the path of a directory for a repository.

    Raises:
        ValueError: As `path_names`; also if it lies in what git keeps for itself.
    """
    return _outside_git(path_names(path))


def _form_fault(path: str) -> str:
    """Say what is wrong with a text that should be a path."""
    if path.startswith("/"):
        return "is absolute; write the path from the workspace on"
    if CONTROL.search(path):
        return "has a control character in it"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is no text: half a character is in it"
    return f"has more than {LONGEST_PATH:,} bytes" if size > LONGEST_PATH else ""


def _outside_git(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what git would take for a repository: hooks and settings in it are programs that it runs."""
    if any(name.casefold().rstrip(". ") == REPOSITORY_FOLDER for name in names):
        raise ValueError(f'lies in "{REPOSITORY_FOLDER}", which belongs to git')
    return names
