"""What a flow is told and what it wants done: the two vocabularies between it and whoever drives it."""

from __future__ import annotations

from typing import Literal

import msgspec

Why = Literal["status", "connect", "lost", "cut", "empty", "malformed", "error"]
"""Why an attempt failed, as far as the carrier can tell.

`status`: an HTTP status other than 2xx; `connect`: no connection, nothing was sent; `lost`: the connection broke;
`cut`: the stream ended properly as HTTP but neither with `finish_reason` nor with `[DONE]`; `empty`: a success
without any content; `malformed`: not what was asked for (HTML, broken JSON, a stream for a unary request and the
like); `error`: an error object under a 2xx status or inside the stream.
"""

End = Literal["complete", "cut", "client gone", "exhausted", "refused"]


class Try(msgspec.Struct, frozen=True, gc=False):
    """One place in the plan of a request: an endpoint (index) tried for a target (index)."""

    endpoint: int
    target: int


# --- events: what happened ------------------------------------------------------------------------


class Begun(msgspec.Struct, frozen=True, gc=False):
    """A unary answer has begun: its first token is here, though not yet for the client. Streams do not report it."""

    attempt: int


class Content(msgspec.Struct, frozen=True, gc=False):
    """Real content of a stream arrived, or a unary answer is complete, not empty and free of errors.

    The first one commits; after it the client is given the bytes and the provider's clock rests until Waiting.
    """

    attempt: int


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """From now on the provider's next bytes are waited for: the client took what came before."""

    attempt: int


class Whole(msgspec.Struct, frozen=True, gc=False):
    """Every choice has its `finish_reason`: whatever ends the answer now, nothing of it is missing."""

    attempt: int


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The answer reached its proper end."""

    attempt: int


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The attempt failed.

    Attributes:
        status: HTTP status when `why` is `status`, else None.
        retry_after_s: The wait the provider asked for, or None.
    """

    attempt: int
    why: Why
    status: int | None = None
    retry_after_s: float | None = None


class TimeUp(msgspec.Struct, frozen=True, gc=False):
    """A deadline may have passed; too early is harmless."""


class ClientGone(msgspec.Struct, frozen=True, gc=False):
    """Nobody waits for the answer any more."""


class Stopping(msgspec.Struct, frozen=True, gc=False):
    """The router is about to end: what the client can still be told is told now."""


Event = Begun | Content | Waiting | Whole | Finished | Failed | TimeUp | ClientGone | Stopping


# --- actions: what to do --------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, gc=False):
    """Start attempt number `attempt` (from 0, in the order started) at `endpoint`."""

    attempt: int
    endpoint: int
    hedge: bool = False


class Commit(msgspec.Struct, frozen=True, gc=False):
    """This attempt's answer is the client's: start relaying it."""

    attempt: int


class Close(msgspec.Struct, frozen=True, gc=False):
    """The attempt is over; drop what is left of it.

    Attributes:
        outcome: `ok`, `status 503`, `timeout first token`, `timeout within`, `stall`, `connect`, `lost`, `cut`,
            `empty`, `malformed`, `error` or `cancelled`.
    """

    attempt: int
    outcome: str


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The request is over; always the last action.

    Attributes:
        end: `complete`; `cut`: end the client's stream with the in-band error; `client gone`; `exhausted`: nothing was
            sent, answer `status`; `refused`: pass on the refusal of attempt `attempt`.
        attempt: The attempt that this is about, or None.
        reason: Outcome of that attempt, or why nothing was tried.
        status: HTTP status that was sent or is to be sent.
        retry_after_s: When `status` may be worth another try, or None.
    """

    end: End
    attempt: int | None
    reason: str
    status: int
    retry_after_s: float | None = None


Action = Send | Commit | Close | Finish
