"""What a workflow file says about plugins, and every fault of it."""

from typing import Any

import pytest

from runwright.core.errors import DefinitionError
from runwright.core.plugin import is_plugin, plugin_faults, plugin_settings
from runwright.core.workflow import Workflow
from runwright.wiring import decode_workflow
from runwright.wiring.stack import executors_with_env


def workflow(table: dict[str, Any], name: str = "far", **args: Any) -> Workflow:
    task = {"executor": name, "args": args}
    return decode_workflow({"executors": {name: table}, "tasks": {"one": task}})


def faults(table: dict[str, Any], name: str = "far") -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(DefinitionError) as caught:
        workflow(table, name)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_a_plugin_takes_whatever_arguments_come_and_no_environment() -> None:
    made = workflow({"plugin": ["a", "b"], "level": 3}, what={"ever": [1]})
    assert made.tasks["one"].args == {"what": {"ever": [1]}}
    assert "far" not in executors_with_env(made)


def test_its_settings() -> None:
    assert not is_plugin({"executor": "shell"})
    plain = plugin_settings({"plugin": ["a", "b"]})
    assert (plain.plugin, plain.shared_files, plain.startup_timeout) == (("a", "b"), True, 10.0)
    other = plugin_settings({"plugin": ["a"], "shared_files": False, "startup_timeout": "1m"})
    assert (other.shared_files, other.startup_timeout) == (False, 60.0)


@pytest.mark.parametrize(
    ("table", "path", "message"),
    [
        ({"plugin": []}, ("plugin",), "the command of a plugin is empty"),
        ({"plugin": [""]}, ("plugin",), "the command of a plugin is empty"),
        ({"plugin": ["a", "b\0"]}, ("plugin",), "the command of a plugin can't hold a NUL"),
        (
            {"plugin": ["a"], "executor": "shell"},
            ("executor",),
            'executor "far" is based on "shell" and on a plugin',
        ),
        ({"plugin": ["a"], "startup_timeout": 0}, ("startup_timeout",), '"startup_timeout" can\'t be 0'),
        (
            {"plugin": ["a"], "startup_timeout": "soon"},
            ("startup_timeout",),
            "\"startup_timeout\" can't be 'soon'",
        ),
    ],
)
def test_a_fault_is_told_with_its_place(table: dict[str, Any], path: tuple[str, ...], message: str) -> None:
    assert faults(table) == [(("executors", "far", *path), message)]


def test_a_definition_made_in_code_is_checked_as_well() -> None:
    for command in ("a b", [1]):
        (fault,) = plugin_faults("far", {"plugin": command}, ())
        assert fault.message == "the command of a plugin is no list of texts"


@pytest.mark.parametrize("name", ["shell", "python", "workflow"])
def test_no_plugin_takes_the_name_of_ours(name: str) -> None:
    assert (
        ("executors", name, "plugin"),
        f'"{name}" comes with Runwright, so no plugin can have that name',
    ) in (faults({"plugin": ["a"]}, name))


@pytest.mark.parametrize(
    "table", [{"plugin": "a b"}, {"plugin": [1]}, {"plugin": ["a"], "shared_files": "no"}]
)
def test_wrong_types_are_told_once(table: dict[str, Any]) -> None:
    ((path, _),) = faults(table)
    assert path[:2] == ("executors", "far")
