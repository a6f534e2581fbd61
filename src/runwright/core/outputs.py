"""Paths that a task may declare as its outputs."""

import posixpath

STATE = ".runwright"
"""The directory of a project's own state, which no task makes."""

MAGIC = frozenset("*?[")


def is_glob(path: str) -> bool:
    """Tell whether a path stands for all that match it."""
    return not MAGIC.isdisjoint(path)


def output_fault(path: str) -> str | None:
    """Say why a path can't be an output, or return None: what is kept and restored must lie inside the tree."""
    clean = posixpath.normpath(path)
    if path.startswith("/"):
        return (
            f'the output "{path}" is absolute; outputs are relative to the directory in which the run works'
        )
    if clean == ".." or clean.startswith("../"):
        return f'the output "{path}" leads out of the directory in which the run works'
    if clean == ".":
        return "the directory in which the run works can't be an output as a whole"
    if clean.partition("/")[0] == STATE:
        return f'the output "{path}" lies in {STATE}, which is not for tasks'
    return None
