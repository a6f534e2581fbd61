"""Checks of workflows that the corpus of malformed files does not make."""

from typing import Any

import pytest
from msgspec import Meta, Struct

from runwright.core.check import check_workflow, warnings
from runwright.core.document import decode_workflow
from runwright.core.errors import DefinitionError, Problem
from runwright.core.reach import Question, unanswered
from runwright.core.suggest import closest, did_you_mean, distance
from runwright.core.unread import unread
from runwright.core.workflow import TaskDefinition, TaskType, Workflow


def decode(tasks: dict[str, Any], given: tuple[str, ...] = (), **top: Any) -> Workflow:
    return decode_workflow({"tasks": tasks, **top}, default_name="flow", given=given)


def faults(tasks: dict[str, Any], given: tuple[str, ...] = (), **top: Any) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        decode(tasks, given, **top)
    return [problem.message for problem in caught.value.problems]


def test_defaults_and_conversions() -> None:
    task = {
        "cmd": "make {{.os}}",
        "matrix": {"v": ["1"], "os": ["l", "m"]},
        "timeout": "1m",
        "retry_backoff": 2,
        "retry_on": 3,
        "pre": "true",
        "max_log_bytes": "1KiB",
        "if": "os == l",
    }
    flow = decode({"a": task, "b": {"argv": ["x"], "depends_on": ["a[v=1,os=m]"], "name": ""}})
    a, b = flow.tasks["a"], flow.tasks["b"]
    assert (flow.name, a.name, b.name) == ("flow", "a", "b")
    assert list(a.matrix) == ["os", "v"]
    assert (a.timeout, a.retry_backoff, a.retry_on, a.pre) == (60.0, 2.0, (3,), ("true",))
    assert (a.max_log_bytes, a.condition) == (1024, "os == l")
    assert b.depends_on == ("a[os=m,v=1]",)
    assert b.argv == ("x",)


def test_what_is_fine_is_fine() -> None:
    flow = decode(
        {
            "a": {"cmd": "date", "register": "stamp", "cleanup": "rm {{.stamp}} {{.a.value}}"},
            "m": {"cmd": "x {{.db}}", "matrix": {"db": ["p", "q"]}, "register": "sum_{{.db}}"},
            "open": {"cmd": "true", "register": "out_{{.stage}}"},
            "b": {
                "cmd": "echo {{.stamp}} {{.sum_p}} {{.m[db=q].NAME}} {{.stage}} {{.given}} {{.out_x}} {{.a.N}}",
                "depends_on": ["a", "m", "a"],
            },
            "c": {"cmd": "echo {{.stamp}}", "depends_on": ["b"]},
            "url1": {"cmd": "x", "if": "stage == x", "register": "url"},
            "url2": {"cmd": "x", "if": "stage == y", "register": "url"},
            "last": {"cmd": "echo {{.url}}", "depends_on": ["url1", "url2"], "on_failure": "h"},
            "h": {
                "cmd": "{{.failed_task}} {{.stamp}} {{.m[db=q].x}}",
                "type": "forensic",
                "depends_on": ["a"],
            },
            "g": {"cmd": "{{.failed_tasks}}", "type": "forensic"},
        },
        given=("given",),
        variables={"stage": "x"},
        on_failure="g",
        env={"S": "{{.stage}}"},
    )
    assert len(flow.tasks) == 10
    assert check_workflow(flow, given=("given",)) == []


def test_a_matrix_too_large_for_names_is_open() -> None:
    values = [str(number) for number in range(150)]
    tasks = {"m": {"cmd": "x", "matrix": {"a": values, "b": values}, "register": "r_{{.a}}_{{.b}}"}}
    decode({**tasks, "b": {"cmd": "echo {{.r_1_2}}", "depends_on": ["m"]}})
    assert faults({**tasks, "b": {"cmd": "echo {{.s_1_2}}"}})[0] == 'nothing sets "s_1_2"'
    huge = dict.fromkeys("abcd", values)
    assert "combinations" in faults({"m": {"cmd": "x", "matrix": huge}})[0]


