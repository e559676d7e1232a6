"""One request on its way: performs its flow's actions, feeds it events, keeps its book.

Everything that a request starts ends with it: attempts, alarms and the watch on the client live in one task group,
whatever happens. What to do is the flow's to say; here it is only done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from runtime.dispatch.clock import Alarm, Clock
from runtime.dispatch.exchange import ClientLeftError, Exchange
from runtime.dispatch.record import Client
from runtime.dispatch.transport import Headers
from runtime.flow.events import Action, Begun, ClientGone, Close, Commit, Content, Event, Finish, Finished, Send, TimeUp
from runtime.flow.flow import Flow
from runtime.flow.verdict import blame
from runtime.health.endpoint import Permit
from runtime.health.health import Health

Farewell = Callable[[Finish], Coroutine[object, object, None]]


@dataclass(slots=True)
class Started:
    """An attempt that was started, and what became of it; times are the clock's."""

    endpoint: int
    exchange: Exchange
    permit: Permit
    started_s: float
    task: asyncio.Task[None] | None = None
    first_s: float | None = None
    ended_s: float | None = None
    outcome: str = ""


class Course:
    """The way of one request; used once.

    Args:
        flow: Decides; not started yet.
        client: Who waits for the answer.
        names: Identifiers of the endpoints, by index.
        health: Told about every attempt.
        clock: Time and alarms.
        launch: Makes the exchange of an attempt (its number) at an endpoint (its index).

    Attributes:
        began_s: When it began, by the clock.
        started: The attempts, in the order started.
        is_closed: Whether the client was handed the last byte of its answer.
    """

    def __init__(
        self,
        flow: Flow,
        client: Client,
        names: tuple[str, ...],
        health: Health,
        clock: Clock,
        launch: Callable[[int, int, Course], Exchange],
    ) -> None:
        self._flow = flow
        self._client = client
        self._names = names
        self._health = health
        self._clock = clock
        self._launch = launch
        self._group = asyncio.TaskGroup()
        self._over: asyncio.Future[Finish] = asyncio.get_running_loop().create_future()
        self._alarm: Alarm | None = None
        self._alarm_s = float("inf")
        self._farewell: asyncio.Task[None] | None = None
        self.began_s = clock.now_s()
        self.started: list[Started] = []
        self.is_closed = False

    async def run(self, farewell: Farewell) -> Finish:
        """Go the whole way and return how it ended; nothing that it started is left.

        Args:
            farewell: Sends what the client is still owed when the flow is over: `[DONE]`, the in-band error, a refusal.
        """
        async with self._group as group:
            watch = group.create_task(self._watch())
            try:
                self._perform(self._flow.start(self.began_s))
                self._set_alarm()
                finish = await self._over
                is_owed = finish.end in ("complete", "cut", "refused") and not self.is_closed
                if is_owed:
                    await self._settled(finish)
                if is_owed and not watch.done():
                    self._farewell = group.create_task(self._say_farewell(farewell, finish))
                    await asyncio.wait((self._farewell,))
            finally:
                self.report(ClientGone())
                watch.cancel()
        return finish

    async def _settled(self, finish: Finish) -> None:
        """Wait until the attempt that spoke to the client has fallen silent."""
        if finish.attempt is not None and (task := self.started[finish.attempt].task) is not None:
            await asyncio.wait((task,))

    async def _say_farewell(self, farewell: Farewell, finish: Finish) -> None:
        with contextlib.suppress(ClientLeftError):
            await farewell(finish)

    async def _watch(self) -> None:
        await self._client.gone()
        if self.is_closed and self._flow.committed is not None:
            # Servers and clients hang up as soon as the last byte is out: that is no leaving.
            self.report(Finished(self._flow.committed))
        self.report(ClientGone())
        if self._farewell is not None:
            self._farewell.cancel()

    # --- what the exchanges call ------------------------------------------------------------------

    def report(self, event: Event) -> None:
        """Tell the flow, and do what it says."""
        if self._flow.ended:
            return
        now_s = self._clock.now_s()
        if isinstance(event, Content | Begun) and self.started[event.attempt].first_s is None:
            self.started[event.attempt].first_s = now_s
        self._perform(self._flow.on(event, now_s))
        self._set_alarm()

    def is_chosen(self, attempt: int) -> bool:
        """Whether this attempt's answer is the client's, still."""
        return self._flow.committed == attempt and not self._flow.ended

    async def start(self, attempt: int, status: int, headers: Headers) -> None:
        """Send the client the head of an answer.

        Raises:
            ClientLeftError: It is gone.
        """
        name = self._names[self.started[attempt].endpoint]
        await self._to_client(self._client.start(status, headers, name, len(self.started)))

    async def send(self, data: bytes, *, last: bool) -> None:
        """Send the client bytes.

        Raises:
            ClientLeftError: It is gone.
        """
        self.is_closed = last  # a client is handed all of it before it is waited for
        await self._to_client(self._client.send(data, last=last))

    async def _to_client(self, sending: Coroutine[object, object, None]) -> None:
        try:
            await sending
        except OSError as error:
            self.is_closed = False
            self.report(ClientGone())
            raise ClientLeftError from error

    # --- actions ----------------------------------------------------------------------------------

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send():
                    self._send(action)
                case Close():
                    self._close(self.started[action.attempt], action.outcome)
                case Finish():
                    if not self._over.done():  # it is cancelled when the whole request is
                        self._over.set_result(action)
                case Commit():
                    pass  # the attempt that reported the content finds itself chosen

    def _send(self, action: Send) -> None:
        now_s = self._clock.now_s()
        exchange = self._launch(action.attempt, action.endpoint, self)
        started = Started(action.endpoint, exchange, self._health.begin(action.endpoint, now_s), now_s)
        self.started.append(started)
        started.task = self._group.create_task(exchange.run())

    def _close(self, started: Started, outcome: str) -> None:
        now_s = self._clock.now_s()
        started.ended_s, started.outcome = now_s, outcome
        # An attempt that reported its own end returns by itself, and its connection may be worth keeping.
        if started.task is not None and started.task is not asyncio.current_task():
            started.task.cancel()
        self._tell_health(started, outcome, now_s)

    def _tell_health(self, started: Started, outcome: str, now_s: float) -> None:
        exchange, permit = started.exchange, started.permit
        if outcome == "ok":
            ttft_s = None if started.first_s is None else started.first_s - started.started_s
            tokens = exchange.usage.completion if exchange.usage else None
            duration_s = now_s - started.started_s
            if not exchange.is_stream and ttft_s is not None:
                duration_s += ttft_s  # a unary answer is generated before its first byte, not after it
            permit.success(now_s, ttft_s, tokens, duration_s)
        elif (kind := blame(outcome, exchange.status)) is None:
            permit.ignore(now_s)
        else:
            permit.failure(now_s, kind, exchange.problem.retry_after_s if exchange.problem else None)

    # --- time -------------------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        """Have the next deadline reported.

        An alarm set too early stays, since deadlines mostly move away: it rings in vain and is set again.
        """
        if self._flow.ended:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            return
        due_s = self._flow.deadline_s
        if due_s is None or (self._alarm is not None and self._alarm_s <= due_s):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.ring(due_s, self._ring)
        self._alarm_s = due_s

    def _ring(self) -> None:
        self._alarm = None
        try:
            self.report(TimeUp())
        except Exception as error:  # noqa: BLE001 — a bug in a callback must reach the request, not only the loop's log
            if not self._over.done():
                self._over.set_exception(error)
