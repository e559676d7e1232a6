"""The worst that a plan can do: how long a client waits, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from router_dsl.plan import FIRST_TOKEN_CEILING_S, LONGEST_PAUSE_S, Endpoint, Options

# --- time -------------------------------------------------------------------------------------------


def patience_s(options: Options) -> float:
    """Return how long one attempt may be silent, in seconds: until its first token, or its `within`."""
    first = FIRST_TOKEN_CEILING_S if options.first_token_s is None else options.first_token_s
    return first if options.within_s is None else min(first, options.within_s)


def longest_s(options: Options) -> float:
    """Return how long one attempt may take in all, in seconds; infinite unless the policy says `within`."""
    return inf if options.within_s is None else options.within_s


def wait_s(options: Options, attempts: int, endpoints: int, escalations: int = 0, escalated: int = 0) -> float:
    """Return the longest wait for the first token of an answer, or for the error, in seconds.

    Each attempt uses up its patience and fails at the last moment; before an endpoint is asked again there is a pause,
    as long as the longest `retry-after` that is waited for. A hedge is sent while the first attempt is silent, and has
    patience of its own. A client of a rule with `escalate` has no first token before the answer is judged whole.

    Args:
        options: Of the plan.
        attempts: Of the plan; `endpoints` of them are to different ones.
        endpoints: See there.
        escalations: Attempts of the stronger model; `escalated` of them are to different endpoints.
        escalated: See there.
    """
    each = longest_s(options) if options.escalate is not None else patience_s(options)
    pauses = LONGEST_PAUSE_S * (attempts - endpoints + escalations - escalated)
    return (attempts + escalations) * each + pauses + _hedge_s(options, each)


def total_s(options: Options, attempts: int, endpoints: int, escalations: int = 0, escalated: int = 0) -> float:
    """Return the longest time until the answer is there as a whole, in seconds; see `wait_s`."""
    each = longest_s(options)
    pauses = LONGEST_PAUSE_S * (attempts - endpoints + escalations - escalated)
    return (attempts + escalations) * each + pauses + _hedge_s(options, each)


def _hedge_s(options: Options, each: float) -> float:
    """Return by how much a hedge puts off the next attempt: the time after which it was sent."""
    if options.hedge is None:
        return 0.0
    patience = patience_s(options)
    after = options.hedge.after_s
    late = patience if after is None else min(after, patience)
    return late if each < inf else inf


# --- money ------------------------------------------------------------------------------------------


def answer_limit(endpoint: Endpoint, options: Options) -> float:
    """Return the most tokens an answer of an endpoint has, whatever the client allows; infinite when nobody says."""
    caps = [float(limit) for name, limit in options.cap if name in ANSWER_LIMITS]
    caps += [
        float(value)
        for name, value in options.set
        if name in ANSWER_LIMITS and isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return min([inf if endpoint.output is None else float(endpoint.output), *caps])


ANSWER_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def answer_nusd(endpoint: Endpoint, options: Options, prompt: float, output: float | None) -> float | None:
    """Return the most that one answer of an endpoint costs, in nano-dollars; None when it is unpriced.

    An answer is as long as the client allows. Where the client sets no limit it is as long as the policy (`cap`,
    `set`), the model's `output` or what the context leaves allows; infinite when nothing does.

    Args:
        endpoint: Who answers.
        options: Of the plan.
        prompt: Tokens of the prompt.
        output: The client's limit, None without one.
    """
    if endpoint.price_in is None or endpoint.price_out is None:
        return None
    longest = answer_limit(endpoint, options)
    if endpoint.context is not None:
        longest = min(longest, max(0.0, endpoint.context - prompt))
    if output is not None:
        longest = min(longest, output)
    written = 0.0 if endpoint.price_out == 0 else longest * endpoint.price_out
    return (prompt * endpoint.price_in + written) / 1e6


def request_nusd(
    table: Sequence[Endpoint],
    options: Options,
    endpoints: Iterable[int],
    aside: Iterable[Iterable[int]],
    prompt: float,
    output: float | None,
) -> float | None:
    """Return the most that a request costs, in nano-dollars; None when an endpoint is unpriced.

    That is one answer of the dearest endpoint of the plan; with `hedge` also the prompt once more, which the loser has
    read; and one of the dearest of those that `escalate` and `shadow` ask besides. An attempt that fails is not billed.
    """

    def dearest(some: Iterable[int]) -> float | None:
        costs = [answer_nusd(table[index], options, prompt, output) for index in some]
        return None if None in costs else max((cost for cost in costs if cost is not None), default=0.0)

    asked = list(endpoints)
    parts = [dearest(asked), *(dearest(some) for some in aside)]
    if None in parts:
        return None
    total = sum(part for part in parts if part is not None)
    if options.hedge is not None and len(set(asked)) > 1:
        total += prompt * max(table[index].price_in or 0 for index in asked) / 1e6
    return total
