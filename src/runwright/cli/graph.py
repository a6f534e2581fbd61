"""Draw a workflow or a run: as a tree for the terminal, Mermaid, DOT, JSON, SVG, a page, or a run's timeline."""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from runwright import wiring
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import Reading, now, with_reading
from runwright.cli.render.drafting import draft
from runwright.cli.render.picture import Limits, Picture, Wishes
from runwright.cli.render.record import Record
from runwright.cli.render.terminal import Out
from runwright.core.definition import unpin
from runwright.core.errors import Problem, RunNotFound, UsageError
from runwright.core.graph import Graph, build
from runwright.core.states import RunState

FORMATS = ("ascii", "mermaid", "dot", "json", "svg", "html", "timeline")
BY_SUFFIX: Mapping[str, str] = {
    ".txt": "ascii",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
    ".json": "json",
    ".svg": "svg",
    ".html": "html",
    ".htm": "html",
}
RUN_ID = re.compile(r"latest|[0-9a-fA-F][0-9a-fA-F-]*")


class Subject(Struct, frozen=True):
    """What to draw: a graph, and the record of a run of it if that is wanted."""

    graph: Graph
    record: Record | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `graph`."""
    parser.add_argument(
        "subject",
        metavar="FILE|NAME|RUN",
        help="a workflow by file or name; else a run by the beginning of its id, or `latest`",
    )
    parser.add_argument(
        "-f", "--format", choices=FORMATS, help="how to draw it; by default as -o's name ends, else ascii"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write to this file, - for standard output")
    parser.add_argument("-d", "--detail", action="store_true", help="also descriptions, commands, settings")
    parser.add_argument(
        "--critical-path",
        action="store_true",
        help="mark the longest chain; of a run, what took longest is always marked",
    )
    parser.add_argument("--matrix", action="store_true", help="show every node of a matrix")
    parser.add_argument("--handlers", action="store_true", help="also what runs on failure")
    add_json(parser)


def execute(args: Arguments) -> int:
    """Draw a workflow or a run."""
    chosen = chosen_format(args)
    subject = find(args)
    if chosen == "timeline" and subject.record is None:
        raise usage("a timeline needs a run, not a workflow", "give a run id or `latest`")
    if args.output in {None, "-"}:
        write(subject, chosen, args, args.out)
        return 0
    path = Path(args.output)
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        write(subject, chosen, args, Out(stream))
    args.err.line(f"wrote {args.err.clean(str(path))}")
    return 0


def chosen_format(args: Arguments) -> str:
    """Return the format: as asked for, as the output's name ends, or ascii."""
    if args.json:
        return "json"
    suffix = Path(args.output).suffix.lower() if args.output else ""
    return args.format or BY_SUFFIX.get(suffix, "ascii")


def usage(message: str, suggestion: str) -> UsageError:
    """Return an error about what was asked for."""
    return UsageError((Problem(message=message, suggestion=suggestion),))


def find(args: Arguments) -> Subject:
    """Return what is to be drawn; a workflow's file or name goes before a run.

    Raises:
        UsageError: If there is neither.
    """
    try:
        path = wiring.find_workflow(args.subject)
    except UsageError:
        if not RUN_ID.fullmatch(args.subject):
            raise
        return _find_run(args)
    return Subject(build(wiring.load(path).workflow), None)


def _find_run(args: Arguments) -> Subject:
    async def work(state: Reading) -> Subject:
        return await subject_of_run(state, args.subject)

    try:
        return with_reading(args, work)
    except RunNotFound as missing:
        raise usage(
            f'there is neither a workflow nor a run "{args.subject}"',
            "`runwright list` and `runwright runs` show those there are",
        ) from missing


async def subject_of_run(state: Reading, prefix: str) -> Subject:
    """Read a run with everything that a drawing of it shows.

    Raises:
        RunNotFound: If there is no such run.
        UsageError: If it has no graph.
    """
    run = await state.store.find_run(prefix)
    if run.kind != "workflow":
        raise usage(f"run {run.id} is a {run.kind}, which has no graph", f"see `runwright inspect {prefix}`")
    workflow = unpin(await state.store.definition(run.definition))
    record = Record(
        run=run,
        tasks=await state.store.tasks(run.id),
        attempts=await state.store.attempts(run.id),
        now=run.ended_at or now(),
    )
    return Subject(build(workflow), until_known(record))


def until_known(record: Record) -> Record:
    """Return the record of an interrupted run measured up to when its engine was last known to live."""
    run = record.run
    if run.state is not RunState.INTERRUPTED or run.lease_expires_at is None:
        return record
    known = [one.ended_at or one.started_at for one in record.attempts]
    last = max([min(record.now, run.lease_expires_at), *known])
    return Record(run=run, tasks=record.tasks, attempts=record.attempts, now=last)


def write(subject: Subject, chosen: str, args: Arguments, out: Out) -> None:
    """Draw in one format onto a stream."""
    critical = args.critical_path or subject.record is not None
    if chosen == "json":
        from runwright.cli.render import graph_json  # noqa: PLC0415 - only the one that is asked for

        out.write(graph_json.render(subject.graph, subject.record, critical=critical))
    elif chosen == "timeline" and subject.record is not None:
        from runwright.cli.render import timeline  # noqa: PLC0415

        out.write(timeline.render(subject.graph, subject.record))
    else:
        limits, render = renderer(chosen, out)
        wishes = Wishes(detail=args.detail, critical=critical, unfold=args.matrix, handlers=args.handlers)
        out.lines(render(draft(subject.graph, wishes, limits, subject.record)))


def renderer(chosen: str, out: Out) -> tuple[Limits, Callable[[Picture], Iterable[str]]]:
    """Return the limits of a format that draws pictures, and what draws them, line by line."""
    if chosen == "mermaid":
        from runwright.cli.render import graph_mermaid  # noqa: PLC0415

        return graph_mermaid.LIMITS, graph_mermaid.render
    if chosen == "dot":
        from runwright.cli.render import graph_dot  # noqa: PLC0415

        return graph_dot.LIMITS, graph_dot.render
    if chosen == "svg":
        from runwright.cli.render import graph_svg  # noqa: PLC0415

        return graph_svg.LIMITS, lambda picture: graph_svg.render(picture).splitlines()
    if chosen == "html":
        from runwright.cli.render import graph_html  # noqa: PLC0415

        return graph_html.LIMITS, lambda picture: graph_html.render(picture).splitlines()
    from runwright.cli.render import graph_ascii  # noqa: PLC0415

    return graph_ascii.LIMITS, lambda picture: graph_ascii.render(picture, out)
