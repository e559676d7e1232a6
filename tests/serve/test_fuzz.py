"""No body and no header makes the router fail: every answer is whole, and none is a 5xx of our own making."""

from __future__ import annotations

import json
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.serve.settings import Settings
from tests.serve.desk import HELLO, PATH, Answer, Desk

POLICY = """
provider one { url "sim://one?ttft=1ms"  protocol sim  region us }
provider two { url "sim://two?ttft=1ms"  protocol sim  region eu }
model small { context 8k  serve one "up"  price $1 in $2 out  serve two "up"  price $2 in $3 out  supports tools }
model large { serve one "up"  supports tools, json, vision }
pool both = small, large
fact plan: one of trial, pro from header.x-plan
fact age: number from metadata.age
fact deep: text from body.a.b
fact home: ip from header.x-home
let long = prompt.tokens > 20
guard eu: when header.x-country in [de, fr] require region == eu
policy chat {
  home:   when home in ["10.0.0.0/8"] or client.ip in ["203.0.113.0/24"] -> reject 403
  old:    when age > 99 or age < 0 -> reject 400 "impossible"
  deep:   when deep contains "x" -> small by price
  regex:  when prompt.text matches /(a|b)*c/i and turns > 2 -> large
  task:   when task in [code, math] or language == han -> split 50% small, 50% large by user
  long:   when long and not stream -> large else small by latency
  past:   when time.date@"Europe/Berlin" < "2001-01-01" or temperature > 1 -> both by balance
  json:   when json != none or reasoning == high or has tools -> both by load
  late:   when healthy(both) < 50% or attempt > 2 -> both sticky by session
  trial:  when plan == trial and output.tokens > 4k -> small cap max_tokens 4k
  otherwise -> requested else both by price
}
"""

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(allow_nan=False), st.text(max_size=30)
)
NAMES = st.one_of(
    st.sampled_from(
        ["model", "messages", "stream", "role", "content", "type", "text", "tools", "metadata", "user", "max_tokens",
         "temperature", "response_format", "stream_options", "include_usage", "image_url", "age", "task", "a", "b", "n"]
    ),
    st.text(max_size=8),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=12,
)
TEXTS = st.one_of(
    st.text(max_size=80), st.sampled_from(["ababac", "def f(x): return x + 1", "翻译这个句子", "x " * 90])
)
PARTS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}),
        st.fixed_dictionaries({"type": st.sampled_from(["image_url", "input_audio", "file", "owl"])}),
    ),
    max_size=3,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant", "tool", "developer", "owl"])},
        optional={"content": st.one_of(TEXTS, PARTS), "name": st.text(max_size=5)},
    ),
    min_size=1,
    max_size=4,
)
WELL_FORMED = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["small", "large", "both", "@chat", "@nope", "ünknown", "\x00"]),
        "messages": MESSAGES,
    },
    optional={
        "stream": st.booleans(),
        "user": st.text(max_size=20),
        "tools": st.lists(st.dictionaries(NAMES, SCALARS, max_size=2), max_size=2),
        "metadata": st.dictionaries(st.sampled_from(["age", "task", "user_id", "tenant"]), VALUES, max_size=3),
        "max_tokens": st.integers(-1, 9000),
        "temperature": st.floats(0, 2),
        "response_format": st.sampled_from([None, {"type": "json_object"}, {"type": "json_schema"}, {"type": "owl"}]),
        "stream_options": st.fixed_dictionaries({"include_usage": st.booleans()}),
        "reasoning_effort": st.sampled_from(["high", "none", "owl", None]),
        "n": st.integers(1, 3),
        "a": VALUES,
        "session_id": st.text(max_size=10),
    },
)
ILL_FORMED = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"model": VALUES, "messages": VALUES},
    ),
    st.fixed_dictionaries(
        {"model": st.just("small"), "messages": st.just(HELLO)},
        optional=dict.fromkeys(("stream", "user", "tools", "max_tokens", "n", "response_format", "reasoning"), VALUES),
    ),
)
HEADER_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["x-plan", "x-home", "x-country", "content-type", "authorization", "x-request-id", "x-pointsman-explain",
         "x-session-id", "x-stainless-retry-count", "x-tenant-id", "x-user-id", "traceparent", "content-length"]
    ),
    st.one_of(HEADER_TEXT, st.sampled_from(["1", "only", "trial", "de", "10.0.0.1", "99999999999999999999"])),
    max_size=4,
)  # fmt: skip

QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)


@cache
def desk() -> Desk:
    return Desk(POLICY, Settings(anonymous=True))


def check(answer: Answer) -> None:
    events = desk().log.seen
    assert not [event for event in events if event["event"] == "internal_error"]
    # The simulated provider gives an empty answer to some requests (`max_tokens: 0`): that failure is its own.
    exhausted = bool(events) and events[-1]["end"] == "exhausted"
    events.clear()
    assert answer.heads == 1
    assert answer.ended
    assert answer.status < 500 or exhausted
    assert answer.headers["x-pointsman-policy"]
    if answer.status >= 400:
        error = json.loads(answer.body)["error"]
        assert {"message", "type", "param", "code"} <= error.keys()
        assert b"Traceback" not in answer.body


@pytest.mark.slow
@QUIET
@given(WELL_FORMED, HEADERS, st.sampled_from(["127.0.0.1", "203.0.113.9", "2001:db8::7", "nobody", None]))
def test_any_request_gets_an_answer(body: object, headers: dict[str, str], peer: str | None) -> None:
    check(desk().post(body, headers=headers, peer=peer))


@pytest.mark.slow
@QUIET
@given(ILL_FORMED, HEADERS)
def test_any_json_gets_an_answer(body: object, headers: dict[str, str]) -> None:
    check(desk().post(raw=json.dumps(body).encode(), headers=headers))


@pytest.mark.slow
@QUIET
@given(st.binary(max_size=200), HEADERS)
def test_any_bytes_get_an_answer(raw: bytes, headers: dict[str, str]) -> None:
    check(desk().post(raw=raw, headers=headers))


@pytest.mark.slow
@QUIET
@given(st.data())
def test_a_damaged_request_gets_an_answer(data: st.DataObject) -> None:
    raw = bytearray(json.dumps({"model": "small", "messages": HELLO, "stream": True, "metadata": {"age": 7}}).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        raw = raw or bytearray(b" ")
    check(desk().post(raw=bytes(raw)))


@pytest.mark.slow
@QUIET
@given(st.text(max_size=60), st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS", "QUERY"]), HEADERS)
def test_any_address_gets_an_answer(path: str, method: str, headers: dict[str, str]) -> None:
    answer = desk().ask(method, "/" + path, headers=headers)
    if path.strip("/") not in ("readyz", PATH.strip("/")) and method != "HEAD":
        check(answer)
