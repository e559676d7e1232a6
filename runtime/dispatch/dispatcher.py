"""Answers requests: makes a flow of each route, sends it on its course over the transports, keeps the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from router_dsl.plan import Endpoint, Options, Program
from runtime.decision.facts import Call
from runtime.decision.route import Route
from runtime.dispatch.clock import Clock, LoopClock
from runtime.dispatch.course import Course, Started
from runtime.dispatch.exchange import Asked, Exchange
from runtime.dispatch.outgoing import Addresses
from runtime.dispatch.record import Attempt, Client, Record, Usage
from runtime.dispatch.relay import DONE
from runtime.dispatch.transport import Transport
from runtime.flow.events import Finish, Try
from runtime.flow.flow import Flow, Hedging
from runtime.health.health import Health
from runtime.wire.errors import Dialect, problem
from runtime.wire.sse import terminal_error

NOTHING: Mapping[str, str] = MappingProxyType({})

MILLION = 1_000_000


class Dispatcher:
    """Carries out routes; owns the transports.

    Args:
        program: The plan's meaning; endpoints are indices into it.
        health: Told about every attempt.
        transports: Who carries requests to providers of each `protocol`.
        keys: Where `key env.NAME` is looked up: the environment.
        draw: Gives numbers in [0, 1): jitter, and the share of `hedge`.
        secrets: Where `key secret NAME` is looked up.
        clock: Monotonic time and alarms.

    Raises:
        UnusableKeyError: A provider's key cannot be sent in a header.
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
    ) -> None:
        self._program = program
        self._names = tuple(endpoint.id for endpoint in program.endpoints)
        self._health = health
        self._transports = transports
        self._addresses = Addresses(program, keys, secrets)
        self._draw = draw
        self._clock: Clock = LoopClock() if clock is None else clock

    def configured(self, endpoint: int) -> bool:
        """Whether an endpoint can be used here: its provider's key is set, or it needs none."""
        return self._addresses.configured(endpoint)

    async def answer(self, call: Call, route: Route, client: Client, dialect: Dialect = "openai") -> Record:
        """Carry out a route that has attempts, and return what happened.

        Unless the record's end is `exhausted`, the client has its whole answer when this returns. Never raises for what
        providers or the client do. When cancelled, it stops everything it started before it lets go.
        """
        options = route.options
        assert options is not None
        asked = Asked(bool(call.body.stream), call.body.choices, call.body.wants_usage, call.now_s)

        def launch(attempt: int, endpoint: int, course: Course) -> Exchange:
            provider = self._program.providers[self._program.endpoints[endpoint].provider]
            outgoing = self._addresses.request(endpoint, call.api, call.raw, call.headers, options)
            return Exchange(attempt, course, self._transports[provider.protocol], outgoing, asked)

        async def farewell(finish: Finish) -> None:
            await self._farewell(course, finish, dialect)

        flow = Flow(_tries(route), options, draw=self._draw(), hedge=self._hedging(route, options))
        course = Course(flow, client, self._names, self._health, self._clock, launch)
        return self._record(course, await course.run(farewell))

    async def aclose(self) -> None:
        """Close every transport."""
        for transport in self._transports.values():
            await transport.aclose()

    def _hedging(self, route: Route, options: Options) -> Hedging | None:
        """Return the hedge of a request: the best candidate that is not the first, or None."""
        hedge = options.hedge
        others = [c.endpoint for c in route.candidates if c.endpoint != route.attempts[0]] if route.attempts else []
        if hedge is None or not others or self._draw() >= hedge.share:
            return None
        after_s = hedge.after_s
        if hedge.after_percentile is not None:
            fact = f"ttft.p{round(hedge.after_percentile * 100)}"
            after_s = self._health.at(self._clock.now_s()).measured(route.attempts[0], fact)
        return None if after_s is None else Hedging(others[0], after_s)

    async def _farewell(self, course: Course, finish: Finish, dialect: Dialect) -> None:
        """Give the client what it is owed once the flow is over."""
        assert finish.attempt is not None
        exchange = course.started[finish.attempt].exchange
        match finish.end:
            case "complete":
                await course.send(DONE, last=True)
            case "cut":
                status = 504 if finish.reason in ("stall", "timeout within") else 502
                told = exchange.problem or problem(status, f"the answer broke off: {finish.reason}")
                await course.send(terminal_error(exchange.head, told, dialect), last=True)
            case "refused":
                assert exchange.problem is not None
                body = exchange.problem.to_bytes(dialect)
                length = (b"content-length", str(len(body)).encode())
                await course.start(
                    finish.attempt, exchange.problem.status_in(dialect), (*exchange.problem.headers(), length)
                )
                await course.send(body, last=True)

    def _record(self, course: Course, finish: Finish) -> Record:
        attempts = [self._attempt(course, started) for started in course.started]
        # A client that left before its answer's last byte has left, whatever that byte would have said.
        is_told = course.is_closed or finish.end == "exhausted"
        end = finish.end if is_told else "client gone"
        record = Record(
            end, finish.status, attempts=attempts, retry_after_s=finish.retry_after_s, waited_s=course.waited_s
        )
        if finish.attempt is not None:
            started = course.started[finish.attempt]
            exchange = started.exchange
            record.endpoint = self._names[started.endpoint]
            record.usage, record.finish_reason = exchange.usage, exchange.finish_reason
            record.cost_nusd = cost_nusd(self._program.endpoints[started.endpoint], exchange.usage)
        return record

    def _attempt(self, course: Course, started: Started) -> Attempt:
        since_s = course.began_s
        return Attempt(
            self._names[started.endpoint],
            started.outcome,
            started.exchange.status,
            started.started_s - since_s,
            None if started.first_s is None else started.first_s - since_s,
            None if started.ended_s is None else started.ended_s - since_s,
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
