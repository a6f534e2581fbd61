"""What an attempt executes, filled in."""

from typing import Any

import pytest

from runwright.core.body import Body
from runwright.core.errors import TaskFailed
from runwright.core.workflow import TaskDefinition

LOOKUP = {"name": "a b", "dir": "sub", "os": "linux"}.__getitem__


def body(workflow_env: dict[str, str] | None = None, /, **fields: Any) -> Body:
    return Body(TaskDefinition(key="t", name="t", **fields), workflow_env or {}, 7.0)


def test_a_command_is_escaped_where_it_stands() -> None:
    assert body(cmd="echo {{.name}}").args(LOOKUP) == {"cmd": "echo 'a b'"}
    assert body(cmd="echo plain").args(LOOKUP) == {"cmd": "echo plain"}
    assert body(cmd="").args(LOOKUP) == {"cmd": ""}


def test_arguments_are_filled_in_verbatim() -> None:
    assert body(argv=("echo", "x{{.name}}")).args(LOOKUP) == {"argv": ["echo", "xa b"]}


def test_data_is_filled_in_at_every_depth() -> None:
    args = {"a": "{{.name}}", "b": {"c": ["{{.os}}", 1, None]}, "d": ("{{.dir}}",), "e": True}
    expected = {"a": "a b", "b": {"c": ["linux", 1, None]}, "d": ["sub"], "e": True}
    assert body(executor="python", args=args).args(LOOKUP) == expected


def test_the_command_among_arguments_is_escaped_as_the_task_s_own() -> None:
    args = {"cmd": 'echo {{.name}} "{{.name}}"', "image": "{{.name}}", "env": {"cmd": "{{.name}}"}}
    expected = {"cmd": "echo 'a b' \"\"'a b'\"\"", "image": "a b", "env": {"cmd": "a b"}}
    assert body(executor="box", args=args).args(LOOKUP) == expected
    assert body(executor="box", args={"cmd": ["{{.name}}"]}).args(LOOKUP) == {"cmd": ["a b"]}


def test_surroundings() -> None:
    made = body(
        {"A": "1", "B": "{{.os}}"}, env={"A": "{{.name}}"}, working_dir="{{.dir}}/x", register="{{.os}}"
    )
    assert made.environment(LOOKUP) == {"A": "a b", "B": "linux"}
    assert made.working_dir(LOOKUP) == "sub/x"
    assert made.register(LOOKUP) == "linux"
    assert (body().working_dir(LOOKUP), body().register(LOOKUP)) == ("", "")


def test_an_environment_without_placeholders_is_passed_on() -> None:
    assert body({"A": "1"}, env={"B": "2"}).environment(LOOKUP) == {"A": "1", "B": "2"}


def test_a_task_s_own_grace_wins() -> None:
    assert body().kill_grace == 7.0
    assert body(kill_grace=0.0).kill_grace == 0.0


def test_commands_around_the_task() -> None:
    made = body(pre=("a {{.os}}", "b"), post=("c",), cleanup=("d",))
    assert (made.pre(LOOKUP), made.post(LOOKUP), made.cleanup(LOOKUP)) == (["a 'linux'", "b"], ["c"], ["d"])
    assert not made.is_plain
    assert not body(post=("c",)).is_plain
    assert body(cleanup=("d",)).is_plain
    assert body().pre(LOOKUP) == []


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"cmd": "echo {{.nobody}}"}, "args"),
        ({"argv": ("{{.nobody}}",)}, "args"),
        ({"env": {"A": "{{.nobody}}"}}, "environment"),
        ({"working_dir": "{{.nobody}}"}, "working_dir"),
        ({"register": "{{.nobody}}"}, "register"),
        ({"pre": ("{{.nobody}}",)}, "pre"),
        ({"post": ("{{.nobody}}",)}, "post"),
        ({"cleanup": ("{{.nobody}}",)}, "cleanup"),
    ],
)
def test_an_unknown_variable_is_a_failure(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(TaskFailed, match='undefined variable "nobody"') as caught:
        getattr(body(**fields), part)(LOOKUP)
    assert caught.value.failure.code == "E_TEMPLATE"


@pytest.mark.parametrize("directory", ["/proc", "/sys/kernel", "/dev"])
def test_a_directory_is_checked_again_with_its_values(directory: str) -> None:
    lookup = {"dir": directory}.__getitem__
    with pytest.raises(TaskFailed) as caught:
        body(working_dir="{{.dir}}").working_dir(lookup)
    assert caught.value.failure.code == "E_TEMPLATE"
    assert f'nothing can run in "{directory}"' in caught.value.failure.message


def test_a_directory_without_placeholders_is_taken_as_it_is() -> None:
    assert body(working_dir="sub/{x}").working_dir(LOOKUP) == "sub/{x}"
