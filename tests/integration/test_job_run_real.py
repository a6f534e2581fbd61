"""Jobs run for real, with real repositories and processes."""

import os
from pathlib import Path
from typing import Any

import pytest
from job_rig import Repository, Rig, away_until, script, steps

from runwright.core.checkout import GitAccess
from runwright.core.job_rows import Verdict


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def keys(rig: Rig) -> list[str]:
    return [entry.key for entry in rig.source.jobs[1].log]


def test_a_whole_job(tmp_path: Path, repository: Repository) -> None:
    commit = repository.commit({"a.txt": "from the repository\n", "docs/b.txt": "x", "tool": "old"})
    rig = Rig(tmp_path, cli_command=("echo", "called with"))
    end = rig.run(
        repositoryName=str(repository.path),
        repositoryDirectory="src/it",
        commit=commit,
        files={
            "src/it/tool": {"content": "#!/bin/sh\necho tool runs\n"},
            "extra": {"content": "e"},
        },
        dockerSteps=[
            script("cat a.txt; ./tool", "echo oops >&2", dir="src/it", key="first"),
            script('echo "$GREETING" > "$RUNWRIGHT_WORKSPACE/made"', env=["GREETING=hello"]),
        ],
        cliSteps=[{"command": ["batch", "exec"], "env": ["A=1"]}],
    )
    assert (end.verdict, end.message) == (Verdict.COMPLETED, "")
    git = ["init", "add-remote", "disable-gc", "fetch", "checkout", "set-remote"]
    assert keys(rig) == [
        *(f"setup.git.{name}" for name in git),
        "setup.fs.extras",
        "step.docker.first",
        "step.docker.1",
        "step.src.0",
        "teardown.fs",
    ]
    assert rig.out("setup.fs.extras") == (
        "stdout: wrote extra (1 bytes, 0644)\nstdout: wrote src/it/tool (25 bytes, 0755)\n"
    )
    assert rig.out("step.docker.first").splitlines()[:2] == [
        "stdout: from the repository",
        "stdout: tool runs",
    ]
    assert "stderr: oops" in rig.out("step.docker.first").splitlines()
    assert rig.out("step.src.0") == "stdout: called with batch exec\n"
    assert {entry.exit_code for entry in rig.log.values()} == {0}
    assert all(entry.duration_ms is not None and entry.start_time for entry in rig.log.values())
    assert rig.log["setup.git.fetch"].command[:3] == ("git", "-C", "src/it")


def test_a_failing_command_in_the_middle_fails_the_step_and_the_job(rig: Rig) -> None:
    end = rig.run(dockerSteps=[script("echo a", "echo why >&2; false", "echo b"), script("echo never")])
    assert end.verdict is Verdict.ERRORED
    assert end.message == "step.docker.0 failed with exit code 1: why"
    assert keys(rig) == ["step.docker.0", "teardown.fs"]
    assert "stdout: b" not in rig.out("step.docker.0")
    assert rig.log["step.docker.0"].exit_code == 1


def test_a_bad_document_is_final(rig: Rig) -> None:
    end = rig.run(files={"../x": {"content": ""}}, dockerSteps=[script()])
    assert end.verdict is Verdict.FAILED
    assert 'files.../x: "../x" has ".." in it' in end.message
    assert rig.source.jobs[1].log == []


@pytest.mark.parametrize(
    ("wish", "ran"),
    [
        ("step.1.pre", ["step.0.pre", "step.1.pre", "step.1.run"]),
        ("step.1.run", ["step.0.pre", "step.1.run"]),
        ("", ["step.0.pre", "step.0.run", "step.1.pre", "step.1.run"]),
    ],
)
def test_a_step_may_skip_others(rig: Rig, wish: str, ran: list[str]) -> None:
    leave = f'echo {wish} > "$RUNWRIGHT_WORKSPACE/.runwright-next"' if wish else "true"
    names = ["step.0.pre", "step.0.run", "step.1.pre", "step.1.run"]
    end = rig.run(dockerSteps=[script(leave if name == names[0] else "true", key=name) for name in names])
    assert end.verdict is Verdict.COMPLETED
    assert keys(rig) == [*(f"step.docker.{name}" for name in ran), "teardown.fs"]
    assert (f"goes on with step {wish}" in rig.out("step.docker.step.0.pre")) is bool(wish)


def test_only_a_later_step_can_be_chosen_and_only_by_those_who_may(rig: Rig, tmp_path: Path) -> None:
    end = rig.run(dockerSteps=[script("echo step.0.pre > .runwright-next", key="step.0.pre"), script("true")])
    assert (end.verdict, "no later step has that key" in end.message) == (Verdict.ERRORED, True)
    other = Rig(tmp_path / "other")
    other.root.mkdir()
    end = other.run(
        dockerSteps=[
            script("echo last > .runwright-next", key="a"),
            script("true"),
            script("true", key="last"),
        ]
    )
    assert (end.verdict, len(other.log)) == (Verdict.COMPLETED, 4)


