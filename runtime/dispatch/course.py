"""One request on its way: performs its flow's actions, feeds it events, keeps its book.

The first attempt runs in the request's own task, since most requests have no other; further ones get tasks. Everything
that a request starts ends with it, whatever happens. What to do is the flow's to say; here it is only done.

Most requests go straight: their first attempt brings a whole answer in time, and all that a flow could say is what
everybody knows. So the flow of a request begins with the first event that is not that, and is then told what came
before it, with the times at which it came.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from router_dsl.plan import Options
from runtime.dispatch.clock import Alarm, Clock
from runtime.dispatch.exchange import ClientLeftError, Exchange
from runtime.dispatch.record import Client
from runtime.dispatch.stretch import Stretch
from runtime.dispatch.transport import Headers
from runtime.flow.events import (
    Action,
    Begun,
    ClientGone,
    Close,
    Commit,
    Content,
    Event,
    Finish,
    Finished,
    Send,
    Stopping,
    TimeUp,
    Waiting,
    Whole,
)
from runtime.flow.flow import FOREVER, Flow, opening_patience_s
from runtime.flow.verdict import blame
from runtime.health.endpoint import Permit
from runtime.health.health import Health

FIRST_SIGNS = (Content, Begun)
"""Events that tell that an attempt's first token is here."""

Farewell = Callable[[Finish], Coroutine[object, object, None]]

OWED = ("complete", "cut", "refused")
"""Ends after which the client may still wait for something: `[DONE]`, the in-band error, a refusal."""

STRAIGHT = Finish("complete", 0, "ok", 200)
"""The end of a request whose first attempt brought a whole answer."""


@dataclass(slots=True)
class Started:
    """An attempt that was started, and what became of it; times are the clock's.

    Attributes:
        task: Its task; None when it runs in the request's own.
        is_hedge: Whether it came on top of the plan.
    """

    endpoint: int
    exchange: Exchange
    permit: Permit
    started_s: float
    task: asyncio.Task[None] | None = None
    first_s: float | None = None
    ended_s: float | None = None
    outcome: str = ""
    is_hedge: bool = False


