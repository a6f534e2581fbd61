"""The commands on a store in a real PostgreSQL, which two machines share: each project directory stands for one."""

import signal
import subprocess

import pytest
from cli_project import RUNWRIGHT, Project, environment, stop, wait_until
from postgres import PASSWORD

from runwright.adapters.postgres.address import parse

FLOW = """
name = "shared"
[tasks.first]
cmd = "echo from the first"
register = "said"
[tasks.second]
cmd = "test -e {{.gate}} && echo got {{.said}}"
depends_on = ["first"]
"""


@pytest.fixture
def url(postgres):
    return postgres.create_database()


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path / "one")
    project.root.mkdir()
    project.write("shared.toml", FLOW)
    return project


def test_a_run_is_recorded_failed_shown_and_resumed(project, url):
    gate = project.root / "gate"
    store = ("--store", url)
    done = project("run", "shared.toml", *store, "--var", f"gate={gate}")
    assert done.returncode == 1, done.stderr
    (run,) = project.json("runs", *store)
    assert (run["name"], run["state"]) == ("shared", "failed")
    assert project.json("status", "latest", *store)["run"]["id"] == run["id"]
    assert "second" in project("explain", "latest", *store).stdout
    gate.touch()
    done = project("resume", "latest", *store)
    assert done.returncode == 0, done.stderr
    assert "from the first" in project("logs", "latest", *store).stdout
    assert "got from the first" in project("logs", "latest", *store).stdout
    for command in ("inspect", "audit", "diff", "export", "graph"):
        words = [run["id"]] * (2 if command == "diff" else 1)
        done = project(command, *words, *store)
        assert done.returncode == 0, (command, done.stderr)
    assert project("audit", "latest", "--verify", *store).returncode == 0
    assert not (project.root / ".runwright" / "runs.db").exists()


def test_the_environment_names_the_store_and_doctor_looks_at_it(project, url):
    gate = project.write("gate", "")
    assert project("run", "shared.toml", f"--var=gate={gate}", RUNWRIGHT_STORE=url).returncode == 0
    assert "shared" in project("runs", RUNWRIGHT_STORE=url).stdout
    doctor = project("doctor", RUNWRIGHT_STORE=url)
    assert doctor.returncode == 0, doctor.stdout
    assert f"{parse(url).shown} can be reached" in doctor.stdout


def test_a_run_of_another_project_is_seen_and_cancelled(project, url, tmp_path):
    other = Project(tmp_path / "two")
    other.root.mkdir()
    project.write("slow.toml", 'name = "slow"\n[tasks.a]\ncmd = "touch begun; sleep 600"\n')
    process = project.start("run", "slow.toml", "--store", url)
    try:
        wait_until((project.root / "begun").exists, "the task")
        assert other.json("status", "latest", "--store", url)["run"]["state"] == "running"
        cancelled = other("cancel", "latest", "--store", url)
        assert cancelled.returncode == 0, cancelled.stderr
        process.wait(60)
        assert other.json("status", "latest", "--store", url)["run"]["state"] == "cancelled"
    finally:
        stop(process)


def test_a_killed_engine_is_found_dead_and_its_run_resumed(project, url):
    project.write(
        "slow.toml",
        'name = "slow"\n[tasks.a]\ncmd = "echo once >> did"\n'
        '[tasks.b]\ndepends_on = ["a"]\ncmd = "test -e did2 || { touch did2; sleep 600; }"\n',
    )
    process = project.start("run", "slow.toml", "--store", url)
    try:
        wait_until((project.root / "did2").exists, "the second task")
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        stop(process)
    assert project.json("status", "latest", "--store", url)["run"]["state"] == "interrupted"
    done = project("resume", "latest", "--store", url)
    assert done.returncode == 0, done.stderr
    assert (project.root / "did").read_text() == "once\n"
    assert project("audit", "latest", "--verify", "--store", url).returncode == 0


@pytest.mark.parametrize(
    "failpoint",
    [
        "store.before_migration:1",
        "store.after_migration:1",
        *(f"store.{side}_commit:{count}" for side in ("before", "after") for count in (1, 2, 4)),
    ],
)
def test_an_engine_killed_at_any_commit_leaves_a_store_that_goes_on(project, url, failpoint):
    project.write(
        "three.toml",
        'name = "three"\n[tasks.a]\ncmd = "echo a >> did"\n'
        '[tasks.b]\ndepends_on = ["a"]\ncmd = "echo b >> did"\n'
        '[tasks.c]\ndepends_on = ["b"]\ncmd = "echo c >> did"\n',
    )
    killed = project("run", "three.toml", "--store", url, RUNWRIGHT_FAILPOINT=failpoint)
    assert killed.returncode == -signal.SIGKILL
    begun = project.json("runs", "--store", url)
    kept = []
    if begun:
        rows = project.json("inspect", "latest", "--store", url)["tasks"]
        kept = [row["id"] for row in rows if row["state"] == "succeeded"]
    command = ["resume", "latest"] if begun else ["run", "three.toml"]
    done = project(*command, "--store", url)
    assert done.returncode == 0, done.stderr
    assert project("audit", "latest", "--verify", "--store", url).returncode == 0
    lines = (project.root / "did").read_text().split()
    assert list(dict.fromkeys(lines)) == ["a", "b", "c"]
    assert [lines.count(task) for task in kept] == [1] * len(kept)


