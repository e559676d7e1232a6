"""A dispatcher between scripted providers and a fake client, with a clock that stands still until told."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import msgspec

from router_dsl.plan import DEFAULT_OPTIONS, Endpoint, Model, Options, Program, Provider, Shadow
from runtime.decision.facts import Call
from runtime.decision.route import Candidate, Route
from runtime.dispatch.dispatcher import Dispatcher
from runtime.dispatch.httpx_transport import HttpxTransport
from runtime.dispatch.pool import Http1Transport
from runtime.dispatch.record import Client, Note, Record
from runtime.dispatch.transport import Outgoing, Response, Transport
from runtime.health.health import Health
from runtime.wire import request as wire_request
from tests.providers import scripted
from tests.providers.client import FakeClient

KEYS = {"KEY": "provider-key"}
UNARY: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM: dict[str, object] = {**UNARY, "stream": True}


@dataclass
class _Alarm:
    at_s: float
    then: Callable[[], None]
    is_off: bool = False

    def cancel(self) -> None:
        self.is_off = True


@dataclass
class Moment:
    """A clock that moves when told."""

    at_s: float = 1000.0
    alarms: list[_Alarm] = field(default_factory=list)
    rung: asyncio.Event = field(default_factory=asyncio.Event)

    def now_s(self) -> float:
        return self.at_s

    def ring(self, at_s: float, then: Callable[[], None]) -> _Alarm:
        alarm = _Alarm(at_s, then)
        self.alarms.append(alarm)
        self.rung.set()
        return alarm

    async def until_next_at(self, at_s: float) -> None:
        """Wait until the next alarm is set for that instant."""
        while self.next_s is None or abs(self.next_s - at_s) > 1e-6:
            self.rung.clear()
            await self.rung.wait()

    @property
    def next_s(self) -> float | None:
        """When the next alarm is due."""
        return min((alarm.at_s for alarm in self.alarms if not alarm.is_off), default=None)

    def pass_by(self, seconds: float) -> None:
        """Move on, ringing what falls due on the way."""
        until_s = self.at_s + seconds
        while (due_s := self.next_s) is not None and due_s <= until_s:
            self.at_s = max(self.at_s, due_s)
            for alarm in [alarm for alarm in self.alarms if alarm.at_s <= due_s]:
                self.alarms.remove(alarm)
                if not alarm.is_off:
                    alarm.then()
        self.at_s = until_s


def endpoint(index: int, provider: int, **changes: object) -> Endpoint:
    found = Endpoint(
        id=f"m@p{index}",
        model="m",
        provider=provider,
        label=None,
        upstream=f"upstream-{index}",
        price_in=1_000_000_000,
        price_out=2_000_000_000,
        price_cached=None,
        region=None,
        context=None,
        output=None,
        quantization=None,
        zdr=False,
        supports=None,
        tags=(),
        weight=1.0,
    )
    return msgspec.structs.replace(found, **changes)


def provider(index: int, url: str, **changes: object) -> Provider:
    found = Provider(
        name=f"p{index}",
        url=url,
        key_env="KEY",
        key_secret=None,
        region=None,
        protocol="openai",
        auth="bearer",
        limit=None,
        cold=None,
        wake=None,
        tags=(),
        headers=(),
    )
    return msgspec.structs.replace(found, **changes)


def program(providers: tuple[Provider, ...], endpoints: tuple[Endpoint, ...]) -> Program:
    model = Model("m", (), None, None, tuple(range(len(endpoints))))
    return Program("test", providers, (model,), endpoints, (), (), (), (), (), (), ())


def options(**changes: object) -> Options:
    return msgspec.structs.replace(DEFAULT_OPTIONS, **changes)


def call(body: object, headers: Mapping[str, str] | None = None, api: str = "chat") -> Call:
    raw = msgspec.json.encode(body)
    decoded = wire_request.decode(api, raw)
    assert isinstance(decoded, wire_request.Body), decoded
    return Call(api, "/v1/chat/completions", headers or {}, decoded, raw, {}, None, 1_700_000_000.0, None)


@dataclass
class Bench:
    """Two providers, one endpoint at each, and what stands between them and a client."""

    providers: list[scripted.Provider]
    dispatcher: Dispatcher
    health: Health
    clock: Moment
    client: FakeClient = field(default_factory=FakeClient)
    notes: list[Note] = field(default_factory=list)
    noted: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, note: Note) -> None:
        self.notes.append(note)
        self.noted.set()

    async def until_notes(self, count: int) -> None:
        while len(self.notes) < count:
            self.noted.clear()
            await self.noted.wait()

    async def ask(
        self,
        body: object,
        *,
        attempts: tuple[int, ...] = (0, 1),
        targets: tuple[int, ...] = (0, 0),
        headers: Mapping[str, str] | None = None,
        client: Client | None = None,
        escalation: tuple[int, ...] = (),
        shadow: tuple[int, ...] = (),
        shadow_rule: Shadow | None = None,
        **changed: object,
    ) -> Record:
        candidates = tuple(Candidate(index, target) for index, target in enumerate(targets))
        found = options(shadow=shadow_rule, **changed)
        route = Route((), candidates, (), attempts, found, escalation=escalation, shadow=shadow)
        return await self.dispatcher.answer(call(body, headers), route, client or self.client, request_id="r1")


class Counted:
    """A transport that knows how many of its answers are open."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.open = 0

    async def send(self, request: Outgoing) -> Response:
        response = await self._transport.send(request)
        self.open += 1
        return _CountedResponse(response, self)

    async def aclose(self) -> None:
        await self._transport.aclose()


