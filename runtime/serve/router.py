"""Everything that serving a plan takes, in one value; nothing of it is global."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from router_dsl.plan import Plan
from runtime.decision.book import Book
from runtime.dispatch.clock import Clock, LoopClock
from runtime.dispatch.dispatcher import NOTHING, Dispatcher
from runtime.dispatch.outgoing import carrier
from runtime.dispatch.record import Copied, Note
from runtime.dispatch.transport import Transport
from runtime.health.health import Health
from runtime.limits.limits import Limits
from runtime.serve.generations import Generations
from runtime.serve.keyring import Keyring
from runtime.serve.metrics import Metrics
from runtime.serve.settings import SettingError, Settings
from runtime.serve.story import Event, besides
from runtime.serve.transports import Transports

if TYPE_CHECKING:
    from runtime.serve.leases import Leases
    from runtime.serve.renewal import Renewal
    from runtime.serve.tracing import Tracing


class Log(Protocol):
    """Where events go: never waits and never fails."""

    def __call__(self, event: Event) -> None:
        """Take one event."""
        ...

    def close(self) -> None:
        """Let the last ones out, for a short while at most."""
        ...


@dataclass(slots=True)
class Router:
    """A loaded plan at work.

    Attributes:
        book: What decides.
        health: What is known of the endpoints.
        dispatcher: What carries decisions out.
        log: Gets one event for each request.
        clock: The dispatcher's time, which health is told in.
        draw: Gives a number in [0, 1) for each request.
        limits: What the policy's limits have counted on this instance.
        keyring: The clients' keys.
        metrics: What has happened so far.
        tracing: Makes spans of requests, where traces are asked for.
        generations: The latest answers.
        leases: This instance's share of limits that are counted in a store.
        renewal: What puts another router in the place of this one when its policy has changed; None where nothing does.
    """

    book: Book
    health: Health
    dispatcher: Dispatcher
    settings: Settings
    log: Log
    clock: Clock
    draw: Callable[[], float]
    limits: Limits
    keyring: Keyring
    metrics: Metrics
    generations: Generations = field(default_factory=Generations)
    renewal: Renewal | None = None
    tracing: Tracing | None = None
    leases: Leases | None = None

    @classmethod
    def open(
        cls,
        plan: Plan,
        settings: Settings,
        environ: Mapping[str, str],
        log: Log,
        *,
        secrets: Mapping[str, str] = NOTHING,
        draw: Callable[[], float] = random.random,
        transports: Mapping[str, Transport] | None = None,
    ) -> Router:
        """Return a router for a plan, its HTTP client loaded if any endpoint that has its key needs one.

        Args:
            plan: The decoded artefact.
            environ: Where providers' keys are looked up.
            log: Gets one event for each request.
            secrets: Where those of `key secret NAME` are.
            draw: Source of chance.
            transports: Carriers by protocol, instead of the usual ones.

        Raises:
            runtime.dispatch.outgoing.UnusableProviderError: A provider cannot be asked from here: its key, or HTTP/2.
            runtime.serve.keys.KeyFileError: The file with the clients' keys cannot be used.
            SettingError: Traces or a store are asked for, and what makes them is not installed.
        """
        keyring = Keyring(settings.keys, settings.keys_file, log)
        program = plan.program
        clock = LoopClock()
        health = Health(program, seed=int.from_bytes(os.urandom(4), "big"))
        carriers: dict[str, Transport] = Transports()
        if transports is not None:
            carriers = dict(transports)
        metrics = Metrics()

        def note(happened: Note) -> None:
            log(besides(happened, time.time()))
            if isinstance(happened, Copied):
                metrics.copied(happened)

        dispatcher = Dispatcher(
            program,
            health,
            carriers,
            environ,
            draw,
            secrets=secrets,
            clock=clock,
            note=note,
            digest=plan.digest,
        )
        configured = {index for index in range(len(program.endpoints)) if dispatcher.configured(index)}
        if transports is None:
            # Opened now and not inside the first request, which would wait for the import.
            for index in configured:
                carriers[carrier(program.providers[program.endpoints[index].provider])]
        book = Book(plan, frozenset(range(len(program.endpoints))) - configured)
        leases = _leases(settings, program.name, log, environ, carriers, health, clock)
        limits = Limits(program) if leases is None else Limits(program, open=leases.open)
        return cls(
            book,
            health,
            dispatcher,
            settings,
            log,
            clock,
            draw,
            limits,
            keyring,
            metrics,
            tracing=_tracing(settings),
            leases=leases,
        )

    def succeed(self, book: Book) -> Router:
        """Return the router of another plan, which goes on with what this one has and knows.

        Connections and budgets are the same, and so are the counts of limits and the health of endpoints that stay.
        Requests of this router go on undisturbed. Close only the last of the line.

        Args:
            book: The other plan, every endpoint taken for configured.

        Raises:
            runtime.dispatch.outgoing.UnusableProviderError: A provider cannot be asked from here: its key, or HTTP/2.
        """
        program = book.program
        health = Health(program, heir_of=self.health)
        if self.leases is not None and self.leases.hints is not None:
            self.leases.hints.health = health
        dispatcher = self.dispatcher.succeed(program, health, book.plan.digest)
        lacking = [index for index in range(len(program.endpoints)) if not dispatcher.configured(index)]
        limits = Limits(program, heir_of=self.limits)
        return replace(self, book=book.without(lacking), health=health, dispatcher=dispatcher, limits=limits)

    def is_configured(self, endpoint: int) -> bool:
        """Whether an endpoint can be used here: its provider's key is set, or it needs none."""
        return endpoint not in self.book.unconfigured

    def stop(self) -> None:
        """End every request in flight in order, those of the routers before this one, too; new ones may still come."""
        self.dispatcher.stop()

    async def settle(self, within_s: float) -> None:
        """Let what runs besides requests (copies, wake-up calls) come to its end, for so long at most.

        For a process that is frozen between requests: what is left would stand still, and its deadlines with it.
        """
        await self.dispatcher.settle(within_s)
        if self.leases is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self.leases.tell(release=True)

    def drop_idle(self) -> None:
        """Close the connections that nobody uses: after a long freeze the other side may be gone without a word."""
        self.dispatcher.drop_idle()
        if self.leases is not None:
            self.leases.reborn()

    async def aclose(self) -> None:
        """Close every connection and let the log out."""
        if self.renewal is not None:
            await self.renewal.aclose()
        if self.leases is not None:
            await self.leases.aclose()
        await self.dispatcher.aclose()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)
        self.log.close()


def _tracing(settings: Settings) -> Tracing | None:
    """Return what makes traces, loaded only where they are asked for: it costs a cold start 120 ms."""
    if not settings.traces:
        return None
    try:
        from runtime.serve.tracing import Tracing
    except ImportError as error:
        raise SettingError("OTEL_…: traces need more than is installed: `pip install pointsman[otel]`") from error
    return Tracing.of_environment()


def _leases(
    settings: Settings,
    name: str,
    log: Log,
    environ: Mapping[str, str],
    carriers: Mapping[str, Transport],
    health: Health,
    clock: Clock,
) -> Leases | None:
    """Return this instance's share of limits counted in a store, loaded only where there is one."""
    if settings.store is None:
        return None
    from runtime.serve.hints import Hints
    from runtime.serve.leases import Leases
    from runtime.serve.stores.opening import open_store

    store = open_store(settings.store, environ, carriers)
    leases = Leases(store, name, settings.store_timeout_s, log, closed=settings.store_closed)
    leases.hints = Hints(store, f"{name}:health", health, clock.now_s)
    return leases
