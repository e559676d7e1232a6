"""OpenRouter's pages: the endpoints of a model, providers, what a key has used and may use, single answers."""

from __future__ import annotations

from collections.abc import Mapping

from router_dsl.plan import NANO, Endpoint, Model
from runtime.decision.facts import Call, Facts
from runtime.decision.state import State
from runtime.decision.wishes import TIERS
from runtime.limits.limits import Room
from runtime.serve import limited, models
from runtime.serve.generations import MOST
from runtime.serve.keys import Key
from runtime.serve.router import Router
from runtime.serve.story import RequestTold
from runtime.wire import unavailable
from runtime.wire.errors import Problem, printable, problem
from runtime.wire.request import Chat

_OUT_OF_SERVICE = -2
"""OpenRouter's status of an endpoint goes from 0, fine, to -10, gone."""

_PERCENTILES = ("p50", "p75", "p90", "p99")

_PERIODS = {86_400: "daily", 604_800: "weekly"}


# --- models and providers -------------------------------------------------------------------------


def endpoints(router: Router, name: str) -> dict[str, object] | Problem:
    """Return the endpoints of a model: what `GET /models/{author}/{slug}/endpoints` answers."""
    model = models.model_of(router, name)
    if model is None:
        return unavailable.unknown_model(name)
    state = router.health.at(router.clock.now_s())
    item = models.item(router, model)
    return {
        "data": {
            **{name: item[name] for name in ("id", "name", "created", "description", "architecture")},
            "endpoints": [_endpoint(router, model, index, state) for index in models.usable(router, model)],
        }
    }


def _endpoint(router: Router, model: Model, index: int, state: State) -> dict[str, object]:
    endpoint = router.book.endpoints[index]
    provider = router.book.program.providers[endpoint.provider]
    errors, speed = state.measured(index, "errors"), state.measured(index, "speed")
    uptime = None if errors is None else round(100 * (1 - errors), 3)
    has_tools = endpoint.supports is None or "tools" in endpoint.supports
    return {
        "name": f"{provider.name} | {model.name}",
        "model_id": model.name,
        "model_name": model.name,
        "endpoint": endpoint.id,
        "context_length": endpoint.context or 0,
        "pricing": models.pricing([endpoint]),
        "provider_name": provider.name,
        "tag": _tag(endpoint, provider.name),
        "quantization": endpoint.quantization or "unknown",
        "max_completion_tokens": endpoint.output,
        "max_prompt_tokens": None,
        "supported_parameters": models.parameters([endpoint]),
        "supports_tool_choice": dict.fromkeys(("auto", "function", "none", "required"), has_tools),
        "supports_diarization": False,
        "native_tools": {},
        "service_tier": endpoint.label if endpoint.label in TIERS else None,
        "status": 0 if state.in_service(index) else _OUT_OF_SERVICE,
        "uptime_last_5m": uptime,
        "uptime_last_30m": uptime,
        "uptime_last_1d": None,
        "supports_implicit_caching": endpoint.price_cached is not None,
        # Of the last minutes, on this instance.
        "latency_last_30m": _percentiles(index, state),
        "throughput_last_30m": None if speed is None else dict.fromkeys(_PERCENTILES, round(speed, 3)),
        "region": endpoint.region,
        "zdr": endpoint.zdr,
    }


def _tag(endpoint: Endpoint, provider: str) -> str:
    """Return the slug that means this endpoint and no other of its provider, if there is one."""
    detail = endpoint.label or endpoint.quantization
    return f"{provider}/{detail}" if detail else provider


def _percentiles(index: int, state: State) -> dict[str, float] | None:
    """Return the time to the first token in milliseconds."""
    found = {name: state.measured(index, f"ttft.{name}") for name in _PERCENTILES}
    known = {name: round(1000 * value, 3) for name, value in found.items() if value is not None}
    return known if len(known) == len(found) else None


def providers(router: Router) -> dict[str, object]:
    """Return the providers that can be used here: what `GET /providers` answers."""
    program = router.book.program
    used = {e.provider for index, e in enumerate(router.book.endpoints) if router.is_configured(index)}
    return {
        "data": [
            {
                "name": provider.name,
                "slug": provider.name,
                "privacy_policy_url": None,
                "terms_of_service_url": None,
                "status_page_url": None,
                "headquarters": None,
                "datacenters": [provider.region] if provider.region else [],
            }
            for index, provider in enumerate(program.providers)
            if index in used
        ]
    }


# --- what a key may use ---------------------------------------------------------------------------


def key(router: Router, caller: Key, headers: Mapping[str, str], now_unix_s: float) -> dict[str, object]:
    """Return what a key has used and may use, as far as this instance has counted: what `GET /key` answers."""
    rooms = _rooms(router, caller, headers, now_unix_s)
    money = _tightest(rooms)
    used = (money[1].limit - money[1].remaining) / NANO if money is not None else 0.0
    period = _PERIODS.get(money[2]) if money is not None else None
    return {
        "data": {
            "label": caller.attributes.get("id", "anonymous"),
            "limit": money[1].limit / NANO if money is not None else None,
            "limit_remaining": money[1].remaining / NANO if money is not None else None,
            "limit_reset": period,
            "usage": used,
            "usage_daily": used if period == "daily" else 0.0,
            "usage_weekly": used if period == "weekly" else 0.0,
            "usage_monthly": 0.0,
            "byok_usage": 0.0,
            "byok_usage_daily": 0.0,
            "byok_usage_weekly": 0.0,
            "byok_usage_monthly": 0.0,
            "include_byok_in_limit": False,
            "is_free_tier": False,
            "is_management_key": False,
            "is_provisioning_key": False,
            "expires_at": None,
            "creator_user_id": None,
            "organization_id": None,
            "workspace_id": None,
            "allowed_data_regions": ["global"],
            "free_model_daily_requests": {"limit": 0, "remaining": 0, "used": 0},
            "rate_limit": {"requests": -1, "interval": "10s", "note": "`limits` has those of the policy"},
            "budgets": [_budget(*each) for each in rooms if each[1].unit == "$"],
            "effective_budget": _budget(*money) if money is not None else None,
            "limits": [
                {
                    "name": name,
                    "unit": "usd" if room.unit == "$" else room.unit,
                    "limit": room.limit / NANO if room.unit == "$" else room.limit,
                    "remaining": room.remaining / NANO if room.unit == "$" else room.remaining,
                    "period_s": period_s,
                    "reset_s": round(room.reset_s, 3),
                }
                for name, room, period_s in rooms
            ],
        }
    }


