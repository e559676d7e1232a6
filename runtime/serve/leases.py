"""The leases of this instance: renewed before a request that is short, and in the background before any is."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from hashlib import blake2b

from router_dsl.plan import Limit
from runtime.limits.lease import Lease
from runtime.limits.limits import Key
from runtime.serve.hints import Hints
from runtime.serve.stores.store import Store, StoreError

# What was spent is told this much later, together: until then the lease covers it.
TELL_AFTER_S = 0.2

# What is left of an idle lease is given back so much after it is over, where the store would not forget it.
GIVE_BACK_AFTER_S = 1.0

# Of one call to the store.
MOST_AT_ONCE = 64


class Leases:
    """What this instance holds of the limits that it shares with others; owned by one `Router` and its successors.

    Args:
        store: Where they are counted together.
        name: Of the policy; instances that serve the same share.
        timeout_s: How long a request waits for the store, at most, and a background exchange.
        closed: Whether requests are refused while the store does not answer; else this instance counts alone.
        told: Gets an event when the store fails, and when it is back.

    Attributes:
        hints: What this instance and the others tell each other of endpoints; goes along.
    """

    def __init__(
        self, store: Store, name: str, timeout_s: float, told: Callable[[Mapping[str, object]], None], *, closed: bool
    ) -> None:
        self._store = store
        self._name = name
        self._timeout_s = timeout_s
        self._closed = closed
        self._told = told
        self._instance = _new_name()
        self._dirty: set[Lease] = set()
        self._flights: dict[Lease, asyncio.Task[None]] = {}
        self._teller: asyncio.Task[None] | None = None
        self._has_failed = False
        self._held: set[Lease] = set()
        self.hints: Hints | None = None

    def open(self, limit: Limit, key: Key) -> Lease:
        """Return the account of a limit and the values of its facts."""
        said = json.dumps([limit.unit, limit.per_s, limit.by, key], separators=(",", ":"))
        digest = blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        name = f"{self._name}:{limit.name}:{digest}"
        return Lease(name, limit.amount, limit.per_s, self._dirty, soft=limit.soft, closed=self._closed)

    async def renew(self, wanted: Sequence[tuple[Lease, int]]) -> None:
        """Return when none of these is short any more, or the time is up; then the store counts as failed."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._timeout_s
        while short := [(lease, amount) for lease, amount in wanted if lease.is_short(amount, time.time())]:
            for lease, amount in short:
                if not lease.is_flying:  # else it has asked already, and for less
                    lease.want(amount)
            self._begin([lease for lease, _ in short if lease not in self._flights])
            flights = {self._flights[lease] for lease, _ in short}
            _, late = await asyncio.wait(flights, timeout=max(0.0, until_s - loop.time()))
            if late:
                for lease, _ in short:
                    lease.give_up(time.time())
                self._failed(TimeoutError())
                return

    def tell_soon(self) -> None:
        """Have what was spent told in a moment, if there is anything; for right after a request."""
        if (self._dirty or self._owed() or self._has_hints()) and (self._teller is None or self._teller.done()):
            self._teller = asyncio.get_running_loop().create_task(self._tell_later(), context=Context())

    async def tell(self, *, release: bool = False) -> None:
        """Tell everything now that can be told; returns when it is, or the store has failed.

        Args:
            release: Let go of every lease, too: this process ends, or will stand still.
        """
        if release and self._has_hints():
            await self._share()
        if self._flights:  # which may have left before the last was spent
            await asyncio.wait(set(self._flights.values()))
        leases = self._dirty | self._held if release else self._dirty
        self._begin([lease for lease in leases if lease not in self._flights], release=release)
        if self._flights:
            await asyncio.wait(set(self._flights.values()))

    def reborn(self) -> None:
        """Go by another name from now on: this process was frozen for long, or is one of several copies."""
        self._instance = _new_name()
        self._store.drop()

    async def aclose(self) -> None:
        """Tell the last that was spent, for a moment at most, and close the store."""
        if self._teller is not None and not self._teller.done():
            self._teller.cancel()
            await asyncio.gather(self._teller, return_exceptions=True)
        await self.tell(release=True)
        await self._store.aclose()

    # --- within -----------------------------------------------------------------------------------

    async def _tell_later(self) -> None:
        if self._has_hints() and not self._dirty:
            await self._share()
        while self._dirty or self._owed():
            await asyncio.sleep(TELL_AFTER_S if self._dirty else GIVE_BACK_AFTER_S)
            if any(lease.is_blind(time.time()) for lease in self._dirty | self._held):
                continue
            if self._has_hints():
                await self._share()
            over = {lease for lease in self._held if lease.is_over(time.time())}
            if self._store.forgets:
                self._held -= over
            else:
                self._begin([lease for lease in over - self._dirty if lease not in self._flights], release=True)
            await self.tell()

    def _has_hints(self) -> bool:
        return self.hints is not None and self.hints.is_due(time.time())

    async def _share(self) -> None:
        assert self.hints is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.hints.share(self._instance)
        except (StoreError, TimeoutError) as error:
            self._failed(error)
        else:
            self._worked()

    def _owed(self) -> bool:
        """Whether leases are held that nobody but this instance can end."""
        return bool(self._held) and not self._store.forgets

    def _begin(self, leases: Sequence[Lease], *, release: bool = False) -> None:
        for start in range(0, len(leases), MOST_AT_ONCE):
            some = leases[start : start + MOST_AT_ONCE]
            # On its own: whoever waits for it may give up, but what was begun is for everybody.
            task = asyncio.get_running_loop().create_task(self._exchange(some, release=release), context=Context())
            for lease in some:
                self._flights[lease] = task

    async def _exchange(self, leases: Sequence[Lease], *, release: bool) -> None:
        asked = [lease.ask(self._instance, time.time(), release=release) for lease in leases]
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = await self._store.exchange(asked)
        except (StoreError, TimeoutError) as error:
            self._failed(error)
            for lease in leases:
                lease.failed(time.time())
        else:
            self._worked()
            for lease, answer in zip(leases, answers, strict=True):
                lease.told(answer, time.time())
                (self._held.add if lease.is_held else self._held.discard)(lease)
        finally:
            for lease in leases:
                self._flights.pop(lease, None)
                if lease.is_flying:  # cancelled
                    lease.failed(time.time())

    def _worked(self) -> None:
        """Tell of the first success after a failure."""
        if self._has_failed:
            self._has_failed = False
            self._told({"event": "store_back"})

    def _failed(self, error: Exception) -> None:
        """Tell of the first failure in a row."""
        if not self._has_failed:
            self._has_failed = True
            self._told({"event": "store_failed", "error": str(error) or "no answer in time"})


def _new_name() -> str:
    return os.urandom(8).hex()
