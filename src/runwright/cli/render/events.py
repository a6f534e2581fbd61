"""What an event says, in words where its fields alone would not be read easily."""

import msgspec

from runwright.core.events import AnyEvent, RoundPlanned, StateSaved


def in_words(event: AnyEvent) -> str:
    """Return what an event of a plan's state or of a goal's round says; empty for events of other kinds."""
    if isinstance(event, StateSaved):
        return _state(event)
    return _round(event) if isinstance(event, RoundPlanned) else ""


def _state(event: StateSaved) -> str:
    parts = [f"{name} = {text}" for name, text in event.values.items()]
    parts += [f"{name} is no more" for name in event.removed if name not in event.lost]
    parts += [f"{name} is lost: {why}" for name, why in event.lost.items()]
    return ", ".join(parts) or "nothing changed"


def _round(event: RoundPlanned) -> str:
    head = f"round {event.round}"
    if event.failure is not None:
        return f"{head}: the goal could not say what it needs: {event.failure.message}"
    if not event.actions:
        return f"{head}: nothing is needed, the goal is reached"
    return f"{head} needs {', '.join(msgspec.json.encode(name).decode() for name in event.actions)}"
