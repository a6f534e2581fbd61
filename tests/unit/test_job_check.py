"""What is wrong with a job is found at once, in full, with its place and what to do."""

from typing import Any

import pytest

from runwright.core import job_check
from runwright.core.job import Job, decode_job
from runwright.core.job_check import check_job
from runwright.core.repositories import locate

STEP = {"commands": ["true"]}


def job(**document: Any) -> Job:
    return decode_job({"dockerSteps": [STEP], **document})


def faults(**document: Any) -> list[tuple[tuple[str | int, ...], str]]:
    return [(problem.path, problem.message) for problem in check_job(job(**document))]


def fault(**document: Any) -> str:
    ((_, message),) = faults(**document)
    return message


def test_a_whole_job_has_no_fault() -> None:
    document = {
        "version": 2,
        "repositoryName": "github.com/org/repo.js",
        "repositoryDirectory": "sub/repository",
        "commit": "main",
        "sparseCheckout": ["/*", "!/docs"],
        "files": {"a/b.txt": {"content": "eA=="}, ".github/x": {"content": ""}},
        "dockerSteps": [
            {
                "key": "step.0.run",
                "image": "ghcr.io/a/b:1@sha256:00",
                "commands": ["x"],
                "dir": "sub",
                "env": ["A=1"],
            },
            {"image": "", "commands": ["\ty\n"], "dir": "."},
        ],
        "cliSteps": [{"command": ["batch", "exec"], "env": ["EMPTY="]}],
        "redactedValues": {"hunter2": "***", "line\nline": ""},
        "dockerAuthConfig": {"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}}},
    }
    assert check_job(decode_job(document)) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../x", '".."'),
        ("a/../../x", '".."'),
        ("/etc/passwd", "absolute"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\u2028b", "control character"),
        ("\ud800", "half a character"),
        ("n" * 256, "more than 255 bytes"),
        ("ü" * 128, "more than 255 bytes"),
        ("a/" * 2048 + "b", "more than 4,096 bytes"),
        ("a/" * 100 + "b", "more than 100 directories deep"),
        (".git/hooks/post-checkout", "belongs to git"),
        ("sub/.GIT/config", "belongs to git"),
        (".git./config", "belongs to git"),
        ("a/", "path of a directory"),
        ("a/.", "path of a directory"),
        ("", "path of a directory"),
        (".", "path of a directory"),
    ],
)
def test_a_path_of_a_file_stays_in_the_workspace(path: str, message: str) -> None:
    ((place, said),) = faults(files={path: {"content": ""}})
    assert place == ("files", path)
    assert message in said


@pytest.mark.parametrize("path", ["../x", "/x", "a/../..", ".git", "x/.git"])
def test_a_repository_stays_in_the_workspace(path: str) -> None:
    assert faults(repositoryDirectory=path)[0][0] == ("repositoryDirectory",)


@pytest.mark.parametrize("path", ["..", "/", "a\0"])
def test_a_step_stays_in_the_workspace(path: str) -> None:
    assert faults(dockerSteps=[{**STEP, "dir": path}])[0][0] == ("dockerSteps", 0, "dir")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("-upload-pack=x", "can't be a repository"),
        ("--help", "can't be a repository"),
        ("ext::sh -c id", "can't be a repository"),
        ("fd::17", "can't be a repository"),
        ("git://host/x", "can't be a repository"),
        ("ftp://host/x", "can't be a repository"),
        ("HTTPS://host/x", "can't be a repository"),
        ("a b", "can't be a repository"),
        ("../x", "can't be a repository"),
        ("org/../x", "climbs out"),
        ("https://host/a/%2E%2e/b", "climbs out"),
        ("https://host/a%2f..%2Fb", "climbs out"),
        ("/srv/../etc", "climbs out"),
        ("git@host:../x", "climbs out"),
        ("-x@host:repo", "can't be a repository"),
        ("git@-oProxyCommand=x:repo", "can't be a repository"),
        ("https://user:password@host/x", "a user or a password"),
        ("https://token@host/x", "a user or a password"),
        ("ssh://git:pw@host/x", "a user or a password"),
        ("a\nb", "not plain text"),
        ("a" * 1001, "too long"),
    ],
)
def test_a_repository_is_no_option_and_no_program(name: str, message: str) -> None:
    assert message in fault(repositoryName=name, commit="main")


