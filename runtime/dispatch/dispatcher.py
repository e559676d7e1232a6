"""Answers requests: makes a flow of each route, sends it on its course over the transports, keeps the record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from router_dsl.plan import Endpoint, Hedge, Options, Program
from runtime.decision.facts import Call, Facts
from runtime.decision.route import Route
from runtime.decision.state import Calm
from runtime.dispatch.background import Background
from runtime.dispatch.clock import Clock, LoopClock, running_loop
from runtime.dispatch.course import Course, Started
from runtime.dispatch.exchange import Asked, Exchange
from runtime.dispatch.outgoing import Addresses, carrier, reports_load
from runtime.dispatch.record import Attempt, Client, Copied, Note, Record, Role, Usage
from runtime.dispatch.shadow import WITHIN_S, Nobody, Room
from runtime.dispatch.transport import Pooling, Transport
from runtime.dispatch.wake import Waker
from runtime.flow.budget import Budget
from runtime.flow.events import Finish, Try
from runtime.flow.flow import STOPPED, Flow, Hedging
from runtime.health.health import Health
from runtime.wire.errors import Dialect, problem
from runtime.wire.spoken import spoken

if TYPE_CHECKING:
    from runtime.dispatch.cache import Cache, Terms
    from runtime.dispatch.load_reports import LoadReports

NOTHING: Mapping[str, str] = MappingProxyType({})

MILLION = 1_000_000

# One further attempt for five requests: in an outage of everything the load grows by a fifth, not by the number of
# attempts in the plans (Finagle's default, too). The stock lets a quiet instance fail over ten times at once, and one
# a second comes back however few requests there are.
RETRY_SHARE = 0.2
RETRY_STOCK = 10.0
RETRY_REFILL_PER_S = 1.0

# What `at most P%` earned is kept for minutes: longer than any silence that a hedge waits for.
HEDGE_HALF_LIFE_S = 300.0


def unheard(_note: Note) -> None:
    """Take a note that nobody asked for."""


class Dispatcher:
    """Carries out routes; owns the transports.

    Args:
        program: The plan's meaning; endpoints are indices into it.
        health: Told about every attempt.
        transports: Who carries requests, by `outgoing.carrier` of their provider.
        keys: Where `key env.NAME` is looked up: the environment.
        draw: Gives numbers in [0, 1): jitter, and the share of `hedge`.
        secrets: Where `key secret NAME` is looked up.
        clock: Monotonic time and alarms.
        note: Told about what happens besides requests: shadow copies, waking.
        digest: Of the policy; part of what answers are kept under.
        heir_of: Whose budgets and work besides requests go on here; its transports must be these.

    Raises:
        UnusableProviderError: A provider's key cannot be sent in a header, or HTTP/2 is not installed.
    """

    def __init__(
        self,
        program: Program,
        health: Health,
        transports: Mapping[str, Transport],
        keys: Mapping[str, str],
        draw: Callable[[], float],
        *,
        secrets: Mapping[str, str] = NOTHING,
        clock: Clock | None = None,
        note: Callable[[Note], None] = unheard,
        digest: str = "",
        heir_of: Dispatcher | None = None,
    ) -> None:
        self._program = program
        self._names = tuple(endpoint.id for endpoint in program.endpoints)
        self._protocols = tuple(program.providers[endpoint.provider].protocol for endpoint in program.endpoints)
        self._carriers = tuple(carrier(program.providers[endpoint.provider]) for endpoint in program.endpoints)
        self._health = health
        self._transports = transports
        self._keys, self._secrets = keys, secrets
        self._addresses = Addresses(program, keys, secrets)
        self._draw = draw
        self._clock: Clock = LoopClock() if clock is None else clock
        self._note = note
        if heir_of is None:
            self._retries = Budget(RETRY_SHARE, RETRY_STOCK, RETRY_REFILL_PER_S, full=True)
            self._hedges: dict[Hedge, Budget] = {}
            self._background = Background()
            self._copies = Room()
            self._courses: set[Course] = set()
        else:
            self._retries, self._hedges = heir_of._retries, heir_of._hedges
            self._background, self._copies = heir_of._background, heir_of._copies
            self._courses = heir_of._courses
        self._digest = digest
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cache: Cache | None = None
        self._rouse: Callable[[int], None] | None = None
        if any(provider.wake is not None for provider in program.providers):
            self._rouse = Waker(program, health, self._addresses, transports, self._clock, self._background, note).rouse
        self._loads: LoadReports | None = None
        if any(reports_load(provider) for provider in program.providers):
            # Imported where it is asked for: few providers report.
            from runtime.dispatch.load_reports import LoadReports

            self._loads = LoadReports(program, health, transports, self._clock, self._background)

    def succeed(self, program: Program, health: Health, digest: str) -> Dispatcher:
        """Return the dispatcher of another plan: the same connections, keys, clock and budgets; close either, not both.

        Raises:
            UnusableKeyError: A provider's key cannot be sent in a header.
        """
        return Dispatcher(
            program,
            health,
            self._transports,
            self._keys,
            self._draw,
            secrets=self._secrets,
            clock=self._clock,
            note=self._note,
            digest=digest,
            heir_of=self,
        )

    def configured(self, endpoint: int) -> bool:
        """Whether an endpoint can be used here: its provider's key is set, or it needs none."""
        return self._addresses.configured(endpoint)

    def answer(
        self, call: Call, route: Route, client: Client, dialect: Dialect = "openai", request_id: str = ""
    ) -> Coroutine[object, object, Record]:
        """Carry out a route that has attempts, and return what happened.

        Unless the record's end is `exhausted`, the client has its whole answer when this returns. Never raises for what
        providers or the client do. When cancelled, it stops everything it started before it lets go.
        """
        options = route.options
        assert options is not None
        if options.cache_s is not None and (terms := self._terms(call, route, options, options.cache_s)) is not None:
            assert self._cache is not None
            return self._cache.answer(
                terms, client, lambda listener: self._fresh(call, route, listener, dialect, request_id)
            )
        return self._fresh(call, route, client, dialect, request_id)

    def _fresh(
        self, call: Call, route: Route, client: Client, dialect: Dialect, request_id: str
    ) -> Coroutine[object, object, Record]:
        """Ask the providers."""
        if route.shadow:
            self._copy(call, route, request_id)
        return (self._escalated if route.escalation else self._plain)(call, route, client, dialect)

    def _terms(self, call: Call, route: Route, options: Options, lasts_s: float) -> Terms | None:
        """Return the terms under which the answer to a request may be kept, or None when it may not."""
        # Imported where it is asked for: few rules cache, and cachetools costs a cold start 8 ms.
        from runtime.dispatch.cache import Cache, Terms, is_finished, is_something

        if self._cache is None:
            self._cache = Cache(self._digest, self._clock)
        endpoints = self._program.endpoints
        model = endpoints[route.attempts[0]].model
        key = self._cache.key(call, model, options, Facts(call, self._program, Calm()))
        if key is None:
            return None
        is_whole = is_something if call.api == "embeddings" else partial(is_finished, api=call.api)
        # A fallback to another model is an answer, but not the one to repeat; an escalation is.
        whose = [c.endpoint for c in route.candidates if endpoints[c.endpoint].model == model]
        names = frozenset(self._names[endpoint] for endpoint in (*whose, *route.escalation))
        return Terms(key, lasts_s, names, is_whole, call.api)

    def _copy(self, call: Call, route: Route, request_id: str) -> None:
        """Send a copy along, if it is drawn, to the best endpoint in service, if there is room."""
        options = route.options
        assert options is not None
        assert options.shadow is not None
        if self._draw() >= options.shadow.share:
            return
        state = self._health.at(self._clock.now_s())
        endpoint = next((endpoint for endpoint in route.shadow if state.in_service(endpoint)), None)
        if endpoint is None or not self._copies.take(len(call.raw)):
            return
        within_s = WITHIN_S if options.within_s is None else options.within_s
        own = msgspec.structs.replace(options, within_s=within_s)
        policy, rule = (route.policy, route.rule.label) if route.steps else ("", "")
        self._background.start(self._copied(call, endpoint, own, request_id, policy, rule))

    async def _copied(
        self, call: Call, endpoint: int, options: Options, request_id: str, policy: str, rule: str
    ) -> None:
        began_s = self._clock.now_s()
        try:
            tries = (Try(endpoint, 0),)
            record = await self._carry(call, endpoint, lambda: tries, options, Nobody(), "openai", role="shadow")
        finally:
            self._copies.give(len(call.raw))
        self._note(Copied(request_id, policy, rule, record, self._clock.now_s() - began_s))

    async def _escalated(self, call: Call, route: Route, client: Client, dialect: Dialect) -> Record:
        """Carry out the plan, and judge its answer before anybody sees it."""
        # Imported where it is asked for: few rules escalate, and its patterns cost a cold start 2 ms.
        from runtime.dispatch.escalate import escalated

        options = route.options
        assert options is not None
        assert options.escalate is not None
        tries = [Try(endpoint, 0) for endpoint in route.escalation]
        return await escalated(
            options.escalate,
            client,
            lambda held: self._plain(call, route, held, dialect),
            lambda held: self._carry(
                call, route.escalation[0], lambda: tries, options, held, dialect, role="escalation"
            ),
            self._clock,
            is_stream=bool(call.body.stream),
            wants_json=Facts(call, self._program, Calm())["json"] != "none",
            api=call.api,
        )

    def _plain(self, call: Call, route: Route, client: Client, dialect: Dialect) -> Coroutine[object, object, Record]:
        """Carry out the plan."""
        options = route.options
        assert options is not None
        hedging = self._hedging(route, options.hedge) if options.hedge is not None else None
        return self._carry(call, route.attempts[0], lambda: _tries(route), options, client, dialect, hedging)

    async def _carry(
        self,
        call: Call,
        first: int,
        tries: Callable[[], Sequence[Try]],
        options: Options,
        client: Client,
        dialect: Dialect,
        hedging: Hedging | None = None,
        role: Role = "plan",
    ) -> Record:
        """Try these places in turn, `first` and what follows it, for a client."""
        api, body = call.api, call.body
        choices = body.choices if api in ("chat", "completions") else 1
        wants_usage = body.wants_usage or dialect == "openrouter"  # which sends it always
        asked = Asked(bool(body.stream), choices, wants_usage, call.now_s, api, call.raw)

        def launch(attempt: int, endpoint: int, course: Course) -> Exchange:
            protocol = self._protocols[endpoint]
            speaks = spoken(protocol, api)
            assert speaks is not None  # no route leads to an endpoint that cannot be asked
            outgoing, dropped = self._addresses.request(endpoint, api, speaks, call.raw, call.headers, options)
            transport = self._transports[self._carriers[endpoint]]
            if self._loads is not None:
                transport = self._loads.around(endpoint, transport)
            return Exchange(attempt, course, transport, outgoing, asked, speaks, dropped)

        def begin_flow() -> Flow:
            return Flow(tries(), options, draw=self._draw(), hedge=hedging, afford=self._affords)

        async def farewell(finish: Finish) -> None:
            await self._farewell(course, finish, dialect)

        opening = (first, options) if hedging is None else None
        loop = self._loop = running_loop(self._loop)
        course = Course(begin_flow, opening, client, self._names, self._health, self._clock, launch, self._rouse, loop)
        if role == "plan":
            self._retries.earn(course.began_s)
        self._courses.add(course)
        try:
            finish = await course.run(farewell)
        finally:
            self._courses.discard(course)
        record = self._record(course, finish, role)
        # Each attempt knows its request: without this, all that was in a request would wait for the garbage collector,
        # whose sweep through the lot costs more than the request did (50 of 250 µs, benchmarks/README.md).
        course.started.clear()
        return record

    def stop(self) -> None:
        """End every request in flight in order: streams by the error event, what has no answer yet by a record."""
        for course in tuple(self._courses):
            course.stop()

    async def settle(self, within_s: float) -> None:
        """Wait until what runs besides requests is over, for so long at most; what is not goes on."""
        await self._background.settle(within_s)

    def drop_idle(self) -> None:
        """Close the connections that nobody uses."""
        for transport in self._transports.values():
            if isinstance(transport, Pooling):
                transport.drop_idle()

    async def aclose(self) -> None:
        """End what runs besides requests and close every transport."""
        await self._background.aclose()
        for transport in self._transports.values():
            await transport.aclose()

    def _affords(self, endpoint: int, is_again: bool, now_s: float) -> bool:
        """Whether a target that has failed may be tried once more at an endpoint.

        One that this request has not asked and that is in service costs nothing: what multiplies the load of an outage
        is asking again, and asking what is known to fail.
        """
        return (not is_again and self._health.at(now_s).in_service(endpoint)) or self._retries.spend(now_s)

    def _hedging(self, route: Route, hedge: Hedge) -> Hedging | None:
        """Return the hedge of a request: the best candidate in service that is not the first, or None."""
        now_s = self._clock.now_s()
        budget = self._hedges.get(hedge)
        if budget is None:
            budget = self._hedges[hedge] = Budget(hedge.share, 1.0, half_life_s=HEDGE_HALF_LIFE_S)
        budget.earn(now_s)
        state, first = self._health.at(now_s), route.attempts[0]
        others = (c.endpoint for c in route.candidates if c.endpoint != first and state.in_service(c.endpoint))
        other = next(others, None)
        after_s = hedge.after_s
        if hedge.after_percentile is not None:
            after_s = state.measured(first, f"ttft.p{round(hedge.after_percentile * 100)}")
        if other is None or after_s is None:
            return None

        def may(now_s: float) -> bool:
            return self._health.at(now_s).in_service(other) and (hedge.share >= 1.0 or budget.spend(now_s))

        return Hedging(other, after_s, may)

    async def _farewell(self, course: Course, finish: Finish, dialect: Dialect) -> None:
        """Give the client what it is owed once the flow is over."""
        assert finish.attempt is not None
        started = course.started[finish.attempt]
        exchange = started.exchange
        provider = self._program.providers[self._program.endpoints[started.endpoint].provider].name
        match finish.end:
            case "complete":
                await course.send(exchange.ending(), last=True)
            case "cut":
                status = (
                    504 if finish.reason in ("stall", "timeout within") else 503 if finish.reason == STOPPED else 502
                )
                told = exchange.problem or problem(status, f"the answer broke off: {finish.reason}")
                await course.send(exchange.broken(told.by(provider), dialect), last=True)
            case "refused":
                assert exchange.problem is not None
                refusal = exchange.problem.by(provider)
                body = refusal.to_bytes(dialect)
                length = (b"content-length", str(len(body)).encode())
                await course.start(finish.attempt, refusal.status_in(dialect), (*refusal.headers(), length))
                await course.send(body, last=True)

    def _record(self, course: Course, finish: Finish, role: Role) -> Record:
        # A client that left before its answer's last byte has left, whatever that byte would have said.
        is_told = course.is_closed or finish.end == "exhausted"
        end = finish.end if is_told else "client gone"
        record = Record(
            end, finish.status, retry_after_s=finish.retry_after_s, waited_s=course.waited_s, withheld=course.withheld
        )
        record.is_stopped = finish.reason == STOPPED
        if finish.attempt is not None:
            started = course.started[finish.attempt]
            exchange = started.exchange
            record.endpoint = self._names[started.endpoint]
            record.usage, record.finish_reason = exchange.usage, exchange.finish_reason
            record.cost_nusd = cost_nusd(self._program.endpoints[started.endpoint], exchange.usage)
        record.attempts = [self._attempt(course, started, role, record) for started in course.started]
        if any(started.is_hedge for started in course.started):
            lost = [a.cost_nusd for a in record.attempts if a.outcome == "cancelled" and a.cost_nusd is not None]
            record.hedge_cost_nusd = sum(lost) if lost else None
        return record

    def _attempt(self, course: Course, started: Started, role: Role, record: Record) -> Attempt:
        since_s = course.began_s
        usage = started.exchange.usage
        if usage is None and started.outcome == "cancelled" and record.usage is not None:
            # Providers bill the prompt they have read, and it is the one that the winner counted.
            usage = Usage(record.usage.prompt, 0)
        return Attempt(
            self._names[started.endpoint],
            started.outcome,
            started.exchange.status,
            started.started_s - since_s,
            None if started.first_s is None else started.first_s - since_s,
            None if started.ended_s is None else started.ended_s - since_s,
            "hedge" if started.is_hedge else role,
            record.cost_nusd if usage is record.usage else cost_nusd(self._program.endpoints[started.endpoint], usage),
            usage,
        )


def cost_nusd(endpoint: Endpoint, usage: Usage | None) -> int | None:
    """Return what an answer cost in nano-dollars by the plan's prices, rounded half up; None when unknown.

    Cached prompt tokens cost the cached price, or the full one where none is given.
    """
    if usage is None or endpoint.price_in is None or endpoint.price_out is None:
        return None
    price_cached = endpoint.price_in if endpoint.price_cached is None else endpoint.price_cached
    cached = min(usage.cached, usage.prompt)
    total = (usage.prompt - cached) * endpoint.price_in + cached * price_cached + usage.completion * endpoint.price_out
    return (total + MILLION // 2) // MILLION


def _tries(route: Route) -> list[Try]:
    target_of = {candidate.endpoint: candidate.target for candidate in route.candidates}
    return [Try(endpoint, target_of[endpoint]) for endpoint in route.attempts]
