"""OpenRouter's side of the application: wishes, errors, the skin of answers, metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.wire.request import ROUTER_ONLY
from tests.serve.desk import HELLO, PATH, Answer, Desk

SKIN = "/api/v1/chat/completions"
ASKS = {"x-openrouter-metadata": "Enabled"}


def chunks(answer: Answer) -> list[Any]:
    return [json.loads(event[6:]) for event in answer.body.split(b"\n\n") if event.startswith(b"data: {")]


def inner(answer: Answer, name: str) -> Any:
    return answer.error[name]


@pytest.mark.parametrize("path", [PATH, SKIN])
def test_wishes_choose_among_what_the_policy_allows(path: str) -> None:
    desk = Desk()
    answer = desk.post(path=path, provider={"order": ["two"]})
    assert answer.headers["x-pointsman-endpoint"] == "small@two"
    assert desk.post(path=path, provider={"ignore": ["one"]}).headers["x-pointsman-endpoint"] == "small@two"
    assert desk.post({"models": ["nope", "large"], "messages": HELLO}, path=path).headers["x-pointsman-endpoint"] == (
        "large@one"
    )
    assert (
        desk.post({"model": "large@preset/second", "messages": HELLO})
        .headers["x-pointsman-policy"]
        .startswith("second@")
    )


def test_a_wish_that_leaves_nothing_is_told_with_what_it_excluded() -> None:
    answer = Desk().post(path=SKIN, provider={"only": ["mars"], "zdr": True}, headers={"x-country": "de"})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, 404, "provider.only")
    availability = inner(answer, "availability")
    assert availability["code"] == "constraint_filtered"
    assert availability["excluded_by"] == ["guard eu", "allowed_providers"]
    assert availability["excluded"] == [
        {"endpoint": "small@one", "by": "guard eu"},
        {"endpoint": "small@two", "by": "provider.only"},
    ]
    assert inner(answer, "metadata")["error_type"] == "not_found"


def test_a_mistake_in_a_wish_is_a_400_in_both_dialects() -> None:
    for path, code in ((PATH, "unknown_parameter"), (SKIN, 400)):
        answer = Desk().post(path=path, provider={"allow_fallback": False})
        assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, "provider.allow_fallback")
        assert "allow_fallbacks" in str(answer.error["message"])
    answer = Desk().post({"model": "small:online", "messages": HELLO})
    assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter")


def test_an_unknown_model_is_a_400_for_openrouters_clients() -> None:
    assert Desk().post({"model": "nope", "messages": HELLO}, path=SKIN).status == 400
    assert Desk().post({"model": "nope", "messages": HELLO}).status == 404


def test_a_request_too_long_for_every_endpoint_is_a_400_that_clients_know() -> None:
    answer = Desk().post(max_tokens=9000)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert inner(answer, "metadata")["error_type"] == "context_length_exceeded"


def test_wishes_beyond_measure_do_not_fit_the_header_and_leave_the_rest_of_it() -> None:
    slugs = {name: ["x" * 200] * 32 for name in ("order", "ignore")}
    told = json.loads(Desk().post(provider=slugs, headers={"x-pointsman-explain": "1"}).headers["x-pointsman-explain"])
    assert told["rule"] == "otherwise"
    assert "wishes" not in told


# --- the skin -------------------------------------------------------------------------------------


def test_the_skin_adds_who_answered_and_what_it_cost() -> None:
    answer = Desk().post(path=SKIN)
    found = answer.json
    assert found["id"] == answer.headers["x-generation-id"]
    assert (found["provider"], found["model"]) == ("one", "small")
    usage: Any = found["usage"]
    assert usage["cost"] == (usage["prompt_tokens"] * 100 + usage["completion_tokens"] * 200) / 1e9
    assert int(answer.headers["content-length"]) == len(answer.body)
    choices: Any = found["choices"]
    assert choices[0]["native_finish_reason"] == choices[0]["finish_reason"] == "stop"


def test_streams_on_the_skin_always_bring_usage() -> None:
    answer = Desk().post(path=SKIN, stream=True)
    assert answer.body.endswith(b"data: [DONE]\n\n")
    found = chunks(answer)
    assert {(c["id"], c["provider"], c["model"]) for c in found} == {
        (answer.headers["x-generation-id"], "one", "small")
    }
    assert [c["usage"]["cost"] > 0 for c in found if c.get("usage")] == [True]


def test_openais_clients_get_the_providers_own_bytes() -> None:
    for stream in (False, True):
        answer = Desk().post(stream=stream)
        assert b'"provider"' not in answer.body
        assert b'"cost"' not in answer.body
        assert b'"model":"up-small"' in answer.body.replace(b": ", b":")
        assert answer.headers["x-generation-id"].startswith("gen-")


@pytest.mark.parametrize("path", [PATH, SKIN])
@pytest.mark.parametrize("stream", [False, True])
def test_metadata_is_there_for_who_asks(path: str, *, stream: bool) -> None:
    desk = Desk()
    answer = desk.post(path=path, stream=stream, headers=ASKS, provider={"order": ["two"]})
    told = chunks(answer)[-1]["openrouter_metadata"] if stream else answer.json["openrouter_metadata"]
    assert told["requested"] == "small"
    assert (told["strategy"], told["attempt"], told["is_byok"]) == ("direct", 1, False)
    assert [(e["provider"], e["selected"]) for e in told["endpoints"]["available"]] == [("two", True), ("one", False)]
    assert told["params"] == {"provider": {"order": ["two"]}}
    for said in ("off", "true", ""):
        assert b"openrouter_metadata" not in desk.post(stream=stream, headers={"x-openrouter-metadata": said}).body


EVERY_INTERFACE = {
    "chat/completions": {"messages": HELLO},
    "completions": {"prompt": "hi"},
    "messages": {"messages": HELLO, "max_tokens": 9},
    "responses": {"input": "hi"},
    "embeddings": {"input": "hi"},
}


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("name", EVERY_INTERFACE)
def test_every_interface_hears_wishes_and_tells_metadata(name: str, prefix: str) -> None:
    for stream in (False, True) if name != "embeddings" else (False,):
        body = {"models": ["nope", "small:floor"], "provider": {"ignore": ["one"]}, **EVERY_INTERFACE[name]}
        answer = Desk().post({**body, "stream": stream}, path=f"{prefix}/v1/{name}", headers=ASKS)
        assert (answer.status, answer.ended) == (200, True)
        assert answer.headers["x-pointsman-endpoint"] == "small@two"
        assert answer.body.count(b'"openrouter_metadata":{') == 1
        assert b'"excluded":[{"endpoint":"small@one","by":"provider.ignore"}]' in answer.body
        skinned = prefix == "/api" and name not in ("messages", "responses")
        assert (answer.headers["x-generation-id"].encode() in answer.body) is skinned


def test_metadata_tells_what_was_excluded() -> None:
    told: Any = Desk().post(headers={**ASKS, "x-country": "de"}, models=["large"]).json["openrouter_metadata"]
    assert told["strategy"] == "fallback"
    assert {"endpoint": "small@one", "by": "guard eu"} in told["excluded"]
    assert told["params"] == {"models": ["small", "large"]}


def test_errors_stay_errors_on_the_skin() -> None:
    answer = Desk().post({"model": "gone", "messages": HELLO}, path=SKIN, headers=ASKS)
    assert answer.status == 503
    assert answer.error["code"] == 503
    assert inner(answer, "availability")["affected_providers"] == ["dead"]


# --- what reaches providers -----------------------------------------------------------------------


def sent(fields: Mapping[str, object]) -> dict[str, Any]:
    """Return the body that a provider gets."""
    from runtime.dispatch.transport import Outgoing, Response, TransportError

    got: list[bytes] = []

    class Taking:
        async def send(self, request: Outgoing) -> Response:
            got.append(request.body)
            raise TransportError("connect", "no")

        async def aclose(self) -> None:
            pass

    answer = Desk(transports={"sim": Taking()}).post({"model": "small", "messages": HELLO, **fields})
    assert got, answer.body
    found: dict[str, Any] = json.loads(got[0])
    return found


VALID: dict[str, object] = {
    "models": ["large"], "provider": {"sort": "price"}, "route": "fallback", "plugins": [], "preset": "chat",
    "session_id": "s", "trace": {"trace_id": "t"}, "transforms": [], "usage": {"include": True},
    "debug": {"echo_upstream_body": False}, "stop_server_tools_when": None,
}  # fmt: skip


@pytest.mark.parametrize("name", ROUTER_ONLY)
def test_a_field_for_the_router_never_reaches_a_provider(name: str) -> None:
    assert set(VALID) == set(ROUTER_ONLY)
    assert set(sent({name: VALID[name]})) == {"model", "messages"}


KNOWN = {"model", "messages", "stream", "stream_options", *ROUTER_ONLY}
TYPED = {
    "n", "max_tokens", "max_completion_tokens", "max_output_tokens", "temperature", "tools", "reasoning_effort",
    "reasoning", "user", "prompt_cache_key", "metadata", "functions", "response_format",
}  # fmt: skip
UNKNOWN = st.dictionaries(
    st.one_of(st.text(max_size=12), st.sampled_from(["top_k", "min_p", "seed", "logit_bias", "image_config"])).filter(
        lambda name: name not in KNOWN | TYPED
    ),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9)),
        lambda values: st.one_of(
            st.lists(values, max_size=3), st.dictionaries(st.text(max_size=5), values, max_size=3)
        ),
        max_leaves=5,
    ),
    max_size=4,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(UNKNOWN)
def test_whatever_else_is_sent_arrives(fields: dict[str, object]) -> None:
    assert sent({**fields, **VALID}) == {"model": "up-small", "messages": HELLO, **fields}


NAMES = st.sampled_from(
    ["order", "only", "ignore", "sort", "by", "partition", "max_price", "prompt", "quantizations", "zdr", "x",
     "allow_fallbacks", "require_parameters", "data_collection", "preferred_max_latency", "p50"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["one", "two/us", "price", "none", "fp8", "deny", "small", "large:floor", "@second", "", "a:free", "\ud800"]
)
ODD = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 10**20), st.floats(allow_nan=False), WORDS),
    lambda found: st.one_of(st.lists(found, max_size=3), st.dictionaries(NAMES, found, max_size=4)),
    max_leaves=8,
)
ENDINGS = st.sampled_from([":floor", ":online", "@preset/second", "@preset/"])
OTHERS = ("route", "preset", "plugins", "transforms", "session_id", "debug", "usage", "stream")
WISHES = st.fixed_dictionaries(
    {},
    optional={
        "provider": st.one_of(ODD, st.dictionaries(NAMES, ODD, max_size=4)),
        "models": st.one_of(ODD, st.lists(WORDS, max_size=4)),
        "model": st.one_of(ODD, st.tuples(WORDS, ENDINGS).map("".join)),
        **dict.fromkeys(OTHERS, ODD),
    },
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(WISHES, st.sampled_from([PATH, SKIN]), st.booleans())
def test_no_wish_makes_the_router_fail(wishes: dict[str, object], path: str, asks: bool) -> None:
    answer = FUZZED.post({"model": "small", "messages": HELLO, **wishes}, path=path, headers=ASKS if asks else {})
    assert answer.ended
    assert answer.status in (200, 400, 404)
    if answer.status != 200:
        assert answer.error["message"]


FUZZED = Desk()


def test_a_key_that_may_ask_for_few_models_cannot_list_others(tmp_path: Path) -> None:
    from tests.serve.test_keyfile import ask, served, write

    desk = served(write(tmp_path / "keys.toml", bert='models = ["small"]'))
    for body in ({"model": "small", "models": ["large"]}, {"model": "small:floor", "models": ["small", "large"]}):
        refused = ask(desk, "bert", body={"messages": HELLO, **body})
        assert (refused.status, refused.error["param"]) == (403, "model")
    assert ask(desk, "bert", body={"messages": HELLO, "model": "small:floor", "models": ["vendor/small"]}).status == 200
