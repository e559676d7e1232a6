"""Requests become facts: every source, every override, and never an exception."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_dsl.fields import APIS, DEFAULT_OUTPUT_TOKENS, EFFORTS, OPERATORS, REQUEST_FIELDS, TASKS
from router_dsl.plan import Endpoint, FactDecl, Model, Program, Provider, Scalar
from runtime.decision.facts import Call, Facts, address, report
from runtime.decision.state import Calm
from runtime.wire.request import Body, decode

PROVIDERS = tuple(
    Provider(name, "http://x/v1", None, None, None, "openai", "bearer", None, None, None, (), ()) for name in ("p", "q")
)


def endpoint(name: str, model: str, provider: int) -> Endpoint:
    return Endpoint(name, model, provider, None, "up", None, None, None, None, None, None, None, False, None, (), 1.0)


ENDPOINTS = (endpoint("a@p", "a", 0), endpoint("a@q", "a", 1), endpoint("b@q", "b", 1))
FACTS = (
    FactDecl("plan", "one of", ("trial", "pro"), "header.x-plan"),
    FactDecl("seats", "number", (), "metadata.seats"),
    FactDecl("budget", "tokens", (), "key.budget"),
    FactDecl("beta", "bool", (), "header.x-beta"),
    FactDecl("origin", "ip", (), "header.x-origin"),
    FactDecl("nick", "text", (), "body.profile.nick"),
    FactDecl("deep", "number", (), "body.a.1.b"),
    FactDecl("spoken", "text", (), "body.messages.0.content"),
)
PROGRAM = Program(
    "t", PROVIDERS, (Model("a", (), None, None, (0, 1)), Model("b", (), None, None, (2,))), ENDPOINTS,
    (("fast", (0, 2)), ("none", ())), FACTS, (), (), (), (), (),
)  # fmt: skip


class Stormy(Calm):
    """Endpoint 0 is out of service, endpoint 2 half full, the limit `spend` exceeded."""

    def in_service(self, endpoint: int) -> bool:
        return endpoint != 0

    def load(self, endpoint: int) -> float:
        return 0.5 if endpoint == 2 else 0.0

    def is_over(self, limit: str) -> bool:
        return limit == "spend"


def facts(
    fields: Mapping[str, object] | None = None,
    *,
    api: str = "chat",
    headers: Mapping[str, str] | None = None,
    key: Mapping[str, str] | None = None,
    ip: str | None = "127.0.0.1",
    now_s: float = 1_767_614_400.0,  # Monday, 5 January 2026, 12:00 UTC
    given: Mapping[str, Scalar | None] | None = None,
) -> Facts:
    least: dict[str, object] = {"model": "m"}
    least |= {"prompt": "Hello"} if api == "completions" else {}
    least |= {"input": "Hello"} if api in ("responses", "embeddings") else {}
    least |= {"messages": [{"role": "user", "content": "Hello"}]} if api in ("chat", "messages") else {}
    raw = json.dumps({**least, **(fields or {})}).encode()
    body = decode(api, raw)
    assert isinstance(body, Body), body
    call = Call(api, "/v1/chat/completions", headers or {}, body, raw, key or {}, ip, now_s, None)
    return Facts(call, PROGRAM, Stormy(), given)


@pytest.mark.parametrize("field", [field for field in REQUEST_FIELDS if not field.name.endswith(".*")])
def test_a_short_anonymous_chat_on_monday_noon_has_the_documented_baseline(field: Any) -> None:
    if field.name not in ("model", "healthy", "load"):
        assert facts()[field.name] == field.baseline


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("field", [field for field in REQUEST_FIELDS if not field.name.endswith(".*")])
def test_every_fact_of_the_scheme_has_a_value_of_its_type_in_every_interface(api: str, field: Any) -> None:
    value = facts(api=api)[field.name]
    kinds = {"bool": bool, "number": (int, float), "tokens": (int, float), "share": float}
    assert field.type in OPERATORS
    assert value is None or isinstance(value, kinds.get(field.type, str))
    if field.values and value is not None:
        assert value in field.values


def test_facts_are_computed_once_and_only_when_asked() -> None:
    found = facts()
    assert dict(found) == {}
    assert found["model"] == "m"
    assert dict(found) == {"model": "m"}
    assert found.get("turns") == 1
    assert found.get("header.x-none", "default") == "default"


def test_unknown_names_are_missing() -> None:
    for name in (
        "",
        "x",
        "prompt",
        "prompt.nothing",
        "time.",
        "time.minute",
        "header.",
        "key.",
        "over x y",
        "healthy()",
        "load(",
    ):
        assert not facts()[name]


# --- the body -------------------------------------------------------------------------------------


def chat(*messages: tuple[str, object], **fields: object) -> Facts:
    return facts({"messages": [{"role": role, "content": content} for role, content in messages], **fields})


def test_text_is_all_text_and_last_is_the_users() -> None:
    found = chat(("system", "s"), ("user", "one"), ("assistant", "two"), ("user", [{"type": "text", "text": "three"}]))
    assert found["prompt.text"] == "s\none\ntwo\nthree"
    assert found["prompt.system"] == "s"
    assert found["prompt.last"] == "three"
    assert found["prompt.chars"] == len("s\none\ntwo\nthree")
    assert found["turns"] == 3
    assert found.prefix() == "s\none"


def test_the_output_limit_has_three_names_and_none_below_one() -> None:
    assert facts({"max_tokens": 5})["output.tokens"] == 5
    assert facts({"max_completion_tokens": 7, "max_tokens": 5})["output.tokens"] == 7
    assert facts({"max_output_tokens": 9}, api="responses")["output.tokens"] == 9
    assert facts({"max_tokens": 5.0})["output.tokens"] == 5
    for unbounded in (-1, 0, None):
        assert facts({"max_tokens": unbounded})["output.tokens"] is None


def test_what_the_context_must_hold_is_prompt_plus_answer() -> None:
    assert facts({"max_tokens": 5})["request.tokens"] == 13
    assert facts()["request.tokens"] == 8 + DEFAULT_OUTPUT_TOKENS


def test_tools_old_and_new_are_counted_and_cost_tokens() -> None:
    tool = {"type": "function", "function": {"name": "f" * 400}}
    assert facts({"tools": [tool], "functions": [{}, {}]})["tools"] == 3
    plain, tooled = facts()["prompt.tokens"], facts({"tools": [tool]})["prompt.tokens"]
    assert isinstance(plain, int)
    assert isinstance(tooled, int)
    assert tooled > plain + 50


def test_pictures_and_token_numbers_cost_tokens() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:..."}}]}
    assert facts({"messages": [image, image]})["images"] == 2
    assert int(facts({"messages": [image, image]})["prompt.tokens"] or 0) >= 2000
    assert int(facts({"prompt": [1] * 500}, api="completions")["prompt.tokens"] or 0) >= 500


@pytest.mark.parametrize(
    ("fields", "api", "expected"),
    [
        ({}, "chat", "none"),
        ({"response_format": None}, "chat", "none"),
        ({"response_format": {"type": "text"}}, "chat", "none"),
        ({"response_format": {}}, "chat", "none"),
        ({"response_format": {"type": "json_object"}}, "chat", "object"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "chat", "schema"),
        ({"text": {"format": {"type": "json_schema"}}}, "responses", "schema"),
        ({"text": {}}, "responses", "none"),
        ({"output_format": {"type": "json_schema"}}, "messages", "schema"),
        ({"output_config": {"format": {"type": "json_schema"}, "effort": "low"}}, "messages", "schema"),
        ({"output_config": {"effort": "low"}}, "messages", "none"),
    ],
)
def test_the_response_format_is_one_word(fields: dict[str, object], api: str, expected: str) -> None:
    assert facts(fields, api=api)["json"] == expected


@pytest.mark.parametrize(
    ("fields", "api", "expected"),
    [
        ({"reasoning_effort": "high"}, "chat", "high"),
        ({"reasoning_effort": "beyond"}, "chat", None),
        ({"reasoning": {"effort": "low"}}, "chat", "low"),
        ({"reasoning": {"enabled": True}}, "chat", "medium"),
        ({"reasoning": {"enabled": False}}, "chat", "none"),
        ({"reasoning": {"max_tokens": 500}}, "chat", None),
        ({"reasoning": {"effort": "minimal"}}, "responses", "minimal"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "messages", "medium"),
        ({"thinking": {"type": "disabled"}}, "messages", "none"),
        ({"output_config": {"effort": "xhigh"}, "thinking": {"type": "adaptive"}}, "messages", "xhigh"),
        ({"output_config": {"effort": "max"}}, "messages", "xhigh"),
    ],
)
def test_reasoning_effort_is_found_under_every_name(fields: dict[str, object], api: str, expected: str | None) -> None:
    found = facts(fields, api=api)["reasoning"]
    assert found == expected
    assert found is None or found in EFFORTS


def test_metadata_that_is_not_text_is_as_json_writes_it() -> None:
    found = facts({"metadata": {"a": "x", "b": 3, "c": True, "d": 1.50, "e": "", "f": None, "g": [1], "h": {"i": 1}}})
    shown = [found[f"metadata.{name}"] for name in "abcdefghi"]
    assert shown == ["x", "3", "true", "1.5", "", None, None, None, None]


def test_a_clients_own_task_wins_when_it_is_one() -> None:
    assert facts({"metadata": {"task": "math"}})["task"] == "math"
    assert facts({"metadata": {"task": "cooking"}})["task"] == "chat"


def test_pictures_make_the_task_vision() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    assert facts({"messages": [image]})["task"] == "vision"


# --- who asks -------------------------------------------------------------------------------------


def first_of(name: str, sources: list[tuple[str, str]], **how: Any) -> None:
    """Each source gives the fact once those before it are gone."""
    left = list(sources)
    while left:
        found: dict[str, dict[str, str]] = {"body": {}, "metadata": {}, "header": {}, "key": {}}
        for index, (family, field) in enumerate(left):
            found[family][field] = f"v{index}"
        fields: dict[str, object] = {**found["body"], **({"metadata": found["metadata"]} if found["metadata"] else {})}
        assert facts(fields, headers=found["header"], key=found["key"], **how)[name] == "v0", left
        left.pop(0)
    assert facts(**how)[name] is None


def test_the_order_of_a_users_sources() -> None:
    first_of("user", [("body", "user"), ("metadata", "user_id"), ("header", "x-user-id"), ("key", "user")])


HEADERS = (
    "x-session-id",
    "x-claude-code-session-id",
    "x-session-affinity",
    "session_id",
    "session-id",
    "x-grok-conv-id",
)


def test_the_order_of_a_sessions_sources() -> None:
    sources = [("body", "session_id"), *(("header", name) for name in HEADERS), ("metadata", "session_id")]
    first_of("session", [*sources, ("body", "prompt_cache_key")])
    first_of("session", [*sources, ("metadata", "user_id")], api="messages")


def test_the_order_of_a_tenants_sources() -> None:
    first_of("tenant", [("key", "tenant"), ("header", "x-tenant-id"), ("metadata", "tenant")])


def test_an_empty_source_is_passed_over() -> None:
    assert facts({"user": ""}, headers={"x-user-id": "u"})["user"] == "u"
    assert facts({"session_id": ""}, headers={"x-session-id": "", "session-id": "s"})["session"] == "s"


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("127.0.0.1", "00000000000000000000ffff7f000001"),
        ("::ffff:127.0.0.1", "00000000000000000000ffff7f000001"),
        ("2001:db8::1", "20010db8000000000000000000000001"),
        ("fe80::1%eth0", "fe800000000000000000000000000001"),
        ("300.1.1.1", None),
        ("localhost", None),
        ("", None),
        (None, None),
    ],
)
def test_addresses_are_32_digits_in_address_order(text: str | None, digits: str | None) -> None:
    assert facts(ip=text)["client.ip"] == digits


def test_digits_are_written_as_people_write_addresses() -> None:
    assert address("00000000000000000000ffff7f000001") == "127.0.0.1"
    assert address("20010db8000000000000000000000001") == "2001:db8::1"


@pytest.mark.parametrize(
    ("count", "attempt"), [(None, 1), ("0", 1), ("2", 3), ("x", 1), ("-1", 1), ("", 1), ("²", 1), ("9" * 5000, 1)]
)
def test_an_sdks_retries_are_counted(count: str | None, attempt: int) -> None:
    assert facts(headers={} if count is None else {"x-stainless-retry-count": count})["attempt"] == attempt


# --- the clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now_s", "zone", "hour", "weekday", "date"),
    [
        (1_767_614_400, "", 12, "mon", "2026-01-05"),
        (1_767_614_400, "@UTC", 12, "mon", "2026-01-05"),
        (1_767_614_400, "@Asia/Tokyo", 21, "mon", "2026-01-05"),
        (1_767_614_400, "@Asia/Kolkata", 17, "mon", "2026-01-05"),
        (1_767_614_400, "@Pacific/Kiritimati", 2, "tue", "2026-01-06"),
        # Berlin leaves winter time at 01:00 UTC on 29 March 2026: 02:00 to 03:00 does not exist.
        (1_774_745_999, "@Europe/Berlin", 1, "sun", "2026-03-29"),
        (1_774_746_000, "@Europe/Berlin", 3, "sun", "2026-03-29"),
        # And summer time at 01:00 UTC on 25 October 2026: 02:00 to 03:00 comes twice.
        (1_792_886_400, "@Europe/Berlin", 2, "sun", "2026-10-25"),
        (1_792_889_999, "@Europe/Berlin", 2, "sun", "2026-10-25"),
        (1_792_890_000, "@Europe/Berlin", 2, "sun", "2026-10-25"),
        (1_792_893_600, "@Europe/Berlin", 3, "sun", "2026-10-25"),
        # New York changes on other days than Berlin: for three weeks they are five hours apart.
        (1_773_576_000, "@America/New_York", 8, "sun", "2026-03-15"),
        (1_773_576_000, "@Europe/Berlin", 13, "sun", "2026-03-15"),
        (0, "", 0, "thu", "1970-01-01"),
        (-1, "", 23, "wed", "1969-12-31"),
    ],
)
def test_the_clock_is_read_in_the_zone_asked_for(now_s: int, zone: str, hour: int, weekday: str, date: str) -> None:
    found = facts(now_s=now_s)
    assert (found[f"time.hour{zone}"], found[f"time.weekday{zone}"], found[f"time.date{zone}"]) == (hour, weekday, date)


@pytest.mark.parametrize(
    "zone", ["Nowhere/Town", "../../etc/passwd", "/etc/passwd", "Europe", "\0", "é", " ", "a" * 5000]
)
def test_a_zone_that_is_not_known_is_missing(zone: str) -> None:
    assert facts()[f"time.hour@{zone}"] is None


@pytest.mark.parametrize("now_s", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_clock_beyond_the_calendar_is_missing(now_s: float) -> None:
    assert facts(now_s=now_s)["time.hour"] is None


# --- health ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("healthy(fast)", 0.5),
        ("healthy(a)", 0.5),
        ("healthy(b)", 1.0),
        ("healthy(q)", 1.0),
        ("healthy(p)", 0.0),
        ("healthy(a@p)", 0.0),
        ("healthy(none)", None),
        ("healthy(nobody)", None),
        ("load(fast)", 0.25),
        ("load(b)", 0.5),
        ("over spend", True),
        ("over other", False),
    ],
)
def test_health_is_asked_by_pool_model_provider_or_endpoint(name: str, value: Scalar | None) -> None:
    assert facts()[name] == value


# --- facts of the author's own --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "headers", "value"),
    [
        ("plan", {"x-plan": "trial"}, "trial"),
        ("plan", {"x-plan": " pro "}, "pro"),
        ("plan", {"x-plan": "Pro"}, None),
        ("plan", {"x-plan": ""}, None),
        ("plan", {}, None),
        ("beta", {"x-beta": "true"}, True),
        ("beta", {"x-beta": "FALSE"}, False),
        ("beta", {"x-beta": "1"}, True),
        ("beta", {"x-beta": "maybe"}, None),
        ("origin", {"x-origin": "10.0.0.1"}, "00000000000000000000ffff0a000001"),
        ("origin", {"x-origin": "here"}, None),
    ],
)
def test_a_header_is_read_as_the_declared_type(name: str, headers: dict[str, str], value: Scalar | None) -> None:
    assert facts(headers=headers)[name] == value


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (5, 5), ("5", 5), (" 5 ", 5), ("5.5", 5.5), ("1e3", 1000), (-2, -2), ("+7", 7), (2.0, 2),
        ("5k", None), ("", None), ("x", None), (True, None), (None, None), ([], None), ("1_000", None), ("nan", None),
        ("inf", None), ("1e999", None), ("٣", None), ("9" * 5000, None), ("0x10", None),
    ],
)  # fmt: skip
def test_a_number_is_a_number_or_missing(sent: object, value: Scalar | None) -> None:
    found = facts({"metadata": {"seats": sent}})["seats"]
    assert found == value
    assert not isinstance(found, bool)


def test_a_count_of_tokens_is_not_negative() -> None:
    assert facts(key={"budget": "500"})["budget"] == 500
    assert facts(key={"budget": "-1"})["budget"] is None


def test_a_path_leads_into_the_body() -> None:
    assert facts({"profile": {"nick": "bo"}})["nick"] == "bo"
    assert facts({"profile": {"nick": 5}})["nick"] == "5"
    assert facts({"profile": {"nick": True}})["nick"] == "true"
    assert facts({"a": [0, {"b": 7}]})["deep"] == 7
    for elsewhere in (
        {},
        {"profile": 5},
        {"profile": []},
        {"profile": {}},
        {"profile": {"nick": {}}},
        {"profile": None},
    ):
        assert facts(elsewhere)["nick"] is None
    for elsewhere in ({"a": []}, {"a": {"1": {"b": 8}}}, {"a": [0, 5]}):
        assert facts(elsewhere)["deep"] == (8 if isinstance(elsewhere["a"], dict) else None)


# --- overrides ------------------------------------------------------------------------------------


def test_what_is_given_wins_and_none_removes() -> None:
    found = facts({"user": "real"}, given={"user": "told", "model": None})
    assert found["user"] == "told"
    assert found["model"] is None


def test_derived_facts_follow_what_is_given() -> None:
    assert facts(given={"prompt.tokens": 9000})["request.tokens"] == 9000 + DEFAULT_OUTPUT_TOKENS
    assert facts(given={"output.tokens": 10})["request.tokens"] == 18
    assert facts(given={"prompt.tokens": None})["request.tokens"] is None
    assert facts(given={"metadata.task": "math"})["task"] == "math"
    assert facts(given={"images": 1})["task"] == "vision"
    assert facts(given={"key.user": "k"})["user"] == "k"
    assert facts(given={"header.x-plan": "pro"})["plan"] == "pro"
    assert facts(given={"key.tenant": "t"})["tenant"] == "t"
    assert facts(given={"metadata.session_id": "s"})["session"] == "s"
    assert facts(given={"header.x-session-id": "s"})["session"] == "s"


def test_a_given_prompt_carries_through() -> None:
    text = "пример " * 100
    found = facts(given={"prompt.text": text})
    assert found["prompt.last"] == text
    assert found["prompt.chars"] == len(text)
    assert int(found["prompt.tokens"] or 0) > 100
    assert found["language"] == "cyrillic"
    last = facts(given={"prompt.last": text})
    assert (last["prompt.text"], last["prompt.chars"]) == (text, len(text))
    both = facts(given={"prompt.last": "b", "prompt.system": "a"})
    assert both["prompt.text"] == "a\nb"
    only_system = facts(given={"prompt.system": "a"})
    assert (only_system["prompt.text"], only_system["prompt.last"]) == ("a\nHello", "Hello")


# --- for logs -------------------------------------------------------------------------------------


def test_a_report_has_addresses_and_no_prompt_text_and_no_credentials() -> None:
    found = facts(
        {"messages": [{"role": "user", "content": "secret words"}]},
        headers={"x-origin": "10.0.0.1", "authorization": "Bearer sk-secret", "x-a": "shown"},
    )
    for name in ("prompt.text", "prompt.last", "prompt.system", "spoken", "client.ip", "origin", "turns", "header.x-a"):
        found[name]
    assert found["header.authorization"] == "Bearer sk-secret"
    shown = report(found)
    assert shown == {"client.ip": "127.0.0.1", "origin": "10.0.0.1", "turns": 1, "header.x-a": "shown"}
    assert "secret" not in json.dumps(shown)


# --- never an exception ---------------------------------------------------------------------------

TEXTS = st.text('aZ0 -."\\\n\0é漢😀', max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            TEXTS | st.sampled_from(("type", "role", "content", "text", "nick", "seats", "effort", "input", "output")),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
FIELDS = (
    "messages", "input", "prompt", "system", "instructions", "tools", "functions", "metadata", "profile", "a", "user",
    "session_id", "reasoning", "reasoning_effort", "thinking", "output_config", "response_format", "text",
    "temperature", "max_tokens", "n",
)  # fmt: skip
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(("text", "image_url", "image", "tool_result", "input_audio", "file", "x"))},
    optional={"text": TEXTS | st.none(), "content": st.none() | TEXTS | JSON, "input": JSON},
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(("system", "user", "assistant", "tool", "developer", "x", ""))},
    optional={
        "content": st.none() | TEXTS | st.lists(PART | TEXTS, max_size=3),
        "tool_calls": JSON,
        "type": TEXTS,
        "output": JSON,
    },
)
NAMES = [
    *(field.name for field in REQUEST_FIELDS if not field.name.endswith(".*")),
    *(fact.name for fact in FACTS),
    *("header.x-plan", "metadata.seats", "key.budget", "time.hour@Europe/Berlin", "healthy(a)", "over x"),
]


@pytest.mark.slow
@given(
    st.sampled_from(APIS),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3),
    st.none() | st.lists(MESSAGE, min_size=1, max_size=3),
    st.dictionaries(
        st.sampled_from(("x-plan", "x-beta", "x-origin", "x-stainless-retry-count", "x-user-id")), TEXTS, max_size=3
    ),
    st.dictionaries(st.sampled_from(("user", "tenant", "budget")), TEXTS, max_size=2),
    st.none() | TEXTS,
)
def test_whatever_a_client_sends_every_fact_has_a_value(
    api: str, fields: dict[str, Any], messages: Any, headers: dict[str, str], key: dict[str, str], ip: str | None
) -> None:
    least = {"model": "m", "messages": [{"role": "user"}], "input": "x"}
    turns = {} if messages is None else {"messages": messages, "input": messages}
    raw = json.dumps({**least, **fields, **turns}).encode()
    body = decode(api, raw)
    if not isinstance(body, Body):
        return
    found = Facts(Call(api, "/", headers, body, raw, key, ip, 0.0, None), PROGRAM, Calm())
    for name in NAMES:
        value = found[name]
        assert value is None or isinstance(value, str | int | float | bool)
    assert found["task"] in TASKS
    json.dumps(report(found))


def test_deeply_nested_tool_results_are_survived() -> None:
    inner = '{"type":"tool_result","content":[' * 300 + '{"type":"text","text":"x"}' + "]}" * 300
    raw = ('{"model":"m","messages":[{"role":"user","content":[' + inner + "]}]}").encode()
    body = decode("messages", raw)
    assert isinstance(body, Body)
    call = Call("messages", "/", {}, body, raw, {}, None, 0.0, None)
    assert Facts(call, PROGRAM, Calm())["prompt.text"] == "x"
