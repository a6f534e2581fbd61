"""How the repository of a job comes into its workspace: which git commands, in which environment.

Nothing of the machine's own settings, of the repository's attributes or of what is in it may make git run a program. The
worker's credential is in no argument, no file and no setting that git keeps.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from runwright.core.job import Job
from runwright.core.repositories import HASH, LONG_HASH, Location, base_of

USER_VARIABLE, PASSWORD_VARIABLE = "RUNWRIGHT_GIT_USER", "RUNWRIGHT_GIT_PASSWORD"
HELPER = f'!f() {{ test "$1" != get || printf "username=%s\\npassword=%s\\n" "${USER_VARIABLE}" "${PASSWORD_VARIABLE}"; }}; f'
"""Tells git the credential when it asks; `printf` is the shell's own, so it stands in no process's arguments."""

NOWHERE = "/dev/null"
SETTINGS = {
    "core.hooksPath": NOWHERE,
    "core.fsmonitor": "false",
    "core.attributesFile": NOWHERE,
    "core.protectNTFS": "true",
    "core.protectHFS": "true",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    "transfer.credentialsInUrl": "die",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "120",
    "credential.helper": "",
}
"""Redirects are not followed, since they would lead to where the worker need not allow; an empty helper ends all others."""

ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": NOWHERE,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "",
}


class GitAccess(Struct, frozen=True, kw_only=True):
    """How a worker reaches repositories.

    Attributes:
        url: Address with ``{repository}`` in the place of a name; empty if names lead nowhere.
        allow: How addresses and paths begin that jobs may name themselves.
        user: Shown to the host of `url` alone, with the password.
        password: Empty for no credential.
        env: What git needs of the worker's environment: PATH, proxies, certificates, the socket of an SSH agent.
    """

    url: str = ""
    allow: tuple[str, ...] = ()
    user: str = "git"
    password: str = ""
    env: Mapping[str, str] = {}


class GitCommand(Struct, frozen=True, kw_only=True):
    """One call of git.

    Attributes:
        key: Of its entry in the log.
        argv: Program and arguments, as it is run and as it is shown.
        connects: True if it may speak to where the repository is.
    """

    key: str
    argv: tuple[str, ...]
    connects: bool = False


def checkout_commands(job: Job, location: Location, directory: str) -> list[GitCommand]:
    """Return the commands that check out a job's repository, in order.

    Args:
        job: Without a fault that `core.job_check` finds.
        location: Where the repository is.
        directory: Into which one, relative to the workspace, in which they are run; it is there and empty.
    """
    git = ("git", "-C", directory)
    return [
        GitCommand(key="setup.git.init", argv=(*git, *_init(job))),
        GitCommand(
            key="setup.git.add-remote", argv=(*git, "remote", "add", "--", "origin", location.address)
        ),
        GitCommand(key="setup.git.disable-gc", argv=(*git, "config", "gc.auto", "0")),
        GitCommand(key="setup.git.fetch", argv=(*git, *_fetch(job)), connects=True),
        *_sparse(git, job.sparse_checkout),
        GitCommand(
            key="setup.git.checkout", argv=(*git, *_checkout(job)), connects=bool(job.sparse_checkout)
        ),
        GitCommand(
            key="setup.git.set-remote", argv=(*git, "remote", "set-url", "--", "origin", job.repository_name)
        ),
    ]


def _init(job: Job) -> tuple[str, ...]:
    """Make a repository without the machine's template, in which there may be hooks."""
    kind = ("--object-format=sha256",) if LONG_HASH.fullmatch(job.commit) else ()
    return ("init", "--quiet", "--template=", "--initial-branch=main", *kind)


def _fetch(job: Job) -> tuple[str, ...]:
    options = ["--progress", "--no-recurse-submodules"]
    if job.fetch_tags:
        options.append("--tags")
    elif job.shallow_clone:
        options.append("--no-tags")
    if job.shallow_clone:
        options.append("--depth=1")
    if job.sparse_checkout:
        options.append("--filter=blob:none")
    return ("-c", "protocol.version=2", "fetch", *options, "--", "origin", job.commit)


def _sparse(git: tuple[str, ...], patterns: Sequence[str]) -> list[GitCommand]:
    if not patterns:
        return []
    config = (*git, "config", "core.sparseCheckout", "true")
    chosen = (*git, "sparse-checkout", "set", "--no-cone", "--", *patterns)
    return [
        GitCommand(key="setup.git.sparse-checkout-config", argv=config),
        GitCommand(key="setup.git.sparse-checkout-set", argv=chosen),
    ]


def _checkout(job: Job) -> tuple[str, ...]:
    """Check out what was fetched; a branch's name means nothing in a repository that has none."""
    what = job.commit if HASH.fullmatch(job.commit) else "FETCH_HEAD"
    return ("checkout", "--progress", "--force", "--detach", what, "--")


def git_environment(
    access: GitAccess, location: Location, directory: str, *, connects: bool
) -> dict[str, str]:
    """Return the whole environment of a git command.

    Args:
        access: How the worker reaches repositories.
        location: Where this one is.
        directory: Absolute path of the checkout; it is ours, whoever owns what is above it.
        connects: True if the command may speak to `location`; only then it gets the credential.
    """
    settings = {**SETTINGS, "safe.directory": directory}
    env = {**access.env, **ENVIRONMENT, "HOME": NOWHERE}
    if connects:
        env["GIT_ALLOW_PROTOCOL"] = location.scheme
        if access.password and location.is_own and location.scheme in ("https", "http"):
            settings[f"credential.{_host(access.url)}.helper"] = HELPER
            env |= {USER_VARIABLE: access.user, PASSWORD_VARIABLE: access.password}
    return env | _as_variables(settings)


def _host(url: str) -> str:
    """Return scheme and host of the worker's address: git looks for helpers by them."""
    scheme, _, rest = base_of(url).partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        found[f"GIT_CONFIG_KEY_{number}"] = name
        found[f"GIT_CONFIG_VALUE_{number}"] = value
    return found
