"""Limits as clients and policies meet them."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from runtime.limits.limits import Refusal, Room
from runtime.serve.limited import told
from runtime.sim.transport import SimTransport
from tests.serve.desk import HELLO, PATH, Answer, Desk
from tests.serve.desk import ask as serve

POLICY = """
provider one  { url "sim://one?ttft=1ms"       protocol sim }
provider dead { url "sim://dead?down=true"     protocol sim }
model small { serve one "up-small"  price $1 in $2 out }
model cheap { serve one "up-cheap"  price $0.10 in $0.10 out }
model gone  { serve dead "up-gone"  price $1 in $1 out }
limit calls: when user == anna  2 requests per minute by user
limit words: when user == otto  2k tokens per hour by user
limit spend: when user == emil  $0.0003 per day by user soft
policy p { broke: when over spend -> cheap  otherwise -> requested }
"""


def ask(desk: Desk, user: str, model: str = "small", **more: object) -> Answer:
    return desk.post({"model": model, "messages": HELLO, "user": user, **more})


def test_past_a_hard_limit_comes_429_with_the_wait_and_nobody_else_is_touched() -> None:
    desk = Desk(POLICY)
    assert [ask(desk, "anna").status for _ in range(3)] == [200, 200, 429]
    refused = ask(desk, "anna")
    assert "limit `calls` is reached" in str(refused.error["message"])
    assert 55 <= int(refused.headers["retry-after"]) <= 62
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert ask(desk, "bert").status == 200
    assert desk.log.seen[2]["end"] == "limited"


def test_tokens_are_reserved_and_settled_to_what_was_used() -> None:
    desk = Desk(POLICY)
    # Each reserves its prompt and 1024 tokens of answer, and uses under a hundred.
    assert [ask(desk, "otto").status for _ in range(6)] == [200] * 6
    assert ask(desk, "otto", max_tokens=5000).status == 429


def test_what_nobody_answered_costs_nothing() -> None:
    desk = Desk(POLICY)
    assert {ask(desk, "otto", "gone").status for _ in range(4)} == {503}
    assert ask(desk, "otto").status == 200


def test_a_soft_limit_only_tells_the_policy() -> None:
    desk = Desk(POLICY)
    rules = []
    for _ in range(6):
        answer = ask(desk, "emil")
        assert answer.status == 200
        rules.append(answer.headers["x-pointsman-rule"])
    assert rules[0] == "otherwise"
    assert rules[-1] == "broke"


def test_each_dialect_gets_the_headers_its_sdk_knows() -> None:
    desk = Desk(POLICY)
    for _ in range(2):
        ask(desk, "anna")
    body = {"model": "small", "messages": HELLO, "user": "anna"}
    openrouter = desk.post(body, path="/api/v1/chat/completions")
    assert openrouter.status == 429
    assert (openrouter.headers["x-ratelimit-limit"], openrouter.headers["x-ratelimit-remaining"]) == ("2", "0")
    assert 50_000 < int(openrouter.headers["x-ratelimit-reset"]) - time.time() * 1000 < 63_000
    refusal = Refusal("l", 1.0, (Room("requests", 5, 0, 2.0), Room("tokens", 70, 3, 4.0), Room("$", 1, 0, 1.0)))
    anthropic = dict(told(refusal, "anthropic"))
    assert anthropic[b"anthropic-ratelimit-tokens-remaining"] == b"3"
    assert anthropic[b"anthropic-ratelimit-requests-reset"].endswith(b"Z")
    assert dict(told(refusal, "openai"))[b"x-ratelimit-reset-tokens"] == b"4.000s"
    assert not any(b"$" in name for name, _ in told(refusal, "openai"))


COSTLY = """
provider quick { url "sim://quick?ttft=1ms"   protocol sim }
provider slow  { url "sim://slow?ttft=40ms"   protocol sim }
provider lame  { url "sim://lame?down=true"   protocol sim }
model small { serve slow "small"  price $1 in $2 out
              serve quick "small" price $3 in $4 out }
model large { serve quick "large" price $10 in $20 out }
model lamed { serve lame "small"  price $1 in $1 out }
limit spend: %s by user
policy p {
  judged: when user == emil  -> lamed else small  by order  escalate to large when truncated
  raced:  when user == otto  -> small  by order  hedge after 5ms
  otherwise -> small
}
"""


@pytest.mark.parametrize("user", ["emil", "otto"])
@pytest.mark.parametrize(("unit", "amount"), [("$", 4_000_000), ("tokens", 900)])
def test_what_escalation_and_hedges_cost_is_reserved_so_that_none_of_many_overshoots(
    user: str, unit: str, amount: int
) -> None:
    room = f"${amount / 1e9} per day" if unit == "$" else f"{amount} tokens per day"
    desk = Desk(COSTLY % room, transports={"sim": SimTransport()})

    async def many() -> list[Answer]:
        body = json.dumps({"model": "small", "messages": HELLO, "user": user, "max_tokens": 30}).encode()
        return await asyncio.gather(*(serve(desk.app, "POST", PATH, {}, [body]) for _ in range(40)))

    answers = asyncio.run(many())
    answered = sum(answer.status == 200 for answer in answers)
    assert {answer.status for answer in answers} == {200, 429}
    assert answered >= 2
    records = [event for event in desk.log.seen if event["status"] == 200]
    attempts = [attempt for event in records for attempt in event["attempts"]]  # type: ignore[attr-defined]
    assert any(attempt["role"] in ("escalation", "hedge") for attempt in attempts)
    if unit == "$":
        assert 0 < sum(attempt["cost_usd"] or 0 for attempt in attempts) * 1e9 <= amount
    # What was reserved and not used is free again.
    assert ask(desk, user, max_tokens=1).status == 200