@pytest.mark.parametrize(
    "name",
    [
        "org/repo",
        "https://host:8443/org/repo.git",
        "ssh://git@host/x",
        "git@host:org/x",
        "/srv/git/x y",
        "file:///srv/x",
    ],
)
def test_repositories(name: str) -> None:
    assert faults(repositoryName=name, commit="0" * 40) == []


@pytest.mark.parametrize(
    "commit",
    ["-f", "--upload-pack=x", "a..b", "a:b", "+a", "a b", "a\nb", "@{u}", "HEAD^", "x" * 251, "\ud800"],
)
def test_a_commit_is_no_option_and_no_refspec(commit: str) -> None:
    assert "can't be a commit" in fault(repositoryName="r", commit=commit)


def test_commits_and_repositories_go_together() -> None:
    assert "no commit" in fault(repositoryName="r")
    assert "no repository" in fault(commit="main")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("A", "is no variable"),
        ("=x", "is no variable"),
        ("1A=x", "is no variable"),
        ("A B=x", "is no variable"),
        ("LD_PRELOAD=x", "foreign code"),
        ("ld_preload=x", "foreign code"),
        ("A=\0", "NUL"),
        ("A=\udc80", "half a character"),
        ("A=" + "x" * 65_536, "takes 65,538 characters"),
    ],
)
@pytest.mark.parametrize("kind", [{"dockerSteps": [STEP]}, {"cliSteps": [{"command": ["x"]}]}])
def test_variables(pair: str, message: str, kind: dict[str, list[dict[str, Any]]]) -> None:
    ((name, (step,)),) = kind.items()
    ((place, said),) = faults(**{name: [{**step, "env": [pair]}]})
    assert place == (name, 0, "env", 0)
    assert message in said


def test_steps() -> None:
    steps = [{**STEP, "key": "a"}, {**STEP, "key": "a"}, {**STEP, "key": "x y"}, {**STEP, "key": "k" * 101}]
    assert [path for path, _ in faults(dockerSteps=steps)] == [
        ("dockerSteps", number, "key") for number in (1, 2, 3)
    ]
    assert "two steps have the key" in fault(dockerSteps=[STEP, {**STEP, "key": "0"}])
    assert "nothing to do" in fault(dockerSteps=[{"image": "x"}])
    assert "nothing to do" in fault(cliSteps=[{}])
    assert faults(dockerSteps=[], files={"a": {}}) == []
    assert "NUL" in fault(dockerSteps=[{"commands": ["\0"]}])
    assert "can't name an image" in fault(dockerSteps=[{**STEP, "image": "--privileged"}])
    assert "can't name an image" in fault(dockerSteps=[{**STEP, "image": "a" * 501}])
    assert "65,537 characters" in fault(cliSteps=[{"command": ["x" * 65_537]}])
    assert "1,048,577 characters" in fault(dockerSteps=[{"commands": ["x" * 1024 * 1024]}])


def test_counts() -> None:
    assert "1,001 steps" in fault(dockerSteps=[STEP] * 1_001)
    assert "10,001 commands" in fault(dockerSteps=[{"commands": ["x"] * 10_001}])
    assert "1,001 variables" in fault(dockerSteps=[{**STEP, "env": ["A=1"] * 1_001}])
    assert "10,001 files" in fault(files={str(number): {} for number in range(10_001)})
    assert "10,001 patterns" in fault(sparseCheckout=["x"] * 10_001)
    assert "1,001 redacted values" in fault(redactedValues={f"secret{number}": "" for number in range(1_001)})
    auths = {f"host{number}": {"auth": "eA=="} for number in range(101)}
    assert "101 registries" in fault(dockerAuthConfig={"auths": auths})


def test_the_size_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_check, "LARGEST_FILES", 10)
    assert fault(files={"a": "123456", "b": "12345"}) == "what the files hold takes 11 bytes"