def test_a_handler_is_no_source() -> None:
    tasks = {
        "a": {"cmd": "echo {{.x}} {{.h.value}}", "on_failure": "h"},
        "h": {"cmd": "true", "type": "forensic", "register": "x"},
    }
    assert all("a handler, which runs on failure only" in fault for fault in faults(tasks))
    assert len(faults(tasks)) == 2


def test_names_of_a_broken_file_are_left_for_the_next_time() -> None:
    tasks = {"a": {"cmd": "echo {{.nothing}}", "depends_on": "b"}, "b": {"cmd": "true"}}
    assert faults(tasks) == ['"depends_on" must be an array, not a string']


def test_duplicates_owned_by_one_of_many() -> None:
    tasks = {"a": {"cmd": "x", "register": "v"}, "b": {"cmd": "x", "register": "v", "if": "stage == x"}}
    assert len(faults(tasks, variables={"stage": "x"})) == 1
    both = {key: {**task, "if": "stage == x"} for key, task in tasks.items()}
    decode({**both, "c": {"cmd": "echo {{.v}}", "depends_on": ["b"]}}, variables={"stage": "x"})
    assert "does not run before" in faults({**both, "c": {"cmd": "echo {{.v}}"}}, variables={"stage": "x"})[0]
    own = {**both, "a": {**both["a"], "cmd": "echo {{.v}}", "depends_on": ["b"]}}
    decode(own, variables={"stage": "x"})


def test_workflows_made_in_code_are_checked_too() -> None:
    tasks = {
        "a": TaskDefinition(key="a", name="a"),
        "b": TaskDefinition(key="b", name="b", cmd="x", kill_grace=1.0, depends_on=("c",)),
    }
    found = [problem.message for problem in check_workflow(Workflow(name="w", tasks=tasks))]
    assert found == ['task "a" must have a command', 'task "b" depends on "c", which does not exist']


class Sized(Struct, forbid_unknown_fields=True):
    size: "int | None"
    at: "tuple[int, ...]" = ()
    ratio: float = 1.0
    mode: str | None = None


class Ranged(Struct):
    size: "SizeUpToTen"


SizeUpToTen = __import__("typing").Annotated[int, Meta(le=10)]


class Noted(Struct):
    size: "SizeWithNote | None" = None


SizeWithNote = __import__("typing").Annotated[int, Meta(extra_json_schema={"examples": [3]})]


def argument_faults(kind: type[Struct], args: dict[str, Any]) -> list[Problem]:
    flow = Workflow(name="w", tasks={"a": TaskDefinition(key="a", name="a", executor="x", args=args)})
    return check_workflow(flow, executor_args={"x": kind})


def test_arguments_are_checked_against_their_record() -> None:
    assert argument_faults(Sized, {"size": None, "at": [1], "ratio": 2, "mode": "m"}) == []
    found = argument_faults(Sized, {"size": "1", "at": [True], "mode": 5})
    assert [problem.path[3:] for problem in found] == [("size",), ("at", 0), ("mode",)]
    assert found[0].message == '"size" must be an integer, not a string'
    assert "<= 10" in argument_faults(Ranged, {"size": 11})[0].message
    assert argument_faults(Ranged, {"size": 9}) == []
    assert argument_faults(Noted, {"size": "3"})[0].message == '"size" must be an integer, not a string'


def test_an_executor_of_the_file_completes_the_arguments() -> None:
    tasks = {"a": {"executor": "box", "args": {"at": [1]}}, "b": {"executor": "box.inner"}}
    data = {"tasks": tasks, "executors": {"box": {"executor": "x", "size": 5}}}
    assert decode_workflow(data, default_name="w", executor_args={"x": Sized}).tasks["a"].executor == "box"


