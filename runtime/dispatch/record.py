"""What happened to one request: the record that headers, logs and metrics are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from runtime.dispatch.transport import Headers
from runtime.wire.usage import Usage as Usage

Role = Literal["plan", "hedge", "escalation", "shadow"]
CACHE_MARK = b"x-pointsman-cache"
"""Header of an answer whose rule caches: `hit` or `miss`."""

End = Literal["complete", "cut", "client gone", "exhausted", "refused"]


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One attempt at one endpoint.

    Attributes:
        endpoint: `MODEL@PROVIDER[/LABEL]`.
        outcome: `ok`, `status 503`, `timeout first token`, `timeout within`, `stall`, `connect`, `lost`, `empty`,
            `malformed`, `cut`, `cancelled`; the field's word for what happened.
        status: HTTP status of its answer, or None.
        started_s, first_token_s, ended_s: Seconds since the request arrived; None when it did not happen.
        role: `plan`, `hedge`, `escalation` or `shadow`.
        cost_nusd: As the record's, of this attempt. Of one that was cancelled because another answered, an estimate:
            the prompt, which both have read.
        usage: Tokens that its provider counted; estimated likewise for one that was cancelled.
    """

    endpoint: str
    outcome: str
    status: int | None
    started_s: float
    first_token_s: float | None
    ended_s: float | None
    role: Role = "plan"
    cost_nusd: int | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class Record:
    """How one request ended; filled by dispatch, read by serve.

    Attributes:
        end: `complete`; `cut`: the in-band error ended the client's stream; `client gone`; `exhausted`: nothing was
            sent to the client and serve answers the error `status` below; `refused`: a provider's 4xx about the
            request itself was passed on.
        status: HTTP status sent, or to be sent.
        retry_after_s: The shortest wait any provider asked for, or None.
        waited_s: Spent waiting for providers, until the commit.
        cost_nusd: Cost in nano-dollars by the plan's prices, None when unpriced or usage is unknown; of an escalated
            request that of both answers.
        hedge_cost_nusd: What the loser of a hedge cost on top, estimated as `Attempt.cost_nusd` says; None without.
        withheld: Attempts of the plan that were not made because the retry budget was spent.
        escalated: What was wrong with the answer that was judged, when a stronger model was asked, else None.
        is_stopped: Whether it ended because the router did.
        cache: `hit` or `miss` where the rule caches and the request qualifies, else None.
    """

    end: End = "exhausted"
    status: int = 503
    endpoint: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    usage: Usage | None = None
    cost_nusd: int | None = None
    finish_reason: str | None = None
    retry_after_s: float | None = None
    waited_s: float = 0.0
    hedge_cost_nusd: int | None = None
    withheld: int = 0
    escalated: str | None = None
    is_stopped: bool = False
    cache: Literal["hit", "miss"] | None = None

    def spent(self) -> tuple[int, int] | None:
        """Return the tokens and nano-dollars of all attempts, failed and lost ones included, without prices as 0.

        None when an answer, or part of one, was given that nobody counted. A failed attempt that nobody counted is
        taken as not billed.
        """
        if self.attempts and self.usage is None and self.end in ("complete", "cut", "client gone"):
            return None
        tokens = cost = 0
        for attempt in self.attempts:
            if attempt.usage is not None:
                tokens += attempt.usage.prompt + attempt.usage.completion
                cost += attempt.cost_nusd or 0
            elif attempt.outcome == "ok":
                return None
        return tokens, cost


class Copied(msgspec.Struct, frozen=True):
    """A shadow copy that ended.

    Attributes:
        request_id: Of the request it is a copy of.
        policy: Name of the policy that the request asked.
        rule: Label of the rule that asked for it.
        record: What happened to it; its client was nobody.
        duration_s: From its start to its end.
    """

    request_id: str
    policy: str
    rule: str
    record: Record
    duration_s: float


class Woken(msgspec.Struct, frozen=True):
    """A cold deployment that was told to wake.

    Attributes:
        provider: Its name.
        outcome: `status 202`, `connect`, `lost` or `timeout`.
    """

    provider: str
    outcome: str


Note = Copied | Woken


class Client(Protocol):
    """The client's side of one request, given to dispatch by serve."""

    async def start(self, status: int, headers: Headers, endpoint: str, attempts: int, waited_s: float = 0.0) -> None:
        """Commit: send the head. Serve adds the `x-pointsman-*` headers for this endpoint and count of attempts.

        Of the time since the request came `waited_s` were spent waiting for providers.

        Raises:
            OSError: The client is gone.
        """
        ...

    async def send(self, data: bytes, *, last: bool) -> None:
        """Relay bytes; waits while the client is slow. `last` ends the answer properly.

        Hands all of them over before it waits, so that a cancelled call never leaves half a chunk behind.

        Raises:
            OSError: The client is gone.
        """
        ...

    def offer(self, data: bytes) -> bool:
        """Relay bytes behind those sent before, if that takes no waiting; else False, and nothing is done."""
        ...

    def watch(self, left: Callable[[], None]) -> Callable[[], object]:
        """Have `left` called once when the client has left, not before this returns; return what ends the watch."""
        ...
