"""The models that can be asked for here, as OpenAI's and OpenRouter's clients read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from router_dsl.fields import FEATURES
from router_dsl.plan import Endpoint, Model
from runtime.serve.router import Router

# Nano-dollars per million tokens to dollars per token: 9 decimal places and 6.
_PRICE_EXPONENT = -15

# What a feature said of an endpoint is called among a request's parameters.
_PARAMETERS = {
    "tools": ("tools", "tool_choice", "parallel_tool_calls"),
    "json": ("response_format", "structured_outputs"),
    "reasoning": ("reasoning", "include_reasoning"),
}
_ALWAYS = ("max_tokens", "temperature", "top_p", "stop", "seed", "frequency_penalty", "presence_penalty")
UNKNOWN_PRICE = "-1"
"""OpenRouter's word for a price that cannot be told beforehand."""

_INPUTS = {"vision": "image", "audio": "audio", "files": "file"}


def listing(router: Router) -> dict[str, object]:
    """Return the answer of `GET /v1/models`: what has at least one endpoint that can be used here."""
    items = [item(router, model) for model in router.book.program.models if usable(router, model)]
    return {
        "object": "list",
        "data": items,
        "total_count": len(items),
        "links": {"next": None},
    }


def model_of(router: Router, name: str) -> Model | None:
    """Return the model of that name, its own or another, or None when it cannot be asked for here."""
    for model in router.book.program.models:
        if name == model.name or name in model.aka:
            return model if usable(router, model) else None
    return None


def find(router: Router, name: str) -> dict[str, object] | None:
    """Return one model as it is listed, or None when it cannot be asked for here."""
    model = model_of(router, name)
    return None if model is None else item(router, model)


def usable(router: Router, model: Model) -> list[int]:
    """Return the endpoints (indices) of a model that can be used here."""
    return [index for index in model.endpoints if router.is_configured(index)]


def item(router: Router, model: Model) -> dict[str, object]:
    """Return a model in OpenAI's and OpenRouter's shape at once."""
    endpoints = [router.book.endpoints[index] for index in usable(router, model)]
    contexts = [endpoint.context for endpoint in endpoints if endpoint.context is not None]
    outputs = [endpoint.output for endpoint in endpoints if endpoint.output is not None]
    context, output = max(contexts, default=model.context), max(outputs, default=model.output)
    features = _features(endpoints)
    inputs = ["text", *(word for feature, word in _INPUTS.items() if feature in features)]
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "pointsman",
        "name": model.name,
        "canonical_slug": model.name,
        "hugging_face_id": None,
        "description": "",
        "aka": model.aka,
        "context_length": context,
        "architecture": {
            "modality": f"{'+'.join(inputs)}->text",
            "input_modalities": inputs,
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": pricing(endpoints),
        "top_provider": {"context_length": context, "max_completion_tokens": output, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": parameters(endpoints),
        "default_parameters": {},
        "supported_voices": None,
        "expiration_date": None,
        "links": {"details": f"/api/v1/models/{model.name}/endpoints"},
        "endpoints": [endpoint.id for endpoint in endpoints],
    }


def pricing(endpoints: Sequence[Endpoint]) -> dict[str, object]:
    """Return the lowest prices of endpoints in dollars per token, as OpenRouter writes them."""
    found: dict[str, object] = {
        "prompt": _cheapest(endpoint.price_in for endpoint in endpoints) or UNKNOWN_PRICE,
        "completion": _cheapest(endpoint.price_out for endpoint in endpoints) or UNKNOWN_PRICE,
        "request": "0",
        "image": "0",
    }
    if (cached := _cheapest(endpoint.price_cached for endpoint in endpoints)) is not None:
        found["input_cache_read"] = cached
    return found


def parameters(endpoints: Iterable[Endpoint]) -> list[str]:
    """Return what at least one of these endpoints takes."""
    features = _features(endpoints)
    return [*_ALWAYS, *(name for feature, names in _PARAMETERS.items() if feature in features for name in names)]


def _features(endpoints: Iterable[Endpoint]) -> set[str]:
    """Return what at least one endpoint can do; one that says nothing can do anything."""
    return {feature for e in endpoints for feature in (FEATURES if e.supports is None else e.supports)}


def _cheapest(prices: Iterable[int | None]) -> str | None:
    """Return the lowest price in dollars per token as OpenRouter writes it, None when there is none."""
    known = [price for price in prices if price is not None]
    if not known:
        return None
    return f"{Decimal(min(known)).scaleb(_PRICE_EXPONENT).normalize():f}"
