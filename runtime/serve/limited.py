"""The policy's limits around one request: room is taken before it is sent, and corrected when it is over."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import UTC, datetime

from runtime.decision.facts import Facts
from runtime.decision.route import Route
from runtime.decision.worst import bound, most
from runtime.dispatch.record import Record
from runtime.dispatch.transport import Headers
from runtime.limits.limits import Need, Refusal, Reservation, Short
from runtime.serve.router import Router
from runtime.wire import errors
from runtime.wire.errors import Dialect, Problem


def reserve(router: Router, way: Route, facts: Facts) -> Reservation | Refusal | Short:
    """Take what a request may use at most, from all its limits or from none."""
    return router.limits.reserve(
        facts, lambda: Need(*most(router.book, way, facts)), now_s(router), lambda: _bound(router, way, facts)
    )


def now_s(router: Router) -> float:
    """Return the time that limits are asked in.

    A lease is judged by the wall clock: other instances and the store know no other.
    """
    return router.clock.now_s() if router.leases is None else time.time()


def _bound(router: Router, way: Route, facts: Facts) -> Need | None:
    found = bound(router.book, way, facts)
    return None if found is None else Need(*found)


def settle(router: Router, held: Reservation, way: Route, facts: Facts, record: Record | None) -> None:
    """Correct what a request holds to what it used, or to the estimate where nobody counted that."""
    if held.held:
        spent = None if record is None else record.spent()
        held.settle(most(router.book, way, facts) if spent is None else spent)
    if router.leases is not None:
        router.leases.tell_soon()


async def renewed(router: Router, short: Short, way: Route, facts: Facts) -> Reservation | Refusal:
    """Do the same once the leases that ran out are renewed, or cannot be in time."""
    assert router.leases is not None
    while True:
        await router.leases.renew(short.leases)
        found = reserve(router, way, facts)
        if not isinstance(found, Short):
            return found
        short = found


def problem(refusal: Refusal) -> Problem:
    """Return the answer to a request that a limit refuses."""
    if refusal.is_blind:
        said = errors.problem(
            503, f"the limit `{refusal.name}` cannot be checked at the moment", code="limits_unavailable"
        )
        return replace(said, retry_after_s=refusal.wait_s)
    return errors.rate_limited(refusal.name, refusal.wait_s)


def told(refusal: Refusal, dialect: Dialect) -> Headers:
    """Return the headers that say how much room there is, under the names that the caller's SDK knows.

    Money has no names there.
    """
    rooms = [room for room in refusal.rooms if room.unit != "$"]
    pairs: list[tuple[str, str]] = []
    for room in rooms:
        seconds = f"{room.reset_s:.3f}s"
        if dialect == "anthropic":
            prefix = f"anthropic-ratelimit-{room.unit}"
            when = datetime.fromtimestamp(math.ceil(time.time() + room.reset_s), UTC)
            reset = when.isoformat().replace("+00:00", "Z")
            pairs += [(f"{prefix}-limit", str(room.limit)), (f"{prefix}-remaining", str(room.remaining))]
            pairs.append((f"{prefix}-reset", reset))
        else:
            named = (("limit", str(room.limit)), ("remaining", str(room.remaining)), ("reset", seconds))
            pairs += [(f"x-ratelimit-{name}-{room.unit}", value) for name, value in named]
    if dialect == "openrouter" and rooms:
        room = rooms[0]
        unix_ms = math.ceil((time.time() + room.reset_s) * 1000)
        pairs += [("x-ratelimit-limit", str(room.limit)), ("x-ratelimit-remaining", str(room.remaining))]
        pairs.append(("x-ratelimit-reset", str(unix_ms)))
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in pairs)
