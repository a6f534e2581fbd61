"""Records and the messages of the protocol: what goes in comes out, in one part or in many."""

import pytest

from runwright.adapters.plugin import plugin_pb2 as pb
from runwright.adapters.plugin.messages import (
    Lie,
    from_failure,
    from_result,
    from_task,
    to_failure,
    to_result,
    to_task,
)
from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Result, Task, TaskId
from runwright.testing import LocalSession

TASK = Task(
    id=TaskId("a.b"),
    executor="x.y",
    args={"none": None, "big": 1 << 62, "float": 0.5, "text": "é\n", "list": [1, [2]], "table": {"k": True}},
    inputs=("**/*.c",),
    dependencies=(TaskId("a"),),
)


def through(result: Result) -> tuple[Result, int]:
    """Return what arrives, and in how many parts."""
    parts = [pb.Result.FromString(part.SerializeToString()) for part in from_result("t", result)]
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    whole = pb.Result()
    for part in parts:
        whole.MergeFrom(part)
    return to_result(whole, "t"), len(parts)


def test_a_task_arrives_as_it_is() -> None:
    assert to_task(pb.Task.FromString(from_task(TASK).SerializeToString())) == TASK
    assert to_task(pb.Task(id="plain")) == Task(id=TaskId("plain"))


def test_a_result_arrives_as_it_is() -> None:
    result = Result(outputs=("a", "b/c"), value={"x": [1]}, variables={"A": "1"}, followups=(TASK,))
    assert through(result) == (result, 2)
    assert through(Result()) == (Result(), 1)


def test_ten_thousand_followups_and_their_results_arrive_in_parts() -> None:
    followups = tuple(Task(id=TaskId(f"t.{number}"), args={"n": number}) for number in range(10_000))
    inner = Result(value=1, followups=(TASK,), children={TaskId("t.1.x"): Result(value=2)})
    children = {task.id: inner for task in followups[:1200]}
    arrived, parts = through(Result(followups=followups, children=children))
    assert arrived == Result(followups=followups, children=children)
    assert parts == 20 + 3 + 1


@pytest.mark.parametrize("value", [object(), "\ud800", 1j])
def test_what_is_no_data_is_refused(value: object) -> None:
    with pytest.raises(TaskFailed) as caught:
        list(from_result("t", Result(value=value)))
    assert caught.value.failure.code == "E_OUTPUT"
    with pytest.raises(TaskFailed) as caught:
        from_task(Task(id=TaskId("t"), args={"x": value}))
    assert caught.value.failure.code == "E_ARGS"


def test_a_failure_arrives_as_it_is(tmp_path) -> None:  # type: ignore[no-untyped-def]
    session = LocalSession(tmp_path)
    for failure in (
        Failure(code="E_EXIT", message="no", exit_code=3, stderr_tail="x\n"),
        Failure(code="E_SIGNAL", message="no", exit_code=137, signal=9),
        Failure(code="E_X", message="no"),
    ):
        assert to_failure(from_failure(failure), session) == failure
    half = Failure(code="E_X", message="half \ud83d")
    assert to_failure(from_failure(half), session).message == "half ?"


def test_a_child_of_the_wrong_shape_is_a_lie() -> None:
    with pytest.raises(Lie, match="can't be read as JSON"):
        to_result(pb.Result(task_id="t", children=[pb.Result(task_id="c", value="{")]), "t")
