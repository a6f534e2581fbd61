"""Check workflow, plan and goal files: every error of every file, with its place and a suggestion. Nothing is written."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from runwright import wiring
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import find_workflow, is_module, relative
from runwright.cli.records import Record, plural, problem_record
from runwright.cli.render.problems import render_problems
from runwright.core.errors import DefinitionError, Problem
from runwright.core.goal import GoalDefinition
from runwright.core.graph import Graph, build
from runwright.core.kinds import FileKind
from runwright.core.plan import PauseDefinition, PlanDefinition
from runwright.core.workflow import Workflow

EXIT_INVALID = 2


class Check(Struct, frozen=True):
    """What came of one file.

    Attributes:
        path: As it is shown.
        kind: What it defines; None if that can't be told.
        definition: What it defines; None if it has errors.
        graph: Of a workflow without errors.
        errors: What keeps it from being a definition.
        warnings: What is allowed and probably not meant.
    """

    path: str
    kind: FileKind | None = None
    definition: Workflow | PlanDefinition | GoalDefinition | None = None
    graph: Graph | None = None
    errors: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()

    @property
    def size(self) -> int | None:
        """How many tasks a workflow has, or steps and pauses a plan; None for anything else."""
        if isinstance(self.definition, PlanDefinition):
            return len(self.definition.elements)
        return None if self.graph is None else len(self.graph)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `validate`."""
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="files, or names of those here; all of the project if none"
    )
    parser.add_argument("--strict", action="store_true", help="count warnings as errors")
    add_json(parser)


def execute(args: Arguments) -> int:
    """Check files."""
    checks = [check(name) for name in args.files or [relative(path) for path in wiring.list_workflows()]]
    invalid = [c for c in checks if c.errors or (args.strict and c.warnings)]
    if args.json:
        args.out.json([check_record(one) for one in checks])
    else:
        show(checks, args)
    return EXIT_INVALID if invalid else 0


def check(name: str) -> Check:
    """Load one file and, of a workflow, build its graph."""
    try:
        found = check_module(name) if is_module(name) else check_file(find_workflow(name))
    except DefinitionError as error:
        found = Check(name, errors=error.problems)
    return replace(found, errors=[_placed(problem, name) for problem in found.errors])


def check_file(path: Path) -> Check:
    """Load a file and, of a workflow, build its graph; its errors are part of the result."""
    try:
        loaded = wiring.load_any(path)
        definition = loaded.definition
        graph = build(definition) if isinstance(definition, Workflow) else None
    except DefinitionError as error:
        return Check(str(path), kind=_kind(path), errors=error.problems)
    return Check(str(path), _KINDS[type(definition)], definition, graph, warnings=loaded.warnings)


def check_module(name: str) -> Check:
    """Import a workflow made in code and build its graph.

    Raises:
        DefinitionError: If there is none, or with all that is wrong with it.
    """
    loaded = wiring.load_flow(name, Path.cwd())
    graph = build(loaded.workflow)
    return Check(name, FileKind.WORKFLOW, loaded.workflow, graph, warnings=loaded.warnings)


_KINDS: dict[type, FileKind] = {
    Workflow: FileKind.WORKFLOW,
    PlanDefinition: FileKind.PLAN,
    GoalDefinition: FileKind.GOAL,
}


def _kind(path: Path) -> FileKind | None:
    try:
        return wiring.kind_of(path)
    except DefinitionError:
        return None


def _placed(problem: Problem, name: str) -> Problem:
    return problem if problem.file else replace(problem, file=name)


def check_record(one: Check) -> Record:
    """Return the result for one file."""
    return {
        "path": one.path,
        "valid": not one.errors,
        "kind": one.kind.value if one.kind else None,
        "name": one.definition.name if one.definition else None,
        "tasks": one.size,
        "errors": [problem_record(problem) for problem in one.errors],
        "warnings": [problem_record(problem) for problem in one.warnings],
    }


def show(checks: Sequence[Check], args: Arguments) -> None:
    """Print results: what is well on standard output, what is not on standard error."""
    out, err = args.out, args.err
    if not checks:
        out.line("nothing to check here; `runwright init` starts a project")
    for one in checks:
        if one.errors:
            out.flush()
            err.lines(render_problems(one.errors, err))
        else:
            out.line(f"{out.state_mark('succeeded')} {out.clean(one.path)}  {_summary(one)}")
        if one.warnings:
            out.flush()
            err.lines(render_problems(one.warnings, err, "warning"))
    bad = sum(1 for one in checks if one.errors)
    if bad and len(checks) > 1:
        err.line(f"{bad} of {plural(len(checks), 'file')} invalid")


def _summary(one: Check) -> str:
    """Say what kind of thing a valid file defines, and how large it is."""
    if isinstance(one.definition, PlanDefinition):
        elements = one.definition.elements
        pauses = sum(isinstance(element, PauseDefinition) for element in elements)
        text = f"plan, {plural(len(elements) - pauses, 'step')}"
        return f"{text}, {plural(pauses, 'pause')}" if pauses else text
    return "goal" if one.graph is None else f"workflow, {_size(one.graph)}"


def _size(graph: Graph) -> str:
    handlers = len(graph.handlers())
    levels = (max(graph.level) + 1) if graph.level else 0
    text = f"{plural(len(graph), 'task')} in {plural(levels, 'level')}"
    return f"{text}, {plural(handlers, 'handler')}" if handlers else text
