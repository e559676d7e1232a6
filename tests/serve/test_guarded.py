"""When a connection's patience ends, on a clock of the test's own; what it says then is tests/hazards' to see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from runtime.serve.asking import GIVEN_UP
from runtime.serve.guarded import LINGER_S, GuardedProtocol, Limits
from runtime.wire.errors import Problem

LIMITS = Limits()
BODY = json.dumps({"model": "m"}).encode()
REQUEST = b"POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
LONG = b"POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"


class Timer:
    def __init__(self, at_s: float, then: Callable[[], None]) -> None:
        self.at_s, self.then, self.is_cancelled = at_s, then, False

    def cancel(self) -> None:
        self.is_cancelled = True


class Task:
    def add_done_callback(self, _then: object) -> None:
        pass


class Loop:
    """Time that passes when told to; tasks are not run: the test answers in the application's place."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, then: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now_s + delay_s, then))
        return self.timers[-1]

    def create_task(self, work: Coroutine[object, object, None]) -> Task:
        work.close()
        return Task()

    def passes(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while due := [t for t in self.timers if not t.is_cancelled and t.at_s <= until_s]:
            timer = min(due, key=lambda t: t.at_s)
            self.timers.remove(timer)
            self.now_s = max(self.now_s, timer.at_s)
            timer.then()
        self.timers = [t for t in self.timers if not t.is_cancelled]
        self.now_s = until_s


class Transport(asyncio.Transport):
    """A socket whose other side is the test; `unsent` is what waits for its reader."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5000), "sockname": ("127.0.0.1", 8080)})
        self.unsent = 0
        self.written = b""
        self.is_reading_ = True
        self.end = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.is_reading_ = False

    def resume_reading(self) -> None:
        self.is_reading_ = True

    def is_closing(self) -> bool:
        return self.end in ("closed", "aborted")

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.end = "half closed"

    def close(self) -> None:
        self.end = self.end if self.is_closing() else "closed"

    def abort(self) -> None:
        self.end = "aborted"


async def nothing(scope: object, receive: object, send: object) -> None:
    """An application that is never run."""


@dataclass
class Bench:
    """A connection under test."""

    loop: Loop = field(default_factory=Loop)
    transport: Transport = field(default_factory=Transport)

    def __post_init__(self) -> None:
        config = uvicorn.Config(nothing, interface="asgi3", ws="none", log_config=None)
        config.load()
        self.protocol = GuardedProtocol(config, ServerState(), {}, self.loop)  # type: ignore[arg-type]
        self.protocol.connection_made(self.transport)

    @property
    def cycle(self) -> RequestResponseCycle:
        return self.protocol.cycle

    def answer(self, body: bytes = b"{}") -> None:
        """Answer the running request, as the application would."""
        running = self.protocol._running
        assert running is not None

        async def send() -> None:
            head = [(b"content-length", str(len(body)).encode())]
            await running.send({"type": "http.response.start", "status": 200, "headers": head})
            await running.send({"type": "http.response.body", "body": body, "more_body": False})

        with pytest.raises(StopIteration):
            send().send(None)

    def says(self, status: int) -> bool:
        return self.transport.written.startswith(b"HTTP/1.1 %d " % status)


def test_a_connection_that_never_speaks_is_closed_without_a_word() -> None:
    bench = Bench()
    bench.loop.passes(LIMITS.idle_s - 0.1)
    assert bench.transport.end == ""
    bench.loop.passes(0.2)
    assert (bench.transport.end, bench.transport.written) == ("closed", b"")


def test_a_head_has_its_time_from_its_first_byte() -> None:
    bench = Bench()
    bench.loop.passes(37)
    bench.protocol.data_received(REQUEST[:20])
    bench.loop.passes(LIMITS.head_s - 0.1)
    bench.protocol.data_received(REQUEST[20:30])
    assert bench.transport.written == b""
    bench.loop.passes(0.2)
    assert bench.says(408)
    assert bench.transport.end == "half closed"
    bench.protocol.data_received(b"what it says now is of no interest\r\n\r\n" * 10_000)
    bench.loop.passes(LINGER_S + 0.1)
    assert bench.transport.end == "aborted"
    assert bench.transport.written.count(b"HTTP/1.1") == 1


def test_a_later_head_has_its_own_time() -> None:
    bench = Bench()
    for _ in range(3):
        bench.protocol.data_received(REQUEST)
        bench.loop.passes(100)
        bench.answer()
        bench.loop.passes(60)
        bench.protocol.data_received(REQUEST[:20])
        bench.loop.passes(LIMITS.head_s - 0.1)
        assert bench.transport.end == ""
        bench.protocol.data_received(REQUEST[20:])
        bench.answer()
    bench.protocol.data_received(REQUEST[:20])
    bench.loop.passes(LIMITS.head_s + 0.1)
    assert b"HTTP/1.1 408 " in bench.transport.written


def test_a_body_must_get_on() -> None:
    bench = Bench()
    bench.protocol.data_received(LONG)
    for _ in range(10):
        bench.loop.passes(LIMITS.body_s - 11)  # a look may come 10 s late, never early
        bench.protocol.data_received(b"x" * 16 * 1024)
        bench.cycle.body.clear()
        bench.protocol.flow.resume_reading()
    assert GIVEN_UP not in bench.cycle.scope
    for _ in range(50):
        bench.loop.passes(1)
        bench.protocol.data_received(b"x" * 100)
    why = bench.cycle.scope[GIVEN_UP]  # type: ignore[typeddict-item]
    assert isinstance(why, Problem)
    assert why.status == 408
    assert bench.cycle.message_event.is_set()
    # An application that does not listen loses the connection.
    bench.loop.passes(2 * LIMITS.body_s)
    assert bench.transport.end == "aborted"


def test_a_body_that_we_do_not_read_is_not_slow() -> None:
    bench = Bench()
    bench.protocol.data_received(LONG + b"x" * 100_000)
    assert not bench.transport.is_reading_
    bench.loop.passes(1000)
    assert GIVEN_UP not in bench.cycle.scope


def test_small_requests_that_are_always_under_way_are_not_one_slow_body() -> None:
    bench = Bench()
    for _ in range(30):
        bench.protocol.data_received(REQUEST[:-1])
        bench.loop.passes(9)
        bench.protocol.data_received(REQUEST[-1:])
        bench.answer()
    assert bench.transport.end == ""
    assert bench.transport.written.count(b"HTTP/1.1 200") == 30


def test_the_rest_of_an_answered_request_is_not_read_for_ever() -> None:
    bench = Bench()
    bench.protocol.data_received(LONG)
    bench.answer()
    for _ in range(25):
        bench.loop.passes(1)
        bench.protocol.data_received(b"x" * 20_000)
    assert bench.transport.end == ""
    bench.loop.passes(15)
    assert bench.transport.end == "aborted"


def test_a_request_that_is_being_answered_may_take_its_time() -> None:
    bench = Bench()
    bench.protocol.data_received(REQUEST)
    bench.loop.passes(10_000)
    assert bench.transport.end == ""
    bench.answer()
    bench.loop.passes(LIMITS.idle_s - 0.1)
    assert bench.transport.end == ""
    bench.loop.passes(0.2)
    assert bench.transport.end == "closed"


def test_a_reader_that_takes_nothing_is_dropped() -> None:
    bench = Bench()
    bench.protocol.data_received(REQUEST)
    bench.transport.unsent = 70_000
    bench.protocol.pause_writing()
    bench.loop.passes(LIMITS.write_s - 0.1)
    assert bench.transport.end == ""
    bench.loop.passes(10.2)
    assert bench.transport.end == "aborted"


def test_a_reader_that_takes_a_little_now_and_then_is_not() -> None:
    bench = Bench()
    bench.protocol.data_received(REQUEST)
    bench.transport.unsent = 70_000
    bench.protocol.pause_writing()
    for _ in range(20):
        bench.loop.passes(LIMITS.write_s - 11)
        bench.transport.unsent -= 1000
    assert bench.transport.end == ""


def test_a_reader_that_let_more_be_written_has_taken_some() -> None:
    bench = Bench()
    bench.protocol.data_received(REQUEST)
    for number in range(20):
        bench.transport.unsent = 70_000 + number
        bench.protocol.pause_writing()
        bench.loop.passes(LIMITS.write_s - 11)
        bench.protocol.resume_writing()
    assert bench.transport.end == ""


def test_what_waits_may_grow_while_there_is_room() -> None:
    bench = Bench()
    bench.protocol.data_received(REQUEST)
    for _ in range(20):
        bench.transport.unsent += 100
        bench.loop.passes(LIMITS.write_s)
    assert bench.transport.end == ""


@pytest.mark.parametrize("is_closing", [False, True])
def test_the_end_of_an_answer_that_is_not_taken_does_not_hold_the_connection(is_closing: bool) -> None:
    bench = Bench()
    bench.protocol.data_received(REQUEST)
    bench.transport.unsent = 100
    bench.answer()
    if is_closing:
        bench.transport.close()
    bench.loop.passes(LIMITS.write_s + 10.2)
    assert bench.transport.end == "aborted"


def test_there_is_one_timer_and_it_ends_with_the_connection() -> None:
    bench = Bench()
    for _ in range(100):
        bench.protocol.data_received(REQUEST)
        bench.answer()
        assert len(bench.loop.timers) == 1
        bench.loop.passes(1)
    bench.protocol.data_received(b"\0\0\0")
    bench.loop.passes(1)
    assert len(bench.loop.timers) == 1
    bench.protocol.connection_lost(None)
    bench.loop.passes(100)
    assert bench.loop.timers == []


def test_a_second_head_is_measured_by_itself() -> None:
    bench = Bench()
    large = b"POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n" + b"x" * 60_000
    for _ in range(3):
        bench.protocol.data_received(large)
        bench.answer()
    bench.protocol.data_received(REQUEST[:20])
    bench.protocol.data_received(REQUEST[20:])
    bench.answer()
    assert bench.transport.written.count(b"HTTP/1.1 200") == 4
    bench.protocol.data_received(REQUEST[:20])
    bench.protocol.data_received(b"ost: x\r\nx: " + b"y" * 66_000)
    assert b"HTTP/1.1 431" in bench.transport.written


def test_nonsense_in_the_rest_of_an_answered_request_closes_without_a_second_answer() -> None:
    bench = Bench()
    bench.protocol.data_received(b"POST /v1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    bench.answer()
    bench.protocol.data_received(b"nonsense\r\n")
    assert bench.transport.end == "closed"
    assert bench.transport.written.count(b"HTTP/1.1") == 1


def test_reading_goes_on_after_an_answer_that_did_not_wait_for_the_body() -> None:
    bench = Bench()
    body = b"x" * 200_000
    bench.protocol.data_received(b"POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n" + body[:100_000])
    assert not bench.transport.is_reading_
    bench.answer()
    assert bench.transport.is_reading_
    bench.protocol.data_received(body[100_000:])
    bench.protocol.data_received(REQUEST)
    bench.answer()
    assert bench.transport.written.count(b"HTTP/1.1 200") == 2
    assert bench.transport.end == ""
