"""Names of nodes of a matrix, as people write them."""

from runwright.core.suggest import did_you_mean
from runwright.core.workflow import TaskDefinition

ITEM, INDEX = "item", "index"
"""Variables that an item of a task sees."""


def is_of_item(name: str) -> bool:
    """Tell whether a variable is one that items see: ``item``, ``index`` or ``item.NAME``."""
    return name in (ITEM, INDEX) or name.startswith(f"{ITEM}.")


def node_fault(target: TaskDefinition, name: str) -> tuple[str, str] | None:
    """Say what is wrong with ``key[dimension=value,...]`` as the name of a node of a task; None if it is one."""
    inside = name.partition("[")[2]
    if not target.matrix:
        return f'task "{target.key}" has no matrix, so there is no "{name}"', f'write "{target.key}"'
    pairs = [pair.partition("=")[::2] for pair in inside.removesuffix("]").split(",")]
    example = example_node(target)
    if not inside.endswith("]") or "]" in inside[:-1] or len(dict(pairs)) != len(pairs) or "=" not in inside:
        return f'"{name}" is not the name of a node', f'write it like "{example}"'
    for dimension, value in pairs:
        if dimension not in target.matrix:
            return f'the matrix of "{target.key}" has no "{dimension}"', f"it has {', '.join(target.matrix)}"
        if value not in target.matrix[dimension]:
            values = target.matrix[dimension]
            return f'"{dimension}" of "{target.key}" has no value "{value}"', (
                did_you_mean(value, values) or f"it has {', '.join(values[:8])}"
            )
    missing = [dimension for dimension in target.matrix if dimension not in dict(pairs)]
    if missing:
        return f'"{name}" does not say which {" and ".join(missing)}', f'write it like "{example}"'
    return None


def example_node(task: TaskDefinition) -> str:
    """Return the id of the first node of a matrix task, to show how such ids look."""
    inside = ",".join(f"{name}={values[0] if values else ''}" for name, values in task.matrix.items())
    return f"{task.key}[{inside}]"
