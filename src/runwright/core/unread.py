"""Variables that were given and that nothing in a workflow reads: most often a slip of the pen."""

from collections.abc import Iterable

from runwright.core import condition
from runwright.core.check_names import texts_of
from runwright.core.runvars import EXPORT_PREFIX
from runwright.core.suggest import did_you_mean
from runwright.core.variables import references
from runwright.core.workflow import Workflow


def unread(workflow: Workflow, given: Iterable[str]) -> list[tuple[str, str]]:
    """Return the names of given variables that nothing reads, each with ``did you mean "x"?`` or an empty text.

    What a command may read from its environment by another program is not seen; a name that stands in a text as
    ``RUNWRIGHT_VAR_<name>`` is.
    """
    texts = [*workflow.env.values()]
    known = {*workflow.variables}
    for key, task in workflow.tasks.items():
        texts += (text for _, text, _ in texts_of(key, task))
        texts += (task.register, task.cmd or "")
        known |= {task.register, *task.matrix}
        if task.condition:
            known |= {name for name, _ in condition.names(condition.parse(task.condition))}
    known |= {place.name for text in texts for place in references(text)} - {""}
    return [
        (name, did_you_mean(name, known)) for name in given if name not in known and not _shown(name, texts)
    ]


def _shown(name: str, texts: Iterable[str]) -> bool:
    """Tell whether a text reads a variable from the environment."""
    return any(EXPORT_PREFIX + name in text or EXPORT_PREFIX + name.upper() in text for text in texts)
