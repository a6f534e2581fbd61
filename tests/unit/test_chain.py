"""The hash chain, as a pure function of events."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from blake3 import blake3

from runwright.core.chain import canonical, decode, genesis, instant, links
from runwright.core.events import CancelRequested, RunEnded, TaskEnded
from runwright.core.states import RunState, TaskState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENTS = [
    CancelRequested(at=NOW, reason="a\nb\u2028"),
    TaskEnded(
        at=NOW,
        task_id="a",
        attempt=1,
        state=TaskState.SUCCEEDED,
        value={"b": 1, "a": [2]},
        variables={"z": "", "y": ""},
    ),
    RunEnded(at=NOW, state=RunState.SUCCEEDED),
]


def test_equal_events_have_equal_bytes_whatever_the_order_of_their_keys():
    value = {"a": [2], "b": 1}
    other = msgspec.structs.replace(EVENTS[1], value=value, variables={"y": "", "z": ""})
    assert canonical([other]) == canonical(EVENTS[1:2])


def test_events_come_back_and_none_spans_lines():
    bodies = canonical(EVENTS)
    assert len(bodies) == 3
    assert not any(b"\n" in body for body in bodies)
    assert decode(bodies) == EVENTS
    assert canonical([]) == []


def test_a_link_covers_number_run_event_and_everything_before():
    first = genesis("r1", NOW)
    bodies = canonical(EVENTS)
    made = links(first, 1, "r1", bodies)
    assert made[0] == blake3(first + b'[1,"r1",' + bodies[0] + b"]").digest()
    assert links(made[0], 2, "r1", bodies[1:]) == made[1:]
    assert len({*made, *links(first, 2, "r1", bodies), *links(first, 1, "r2", bodies)}) == 9
    assert links(first, 1, "r1", [bodies[1], bodies[0], bodies[2]])[2] != made[2]


def test_the_beginning_depends_on_the_run_and_its_creation():
    assert len({genesis("r1", NOW), genesis("r2", NOW), genesis("r1", NOW + timedelta(microseconds=1))}) == 3
    abroad = NOW.astimezone(timezone(timedelta(hours=5)))
    assert genesis("r1", abroad) == genesis("r1", NOW)


def test_instants_sort_as_texts():
    instants = [NOW + timedelta(microseconds=step) for step in (0, 1, 999_999, 1_000_000)]
    texts = [instant(each) for each in instants]
    assert texts == sorted(texts)
    assert texts[0] == "2026-03-01T12:00:00.000000Z"


def test_what_has_no_json_is_refused():
    with pytest.raises(TypeError):
        canonical([TaskEnded(at=NOW, task_id="a", attempt=1, state=TaskState.FAILED, value=object())])
    with pytest.raises(ValueError, match="surrogates"):
        canonical([CancelRequested(at=NOW, reason="\udc80")])
    with pytest.raises(msgspec.DecodeError):
        decode([b'{"kind":"never"}'])