def test_warnings_name_what_is_probably_not_meant() -> None:
    flow = decode(
        {
            "a": {"cmd": "x", "retries": 20},
            "b": {"cmd": "x", "retries": 1, "retry_delay": "10ms", "timeout": "10ms"},
            "c": {"cmd": "x", "timeout": "48h", "retries": 2, "retry_delay": 1},
            "d": {"cmd": "sh -c 'echo {{.v}}'"},
            "h": {"cmd": "x", "type": "forensic", "matrix": {"a": ["b"]}},
        },
        name="other",
        variables={"v": "1"},
        triggers=[{"type": "cron", "config": {"schedule": "@daily"}}],
    )
    found = warnings(flow, "flow")
    assert [problem.path for problem in found] == [
        ("name",),
        ("triggers", 0),
        ("tasks", "h"),
        ("tasks", "a", "retries"),
        ("tasks", "a", "retries"),
        ("tasks", "b", "retry_delay"),
        ("tasks", "b", "timeout"),
        ("tasks", "c", "timeout"),
        ("tasks", "d", "cmd"),
        ("tasks", "h", "matrix"),
    ]
    assert all(problem.suggestion for problem in found)
    assert warnings(decode({"a": {"cmd": "x"}})) == []


def chain(length: int) -> dict[str, TaskDefinition]:
    return {
        f"t{i}": TaskDefinition(key=f"t{i}", name="", cmd="x", depends_on=(f"t{i - 1}",) if i else ())
        for i in range(length)
    }


def test_reach_is_transitive_and_knows_nodes() -> None:
    tasks = chain(3000)
    questions = [Question(f"t{i}", (f"t{i // 2}",)) for i in range(1, 3000)] + [
        Question("t5", ("t9", "t2999"))
    ]
    assert unanswered(tasks, questions) == {len(questions) - 1}
    tasks = {
        "m": TaskDefinition(key="m", name="", cmd="x", matrix={"a": ("1", "2")}),
        "one": TaskDefinition(key="one", name="", cmd="x", depends_on=("m[a=1]",)),
        "all": TaskDefinition(key="all", name="", cmd="x", depends_on=("m",)),
        "after": TaskDefinition(key="after", name="", cmd="x", depends_on=("one",)),
        "late": TaskDefinition(key="late", name="", cmd="x", depends_on=("all",)),
        "x": TaskDefinition(key="x", name="", cmd="x", depends_on=("y",)),
        "y": TaskDefinition(key="y", name="", cmd="x", depends_on=("x",)),
    }
    asked = [
        ("after", "m[a=1]"),
        ("after", "m[a=2]"),
        ("late", "m[a=2]"),
        ("x", "m"),
        ("one", "all"),
        ("late", "x"),
    ]
    assert unanswered(tasks, [Question(task, (target,)) for task, target in asked]) == {1, 4, 5}


def test_handlers_only() -> None:
    flow = Workflow(name="w", tasks={"h": TaskDefinition(key="h", name="h", type=TaskType.FORENSIC, cmd="x")})
    assert "every task is a handler" in check_workflow(flow)[0].message


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("depend_on", "depends_on"),
        ("DEPENDS-ON", "depends_on"),
        ("cdm", "cmd"),
        ("x", None),
        ("timeot", "timeout"),
    ],
)
def test_the_nearest_name_is_suggested(word: str, expected: str | None) -> None:
    assert closest(word, ["cmd", "depends_on", "timeout"]) == expected
    assert did_you_mean(word, ["cmd", "depends_on", "timeout"]) == (
        f'did you mean "{expected}"?' if expected else ""
    )


def test_distance_counts_edits() -> None:
    assert [distance("abcd", other, 3) for other in ("abcd", "abdc", "abc", "xbcy", "wxyz")] == [
        0,
        1,
        1,
        2,
        4,
    ]
    assert distance("a", "abcdef", 2) == 3


