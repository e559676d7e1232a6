"""What providers are sent: the right key, nothing of the client's, the body as it came but for what must change."""

from __future__ import annotations

import json

import pytest

from runtime.dispatch.outgoing import Addresses, UnusableKeyError, join
from tests.dispatch.bench import STREAM, UNARY, Bench, call, endpoint, options, program, provider, run

CLIENT = {
    "authorization": "Bearer client-key",
    "x-api-key": "client-key",
    "api-key": "client-key",
    "cookie": "a=b",
    "proxy-authorization": "client-key",
    "connection": "keep-alive, x-hop",
    "x-hop": "1",
    "te": "trailers",
    "host": "router.example",
    "content-length": "7",
    "accept-encoding": "gzip",
    "user-agent": "OpenAI/Python 3",
    "x-forwarded-for": "1.2.3.4",
    "x-stainless-retry-count": "1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "x-session-affinity": "s1",
}


def sent(keys: dict[str, str] | None = None, **changes: object) -> dict[bytes, bytes]:
    found = program((provider(0, "http://p/v1", **changes),), (endpoint(0, 0),))
    addresses = Addresses(found, {"KEY": "k1"} if keys is None else keys, {"vault": "k2"})
    asked = call(UNARY, CLIENT)
    return dict(addresses.request(0, "chat", "chat", asked.raw, asked.headers, options())[0].headers)


def test_nothing_of_the_client_goes_upstream_but_the_trace_and_the_affinity() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.ask(UNARY, headers=CLIENT)
        (received,) = bench.providers[0].received
        port = bench.providers[0].port
        assert received.headers == {
            "host": f"127.0.0.1:{port}",
            "authorization": "Bearer provider-key",
            "content-type": "application/json",
            "content-length": str(len(received.body)),
            "accept-encoding": "identity",
            "user-agent": "pointsman",
            "traceparent": CLIENT["traceparent"],
            "x-session-affinity": "s1",
        }
        assert (received.method, received.path) == ("POST", "/v1/chat/completions")
        assert received.json == {**UNARY, "model": "upstream-0"}

    run(scenario)


def test_each_auth_scheme_puts_the_key_where_it_belongs() -> None:
    assert sent()[b"authorization"] == b"Bearer k1"
    assert sent(auth="api-key")[b"authorization"] == b"Api-Key k1"
    by_header = sent(auth="X-Api-Key")
    assert by_header[b"x-api-key"] == b"k1"
    assert b"authorization" not in by_header
    assert sent(key_env=None, key_secret="vault")[b"authorization"] == b"Bearer k2"
    assert b"authorization" not in sent(key_env=None)


def test_a_providers_own_headers_are_sent_but_frame_nothing() -> None:
    own = (("X-Team", "a"), ("User-Agent", "mine"), ("Transfer-Encoding", "chunked"), ("accept-encoding", "gzip"))
    headers = sent(headers=(*own, ("authorization", "Bearer other")))
    assert headers[b"x-team"] == b"a"
    assert headers[b"user-agent"] == b"mine"
    assert headers[b"accept-encoding"] == b"identity"
    assert headers[b"authorization"] == b"Bearer k1"
    assert b"transfer-encoding" not in headers


@pytest.mark.parametrize(("keys", "expected"), [({"KEY": "k"}, True), ({}, False), ({"KEY": " \n"}, False)])
def test_an_endpoint_is_configured_when_its_key_is_set(keys: dict[str, str], expected: bool) -> None:
    found = program((provider(0, "http://p"), provider(1, "http://q", key_env=None)), (endpoint(0, 0), endpoint(1, 1)))
    addresses = Addresses(found, keys, {})
    assert addresses.configured(0) is expected
    assert addresses.configured(1)


def test_a_key_ends_where_its_line_ends() -> None:
    assert sent({"KEY": " k1\n"})[b"authorization"] == b"Bearer k1"