def test_a_repository_has_no_say_in_which_steps_run(rig: Rig, repository: Repository) -> None:
    commit = repository.commit({".runwright-next": "last"})
    names = ["step.0.pre", "check", "last"]
    rig.run(
        repositoryName=str(repository.path),
        commit=commit,
        dockerSteps=[script("true", key=name) for name in names],
    )
    assert [key for key in keys(rig) if key.startswith("step")] == [f"step.docker.{name}" for name in names]


@pytest.mark.parametrize("commit", ["main", "v1", "hash"])
@pytest.mark.parametrize(
    "options", [{}, {"shallowClone": True}, {"fetchTags": True}, {"shallowClone": True, "fetchTags": True}]
)
def test_what_is_checked_out(rig: Rig, repository: Repository, commit: str, options: dict[str, bool]) -> None:
    repository.commit({"a": "1"})
    head = repository.commit({"a": "2\n"})
    repository.git("tag", "v1")
    look = (
        "cat a",
        "git rev-parse HEAD",
        "git rev-list --count HEAD",
        "git tag | wc -l",
        "git remote get-url origin",
    )
    url = f"file://{repository.path}"
    end = rig.run(
        repositoryName=url, commit=head if commit == "hash" else commit, dockerSteps=steps(*look), **options
    )
    assert end.verdict is Verdict.COMPLETED, end
    content, found, count, tags, origin = rig.out("step.docker.0").replace("stdout: ", "").split()
    shallow, tagged = options.get("shallowClone"), options.get("fetchTags")
    assert (content, found, origin) == ("2", head, url)
    assert count == ("1" if shallow else "2")
    if tagged:
        assert tags == "1"
    elif shallow:
        assert tags == "0"


def test_a_sparse_checkout(rig: Rig, repository: Repository) -> None:
    repository.git("config", "uploadpack.allowFilter", "true")
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    commit = repository.commit({"docs/a": "1", "src/b": "2", "c": "3"})
    end = rig.run(
        repositoryName=f"file://{repository.path}",
        commit=commit,
        sparseCheckout=["/docs/"],
        dockerSteps=steps("ls", "git rev-list --objects --all --missing=print | grep -c '^?'"),
    )
    assert end.verdict is Verdict.COMPLETED, end
    assert rig.out("step.docker.0") == "stdout: docs\nstdout: 2\n", "what was left out was not even fetched"
    assert [key for key in keys(rig) if "sparse" in key] == [
        "setup.git.sparse-checkout-config",
        "setup.git.sparse-checkout-set",
    ]


@pytest.mark.parametrize(
    ("name", "verdict", "message"),
    [
        ("org/repo", Verdict.FAILED, "--git-url"),
        ("https://example.com/x", Verdict.FAILED, "--git-allow"),
        ("/etc", Verdict.FAILED, "--git-allow"),
        ("ext::sh -c touch% x", Verdict.FAILED, "can't be a repository"),
        ("--upload-pack=touch x", Verdict.FAILED, "can't be a repository"),
        ("MISSING", Verdict.ERRORED, "setup.git.fetch failed with exit code 128"),
    ],
)
def test_repositories_that_are_not_fetched(rig: Rig, name: str, verdict: Verdict, message: str) -> None:
    name = str(rig.root / "missing") if name == "MISSING" else name
    end = rig.run(repositoryName=name, commit="main", dockerSteps=steps("true"))
    assert end.verdict is verdict
    assert message in end.message


@pytest.mark.parametrize("commit", ["--upload-pack=touch x", "-f", "a:b"])
def test_commits_that_are_options(rig: Rig, repository: Repository, commit: str) -> None:
    repository.commit({"a": "1"})
    end = rig.run(repositoryName=str(repository.path), commit=commit, dockerSteps=steps("true"))
    assert (end.verdict, "can't be a commit" in end.message) == (Verdict.FAILED, True)


@pytest.mark.parametrize("link", ["absolute", "relative", "parent"])
@pytest.mark.parametrize("name", ["out", "out/x"])
def test_a_link_in_a_repository_leads_nothing_outside(
    rig: Rig, repository: Repository, link: str, name: str
) -> None:
    outside = rig.root / "outside"
    outside.mkdir()
    (outside / "x").write_text("old")
    target = {"absolute": outside, "relative": Path("../../../outside"), "parent": Path("..")}[link]
    commit = repository.commit({"out": target})
    end = rig.run(
        repositoryName=str(repository.path),
        commit=commit,
        files={name: {"content": "new"}},
        dockerSteps=steps("true"),
    )
    assert (end.verdict, "link" in end.message) == (Verdict.FAILED, True)
    assert (outside / "x").read_text() == "old"
    assert os.listdir(outside) == ["x"]  # noqa: PTH208
    assert rig.log["setup.fs.extras"].exit_code == -1
    assert "runwright: " in rig.out("setup.fs.extras")


