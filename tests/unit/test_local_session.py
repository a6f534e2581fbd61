"""The session that tests of executors use."""

from pathlib import Path

import pytest

import runwright.testing
from runwright.core.task import TaskId
from runwright.testing import LocalSession


def test_directories_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    session = LocalSession(tmp_path)
    assert session.source == tmp_path / "source"
    assert session.source.is_dir()
    folder = session.output_dir(TaskId("a.b"))
    assert folder.is_dir()
    assert folder == session.output_dir(TaskId("a.b")) != session.output_dir(TaskId("a"))


def test_sessions_differ_and_may_share_a_source(tmp_path: Path) -> None:
    one = LocalSession(tmp_path)
    two = LocalSession(tmp_path, source=one.source)
    assert one.id != two.id
    assert one.source == two.source
    assert one.output_dir(TaskId("a")) != two.output_dir(TaskId("a"))


def test_logs_are_kept_apart_and_redacted(tmp_path: Path) -> None:
    session = LocalSession(tmp_path, secrets=("secret",))
    log = session.log(TaskId("a"))
    log.write("stderr", b"err sec")
    log.write("stdout", b"out secret")
    log.write("stderr", b"ret")
    assert (log.read("stdout"), log.read("stderr"), log.read()) == (b"out ***", b"err ***", b"out ***err ***")
    assert session.log(TaskId("a")) is log
    assert session.log(TaskId("b")).read() == b""
    assert session.redact("a secret") == "a ***"


@pytest.mark.parametrize("name", runwright.testing.__all__)
def test_every_public_name_of_testing_is_there(name: str) -> None:
    assert getattr(runwright.testing, name).__doc__


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        runwright.testing.nonsense  # noqa: B018
