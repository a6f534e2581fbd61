"""The hash chain of a run's events: nothing in the log can be edited, removed, inserted or reordered unseen.

Each link is the BLAKE3 digest of the link before it and of the canonical JSON of ``[seq, run id, event]``. The first
link hangs on the run's id and the instant of its creation, so a log can't be moved to another run either.

Source: the chained log entries of Haber and Stornetta, "How to time-stamp a digital document" (1991).
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from blake3 import blake3
from msgspec.json import Decoder, Encoder

from runwright.core.events import AnyEvent

_ENCODER = Encoder(order="deterministic")
_DECODER: Decoder[AnyEvent] = Decoder(AnyEvent)


def instant(at: datetime) -> str:
    """Return an instant as text of one width, in UTC with microseconds, so that texts sort as instants do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def canonical(events: Sequence[AnyEvent]) -> list[bytes]:
    r"""Return the canonical JSON of each event: keys in a fixed order, no white space, never a raw ``\n``.

    Raises:
        TypeError: If a value in an event is no plain data.
        ValueError: If a text has no UTF-8 form.
    """
    return _ENCODER.encode_lines(events).split(b"\n")[:-1]


def decode(bodies: Sequence[bytes]) -> list[AnyEvent]:
    """Return the events of their canonical JSON.

    Raises:
        msgspec.DecodeError: If one of them is not an event; `msgspec.ValidationError` is one.
    """
    return [_DECODER.decode(body) for body in bodies]


def genesis(run_id: str, created_at: datetime) -> bytes:
    """Return the link before the first event."""
    return blake3(f"runwright run {run_id} created {instant(created_at)}".encode()).digest()


def links(previous: bytes, first_seq: int, run_id: str, bodies: Sequence[bytes]) -> list[bytes]:
    """Return the links of events that follow `previous`, the first of them numbered `first_seq`."""
    middle = b',"%s",' % run_id.encode()
    made = []
    for seq, body in enumerate(bodies, first_seq):
        previous = blake3(b"%b[%d%b%b]" % (previous, seq, middle, body)).digest()
        made.append(previous)
    return made