def on_another_host(project, *words):
    """Run a command where the machine has another name; skip the test if this may not be changed here."""
    host = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    if subprocess.run([*host, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the name of the machine can't be changed here")
    return subprocess.run(
        [*host, RUNWRIGHT, *words],
        cwd=project.root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_what_a_dead_machine_left_is_resumed_elsewhere_once_its_lease_has_lapsed(project, url, postgres):
    project.write(
        "slow.toml",
        'name = "slow"\n[tasks.a]\ncmd = "echo once >> did"\n'
        '[tasks.b]\ndepends_on = ["a"]\ncmd = "test -e did2 || { touch did2; sleep 600; }"\n',
    )
    process = project.start("run", "slow.toml", "--store", url)
    try:
        wait_until((project.root / "did2").exists, "the second task")
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        stop(process)
    refused = on_another_host(project, "resume", "latest", "--store", url)
    assert refused.returncode == 1
    assert "is driven by process" in refused.stderr
    name = parse(url).shown.rpartition("/")[2]
    postgres.execute("UPDATE runwright.runs SET lease_expires_at = now() - interval '1 s'", name)
    resumed = on_another_host(project, "resume", "latest", "--store", url)
    assert resumed.returncode == 0, resumed.stderr
    assert (project.root / "did").read_text() == "once\n"
    assert project("audit", "latest", "--verify", "--store", url).returncode == 0


def test_of_many_engines_that_resume_one_run_only_one_drives_it(project, url):
    project.write(
        "slow.toml",
        'name = "slow"\n[tasks.a]\ncmd = "test -e broken || { touch broken; exit 1; }; echo x >> did; sleep 3"\n',
    )
    assert project("run", "slow.toml", "--store", url).returncode == 1
    engines = [project.start("resume", "latest", "--store", url) for _ in range(4)]
    try:
        said = [engine.communicate(timeout=120)[0] for engine in engines]
    finally:
        for engine in engines:
            stop(engine)
    assert sorted(engine.returncode for engine in engines).count(0) == 1, said
    assert (project.root / "did").read_text() == "x\n"


def test_the_password_of_the_store_is_in_no_log_and_no_record(project, url, postgres):
    project.write("leak.toml", 'name = "leak"\n[tasks.a]\ncmd = "env; echo $SPELLED; false"\n')
    spelled = PASSWORD.replace(" ", "%20")
    done = project("run", "leak.toml", RUNWRIGHT_STORE=url, SPELLED=f"{PASSWORD} {spelled}")
    assert done.returncode == 1
    shown = [done.stdout, done.stderr]
    for words in (("logs", "latest"), ("inspect", "latest", "--json"), ("audit", "latest", "--json")):
        shown.append(project(*words, RUNWRIGHT_STORE=url).stdout)
    shown += [path.read_text(errors="replace") for path in project.root.rglob("*") if path.is_file()]
    name = parse(url).shown.rpartition("/")[2]
    shown.append(str(postgres.execute("SELECT body::text FROM runwright.events", name)))
    assert "RUNWRIGHT_STORE=postgresql://runwright:***@" in "".join(shown)
    for text in shown:
        assert PASSWORD not in text
        assert spelled not in text


@pytest.mark.parametrize("command", ["run", "runs", "status", "cancel"])
def test_a_store_that_can_not_be_reached_says_what_to_do(project, command, postgres):
    wrong = postgres.url("nowhere")
    done = project(
        command,
        *(["shared.toml", "--var=gate=x"] if command == "run" else ["latest"][: command != "runs"]),
        "--store",
        wrong,
    )
    assert done.returncode == 1, done.stdout
    assert "no such user or database" in done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD.split()[0] not in done.stderr


def test_without_the_extra_the_command_names_it(project, tmp_path):
    package = tmp_path / "hidden" / "sitecustomize.py"
    package.parent.mkdir()
    package.write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'psycopg' else find(name, package)\n"
    )
    done = project("runs", "--store", "postgresql://host/db", PYTHONPATH=str(package.parent))
    assert done.returncode == 2
    assert "pip install 'runwright[postgres]'" in done.stderr
