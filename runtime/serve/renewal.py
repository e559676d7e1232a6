"""A changed policy takes over while requests go on: fetched, verified, rehearsed, then swapped in one assignment.

There is no poller: where a process is frozen between requests, timers lie. When a check is due, by the wall clock, the
request that notices it makes it after its answer is over; a request that comes after a long silence makes it before.
Whatever goes wrong, the plan in service stays.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from hashlib import sha256

from router_dsl.plan import PlanError
from router_dsl.seal import Key, KeyTextError, open_plan
from runtime.decision.book import Book
from runtime.dispatch.outgoing import UnusableProviderError
from runtime.serve.router import Router
from runtime.serve.source import Source, SourceError, UnusableError
from runtime.serve.story import utc

# A silence of so many intervals is long: what is in service may be that old, and the first request waits for the check.
LONG_INTERVALS = 5

# For so long at most. A check of an object store takes 20 to 100 ms; when it hangs, an old plan beats a late answer.
BEFORE_S = 0.3

# Where the process is frozen after an answer, a check is waited for, but not for ever: it is what is billed.
AFTER_S = 2.0

# While the source cannot be reached the interval doubles, up to so many times: an outage needs no help.
MOST_BACKOFF = 16


class RefusedPlanError(Exception):
    """A plan that must not take over; the message says why."""


def examine(data: bytes, keys: Sequence[Key]) -> Book:
    """Return a plan ready to decide, after its signature, its digests and its own tests were found in order.

    Every endpoint is taken for configured: which keys are set here is no fault of the plan.

    Raises:
        RefusedPlanError: They are not.
    """
    # Imported where a plan is taken over: a start that does not need it should not pay for it.
    from runtime.decision.rehearsal import failures

    try:
        book = Book(open_plan(data, keys))
        failed = failures(book) if book.program.tests else []
    except (PlanError, KeyTextError) as error:
        raise RefusedPlanError(str(error)) from error
    except Exception as error:
        raise RefusedPlanError(f"plan cannot be used by this release: {type(error).__name__}") from error
    if failed:
        names = ", ".join(f"`{result.test.name}`" for result in failed[:3])
        raise RefusedPlanError(f"{len(failed)} of its own {len(book.program.tests)} tests fail here: {names}")
    return book


@dataclass(slots=True)
class Counts:
    """What became of the checks so far."""

    swapped: int = 0
    refused: int = 0
    unreachable: int = 0


class Renewal:
    """Keeps a router at the state of its policy's source.

    Args:
        source: Where plans come from.
        every_s: Seconds between checks, > 0.
        keys: One of them must have signed a plan, where there are any.
        tag: Mark of the plan in service, if it came from the source.
        now_unix_s: The wall clock.
    """

    def __init__(
        self,
        source: Source,
        every_s: float,
        keys: Sequence[Key] = (),
        *,
        tag: str | None = None,
        now_unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._every_s = every_s
        self._keys = keys
        self._tag = tag
        self._now_unix_s = now_unix_s
        self._checked_s = self._seen_s = now_unix_s()
        self._wait_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._router: Router | None = None
        self._put: Callable[[Router], None] | None = None
        self._content = b""
        self._unreached: str | None = None
        self._refusal: str | None = None
        self.counts = Counts()

    def serve(self, router: Router, put: Callable[[Router], None]) -> None:
        """Begin with a router in service; `put` is called with each one that takes over."""
        self._router, self._put = router, put

    def is_overdue(self) -> bool:
        """Whether nobody has asked anything for so long that the plan should be looked after before serving."""
        now_s = self._now_unix_s()
        silent_s, self._seen_s = now_s - self._seen_s, now_s
        return silent_s > self._every_s * LONG_INTERVALS and self.is_due()

    def is_due(self) -> bool:
        """Whether a check is to be made or waited for, now that an answer is over."""
        now_s = self._seen_s = self._now_unix_s()
        # A clock that was set back must not put the next check off until it has caught up.
        return self._task is not None or not 0.0 <= now_s - self._checked_s < self._wait_s

    async def before(self) -> Router:
        """Check, wait for a short while, and return what is in service then; the check goes on if it takes longer."""
        await asyncio.wait((self._checking(),), timeout=BEFORE_S)
        assert self._router is not None
        return self._router

    async def after(self) -> None:
        """Check, or join the check that is under way, and wait for a while."""
        await asyncio.wait((self._checking(),), timeout=AFTER_S)

    async def aclose(self) -> None:
        """End the check that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def told(self) -> dict[str, object]:
        """Return what a readiness page says of it."""
        return {
            "checked": utc(self._checked_s),
            "swapped": self.counts.swapped,
            "refused": self.counts.refused,
            "unreachable": self.counts.unreachable,
            "trouble": self._unreached or self._refusal,
        }

    def _checking(self) -> asyncio.Task[None]:
        """Return the check that is under way, begun now if there is none: there is one at a time."""
        if self._task is None:
            # Nothing of the request that happens to make it is its business.
            self._task = asyncio.get_running_loop().create_task(self._check(), context=Context())
        return self._task

    async def _check(self) -> None:
        self._checked_s = self._now_unix_s()
        try:
            await self._renew()
        except SourceError as error:
            self._wait_s = min(self._wait_s * 2, self._every_s * MOST_BACKOFF)
            self._unreached = str(error)
            self.counts.unreachable += 1
            self._log("plan_unreachable", str(error), self.counts.unreachable)
        except (UnusableError, RefusedPlanError, UnusableProviderError) as error:
            self._refusal = str(error)
            self.counts.refused += 1
            self._log("plan_refused", str(error), self.counts.refused)
        except Exception as error:  # noqa: BLE001 — the outermost frame
            self._refusal = f"the router failed to take it over: {type(error).__name__}"
            self.counts.refused += 1
            self._log("plan_refused", self._refusal, self.counts.refused, trace=error)
        finally:
            self._task = None

    async def _renew(self) -> None:
        try:
            found = await self._source.fetch(self._tag)
        except UnusableError as error:
            self._reached()
            self._tag = error.tag
            raise
        self._reached()
        if found is None:
            return
        # Noted before it is examined: what was refused is not fetched again until it changes.
        self._tag = found.tag
        content = sha256(found.data).digest()
        if content == self._content:
            return
        self._content = content
        # Another thread: 100,000 rules take 50 ms, in which streams must flow; they pause for 30 ms at most (2026-11).
        book = await asyncio.to_thread(examine, found.data, self._keys)
        assert self._router is not None
        assert self._put is not None
        old = self._router
        if _names(book) != _names(old.book):
            self._router = old.succeed(book)
            self._put(self._router)
            self.counts.swapped += 1
            self._log_swap(old, book)
        self._refusal = None

    def _reached(self) -> None:
        self._unreached, self._wait_s = None, self._every_s

    def _log_swap(self, old: Router, book: Book) -> None:
        assert self._router is not None
        self._router.log(
            {
                "event": "plan_swapped",
                "ts": utc(self._now_unix_s()),
                "policy": book.default,
                "digest": book.plan.digest,
                "from_digest": old.book.plan.digest,
                "source": self._source.name,
            }
        )

    def _log(self, event: str, reason: str, count: int, *, trace: Exception | None = None) -> None:
        assert self._router is not None
        told: dict[str, object] = {
            "event": event,
            "ts": utc(self._now_unix_s()),
            "digest": self._router.book.plan.digest,
            "source": self._source.name,
            "reason": reason,
            "count": count,
        }
        if trace is not None:
            told["trace"] = "".join(traceback.format_tb(trace.__traceback__))
        self._router.log(told)


def _names(book: Book) -> tuple[str, str]:
    """Return what names a plan: its sources, and every byte that was made of them."""
    return book.plan.digest, book.plan.certificate.subject