def test_secrets() -> None:
    assert "a redacted value is empty" in fault(redactedValues={"": "x"})
    assert "too long" in fault(redactedValues={"x" * 65_537: ""})
    assert "too long" in fault(redactedValues={"abcdef": "x" * 201})
    assert "is no registry" in fault(dockerAuthConfig={"auths": {"a b": {"auth": "eA=="}}})
    assert "is no base64" in fault(dockerAuthConfig={"auths": {"a": {"auth": ""}}})
    assert "is no base64" in fault(dockerAuthConfig={"auths": {"a": {"auth": "ü"}}})


def test_other_faults() -> None:
    assert "no version 3" in fault(version=3)
    assert "no buckets" in fault(files={"a": {"bucket": "b", "key": "k"}})
    assert "is no pattern" in fault(sparseCheckout=["a\nb"])
    assert "is no pattern" in fault(sparseCheckout=[""])


def test_all_faults_at_once_but_not_without_end() -> None:
    assert len(faults(repositoryName="-x", commit="-y", files={"../x": {}}, dockerSteps=[{}])) == 4
    assert len(faults(files={f"../{number}": {} for number in range(500)})) == job_check.MOST_FAULTS


def test_no_fault_tells_a_secret_of_the_job() -> None:
    secret = "line one\nhunter2hunter2"
    found = faults(
        redactedValues={"hunter2hunter2": "", secret: ""},
        files={f"../{secret}": {}, "../hunter2hunter2": {}},
        repositoryName="-hunter2hunter2",
        commit="x" * 70 + "-..hunter2hunter2",
        dockerSteps=[{**STEP, "image": "-" * 70 + "hunter2hunter2"}],
    )
    assert [path for path, _ in found] == [
        ("repositoryName",),
        ("commit",),
        ("files", "../***"),
        ("files", "../***"),
        ("dockerSteps", 0, "image"),
    ]
    assert all("***" in message and "hunter" not in message for _, message in found)


def test_more_secrets_than_can_be_looked_for_are_the_only_fault() -> None:
    most = job_check.MOST_SECRET_CHARACTERS
    part = job_check.LONGEST_REDACTED - 10
    enough = {f"{number:010}" + "x" * part: "" for number in range(most // (part + 10))}
    assert faults(redactedValues=enough) == []
    message = "all redacted values and credentials are too long together"
    found = faults(redactedValues={**enough, "one more": ""}, files={"../one more": {}})
    assert found == [(("redactedValues",), message)]


def test_a_long_name_is_cut_in_a_message() -> None:
    assert len(fault(dockerSteps=[{**STEP, "image": "-" * 500}])) < 150


@pytest.mark.parametrize(
    ("name", "address", "scheme", "is_own"),
    [
        ("org/repo", "https://git.example.com/org/repo.git", "https", True),
        ("https://git.example.com/x", "https://git.example.com/x", "https", True),
        ("/srv/git/x", "/srv/git/x", "file", False),
        ("file:///srv/git", "file:///srv/git", "file", False),
        ("git@github.com:org/x", "git@github.com:org/x", "ssh", False),
    ],
)
def test_where_a_repository_is(name: str, address: str, scheme: str, is_own: bool) -> None:
    allowed = ("https://git.example.com", "/srv/git/", "file:///srv/git", "git@github.com:")
    location = locate(name, "https://git.example.com/{repository}.git", allowed)
    assert (location.address, location.scheme, location.is_own) == (address, scheme, is_own)


@pytest.mark.parametrize(
    "name", ["https://git.example.community/x", "https://git.example.com@evil/x", "/srv/gitx", "ssh://a/b"]
)
def test_what_a_worker_may_not_fetch(name: str) -> None:
    with pytest.raises(ValueError, match="--git-allow"):
        locate(name, "https://git.example.com/{repository}", ("https://git.example.com", "/srv/git", ""))


def test_a_name_needs_an_address() -> None:
    with pytest.raises(ValueError, match="--git-url"):
        locate("org/repo", "", ("/srv/",))