def test_a_secret_is_no_variable() -> None:
    with pytest.raises(DefinitionError) as caught:
        decode({"a": {"cmd": "x {{.TOK}}"}}, env={"X": "{{.TOK}}"}, secrets=["TOK"])
    in_env, in_task = caught.value.problems
    assert in_task.message == in_env.message == '"TOK" is a secret, and those can\'t be filled in'
    assert in_task.suggestion.startswith('use "$TOK" in the command: a secret is in the environment')
    assert in_env.suggestion == "tasks have TOK already; remove it here"


def test_a_secret_that_is_given_as_a_variable_is_one() -> None:
    assert decode({"a": {"cmd": "x {{.TOK}}"}}, given=("TOK",), secrets=["TOK"]).secrets == ("TOK",)


def test_given_variables_that_nothing_reads() -> None:
    flow = decode(
        {
            "a": {"cmd": "x {{.greeting}} $RUNWRIGHT_VAR_LOUD", "register": "out", "if": "stage == x"},
            "b": {"argv": ["x", "{{.a.rows}}"], "depends_on": ["a"], "matrix": {"os": ["l"]}},
        },
        given=("greeting", "stage"),
        variables={"region": "eu"},
        env={"E": "{{.stage}}"},
    )
    read = ["greeting", "loud", "out", "stage", "a.rows", "os", "region"]
    assert unread(flow, read) == []
    assert unread(flow, ["greting", *read, "other"]) == [
        ("greting", 'did you mean "greeting"?'),
        ("other", ""),
    ]


def test_the_command_among_arguments_is_read_as_shell_text() -> None:
    command = "echo `{{.n}}`"
    at_top = faults({"a": {"cmd": command}}, ("n",))
    boxed = {"a": {"executor": "box", "args": {"cmd": command}}}
    assert at_top
    assert faults(boxed, ("n",), executors={"box": {"executor": "shell"}}) == at_top


EACH = {"cmd": "x {{.item}} {{.index}} {{.item.name}}", "for_each": "{{.l}}", "depends_on": ["list"]}


def test_outputs_of_cached_items_name_the_item() -> None:
    good = {**EACH, "cache": True, "outputs": ["{{.item}}.o", "{{.index}}/log"]}
    assert decode({"list": {"cmd": "x", "register": "l"}, "each": good}).tasks["each"].cache


def test_a_task_for_each_item() -> None:
    listing = {"cmd": "x", "register": "l"}
    each = {**EACH, "pool": 2, "item_failures": "ignore", "pre": "y {{.item}}", "env": {"I": "{{.item}}"}}
    task = decode({"list": listing, "each": each}).tasks["each"]
    assert (task.for_each, task.pool, task.item_failures.value) == ("{{.l}}", 2, "ignore")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"for_each": "{{.nothing}}"}, 'nothing sets "nothing"'),
        ({"depends_on": []}, '"l" is registered by task "list", which does not run before task "each"'),
        ({"if": "item == x"}, 'nothing sets "item"'),
        ({"cleanup": "x {{.index}}"}, 'nothing sets "index"'),
        ({"register": "r_{{.index}}"}, 'nothing sets "index"'),
        ({"for_each": "{{.item}}"}, 'nothing sets "item"'),
        ({"for_each": "a\0b"}, "a list can't hold a NUL"),
        ({"cache": True, "outputs": ["out"]}, '"out" would be the output of every item of task "each"'),
        ({"pool": -1}, '"pool" must be at least 1'),
        ({"item_failures": "never"}, '"item_failures" must be "stop" or "continue" or "ignore"'),
        ({"for_each": "", "cmd": "x", "pool": 2}, '"pool" says how items run, and there are none'),
        (
            {"for_each": "", "cmd": "x", "item_failures": "ignore"},
            '"item_failures" says how items run, and there are none',
        ),
        (
            {"type": "forensic", "depends_on": [], "for_each": "a", "cmd": "x"},
            "a handler can't be mapped over a list",
        ),
    ],
)
def test_faults_of_a_task_for_each_item(change: dict[str, Any], message: str) -> None:
    found = faults({"list": {"cmd": "x", "register": "l"}, "each": {**EACH, **change}})
    assert any(message in one for one in found), found
