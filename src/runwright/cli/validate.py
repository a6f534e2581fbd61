"""Check workflow files: every error of every file, with its place and a suggestion. Nothing is written."""

import argparse
from collections.abc import Sequence

from msgspec import Struct

from runwright import wiring
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import find_workflow, relative
from runwright.cli.records import Record, plural, problem_record
from runwright.cli.render.problems import render_problems
from runwright.core.errors import DefinitionError, Problem
from runwright.core.graph import Graph, build
from runwright.core.workflow import Workflow

EXIT_INVALID = 2


class Check(Struct, frozen=True):
    """What came of one file; `workflow` is None if it has errors."""

    path: str
    workflow: Workflow | None
    graph: Graph | None
    errors: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `validate`."""
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="files or names of workflows; all of the project if none"
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
    """Load one file and build its graph."""
    try:
        path = find_workflow(name)
        loaded = wiring.load(path)
        graph = build(loaded.workflow)
    except DefinitionError as error:
        return Check(name, None, None, errors=[_placed(problem, name) for problem in error.problems])
    return Check(str(path), loaded.workflow, graph, warnings=loaded.warnings)


def _placed(problem: Problem, name: str) -> Problem:
    from msgspec.structs import replace  # noqa: PLC0415 - only for errors

    return problem if problem.file else replace(problem, file=name)


def check_record(one: Check) -> Record:
    """Return the result for one file."""
    return {
        "path": one.path,
        "valid": not one.errors,
        "name": one.workflow.name if one.workflow else None,
        "tasks": len(one.graph) if one.graph is not None else None,
        "errors": [problem_record(problem) for problem in one.errors],
        "warnings": [problem_record(problem) for problem in one.warnings],
    }


def show(checks: Sequence[Check], args: Arguments) -> None:
    """Print results: what is well on standard output, what is not on standard error."""
    out, err = args.out, args.err
    if not checks:
        out.line("no workflows here; `runwright init` starts a project")
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
    workflow, graph = one.workflow, one.graph
    if workflow is None or graph is None:
        return ""
    handlers = len(graph.handlers())
    levels = (max(graph.level) + 1) if graph.level else 0
    text = f"{plural(len(graph), 'task')} in {plural(levels, 'level')}"
    return f"{text}, {plural(handlers, 'handler')}" if handlers else text