def _budget(name: str, room: Room, period_s: int) -> dict[str, object]:
    """Return a limit on dollars as OpenRouter's clients read budgets."""
    return {
        "budget_id": name,
        "guardrail_id": None,
        "scope": "api_key",
        "limit_usd": room.limit / NANO,
        "remaining_usd": room.remaining / NANO,
        "spend_usd": (room.limit - room.remaining) / NANO,
        "reset_interval": _PERIODS.get(period_s),
        "resets_at": None,  # it slides
        "include_byok": False,
    }


def credits(router: Router, caller: Key, headers: Mapping[str, str], now_unix_s: float) -> dict[str, object] | Problem:
    """Return the money that a key may use, and has used, in the period of its limit: what `GET /credits` answers."""
    money = _tightest(_rooms(router, caller, headers, now_unix_s))
    if money is None:
        return problem(404, "no limit of the policy counts this key's dollars")
    room = money[1]
    return {"data": {"total_credits": room.limit / NANO, "total_usage": (room.limit - room.remaining) / NANO}}


def _rooms(router: Router, caller: Key, headers: Mapping[str, str], now_unix_s: float) -> list[tuple[str, Room, int]]:
    """Return the limits that the caller's next chat falls under, as far as its key and headers tell."""
    body = Chat(model="", messages=[])
    call = Call("chat", "", headers, body, b"", caller.attributes, None, now_unix_s, router.settings.region)
    facts = Facts(call, router.book.program, router.health.at(router.clock.now_s()))
    return router.limits.rooms(facts, limited.now_s(router))


def _tightest(rooms: list[tuple[str, Room, int]]) -> tuple[str, Room, int] | None:
    return min((each for each in rooms if each[1].unit == "$"), key=lambda each: each[1].remaining, default=None)


# --- single answers -------------------------------------------------------------------------------


_UNKNOWN = (
    "upstream_id", "app_id", "cache_discount", "external_user", "http_referer", "moderation_latency", "preset_id",
    "native_tokens_completion_images", "num_fetches", "num_input_audio_prompt", "num_media_completion",
    "num_media_prompt", "num_search_results", "service_tier", "user_agent", "web_search_engine", "workspace_id",
)  # fmt: skip
"""What OpenRouter tells of an answer, and this router does not know."""


def generation(router: Router, caller: Key, name: str) -> dict[str, object] | Problem:
    """Return what became of one answer: what `GET /generation?id=` answers."""
    if not name:
        return problem(400, "`id` is required: `/generation?id=gen-…`", param="id")
    event = router.generations.find(name, caller.digest)
    if event is None:
        return problem(
            404,
            f"the generation `{printable(name)}` is not known here: this instance remembers its latest {MOST}, other "
            "instances have theirs, and each key sees its own; the log has them all, as `generation_id`",
        )
    return {"data": _generation(event)}


def _generation(event: RequestTold) -> dict[str, object]:
    cost = event.cost_usd or 0.0
    waits = [attempt for attempt in event.attempts if attempt.ended_ms is not None]
    generated_ms = None if event.ttft_ms is None else round(event.duration_ms - event.ttft_ms, 3)
    return {
        "id": event.generation_id,
        **dict.fromkeys(_UNKNOWN),
        "data_region": "global",
        "origin": "",
        "request_id": event.request_id,
        "created_at": event.ts,
        "api_type": "embeddings" if event.api == "embeddings" else "completions",
        "model": event.model or "",
        "endpoint": event.endpoint,
        "router": f"{event.policy}/{event.rule}",
        "provider_name": _provider(event.endpoint),
        "streamed": bool(event.stream),
        "cancelled": event.end == "client gone",
        "finish_reason": event.finish_reason,
        "native_finish_reason": event.finish_reason,
        "latency": event.ttft_ms,
        "generation_time": generated_ms,
        "tokens_prompt": event.prompt_tokens,
        "tokens_completion": event.completion_tokens,
        "native_tokens_prompt": event.prompt_tokens,
        "native_tokens_completion": event.completion_tokens,
        "native_tokens_cached": event.cached_tokens,
        "native_tokens_reasoning": event.reasoning_tokens,
        "usage": cost,
        "total_cost": cost,
        "upstream_inference_cost": cost,
        "is_byok": False,
        "http_status": event.status,
        "provider_responses": [
            {
                "endpoint_id": attempt.endpoint,
                "provider_name": _provider(attempt.endpoint),
                "status": attempt.status,
                "latency": round((attempt.ended_ms or 0.0) - attempt.started_ms, 3),
                "outcome": attempt.outcome,
                "is_byok": False,
            }
            for attempt in waits
        ],
    }


def _provider(endpoint: str | None) -> str | None:
    return None if endpoint is None else endpoint.rpartition("@")[2].partition("/")[0]
