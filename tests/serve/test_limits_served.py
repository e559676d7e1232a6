"""Limits as clients and policies meet them."""

from __future__ import annotations

from tests.serve.desk import HELLO, Answer, Desk

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
