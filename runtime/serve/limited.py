"""The policy's limits around one request: room is taken before it is sent, and corrected when it is over."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

from runtime.decision.facts import Facts
from runtime.decision.route import Route
from runtime.decision.worst import most
from runtime.dispatch.transport import Headers
from runtime.limits.limits import Need, Refusal, Reservation
from runtime.serve.router import Router
from runtime.wire.errors import Dialect


def reserve(router: Router, way: Route, facts: Facts) -> Reservation | Refusal:
    """Take what a request may use at most, from all its limits or from none."""
    return router.limits.reserve(facts, lambda: Need(*most(router.book, way, facts)), router.clock.now_s())


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
