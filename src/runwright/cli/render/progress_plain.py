"""Progress as plain lines, for pipes, files and people who like them."""

from runwright.cli.render.progress import Kind, Progress, label, output_lines, path_of
from runwright.cli.render.terminal import Out
from runwright.cli.render.times import duration
from runwright.cli.render.writer import Writer
from runwright.core.events import ProgressEvent
from runwright.core.states import TaskRole, TaskState


class PlainView:
    """One line for each thing that happens.

    Args:
        out: Where to.
        title: First line's text, the run's id is added.
    """

    listens = True

    def __init__(self, out: Out, title: str) -> None:
        self._out = out
        self._title = out.clean(title)
        self._writer = Writer(out)
        self._progress = Progress()

    def event(self, event: ProgressEvent) -> None:
        """Write the event's line."""
        progress = self._progress.fold(event)
        if event.kind is Kind.TASK_OUTPUT:
            for line in output_lines(event, self._out):
                self._writer.line(line)
            return
        text = self._line(event, progress)
        if text:
            self._writer.line(text)

    def note(self, text: str) -> None:
        """Write a line."""
        self._writer.line(text)

    def close(self) -> None:
        """Wait until all lines are written."""
        self._writer.close()

    def abandon(self) -> None:
        """Leave what is not written yet."""

    def _line(self, event: ProgressEvent, progress: Progress) -> str:
        out, kind = self._out, event.kind
        if kind is Kind.RUN_STARTED:
            begins = f"{out.paint(out.mark('start'), 'live')} {self._title}  run {event.run_id}"
            return "" if event.within else begins
        name = path_of(event, label(event.task_id, event.task_name, event.role), out)
        if kind is Kind.TASK_STARTED:
            again = f"  attempt {event.attempt}" if event.attempt > 1 else ""
            return f"{self._begin(event.role)} {name}{again}"
        if kind is Kind.TASK_RETRYING:
            wait = f" in {duration(event.delay)}" if event.delay else ""
            text = f"{name}  attempt {event.attempt} failed: {out.clean(event.error)}; again{wait}"
            return f"{out.paint(out.mark('retry'), 'warn')} {text}"
        if kind in {Kind.TASK_DONE, Kind.TASK_FAILED}:
            return self._end(event, name, progress)
        return ""

    def _begin(self, role: TaskRole) -> str:
        out = self._out
        return out.paint(out.mark("undo"), "live") if role is TaskRole.CLEANUP else out.state_mark("running")

    def _end(self, event: ProgressEvent, name: str, progress: Progress) -> str:
        state = (progress.states.get(event.task_id) or TaskState.SUCCEEDED).value
        spent = duration(progress.spent.get(event.task_id))
        why = self._out.clean(event.error)
        return "  ".join(part for part in (f"{self._out.state_mark(state)} {name}", spent, why) if part)
