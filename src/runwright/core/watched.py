"""Which files make a workflow worth running again."""

from collections.abc import Iterator

from runwright.core.variables import references
from runwright.core.workflow import Workflow


def watched(workflow: Workflow) -> tuple[str, ...]:
    """Return globs of all that tasks read and none of them makes; what makes a difference is for the cache to say.

    A placeholder stands for anything, because its value may be known at run time only.
    """
    return (*dict.fromkeys(_inputs(workflow)), *dict.fromkeys(_outputs(workflow)))


def _inputs(workflow: Workflow) -> Iterator[str]:
    for task in workflow.tasks.values():
        yield from (_open(text) for text in task.inputs if not text.startswith("!"))


def _outputs(workflow: Workflow) -> Iterator[str]:
    for task in workflow.tasks.values():
        yield from (f"!{_open(text)}" for text in task.outputs)


def _open(text: str) -> str:
    for place in reversed(references(text)):
        text = f"{text[: place.start]}*{text[place.end :]}"
    return text
