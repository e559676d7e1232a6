"""What counts as waiting for providers, and what as the router's own time."""

from __future__ import annotations

import pytest

from runtime.dispatch.transport import Outgoing, Response
from tests.serve.desk import Desk
from tests.serve.fakes import FakeResponse

WHOLE = b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'  # noqa: E501
JSON = ((b"content-type", b"application/json"),)


class Clock:
    """Moves only when told to."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Slow:
    """Fails first, after a long while; answers then, its head and its body after a long while each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.asked = 0

    async def send(self, request: Outgoing) -> Response:
        self.asked += 1
        self._clock.now_s += 100
        return FakeResponse(503, JSON, b"{}") if self.asked == 1 else SlowBody(self._clock)

    async def aclose(self) -> None:
        pass


class SlowBody(FakeResponse):
    is_complete = False

    def __init__(self, clock: Clock) -> None:
        super().__init__(200, JSON, WHOLE)
        self._clock = clock

    async def read(self) -> bytes:
        self._clock.now_s += 100
        return await super().read()


def test_waiting_for_providers_is_not_overhead(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", clock)
    slow = Slow(clock)
    desk = Desk(transports={"sim": slow})
    answer = desk.post()
    assert answer.status == 200
    assert slow.asked == 2
    assert clock.now_s >= 1300
    assert float(answer.headers["x-pointsman-overhead-ms"]) == 0


def test_the_routers_own_time_is_overhead(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", clock)
    desk = Desk()

    def slow_draw() -> float:
        clock.now_s += 0.25
        return 0.0

    desk.router.draw = slow_draw
    assert desk.post().headers["x-pointsman-overhead-ms"] == "250.000"
