"""Endpoints that speak another interface: asked where they can be, left out with a reason where they cannot."""

from __future__ import annotations

import json

import pytest

from tests.serve.desk import HELLO, Desk

POLICY = """
provider open   { url "https://open.invalid/v1" }
provider claude { url "https://claude.invalid/v1"  protocol anthropic }
provider native { url "https://native.invalid/v1"  protocol responses }
model all    { serve claude "c"  serve native "n"  serve open "o" }
model claude { serve claude "c" }
policy main {
  lax: when user == lax -> claude drop response_format
  otherwise -> requested by order
}
"""


def explained(body: dict[str, object], path: str = "/v1/chat/completions") -> dict[str, object]:
    desk = Desk(POLICY, transports={})
    raw = json.dumps({"model": "all", **body}).encode()
    return desk.post(raw=raw, path=path, headers={"x-pointsman-explain": "only"}).json


CHAT: dict[str, object] = {"messages": HELLO}


@pytest.mark.parametrize(
    ("path", "body", "candidates"),
    [
        ("/v1/chat/completions", CHAT, ["all@claude", "all@native", "all@open"]),
        ("/v1/messages", {**CHAT, "max_tokens": 9}, ["all@claude", "all@native", "all@open"]),
        ("/v1/responses", {"input": "Hi"}, ["all@claude", "all@native", "all@open"]),
        ("/v1/completions", {"prompt": "Hi"}, ["all@native", "all@open"]),
        ("/v1/embeddings", {"input": "Hi"}, ["all@native", "all@open"]),
        ("/v1/chat/completions", {**CHAT, "n": 2}, ["all@open"]),
        ("/v1/chat/completions", {**CHAT, "stop": "x"}, ["all@claude", "all@open"]),
        ("/v1/chat/completions", {**CHAT, "response_format": {"type": "json_object"}}, ["all@native", "all@open"]),
        ("/v1/messages", {**CHAT, "max_tokens": 9, "mcp_servers": [{}]}, ["all@claude"]),
        ("/v1/responses", {"input": "Hi", "previous_response_id": "r"}, ["all@native"]),
    ],
)
def test_a_request_goes_only_where_it_can_be_said(path: str, body: dict[str, object], candidates: list[str]) -> None:
    told = explained(body, path)
    assert told["candidates"] == candidates
    left_out = [entry["endpoint"] for entry in told["excluded"]]  # type: ignore[attr-defined]
    assert sorted([*candidates, *left_out]) == ["all@claude", "all@native", "all@open"]


def test_what_is_left_out_says_why() -> None:
    told = explained({**CHAT, "n": 2})
    by = {entry["endpoint"]: entry["by"] for entry in told["excluded"]}  # type: ignore[attr-defined]
    assert by["all@claude"] == "`n` cannot be sent on: Anthropic's interface gives one answer"
    told = explained({"input": "Hi"}, "/v1/embeddings")
    assert told["excluded"] == [{"endpoint": "all@claude", "by": "protocol anthropic has no embeddings"}]


def test_nothing_left_is_a_bad_request_that_names_the_field() -> None:
    desk = Desk(POLICY, transports={})
    answer = desk.post({"model": "claude", **CHAT, "response_format": {"type": "json_object"}})
    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == ("response_format", "unsupported_parameter")


def test_what_the_rule_drops_need_not_be_said() -> None:
    told = explained({**CHAT, "user": "lax", "response_format": {"type": "json_object"}})
    assert (told["rule"], told["candidates"]) == ("lax", ["claude@claude"])
