"""Why no endpoint answers, in OpenRouter's words."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.wire import unavailable
from runtime.wire.unavailable import Failed


def told(*excluded: tuple[str, str]) -> tuple[int, str, dict[str, Any]]:
    found = unavailable.no_endpoints("nothing is left", excluded, ["m"])
    assert found.availability is not None
    return found.status, found.code, dict(found.availability)


def test_what_a_policy_excludes_keeps_its_words() -> None:
    assert told(("m@p", "guard residency"), ("m@q", "where price.in <= $1"), ("m@r", "guard residency")) == (
        404,
        "no_endpoints",
        {
            "code": "no_endpoints",
            "retryable": False,
            "requested_models": ["m"],
            "excluded_by": ["guard residency", "where price.in <= $1"],
            "excluded": [
                {"endpoint": "m@p", "by": "guard residency"},
                {"endpoint": "m@q", "by": "where price.in <= $1"},
                {"endpoint": "m@r", "by": "guard residency"},
            ],
        },
    )


@pytest.mark.parametrize(
    ("by", "word", "code"),
    [
        ("provider.zdr", "data_policy:zdr", "privacy_restricted"),
        ("provider.data_collection", "data_policy:training", "privacy_restricted"),
        ("provider.enforce_distillable_text", "data_policy:training", "constraint_filtered"),
        ("provider.max_price", "max_price", "constraint_filtered"),
        ("provider.quantizations", "quantization", "constraint_filtered"),
        ("provider.require_parameters (reasoning)", "require_parameters", "constraint_filtered"),
        ("provider.only", "allowed_providers", "constraint_filtered"),
        ("provider.ignore", "allowed_providers", "constraint_filtered"),
        ("provider.allow_fallbacks", "allowed_providers", "constraint_filtered"),
        ("model:free", "max_price", "free_variant_ended"),
        ("models: rule no decides for big", "models: rule no decides for big", "constraint_filtered"),
    ],
)
def test_what_a_wish_excludes_has_openrouters_word_and_code(by: str, word: str, code: str) -> None:
    status, found, availability = told(("m@p", by), ("m@q", "guard eu"))
    assert (status, found, availability["code"]) == (404, code, code)
    assert availability["excluded_by"] == [word, "guard eu"]
    field = "model" if by == "model:free" else by.partition(" ")[0].rstrip(":")
    assert availability["constraint"] == {"field": field, "detail": "leaves out 1 of 2 endpoints"}


def test_what_is_only_too_long_is_a_400_that_clients_know() -> None:
    status, code, availability = told(("m@p", "context 8000 < 9000 tokens"))
    assert (status, code, availability["excluded_by"]) == (400, "context_length_exceeded", ["context_length"])
    assert told(("m@p", "context 8000 < 9000 tokens"), ("m@q", "guard eu"))[:2] == (404, "no_endpoints")
    assert told(("m@p", "supports no tools"))[2]["excluded_by"] == ["require_parameters"]


def test_a_long_list_is_cut() -> None:
    assert len(told(*[(f"m@p{i}", "provider.only") for i in range(100)])[2]["excluded"]) == unavailable.MOST_SHOWN


def test_exhaustion_tells_what_was_tried() -> None:
    found = unavailable.exhausted(429, [Failed("a@p/fast", "status 429", 429), Failed("b@q", "connect")], 3.0)
    assert found.message == "no provider could answer (a@p/fast: status 429, b@q: connect)"
    assert found.metadata == {
        "previous_errors": [
            {"provider": "p", "endpoint": "a@p/fast", "outcome": "status 429", "code": "status_429", "status": 429},
            {"provider": "q", "endpoint": "b@q", "outcome": "connect", "code": "connect", "status": None},
        ]
    }
    assert found.availability == {
        "code": "capacity_exhausted", "retryable": True, "affected_providers": ["p", "q"], "retry_after": 3.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code"), [(502, "provider_unavailable"), (503, "temporarily_unavailable"), (504, "timeout")]
)
def test_exhaustion_may_pass(status: int, code: str) -> None:
    found = unavailable.exhausted(status, [Failed("a@p", "empty", 200)])
    assert (found.status, found.code) == (status, code)
    assert found.availability is not None
    assert (found.availability["code"], found.availability["retryable"]) == ("temporarily_unavailable", True)


def test_a_model_that_no_provider_has_is_a_404() -> None:
    found = unavailable.exhausted(502, [Failed("a@p", "status 404", 404), Failed("a@q", "status 404", 404)])
    assert (found.status, found.code) == (404, "model_unavailable_upstream")
    assert found.availability is not None
    assert found.availability["retryable"] is False


def test_several_unknown_models_are_all_named() -> None:
    found = unavailable.unknown_model("a", "b")
    assert found.message == "none of the models `a`, `b` exists"
    assert (found.status, found.status_in("openrouter"), found.status_in("anthropic")) == (404, 400, 404)
