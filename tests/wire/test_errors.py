"""One error value for every client, and every provider's error read into it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire import errors, unavailable
from runtime.wire.errors import ERROR_TYPES, Dialect, Problem, normalise
from runtime.wire.unavailable import Failed

SAMPLES = [
    errors.bad_request("x", "messages"),
    errors.too_large(5),
    errors.unauthorized(),
    errors.unknown_path("/x"),
    errors.method_not_allowed("GET", "/v1/chat/completions"),
    unavailable.unknown_model("gpt-9"),
    unavailable.no_endpoints("the guard `residency` leaves nothing", [("m@p", "guard residency")], ["m"]),
    unavailable.no_endpoints("too long", [("m@p", "context 8000 < 9000 tokens")], ["m"]),
    unavailable.no_endpoints("no", [("m@p", "provider.zdr"), ("m@q", "guard residency")], ["m"]),
    errors.rejected(413, "too long"),
    errors.rejected(451, None),
    errors.rate_limited("spend", 12.5),
    unavailable.exhausted(503, [Failed("a@p", "status 503", 503), Failed("b@q", "connect")], 2.0),
    unavailable.exhausted(502, []),
    unavailable.exhausted(502, [Failed("a@p", "status 404", 404)]),
    errors.internal(),
]


@pytest.mark.parametrize("problem", SAMPLES)
def test_one_object_serves_openai_and_openrouter(problem: Problem) -> None:
    for_openai = json.loads(problem.to_bytes("openai"))["error"]
    assert {"message", "type", "param", "code", "metadata"} <= set(for_openai)
    assert isinstance(for_openai["code"], str)
    assert isinstance(for_openai["message"], str)
    assert for_openai["metadata"]["error_type"] in ERROR_TYPES
    envelope = json.loads(problem.to_bytes("openrouter"))
    assert envelope["user_id"] is None
    assert envelope["error"]["code"] == (400 if problem.code == "model_not_found" else problem.status)
    assert {**envelope["error"], "code": 0} == {**for_openai, "code": 0}


@pytest.mark.parametrize("problem", SAMPLES)
def test_anthropics_clients_get_their_envelope(problem: Problem) -> None:
    envelope = json.loads(problem.to_bytes("anthropic", "req_1"))
    assert envelope["type"] == "error"
    assert envelope["request_id"] == "req_1"
    assert set(envelope["error"]) == {"type", "message", "error_type"}


def test_overload_is_529_for_anthropic_and_503_for_all_others() -> None:
    for status in (503, 529):
        problem = errors.problem(status, "x")
        assert problem.status_in("anthropic") == 529
        assert problem.status_in("openai") == problem.status_in("openrouter") == 503
    assert json.loads(errors.problem(529, "x").to_bytes("anthropic"))["error"]["type"] == "overloaded_error"


@pytest.mark.parametrize("status", range(400, 600))
def test_every_status_has_words_in_every_dialect(status: int) -> None:
    problem = errors.problem(status, "x")
    assert problem.error_type in ERROR_TYPES
    dialects: tuple[Dialect, ...] = ("openai", "openrouter", "anthropic")
    for dialect in dialects:
        assert json.loads(problem.to_bytes(dialect))["error"]["message"] == "x"


def test_user_text_in_messages_is_printable_and_short() -> None:
    found = unavailable.unknown_model("\ud800\n\x1b[31m" + "x" * 1000)
    assert "\n" not in found.message
    assert len(found.message) < 300
    found.to_bytes("openai")


def test_a_hint_is_sent_in_both_forms_and_otherwise_sdks_are_told_not_to_retry() -> None:
    hinted = dict(errors.rate_limited("spend", 1.2).headers())
    assert (hinted[b"retry-after"], hinted[b"retry-after-ms"]) == (b"2", b"1200")
    assert b"x-should-retry" not in hinted
    assert dict(unavailable.exhausted(502, []).headers())[b"x-should-retry"] == b"false"
    assert b"x-should-retry" not in dict(errors.bad_request("x").headers())


# --- providers' errors ----------------------------------------------------------------------------


def of(status: int, body: object, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Problem:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return normalise(status, headers, raw, 0.0)


@pytest.mark.parametrize(
    ("body", "message", "code", "param"),
    [
        (
            {"error": {"message": "bad n", "type": "invalid_request_error", "param": "n", "code": "bad_n"}},
            "bad n", "bad_n", "n",
        ),
        ({"error": {"message": "bad n", "code": 400, "metadata": {}}}, "bad n", "invalid_request", None),
        (
            {"error": {"message": "long", "code": 400, "metadata": {"error_type": "context_length_exceeded"}}},
            "long", "context_length_exceeded", None,
        ),
        ({"error": "model is paused"}, "model is paused", "invalid_request", None),
        ({"error": "bad_thing", "message": "it is bad"}, "it is bad", "bad_thing", None),
        ({"message": "plain", "code": 400, "object": "error"}, "plain", "invalid_request", None),
        ([{"error": {"code": 400, "message": "says google"}}], "says google", "invalid_request", None),
        ({"type": "error", "error": {"type": "x", "message": "says claude"}}, "says claude", "invalid_request", None),
        ({"detail": "no such thing"}, "no such thing", "invalid_request", None),
        (
            {"detail": [{"loc": ["body", "messages", 0], "msg": "field required", "type": "x"}]},
            "messages.0: field required", "invalid_request", "messages.0",
        ),
        ("just text", "just text", "invalid_request", None),
        (b"model not found", "model not found", "invalid_request", None),
        (b"two\nlines\t here", "two lines here", "invalid_request", None),
    ],
)  # fmt: skip
def test_every_shape_of_a_refusal_is_read(body: object, message: str, code: str, param: str | None) -> None:
    found = of(400, body)
    assert (found.status, found.message, found.code, found.param) == (400, message, code, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Bad Gateway at 10.0.0.7</body></html>",
        b"  <!DOCTYPE html><title>x</title>",
        b"oops <h1>nginx</h1>",
        b"\xff\xfe\x00binary",
        b"{",
        b'{"error":',
        b"[" * 50_000,
        b"x" * 300_000,
        b"null",
        b"5",
        b"[]",
        b"{}",
        b'{"error": null}',
        b'{"error": {"message": {"nested": 1}}}',
        b'{"error": {"message": "<html>inside</html>"}}',
        b'{"detail": []}',
        b'{"detail": {"a": 1}}',
        b'{"error": []}',
    ],
)
@pytest.mark.parametrize("status", [400, 404, 429, 500, 502, 503])
def test_what_says_nothing_gets_our_own_words(status: int, body: bytes) -> None:
    found = of(status, body)
    assert found.status == status
    assert found.message.startswith("the provider")
    assert "<" not in found.message


def test_servers_errors_keep_their_code_but_not_their_text() -> None:
    found = of(503, {"error": {"code": "DEPLOYMENT_SCALING_UP", "message": "shard 7 of pod x"}})
    assert found.metadata == {"provider_code": "DEPLOYMENT_SCALING_UP"}
    assert "shard" not in found.message


def test_the_routers_own_credentials_are_never_spoken_of() -> None:
    found = of(401, {"error": {"message": "Incorrect API key provided: sk-secret", "code": "invalid_api_key"}})
    assert "sk-secret" not in found.to_bytes("openai").decode()


def test_an_error_in_a_200_has_the_status_it_names() -> None:
    assert of(200, {"error": {"code": 429, "message": "slow down"}}).status == 429
    assert of(200, {"error": {"code": "x", "message": "broken"}}).status == 502
    assert of(200, {"error": {"code": 200}}).status == 502
    assert of(200, {"error": {"code": True}}).status == 502


def test_long_messages_are_cut() -> None:
    assert len(of(400, {"error": {"message": "x" * 100_000}}).message) <= errors.MAX_MESSAGE_CHARS + 1


def test_the_retry_hint_comes_along() -> None:
    assert of(429, {}, ((b"retry-after", b"7"),)).retry_after_s == 7.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("a<>é\\ud800", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("error", "message", "code", "type", "param", "detail", "loc", "msg", "metadata", "error_type")
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.integers(200, 599), JSON)
def test_any_json_gives_a_problem_that_can_be_sent(status: int, body: object) -> None:
    found = of(status, body)
    assert 400 <= found.status <= 599
    json.loads(found.to_bytes("openai"))
    json.loads(found.to_bytes("anthropic"))
