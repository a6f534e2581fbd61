"""Repositories and commits as jobs name them, and where a worker finds them."""

from collections.abc import Sequence

from msgspec import Struct

from runwright.core.job_paths import CONTROL
from runwright.core.pattern import pattern

LONGEST_REPOSITORY = 1_000
"""Characters of the name or address of a repository."""

LONGEST_COMMIT = 250
"""Characters of a commit, branch or tag."""

SCHEMES = ("https", "http", "ssh", "file")
"""Ways to reach a repository; git knows others, some of which run programs."""

HASH = pattern(r"[0-9a-f]{40}|[0-9a-f]{64}")
LONG_HASH = pattern(r"[0-9a-f]{64}")
COMMIT = pattern(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")
NAME = pattern(r"[A-Za-z0-9_][A-Za-z0-9_.+~/-]*")
FILE_PATH = pattern(r"/[A-Za-z0-9_.+~/@:, -]*")
ADDRESS = pattern(r"(https?|ssh|file)://[A-Za-z0-9_.+~/@:,%\[\]-]+")
SSH_PLACE = pattern(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9_./+~-]+")
PLACE_IN_TEMPLATE = "{repository}"


class Location(Struct, frozen=True):
    """Where a repository is.

    Attributes:
        address: URL or path for git.
        scheme: One of `SCHEMES`.
        is_own: True if the worker's own address led there, so that its credential may be shown.
    """

    address: str
    scheme: str
    is_own: bool = False


def repository_fault(name: str) -> str:
    """Say what is wrong with the name or address of a repository, and after "; " what to do; empty if nothing is."""
    if len(name) > LONGEST_REPOSITORY or CONTROL.search(name):
        return (
            f"repositoryName is too long or not plain text; write at most {LONGEST_REPOSITORY:,} characters"
        )
    if not scheme_of(name):
        return f'"{name}" can\'t be a repository; write a name like org/repo, or an address that begins with https://'
    if _climbs(name):
        return f'"{name}" climbs out of its place; leave out ".."'
    if _has_credential(name):
        return "repositoryName has a user or a password in it; give them to the worker instead"
    return ""


def commit_fault(commit: str) -> str:
    """Say what is wrong with a commit, branch or tag, and after "; " what to do; empty if nothing is."""
    if not commit:
        return "there is a repository and no commit; name a commit"
    if len(commit) > LONGEST_COMMIT or not COMMIT.fullmatch(commit) or ".." in commit:
        shown = CONTROL.sub("?", commit.encode("utf-8", "replace").decode())[:80]
        return f'"{shown}" can\'t be a commit; write its hash, or the name of a branch or tag'
    return ""


def scheme_of(name: str) -> str:
    """Return how a repository is reached: one of `SCHEMES`, ``name`` if the worker knows, empty if it can't be one."""
    if found := ADDRESS.fullmatch(name):
        return found[1]
    if SSH_PLACE.fullmatch(name):
        return "ssh"
    if FILE_PATH.fullmatch(name):
        return "file"
    return "name" if NAME.fullmatch(name) else ""


def locate(name: str, template: str, allowed: Sequence[str]) -> Location:
    """Return where a repository is.

    Args:
        name: Name or address, without a `repository_fault`.
        template: Address with ``{repository}`` in the place of a name; empty if the worker has none.
        allowed: Beginnings of addresses and paths that jobs may name themselves; each ends at a ``/`` or ``:``, or with
            the address.

    Raises:
        ValueError: If the worker does not reach that repository, with what to do.
    """
    scheme = scheme_of(name)
    if scheme == "name":
        if not template:
            raise ValueError(f'the worker does not know where "{name}" is; start it with --git-url')
        address = template.replace(PLACE_IN_TEMPLATE, name)
        return Location(address, scheme_of(address), is_own=True)
    if not any(_begins(name, prefix) for prefix in allowed):
        raise ValueError(
            f'the worker may not fetch "{name}"; start it with --git-allow and how the address begins'
        )
    return Location(name, scheme, is_own=bool(template) and _begins(name, base_of(template)))


def base_of(template: str) -> str:
    """Return what all addresses begin with that a template makes."""
    return template.partition(PLACE_IN_TEMPLATE)[0]


def _begins(address: str, prefix: str) -> bool:
    rest = address.removeprefix(prefix)
    return bool(prefix) and address.startswith(prefix) and (not rest or prefix[-1] in "/:" or rest[0] in "/:")


def _has_credential(name: str) -> bool:
    """Tell whether an address has more before its host than the user of an SSH connection."""
    scheme, separator, rest = name.partition("://")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    return bool(separator and at) and (scheme != "ssh" or ":" in user)


def _climbs(name: str) -> bool:
    plain = name.casefold().replace("%2e", ".").replace("%2f", "/")
    return ".." in plain.replace(":", "/").split("/")
