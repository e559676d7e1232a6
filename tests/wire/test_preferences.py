"""OpenRouter's request fields, decoded strictly: what is wrong is named, with what was probably meant."""

from __future__ import annotations

import json

import pytest

from router_dsl.fields import APIS
from runtime.wire.errors import Problem
from runtime.wire.preferences import Preferences
from runtime.wire.request import Body, decode

LEAST = {
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "messages": {"messages": [{"role": "user", "content": "hi"}]},
    "completions": {"prompt": "hi"},
    "responses": {"input": "hi"},
    "embeddings": {"input": "hi"},
}


def decoded(api: str = "chat", **fields: object) -> Body | Problem:
    return decode(api, json.dumps({"model": "m", **LEAST[api], **fields}).encode())


def refused(api: str = "chat", **fields: object) -> Problem:
    found = decoded(api, **fields)
    assert isinstance(found, Problem), found
    assert found.status == 400
    return found


def accepted(api: str = "chat", **fields: object) -> Body:
    found = decoded(api, **fields)
    assert isinstance(found, Body), found
    return found


EVERY_FIELD = {
    "order": ["a"], "allow_fallbacks": False, "only": ["a"], "ignore": ["b"], "require_parameters": True,
    "data_collection": "deny", "zdr": True, "enforce_distillable_text": True, "quantizations": ["fp8"],
    "sort": {"by": "price", "partition": "none"}, "preferred_min_throughput": {"p90": 5},
    "preferred_max_latency": 1.5, "max_price": {"prompt": "1", "completion": 2, "request": 0, "image": 1, "audio": 1},
}  # fmt: skip


@pytest.mark.parametrize("api", APIS)
def test_every_interface_takes_all_fields_and_nulls_for_them(api: str) -> None:
    assert set(EVERY_FIELD) == set(Preferences.__struct_fields__)
    assert accepted(api, provider=EVERY_FIELD).provider is not None
    assert accepted(api, provider=dict.fromkeys(EVERY_FIELD)).provider == Preferences()
    assert accepted(api, provider={}, models=None, route=None, preset=None, plugins=None, transforms=None)


@pytest.mark.parametrize(
    ("provider", "param", "said"),
    [
        ({"allow_fallback": False}, "provider.allow_fallback", "did you mean `allow_fallbacks`?"),
        ({"allowed": ["a"]}, "provider.allowed", "did you mean `only`?"),
        ({"require_params": True}, "provider.require_params", "did you mean `require_parameters`?"),
        ({"xyz": 1}, "provider.xyz", "may be one of order, allow_fallbacks"),
        ({"sort": "prize"}, "provider.sort", "did you mean `price`?"),
        ({"sort": {"by": "cost"}}, "provider.sort.by", "price, throughput, latency"),
        ({"sort": {"order": "price"}}, "provider.sort.order", "by, partition"),
        ({"sort": {"partition": "all"}}, "provider.sort.partition", "model, none"),
        ({"sort": 3}, "provider.sort", "must be text or an object"),
        ({"data_collection": "no"}, "provider.data_collection", "allow, deny"),
        ({"quantizations": ["fp9"]}, "provider.quantizations[0]", "did you mean `fp8`?"),
        ({"quantizations": "fp8"}, "provider.quantizations", "must be a list, not text"),
        ({"order": "fireworks"}, "provider.order", "must be a list, not text"),
        ({"only": [""]}, "provider.only[0]", "must not be empty"),
        ({"only": ["a"] * 33}, "provider.only", "more than 32"),
        ({"zdr": 1}, "provider.zdr", "true or false"),
        ({"preferred_max_latency": {"p95": 1}}, "provider.preferred_max_latency.p95", "p50, p75, p90, p99"),
        ({"preferred_min_throughput": -1}, "provider.preferred_min_throughput", "out of range"),
        ({"max_price": {"tokens": 1}}, "provider.max_price.tokens", "prompt, completion"),
        ({"max_price": {"prompt": "cheap"}}, "provider.max_price.prompt", "number of dollars"),
        ({"max_price": {"prompt": "-1"}}, "provider.max_price.prompt", "at least 0"),
        ({"max_price": {"completion": -1}}, "provider.max_price.completion", "at least 0"),
        ({"max_price": {"completion": "1_0"}}, "provider.max_price.completion", "number of dollars"),
        ({"max_price": 3}, "provider.max_price", "must be an object"),
        ({"sort": "exacto"}, "provider.sort", "does not rate tool calls"),
    ],
)
def test_what_is_wrong_in_provider_is_named(provider: dict[str, object], param: str, said: str) -> None:
    problem = refused(provider=provider)
    assert problem.param == param
    assert said in problem.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"provider": "fireworks"}, "provider"),
        ({"provider": ["fireworks"]}, "provider"),
        ({"models": "a"}, "models"),
        ({"models": [1]}, "models[0]"),
        ({"models": [""]}, "models[0]"),
        ({"models": ["a"] * 33}, "models"),
        ({"route": "fallbacks"}, "route"),
        ({"preset": 1}, "preset"),
        ({"session_id": "x" * 257}, "session_id"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"plugins": ["web"]}, "plugins[0]"),
        ({"transforms": ["middle-out"]}, "transforms"),
        ({"debug": {"echo_upstream_body": True}}, "debug"),
        ({"stop_server_tools_when": [{"type": "x"}]}, "stop_server_tools_when"),
    ],
)
def test_what_is_wrong_or_unsupported_beside_it_is_named(fields: dict[str, object], param: str) -> None:
    problem = refused(**fields)
    assert problem.param == param
    assert f"`{param}`" in problem.message


@pytest.mark.parametrize(
    "fields",
    [
        {"plugins": [], "transforms": [], "debug": {}, "stop_server_tools_when": None},
        {"plugins": [{"id": "web", "enabled": False}], "debug": {"echo_upstream_body": False}},
        {"usage": {"include": True}, "trace": {"trace_id": "x"}, "session_id": "x" * 256},
        {"usage": "whatever", "trace": 3},
    ],
)
def test_what_is_off_or_without_effect_here_is_taken(fields: dict[str, object]) -> None:
    accepted(**fields)


def test_models_alone_name_the_first() -> None:
    found = decode("chat", json.dumps({"models": ["a", "b"], **LEAST["chat"]}).encode())
    assert isinstance(found, Body)
    assert (found.model, found.models) == ("a", ["a", "b"])
