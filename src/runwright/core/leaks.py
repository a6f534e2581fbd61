"""Where a secret would be stored with a run: in a variable, the workflow's file or a tag."""

from collections.abc import Iterable, Iterator, Mapping

from runwright.core.errors import Problem
from runwright.core.redact import Redactor
from runwright.core.run import Definition

_STORED = "which would be stored"


def leaks(
    secrets: Mapping[str, str],
    variables: Mapping[str, str],
    tags: Iterable[str],
    definition: Definition,
    path: str,
) -> list[Problem]:
    """Return each place that holds a secret; the problems name the secret and never its value.

    Args:
        secrets: Values by name.
        variables: What is given with the run's options.
        tags: Of the run.
        definition: What is pinned in the store.
        path: Of the file that it was read from; empty if there is none.
    """
    found: list[Problem] = []
    for name, value in secrets.items():
        redactor = Redactor([value])
        if redactor:
            found += _of_one(name, redactor, variables, tags)
            found += _in_definition(name, redactor, definition, path)
    return found


def _of_one(
    secret: str, redactor: Redactor, variables: Mapping[str, str], tags: Iterable[str]
) -> Iterator[Problem]:
    advice = f'read "${secret}" in the task instead: it is in the environment'
    for name, value in variables.items():
        if redactor.finds(value):
            message = f'variable {name}: holds the value of a secret, "{secret}", {_STORED}'
            yield Problem(message=message, suggestion=advice)
    for tag in tags:
        if redactor.finds(tag):
            yield Problem(
                message=f'a tag: holds the value of a secret, "{secret}", {_STORED}',
                suggestion="choose another tag",
            )


def _in_definition(secret: str, redactor: Redactor, definition: Definition, path: str) -> Iterator[Problem]:
    advice = f'take it out, and read "${secret}" in the task: it is in the environment'
    if redactor.finds(definition.source):
        lines = [n for n, line in enumerate(definition.source.split("\n"), 1) if redactor.finds(line)]
        message = (
            f'the workflow file: holds the value of a secret, "{secret}", {_STORED}: '
            "all of the file is kept with the run, its comments too"
        )
        for line in lines or [0]:
            yield Problem(message=message, suggestion=advice, file=path, line=line)
    elif redactor.finds(definition.content.decode()):
        message = f'the workflow: holds the value of a secret, "{secret}", {_STORED}'
        yield Problem(message=message, suggestion=advice, file=path)