def test_a_key_that_no_header_can_carry_is_refused_without_showing_it() -> None:
    with pytest.raises(UnusableKeyError, match="environment variable `KEY`") as caught:
        sent({"KEY": "sec\nret"})
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://p/v1", "http://p/v1/chat/completions"),
        ("http://p/v1/", "http://p/v1/chat/completions"),
        ("http://p", "http://p/chat/completions"),
        ("http://p/v1?api-version=1", "http://p/v1/chat/completions?api-version=1"),
    ],
)
def test_paths_join_the_base_url(url: str, expected: str) -> None:
    assert join(provider(0, url), "/chat/completions") == expected


def test_a_simulated_provider_keeps_its_url() -> None:
    assert join(provider(0, "sim://?ttft=1s", protocol="sim"), "/chat/completions") == "sim://?ttft=1s"


def test_the_policys_edits_are_made() -> None:
    async def scenario(bench: Bench) -> None:
        body = {**STREAM, "max_tokens": 900, "provider": {"order": []}, "logprobs": True, "n": 1}
        await bench.ask(body, cap=(("max_tokens", 100),), set=(("seed", 1),), drop=("logprobs",))
        assert bench.providers[0].received[0].json == {
            **STREAM,
            "model": "upstream-0",
            "max_tokens": 100,
            "seed": 1,
            "n": 1,
            "stream_options": {"include_usage": True},
        }

    run(scenario)


def body_sent(api: str, body: dict[str, object], **changed: object) -> dict[str, object]:
    addresses = Addresses(program((provider(0, "http://p/v1"),), (endpoint(0, 0),)), {}, {})
    outgoing, dropped = addresses.request(0, api, api, json.dumps(body).encode(), {}, options(**changed))
    assert dropped == ()
    found = json.loads(outgoing.body)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("api", "own"), [("chat", "max_tokens"), ("messages", "max_tokens"), ("responses", "max_output_tokens")]
)
@pytest.mark.parametrize("edit", ["cap", "set"])
def test_a_limit_that_the_client_left_out_goes_by_the_interfaces_own_name(api: str, own: str, edit: str) -> None:
    assert body_sent(api, {"model": "m"}, **{edit: (("max_tokens", 7),)})[own] == 7


def test_thoughts_that_nobody_signed_stay_here() -> None:
    thought = {"type": "thinking", "thinking": "Hm", "signature": ""}
    text = {"type": "text", "text": "Yes", "citations": None}
    turns = [{"role": "assistant", "content": [thought, text]}]
    assert body_sent("messages", {"model": "m", "messages": turns})["messages"] == [
        {"role": "assistant", "content": [text]}
    ]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://us.api.openai.com/v1", "max_completion_tokens"),
        ("https://corp.openai.azure.com:443/openai/v1", "max_completion_tokens"),
        ("https://api.fireworks.ai/inference/v1", "max_tokens"),
        ("https://api.openai.com.evil.example/v1", "max_tokens"),
    ],
)
def test_a_translated_limit_has_the_name_that_the_provider_takes(url: str, name: str) -> None:
    addresses = Addresses(program((provider(0, url),), (endpoint(0, 0),)), {}, {})
    raw = b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}'
    outgoing, _ = addresses.request(0, "messages", "chat", raw, {}, options())
    assert json.loads(outgoing.body)[name] == 9


def test_anthropic_is_told_the_version_and_the_key_as_the_policy_says() -> None:
    headers = sent(protocol="anthropic", auth="x-api-key", key_env="KEY")
    assert (headers[b"anthropic-version"], headers[b"x-api-key"]) == (b"2023-06-01", b"k1")
    headers = sent(protocol="anthropic", auth="bearer", key_env="KEY", headers=(("anthropic-version", "2030-01-01"),))
    assert (headers[b"anthropic-version"], headers[b"authorization"]) == (b"2030-01-01", b"Bearer k1")
    assert b"anthropic-version" not in sent()
