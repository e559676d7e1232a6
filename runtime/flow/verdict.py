"""What a failure means: may the same endpoint be asked again, only another one, only another target, or nobody.

Source: provider habits of docs/flow.md; the classes are those of `retry N on …`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from runtime.flow.events import Why
from runtime.health.cold import SCALING_UP
from runtime.wire.errors import Problem

Verdict = Literal["again", "elsewhere", "next target", "refuse"]
"""`again`: the next place of the plan, the same endpoint included; `elsewhere`: never this endpoint again;
`next target`: nothing more for this target; `refuse`: the request itself is at fault, the client must hear it."""

CLASS_OF_WHY: Mapping[Why | Literal["timeout"], str] = {
    "connect": "connect",
    "lost": "connect",
    "cut": "connect",
    "empty": "empty",
    "malformed": "empty",
    "error": "5xx",
    "timeout": "timeout",
}

# Statuses that speak about our account, key or set-up at that provider, not about the client's request:
# 404 a model it does not have, 412 a suspended account or an adapter that is not loaded, 3xx a base URL that moved.
SETUP = frozenset({300, 301, 302, 303, 304, 305, 306, 307, 308, 401, 402, 403, 404, 405, 407, 410, 412, 421, 426})

# Transient by their meaning although they are 4xx: both SDKs ask again on 409, 425 is its sister, and 499 is what
# a provider's own gateway says when it lost patience.
TRANSIENT = frozenset({409, 425, 499})


def class_of_status(status: int) -> str:
    """Return the class of a failing status: `429`, `5xx`, `timeout`, `setup` or `4xx` (the request's own fault)."""
    if status == 429:
        return "429"
    if status == 408:
        return "timeout"
    if status >= 500 or status in TRANSIENT:
        return "5xx"
    if status in SETUP or status < 400:
        return "setup"
    return "4xx"


def judge(why: Why | Literal["timeout"], status: int | None, retry_on: Sequence[str]) -> Verdict:
    """Return what to do after a failure that came before the client had anything.

    Args:
        why: What happened.
        status: The HTTP status when `why` is `status`.
        retry_on: `Options.retry_on`: classes and single status codes.
    """
    if status is None:
        return "again" if CLASS_OF_WHY[_named(why)] in retry_on else "next target"
    kind = class_of_status(status)
    named = str(status) in retry_on or f"{status // 100}xx" in retry_on
    if kind == "setup":
        return "again" if str(status) in retry_on else "elsewhere"
    if kind == "4xx":
        return "again" if named else "refuse"
    return "again" if named or kind in retry_on else "next target"


def _named(why: Why | Literal["timeout"]) -> Why | Literal["timeout"]:
    """A status failure always carries its status."""
    assert why != "status"
    return why


def final_status(failures: Sequence[tuple[Why | Literal["timeout"], int | None]]) -> int:
    """Return the status that tells a client why every attempt failed.

    All 429: 429. Otherwise the last failure decides: a time-out (or 408, 504, 524) is 504, an endpoint that could
    not be reached or had no room (connect, 429, 503, 529) is 503, anything else is 502. Nothing tried: 503.
    """
    if not failures:
        return 503
    if all(status == 429 for _, status in failures):
        return 429
    why, status = failures[-1]
    if why == "timeout" or status in (408, 504, 524):
        return 504
    if why == "connect" or status in (429, 503, 529):
        return 503
    return 502


def blame(outcome: str, status: int | None, problem: Problem | None = None) -> str | None:
    """Return the kind of failure an ended attempt's endpoint answers for, or None when it is not to blame.

    `ok` is no failure; `cancelled` says nothing; a refusal of the request itself is the client's doing. A 429 keeps
    its own kind, since it asks for a pause and is no defect; so does a deployment that says it is scaling up.
    """
    if outcome in ("ok", "cancelled"):
        return None
    if outcome.startswith("status ") and status is not None:
        kind = class_of_status(status)
        if status == 503 and problem is not None and _is_scaling_up(problem):
            return SCALING_UP
        return None if kind == "4xx" else kind
    return outcome


def _is_scaling_up(problem: Problem) -> bool:
    """Whether a provider's code says that it is on its way, such as Fireworks' `DEPLOYMENT_SCALING_UP`."""
    code = str((problem.metadata or {}).get("provider_code", "")).lower()
    return any(word in code for word in ("scaling", "cold_start", "coldstart", "warming", "loading"))
