"""Draw a workflow or a run: as a tree for the terminal, Mermaid, DOT, JSON, SVG, a page, or a run's timeline."""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from runwright import wiring
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import Reading, is_module, now, with_reading
from runwright.cli.inspect import gather
from runwright.cli.render.drafting import draft_subject
from runwright.cli.render.picture import Limits, Picture, Wishes
from runwright.cli.render.subject import Subject
from runwright.cli.render.terminal import Out
from runwright.cli.subjects import plan_subject, subject_of
from runwright.core.errors import Problem, RunNotFound, UsageError
from runwright.core.graph import build

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


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `graph`."""
    parser.add_argument(
        "subject",
        metavar="FILE|NAME|RUN",
        help="a workflow or plan by file or name; else a run by the beginning of its id, or `latest`",
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
    if is_module(args.subject):
        return Subject(graph=build(wiring.load_flow(args.subject, Path.cwd()).workflow))
    try:
        path = wiring.find_workflow(args.subject)
    except UsageError:
        if not RUN_ID.fullmatch(args.subject):
            raise
        return _find_run(args)
    return find_definition(path)


def find_definition(path: Path) -> Subject:
    """Read a workflow or a plan from its file.

    Raises:
        DefinitionError: With every fault of the file.
        UsageError: If it holds a goal: only its runs have something to draw.
    """
    kind = wiring.kind_of(path)
    if kind == "plan":
        return plan_subject(wiring.load_plan(path).definition)
    if kind == "goal":
        raise usage(
            f"{path} is a goal, which has no graph before it runs", "draw a run of it, for instance `latest`"
        )
    return Subject(graph=build(wiring.load(path).workflow))


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
    """Read a run, and the runs within it, with everything that a drawing of them shows.

    Raises:
        RunNotFound: If there is no such run.
    """
    run = await state.store.find_run(prefix)
    return subject_of(await gather(state.store, run), now())


def write(subject: Subject, chosen: str, args: Arguments, out: Out) -> None:
    """Draw in one format onto a stream."""
    critical = args.critical_path or subject.record is not None
    if chosen == "json":
        from runwright.cli.render import graph_json  # noqa: PLC0415 - only the one that is asked for

        out.write(graph_json.render_subject(subject, critical=critical))
    elif chosen == "timeline" and subject.record is not None:
        from runwright.cli.render import timeline  # noqa: PLC0415

        out.write(timeline.render_subject(subject, subject.record))
    else:
        limits, render = renderer(chosen, out)
        wishes = Wishes(detail=args.detail, critical=critical, unfold=args.matrix, handlers=args.handlers)
        out.lines(render(draft_subject(subject, wishes, limits)))


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
