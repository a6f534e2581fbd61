"""The proxy of the chaos tests: each fault does to a request what it says."""

import asyncio
import json
import random
import time

import pytest
from faulty_proxy import CALM, Fault, FaultyProxy, Weather, read_message
from queue_history import Word

LEASE = "Authorization: Bearer t1\r\n"


class Recorder:
    """A server that keeps what it is asked, and gives out job 7."""

    def __init__(self):
        self.whole = []
        self.broken = []
        self.status = 204
        self.answering = asyncio.Event()
        self.answering.set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            request = await read_message(reader)
        except asyncio.IncompleteReadError as error:
            self.broken.append(error.partial)
            writer.close()
            return
        self.whole.append(request)
        await self.answering.wait()
        writer.write(self._answer(request.first_line[1]))
        writer.close()

    def _answer(self, path):
        if not path.endswith("dequeue"):
            return f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\n\r\n".encode()
        body = json.dumps({"id": 7, "token": "t1"})
        return (
            f"HTTP/1.1 200 OK\r\nRunwright-Attempt: 3\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )


def asked(path, more=""):
    return f"POST /queue/{path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: 4\r\n\r\nbody".encode()


async def ask(proxy, *requests):
    """Send requests on one connection; return the bytes of the answers until it ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    answers = []
    try:
        for request in requests:
            writer.write(request)
            answers.append((await read_message(reader)).first_line[1])
    except (asyncio.IncompleteReadError, ConnectionError):
        answers.append(None)
    writer.close()
    return answers


async def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def weathered(recorder, *faults, longest=0.05):
    proxy = await FaultyProxy(recorder.port, random.Random(1)).start()
    proxy.weather = Weather(1.0, faults, longest) if faults else CALM
    return proxy


@pytest.mark.parametrize(
    ("faults", "answers", "arrived"),
    [
        ((), ["204", "204"], 2),
        ((Fault.DROPPED,), [None], 0),
        ((Fault.UNANSWERED,), [None], 1),
        ((Fault.DELAYED,), ["204", "204"], 2),
        ((Fault.DOUBLED,), ["204", "204"], 4),
        ((Fault.REPLAYED,), ["204", "204"], 4),
        ((Fault.CUT,), [None], 0),
        ((Fault.ANSWER_CUT,), [None], 1),
    ],
    ids=str,
)
def test_a_fault_does_what_it_says(faults, answers, arrived):
    async def work():
        async with Recorder() as recorder:
            proxy = await weathered(recorder, *faults)
            assert await ask(proxy, asked("heartbeat"), asked("heartbeat")) == answers
            await until(lambda: len(recorder.whole) == arrived)
            if faults == (Fault.CUT,):
                await until(lambda: recorder.broken)
                assert asked("heartbeat").startswith(recorder.broken[0])
            assert {request.whole for request in recorder.whole} <= {asked("heartbeat")}
            assert proxy.counts[faults[0] if faults else Fault.NONE] == len(answers)
            await proxy.close()

    asyncio.run(work())


def test_it_knows_the_leases_and_the_last_words_that_were_taken():
    async def work():
        async with Recorder() as recorder:
            proxy = await weathered(recorder)
            assert await ask(proxy, asked("dequeue"), asked("markComplete", LEASE)) == ["200", "204"]
            assert proxy.leases == {"t1": (7, 3)}
            assert proxy.token_of(7, 3) == "t1"
            recorder.status = 404
            assert await ask(proxy, asked("markFailed", LEASE), asked("markComplete", LEASE)) == [
                "404",
                "404",
            ]
            assert proxy.words() == [Word(7, 3, "markComplete", True), Word(7, 3, "markFailed", False)]
            recorder.status = 500
            await ask(proxy, asked("heartbeat"))
            assert len(proxy.troubles) == 1
            await proxy.close()

    asyncio.run(work())


def test_what_its_client_does_not_wait_for_is_broken_off():
    async def work():
        async with Recorder() as recorder:
            recorder.answering.clear()
            proxy = await weathered(recorder)
            _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(asked("heartbeat"))
            await until(lambda: recorder.whole)
            writer.close()
            await until(lambda: not proxy._tasks)
            recorder.answering.set()
            assert not proxy.statuses
            await proxy.close()

    asyncio.run(work())


def test_without_a_server_connections_end():
    async def work():
        async with Recorder() as recorder:
            proxy = await weathered(recorder)
        assert await ask(proxy, asked("heartbeat")) == [None]
        await proxy.close()

    asyncio.run(work())


def test_the_same_seed_chooses_the_same_faults():
    async def drawn():
        proxy = FaultyProxy(1, random.Random(7))
        proxy.weather = Weather(0.1)
        return [proxy._draw() for _ in range(200)], proxy.counts

    (first, counts), (second, _) = asyncio.run(drawn()), asyncio.run(drawn())
    assert first == second
    assert set(counts) == set(Fault)
