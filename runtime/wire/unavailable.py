"""The errors of requests that no endpoint answers, with OpenRouter's `availability`: what excluded which endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from runtime.wire.errors import Problem, printable, problem

Excluded = Sequence[tuple[str, str]]
"""Endpoints that might have answered, each with what forbids it in the words of a plan: `guard eu`, `provider.zdr`."""

PRIVACY = ("provider.zdr", "provider.data_collection")
"""Wishes about what becomes of the data."""

_WISHES = ("provider.", "model:free", "models:")

# Beginnings of what forbids an endpoint, and OpenRouter's word for it; all else keeps the policy's words.
_WORDS = (
    ("provider.zdr", "data_policy:zdr"),
    ("provider.data_collection", "data_policy:training"),
    ("provider.enforce_distillable_text", "data_policy:training"),
    ("provider.max_price", "max_price"),
    ("model:free", "max_price"),
    ("provider.quantizations", "quantization"),
    ("provider.require_parameters", "require_parameters"),
    ("supports no ", "require_parameters"),
    ("provider.", "allowed_providers"),
    ("context ", "context_length"),
)

# A request may exclude hundreds of endpoints of a large catalog; this many show why.
MOST_SHOWN = 32


class Failed(NamedTuple):
    """An attempt that failed.

    Attributes:
        endpoint: `MODEL@PROVIDER[/LABEL]`.
        outcome: As records have it: `status 503`, `connect`, `timeout first token`, …
        status: HTTP status of its answer, or None.
    """

    endpoint: str
    outcome: str
    status: int | None = None


def unknown_model(*models: str) -> Problem:
    """Return OpenAI's 404 `model_not_found`; 400 for OpenRouter's clients."""
    names = [printable(model) for model in models]
    message = f"the model `{names[0]}` does not exist"
    if len(names) > 1:
        message = f"none of the models {', '.join(f'`{name}`' for name in names)} exists"
    availability = {"code": "model_not_found", "retryable": False, "requested_models": names}
    return replace(problem(404, message, code="model_not_found", param="model"), availability=availability)


def no_endpoints(message: str, excluded: Excluded = (), models: Sequence[str] = ()) -> Problem:
    """Return the error for a request that no endpoint may answer: a 404, or 400 when it is only too long.

    Args:
        message: What left nothing, naming it.
        excluded: What might have answered.
        models: What the client asked for.
    """
    reasons = [by for _, by in excluded]
    if reasons and all(by.startswith("context ") for by in reasons):
        code, found = "no_endpoints", problem(400, message, code="context_length_exceeded", param="messages")
    else:
        code = _code(reasons)
        found = problem(404, message, code=code)
    availability: dict[str, object] = {
        "code": code,
        "retryable": False,
        "requested_models": [printable(model) for model in models],
    }
    if excluded:
        availability["excluded_by"] = list(dict.fromkeys(_word(by) for by in reasons))
        availability["excluded"] = [{"endpoint": endpoint, "by": by} for endpoint, by in excluded[:MOST_SHOWN]]
    wish = next((by for by in reasons if by.startswith(_WISHES)), None)
    if wish is not None:
        field = "model" if wish.startswith("model:") else wish.partition(" ")[0].rstrip(":")
        count = sum(by == wish for by in reasons)
        availability["constraint"] = {"field": field, "detail": f"leaves out {count} of {len(reasons)} endpoints"}
        found = replace(found, param=field)
    return replace(found, availability=availability)


def exhausted(status: int, tried: Sequence[Failed], retry_after_s: float | None = None) -> Problem:
    """Return the error when every attempt of the plan has failed.

    Args:
        status: 429, 502, 503 or 504.
        tried: Each attempt, in order.
        retry_after_s: The shortest wait that any provider asked for.
    """
    said = ", ".join(f"{each.endpoint}: {each.outcome}" for each in tried)
    message = f"no provider could answer ({said})" if said else "no provider could answer"
    if tried and all(each.status == 404 for each in tried):
        # Providers that do not have the model; asking again would not help.
        return _exhausted(problem(404, message, code="model_unavailable_upstream"), tried, None)
    code = {429: "capacity_exhausted", 503: "temporarily_unavailable"}.get(status)
    return _exhausted(problem(status, message, code=code), tried, retry_after_s)


def _exhausted(found: Problem, tried: Sequence[Failed], retry_after_s: float | None) -> Problem:
    known = found.code in ("capacity_exhausted", "model_unavailable_upstream")
    availability: dict[str, object] = {
        "code": found.code if known else "temporarily_unavailable",
        "retryable": found.code != "model_unavailable_upstream",
        "affected_providers": list(dict.fromkeys(_provider(each.endpoint) for each in tried)),
    }
    if retry_after_s is not None:
        availability["retry_after"] = retry_after_s
    errors = [
        {
            "provider": _provider(each.endpoint),
            "endpoint": each.endpoint,
            "outcome": each.outcome,
            "code": each.outcome.replace(" ", "_"),
            "status": each.status,
        }
        for each in tried
    ]
    return replace(found, retry_after_s=retry_after_s, metadata={"previous_errors": errors}, availability=availability)


def _code(reasons: Sequence[str]) -> str:
    """Return OpenRouter's word for why nothing is left: by the client's own wish, or in spite of it."""
    wishes = [by for by in reasons if by.startswith(_WISHES)]
    if not wishes:
        return "no_endpoints"
    if all(by in PRIVACY for by in wishes):
        return "privacy_restricted"
    return "free_variant_ended" if all(by == "model:free" for by in wishes) else "constraint_filtered"


def _word(by: str) -> str:
    return next((word for start, word in _WORDS if by.startswith(start)), by)


def _provider(endpoint: str) -> str:
    return endpoint.rpartition("@")[2].partition("/")[0]