class Course:
    """The way of one request; used once.

    Args:
        begin_flow: Makes what decides.
        opening: Endpoint of the first attempt (index) and the options it has, if it may go without a flow; else None.
        client: Who waits for the answer.
        names: Identifiers of the endpoints, by index.
        health: Told about every attempt.
        clock: Time and alarms.
        launch: Makes the exchange of an attempt (its number) at an endpoint (its index).
        rouse: Told which endpoint failed, in case it sleeps; None where nobody can be woken.
        loop: The running loop.

    Attributes:
        began_s: When it began, by the clock.
        started: The attempts, in the order started.
        heard_s: When a provider was last heard before the commit, by the clock.
        is_closed: Whether the client was handed the last byte of its answer.
    """

    _flow: Flow | None = None
    _finish: Finish | None = None
    _over: asyncio.Future[None] | None = None
    _bug: BaseException | None = None
    _alarm: Alarm | None = None
    _alarm_s = FOREVER
    _taken_s: float | None = None
    _before: tuple[tuple[Event, float], ...] = ()
    _is_saying_farewell = False
    _is_left = False
    heard_s: float | None = None
    is_closed = False

    def __init__(
        self,
        begin_flow: Callable[[], Flow],
        opening: tuple[int, Options] | None,
        client: Client,
        names: tuple[str, ...],
        health: Health,
        clock: Clock,
        launch: Callable[[int, int, Course], Exchange],
        rouse: Callable[[int], None] | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._begin_flow = begin_flow
        self._opening = opening
        self._client = client
        self._names = names
        self._health = health
        self._clock = clock
        self._launch = launch
        self._rouse = rouse
        self._loop = loop
        self._stretch = Stretch(self._loop)
        self._tasks: set[asyncio.Task[None]] = set()
        self.began_s = clock.now_s()
        self.started: list[Started] = []

    async def run(self, farewell: Farewell) -> Finish:
        """Go the whole way and return how it ended; nothing that it started is left.

        Args:
            farewell: Sends what the client is still owed when the flow is over: `[DONE]`, the in-band error, a refusal.
        """
        end_watch = self._client.watch(self._leave)
        try:
            if self._opening is None:
                self._start_flow()
            else:
                self._open(*self._opening)
            if self.started:
                await self._stretch.run(self.started[0].exchange.run())
            while self._finish is None and self._bug is None:
                self._over = self._loop.create_future()
                await self._over
            finish = self._finish
            if finish is not None and finish.end in OWED and not self.is_closed:
                await self._say_farewell(farewell, finish)
        finally:
            if self._finish is None:
                self.report(ClientGone())
            end_watch()
            if self._tasks:
                await self._end_tasks()
        if self._bug is not None:
            raise self._bug
        assert finish is not None
        return finish

    async def _say_farewell(self, farewell: Farewell, finish: Finish) -> None:
        if finish.attempt is not None and (task := self.started[finish.attempt].task) is not None:
            await asyncio.wait((task,))  # until what has spoken to the client so far has fallen silent
        if self._is_left:
            return
        self._is_saying_farewell = True
        with contextlib.suppress(ClientLeftError):
            await self._stretch.run(farewell(finish))

    def _leave(self) -> None:
        """Note that the client has left."""
        self._is_left = True
        if self._finish is not None and self._flow is None:
            return
        flow = self._flow or self._start_flow()
        if self.is_closed and flow.committed is not None:
            # Servers and clients hang up as soon as the last byte is out: that is no leaving.
            self.report(Finished(flow.committed))
        self.report(ClientGone())
        if self._is_saying_farewell:
            self._stretch.interrupt()

    async def _end_tasks(self) -> None:
        """End the attempts that have tasks, however often this one is cancelled meanwhile."""
        cancelled: asyncio.CancelledError | None = None
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            try:
                await asyncio.wait(tuple(self._tasks))
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def stop(self) -> None:
        """End it in order because the router ends; a unary answer that is on its way to the client is left alone."""
        if self._finish is not None:
            return
        committed = (self._flow or self._start_flow()).committed
        if committed is None or self.started[committed].exchange.is_stream:
            self.report(Stopping())

    @property
    def waited_s(self) -> float:
        """Seconds from the first attempt's start to when a provider was last heard; all of it counts as waiting."""
        return self.heard_s - self.started[0].started_s if self.heard_s is not None else 0.0

    def _goes_straight(self) -> bool:
        return self._flow is None

    @property
    def withheld(self) -> int:
        """Places of the plan that could not be afforded."""
        return 0 if self._flow is None else self._flow.withheld

    # --- what the exchanges call ------------------------------------------------------------------

    def hear(self) -> None:
        """Note that a provider was heard just now."""
        self.heard_s = self._clock.now_s()

    def report(self, event: Event, by: int | None = None) -> None:
        """Tell the flow, and do what it says; `by` is the attempt that reports on itself."""
        flow = self._flow or self._start_flow()
        if flow.ended:
            return
        if self._taken_s is not None:
            assert flow.committed is not None
            flow.on(Waiting(flow.committed), self._taken_s)
            self._taken_s = None
        now_s = self._clock.now_s()
        if isinstance(event, FIRST_SIGNS):
            started = self.started[event.attempt]
            if started.first_s is None:
                started.first_s = now_s
                started.permit.hear(now_s, is_stream=started.exchange.is_stream)
        actions = flow.on(event, now_s)
        if actions:
            self._perform(actions, by)
        if flow.ended or self._alarm_s > now_s + flow.patience_s:
            self._set_alarm()

    def is_chosen(self, attempt: int) -> bool:
        """Whether this attempt's answer is the client's, still; to be asked once its content was reported."""
        flow = self._flow
        return flow is not None and flow.committed == attempt and not flow.ended

    async def deliver(self, headers: Headers, body: bytes) -> bool:
        """Give the client the first attempt's answer, which is whole and good, if all went straight so far."""
        if not self._goes_straight():
            return False
        started, now_s = self.started[0], self._clock.now_s()
        started.first_s = now_s
        self._before = ((Content(0), now_s), (Whole(0), now_s))
        await self.start(0, 200, headers)
        await self.send(body, last=True)
        if not self._goes_straight():
            self.report(Finished(0), 0)
            return True
        self._close(started, "ok")
        self._finish = STRAIGHT
        if self._alarm is not None:
            self._alarm.cancel()
        return True

    async def start(self, attempt: int, status: int, headers: Headers) -> None:
        """Send the client the head of an answer.

        Raises:
            ClientLeftError: It is gone.
        """
        name = self._names[self.started[attempt].endpoint]
        try:
            await self._client.start(status, headers, name, len(self.started), self.waited_s)
        except OSError as error:
            raise self._left_while_sending() from error

    async def send(self, data: bytes, *, last: bool) -> None:
        """Send the client bytes.

        Raises:
            ClientLeftError: It is gone.
        """
        self.is_closed = last  # a client is handed all of it before it is waited for
        try:
            await self._client.send(data, last=last)
        except OSError as error:
            raise self._left_while_sending() from error

    def offer(self, attempt: int, data: bytes) -> bool:
        """Send the client more of this attempt's answer, if it is the client's and it need not be waited for."""
        flow = self._flow
        if flow is None or flow.committed != attempt or flow.ended or not self._client.offer(data):
            return False
        # The flow hears of it with the next thing that can make a difference; deadlines move away until then.
        self._taken_s = self._clock.now_s()
        return True

    def _left_while_sending(self) -> ClientLeftError:
        self.is_closed = False
        flow = self._flow or self._start_flow()
        self.report(ClientGone(), flow.committed)
        return ClientLeftError()

    # --- the flow ---------------------------------------------------------------------------------

    def _open(self, endpoint: int, options: Options) -> None:
        """Start the first attempt as any flow would."""
        self._send(Send(0, endpoint))
        self._alarm_s = self.began_s + opening_patience_s(options)
        self._alarm = self._clock.ring(self._alarm_s, self._ring)

    def _start_flow(self) -> Flow:
        """Have the flow take over from what has happened so far."""
        flow = self._flow = self._begin_flow()
        actions = flow.start(self.began_s)
        self._perform(actions[1:] if self.started else actions, None)
        for event, at_s in self._before:
            self._perform(flow.on(event, at_s), 0)
        self._set_alarm()
        return flow

    # --- actions ----------------------------------------------------------------------------------

    def _perform(self, actions: list[Action], by: int | None) -> None:
        for action in actions:
            match action:
                case Send():
                    self._send(action)
                case Close():
                    started = self.started[action.attempt]
                    # An attempt that reports its own end returns by itself, and its connection may be worth keeping.
                    if action.attempt != by:
                        self._stop(started)
                    self._close(started, action.outcome)
                case Finish():
                    self._finish = action
                    self._wake()
                case Commit():
                    pass  # the attempt that reported the content finds itself chosen

    def _send(self, action: Send) -> None:
        now_s = self._clock.now_s()
        exchange = self._launch(action.attempt, action.endpoint, self)
        started = Started(action.endpoint, exchange, self._health.begin(action.endpoint, now_s), now_s)
        self.started.append(started)
        if action.attempt > 0:
            started.is_hedge = action.hedge
            started.task = self._loop.create_task(exchange.run())
            self._tasks.add(started.task)
            started.task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._raise(error)

    def _stop(self, started: Started) -> None:
        if started.task is not None:
            started.task.cancel()
        else:
            self._stretch.interrupt()

    def _close(self, started: Started, outcome: str) -> None:
        now_s = self._clock.now_s()
        started.ended_s, started.outcome = now_s, outcome
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
        elif (kind := blame(outcome, exchange.status, exchange.problem)) is None:
            permit.ignore(now_s)
        else:
            permit.failure(now_s, kind, exchange.problem.retry_after_s if exchange.problem else None)
            if self._rouse is not None:
                self._rouse(started.endpoint)

    # --- time -------------------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        """Have the next deadline reported.

        An alarm set too early stays, since deadlines mostly move away: it rings in vain and is set again.
        """
        flow = self._flow
        assert flow is not None
        if flow.ended:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm, self._alarm_s = None, FOREVER
            return
        due_s = flow.deadline_s
        if due_s is None or self._alarm_s <= due_s:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.ring(due_s, self._ring)
        self._alarm_s = due_s

    def _ring(self) -> None:
        self._alarm, self._alarm_s = None, FOREVER
        try:
            self.report(TimeUp())
        except Exception as error:  # noqa: BLE001 — a bug in a callback must reach the request, not only the loop's log
            self._raise(error)

    def _raise(self, bug: BaseException) -> None:
        """Have the request fail with what went wrong outside its own task."""
        self._bug = self._bug or bug
        self._stretch.interrupt()
        self._wake()

    def _wake(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)