def test_a_step_starts_in_no_linked_directory(rig: Rig, repository: Repository) -> None:
    commit = repository.commit({"out": Path("/")})
    end = rig.run(repositoryName=str(repository.path), commit=commit, dockerSteps=[script("pwd", dir="out")])
    assert (end.verdict, '"out" is a link' in end.message) == (Verdict.FAILED, True)


def test_a_repository_runs_nothing(rig: Rig, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks, filters and submodules of a repository, and the settings of the machine, are without effect."""
    mark = rig.root / "mark"
    run = f"#!/bin/sh\ntouch {mark}\ncat\n"
    home = rig.root / "home"
    (home / "template/hooks").mkdir(parents=True)
    for hook in (home / "template/hooks/post-checkout", repository.path / "hooks/post-checkout"):
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(run)
        hook.chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[init]\ntemplateDir={home}/template\n[core]\nhooksPath={repository.path}/hooks\nfsmonitor="touch {mark}"\n'
        f'[filter "evil"]\nsmudge="touch {mark}; cat"\nrequired=true\n'
    )
    inner = Repository(rig.root / "inner")
    inner.commit({"i": "1"})
    repository.git("submodule", "--quiet", "add", str(inner.path), "sub")
    commit = repository.commit({"a": "1", ".gitattributes": "* filter=evil\n"})
    mark.unlink(missing_ok=True)
    end = rig.run(
        repositoryName=str(repository.path), commit=commit, dockerSteps=steps("ls sub | wc -l; ls .git")
    )
    assert end.verdict is Verdict.COMPLETED, end
    assert not mark.exists()
    assert rig.out("step.docker.0").startswith("stdout: 0\n")
    assert "hooks" not in rig.out("step.docker.0")


def test_those_traps_work(rig: Rig, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test before: plain git falls into them."""
    mark, home = rig.root / "mark", rig.root / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[filter "evil"]\nsmudge="touch {mark}; cat"\n')
    commit = repository.commit({"a": "1", ".gitattributes": "* filter=evil\n"})
    monkeypatch.setenv("HOME", str(home))
    clone = Repository(rig.root / "clone")
    clone.git("fetch", "--quiet", str(repository.path), commit)
    clone.git("checkout", "--quiet", commit)
    assert mark.exists()


def test_a_tree_with_a_link_for_git_itself_is_refused(rig: Rig, repository: Repository) -> None:
    (repository.path / "target").write_text("/tmp")
    blob = repository.git("hash-object", "-w", "target")
    entry = f"120000 blob {blob}\t.git\n"
    tree = _piped(repository, entry, "mktree")
    commit = repository.git("commit-tree", tree, "-m", "evil")
    repository.git("update-ref", "refs/heads/main", commit)
    end = rig.run(repositoryName=str(repository.path), commit="main", dockerSteps=steps("true"))
    assert end.verdict is Verdict.ERRORED
    assert "setup.git." in end.message


def _piped(repository: Repository, text: str, *argv: str) -> str:
    import subprocess

    done = subprocess.run(
        ["git", *argv], cwd=repository.path, input=text, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_server_that_is_away_for_a_while_costs_nothing(rig: Rig) -> None:
    away_until(rig.source, 12)
    rig.source.trouble, away = (lambda _: None), rig.source.trouble
    job: dict[str, Any] = {"dockerSteps": [script("echo a"), script("seq 100000")]}

    def begin(call: Any) -> Any:
        return away(call) if call.name != "dequeue" else None

    rig.source.trouble = begin
    end = rig.run(**job)
    assert end.verdict is Verdict.COMPLETED
    assert rig.out("step.docker.1") == "".join(f"stdout: {number}\n" for number in range(1, 100_001))
    assert [call.name for call in rig.source.calls].count("add_entry") > 3


def test_the_credential_of_another_place_is_not_used(rig: Rig, repository: Repository) -> None:
    commit = repository.commit({"a": "1"})
    git = GitAccess(
        url="https://git.example.com/{repository}",
        allow=(f"{rig.root}/",),
        password="hunter2hunter2",
        env={"PATH": os.environ["PATH"]},
    )
    other = Rig(rig.root, git=git)
    end = other.run(
        repositoryName=str(repository.path), commit=commit, dockerSteps=steps("env; cat .git/config")
    )
    assert end.verdict is Verdict.COMPLETED
    assert "hunter2" not in str(other.sent)