class _CountedResponse:
    def __init__(self, response: Response, counted: Counted) -> None:
        self.status, self.headers = response.status, response.headers
        self._response = response
        self._counted = counted

    @property
    def is_complete(self) -> bool:
        return self._response.is_complete

    async def read(self) -> bytes:
        return await self._response.read()

    async def aclose(self) -> None:
        self._counted.open -= 1
        await self._response.aclose()


def run(scenario: Callable[[Bench], Awaitable[None]], **first: str | None) -> None:
    """Run a scenario over every transport, and check that it leaves neither a task nor a connection behind.

    `first`: what the first provider says of itself; its `wake` is a path.
    """
    for transport in (HttpxTransport, Http1Transport):
        run_over(transport, scenario, first=first)


def run_over(
    transport: Callable[[], Transport],
    scenario: Callable[[Bench], Awaitable[None]],
    fallback: scripted.Script | None = None,
    first: Mapping[str, str | None] | None = None,
) -> None:
    """Run a scenario over one transport; `fallback` is what providers answer without a script."""

    async def whole() -> None:
        before = asyncio.all_tasks()
        async with AsyncExitStack() as stack:
            providers = [await stack.enter_async_context(scripted.Provider(fallback)) for _ in range(2)]
            said: dict[str, object] = dict(first or {})
            if "wake" in said:
                said["wake"] = f"{providers[0].url}{said['wake']}"
            found = program(
                (provider(0, providers[0].url, **said), provider(1, providers[1].url)),
                tuple(endpoint(i, i) for i in range(2)),
            )
            health, clock = Health(found), Moment()
            counted = Counted(transport())
            notes: list[Callable[[Note], None]] = []
            dispatcher = Dispatcher(
                found, health, {"openai": counted}, KEYS, lambda: 0.5, clock=clock, note=lambda note: notes[0](note)
            )
            bench = Bench(providers, dispatcher, health, clock)
            notes.append(bench.note)
            await scenario(bench)
            assert clock.next_s is None, "an alarm outlived its request"
            state = health.at(clock.now_s())
            assert [state.measured(i, "inflight") for i in range(2)] == [0, 0], "a permit outlived its request"
            assert counted.open == 0, "an answer outlived its request"
            await dispatcher.aclose()
            for each in providers:
                await each.until_all_closed()
        assert asyncio.all_tasks() == before, "a task outlived its request"

    async def bounded() -> None:
        # No scenario waits for time; one that waits for ever is stopped here.
        await asyncio.wait_for(whole(), 20)

    asyncio.run(bounded(), debug=False)
    gc.collect()
