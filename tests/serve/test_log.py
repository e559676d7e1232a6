"""Log lines reach their stream without ever holding up a request."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping
from functools import cache

import pytest

from runtime.serve.lines import HeldLines, LineWriter
from runtime.serve.log import ConsoleLog, JsonLog
from runtime.serve.settings import Settings
from tests.serve.desk import PATH, Desk


class Stuck(io.RawIOBase):
    """A pipe whose reader has stopped reading, until told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.waiting = threading.Event()
        self.written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.waiting.set()
        assert self.go_on.wait(10)
        assert isinstance(data, memoryview)
        self.written.append(bytes(data))
        return len(data)


class Broken(io.RawIOBase):
    """A pipe that nobody reads any more."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise BrokenPipeError


def test_lines_come_out_in_order() -> None:
    stream = io.BytesIO()
    lines = LineWriter(stream)
    for number in range(100):
        lines.write(b"%d\n" % number)
    lines.close()
    assert stream.getvalue() == b"".join(b"%d\n" % number for number in range(100))


def test_a_stream_that_blocks_costs_lines_and_never_a_wait() -> None:
    stream = Stuck()
    lines = LineWriter(stream, backlog_lines=2)
    lines.write(b"in the pipe\n")
    assert stream.waiting.wait(10)
    for _ in range(5):
        lines.write(b"more\n")
    assert lines.dropped == 3
    stream.go_on.set()
    lines.close()
    assert b"".join(stream.written) == b"in the pipe\nmore\nmore\n"


def test_a_stream_that_fails_costs_lines_and_nothing_else() -> None:
    lines = LineWriter(Broken())
    lines.write(b"lost\n")
    lines.close()
    assert lines.dropped == 1


def test_a_pipe_that_takes_a_line_in_pieces_gets_all_of_it() -> None:
    class Narrow:
        got = b""

        def write(self, data: memoryview) -> int:
            self.got += bytes(data[:3])
            return len(data[:3])

    narrow = Narrow()
    lines = LineWriter(narrow)
    lines.write(b"a whole line\n")
    lines.close()
    assert narrow.got == b"a whole line\n"
    assert lines.dropped == 0


def test_a_stream_that_would_wait_costs_the_line() -> None:
    class Full:
        def write(self, data: memoryview) -> None:
            return None

    lines = LineWriter(Full())
    lines.write(b"lost\n")
    lines.close()
    assert lines.dropped == 1


def test_held_lines_come_out_when_nobody_waits() -> None:
    stream = io.BytesIO()
    lines = HeldLines(stream)
    lines.write(b"one\n")
    lines.write(b"two\n")
    assert stream.getvalue() == b""
    lines.flush()
    lines.write(b"three\n")
    lines.close()
    assert stream.getvalue() == b"one\ntwo\nthree\n"


def test_held_lines_of_a_stream_that_fails_are_counted() -> None:
    lines = HeldLines(Broken())
    lines.write(b"one\n")
    lines.flush()
    lines.flush()
    assert lines.dropped == 1


def test_closing_without_a_line_is_nothing() -> None:
    LineWriter(io.BytesIO()).close()


def test_json_lines_say_how_many_were_lost_before_them() -> None:
    stream = io.BytesIO()
    log = JsonLog(LineWriter(stream))
    log({"event": "request", "status": 200})
    log.lines.dropped = 7
    log({"event": "request", "status": 200})
    log.close()
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert "log_dropped" not in first
    assert second["log_dropped"] == 7


# --- for a person ---------------------------------------------------------------------------------


def line(event: Mapping[str, object], *, color: bool = False) -> str:
    stream = io.BytesIO()
    log = ConsoleLog(LineWriter(stream), color=color)
    log(event)
    log.close()
    text = stream.getvalue().decode()
    assert text.endswith("\n")
    return text[:-1]


@cache
def events() -> dict[str, Mapping[str, object]]:
    desk = Desk()
    desk.post()
    found = {"plain": desk.log.last}
    desk.post(stream=True)
    found["stream"] = desk.log.last
    desk.post(user="mallory")
    found["rejected"] = desk.log.last
    desk.post({"model": "gone", "messages": [{"role": "user", "content": "x"}]})
    found["exhausted"] = desk.log.last
    desk.post(raw=b"{")
    found["broken"] = desk.log.last
    desk.get("/x\x1b[31m\n")
    found["hostile"] = desk.log.last
    desk.ask("POST", PATH, chunks=[b"{"], leaves=True)
    found["gone"] = desk.log.last
    return found


def test_a_request_is_one_readable_line() -> None:
    text = line(events()["plain"])
    assert " 200 " in text
    assert "otherwise → small@one" in text
    assert " tokens" in text
    assert "$0.0000" in text
    assert "\x1b" not in text


def test_a_stream_says_when_its_first_token_came() -> None:
    assert "first token" in line(events()["stream"])


def test_failures_say_what_was_tried() -> None:
    text = line(events()["exhausted"])
    assert "gone@dead: connect, gone@dead: connect" in text
    assert "exhausted" in text
    assert "banned → rejected_by_policy" in line(events()["rejected"])
    assert "invalid_json" in line(events()["broken"])
    assert "client gone" in line(events()["gone"])


@pytest.mark.parametrize("name", ["plain", "stream", "rejected", "exhausted", "broken", "hostile", "gone"])
def test_every_line_is_one_line(name: str) -> None:
    assert "\n" not in line(events()[name], color=True)


def test_a_client_cannot_paint_on_the_operators_terminal() -> None:
    assert "\x1b" not in line(events()["hostile"])


def test_other_events_are_told_in_full() -> None:
    text = line({"event": "internal_error", "error": "KeyError", "trace": "  File x\n  File y"})
    assert text.splitlines() == ["internal_error  error KeyError", "  File x", "  File y"]


def test_facts_are_in_a_line_only_where_the_operator_wants_them() -> None:
    assert "facts" not in events()["plain"]
    desk = Desk(settings=Settings(log_facts=True))
    desk.post(headers={"x-country": "de", "authorization": "Bearer secret"})
    facts = desk.log.last["facts"]
    assert isinstance(facts, dict)
    assert facts["header.x-country"] == "de"
    assert facts["task"] == "chat"
    assert facts["user"] is None
    assert not {"prompt.text", "header.authorization"} & facts.keys()
