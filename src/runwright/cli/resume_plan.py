"""What a resume of a plan cleans up and runs, said before it does."""

from collections.abc import Iterator, Mapping

from runwright.cli.drive import Engine
from runwright.cli.records import Record
from runwright.cli.render.terminal import Out
from runwright.cli.resume import Intent, head_line, section
from runwright.core.options import RunOptions
from runwright.core.run import Run
from runwright.engines.plan_prepare import Resumption


async def intent_of_plan(engine: Engine, run: Run, options: RunOptions, *, go_on: bool) -> Intent:
    """Return what a resume of a plan's run is going to do.

    Raises:
        UsageError: If there is nothing to do.
    """
    found = await engine.plan_cleanup(run.id, options, go_on=go_on)
    return Intent(
        run=_names(found, found.decided.todo),
        reused=_names(found, found.decided.stands),
        record=_record(found),
        lines=lambda shown, out: _lines(found, shown, out),
    )


def _names(found: Resumption, indices: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(found.definition.elements[index].name for index in indices)


def _reasons(found: Resumption, indices: tuple[int, ...]) -> Mapping[str, str]:
    elements, reasons = found.definition.elements, found.decided.reasons
    return {elements[index].name: reasons.get(index, "") for index in indices}


def _record(found: Resumption) -> Record:
    decided = found.decided
    return {
        "run_id": found.run.id,
        "clean_up": dict(_reasons(found, decided.undo[::-1])),
        "redo": dict(_reasons(found, decided.todo)),
        "reuse": list(_names(found, decided.stands)),
        "lost": dict(found.log.lost),
    }


def _lines(found: Resumption, shown_id: str, out: Out) -> Iterator[str]:
    decided = found.decided
    yield head_line(found.run, shown_id, out)
    if decided.undo:
        yield from section("clean up", _reasons(found, decided.undo[::-1]), "live", out, "step")
    if decided.stands:
        standing = dict.fromkeys(_names(found, decided.stands), "it stands, and is cleaned up at the end")
        yield from section("reuse", standing, "good", out, "step")
    if decided.todo:
        yield from section("run", _reasons(found, decided.todo), "live", out, "step")
    for name, why in found.log.lost.items():
        yield f"  {out.paint('lost', 'warn')} state value {out.clean(name)}: {out.clean(why)}"
