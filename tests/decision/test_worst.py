"""What a request may use at most, and the bound of it that costs no look at the prompt."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from runtime.decision.book import Book
from runtime.decision.facts import Call, Facts
from runtime.decision.route import route
from runtime.decision.state import Calm
from runtime.decision.worst import bound, most
from runtime.wire.request import decode
from tests.serve.desk import compiled

POLICY = """
provider one { url "sim://one"  protocol sim }
model small { serve one as a "a"  price $1 in $2 out
              serve one as b "b"  price $3 in $1 out }
model large { serve one "c"  price $10 in $20 out }
model free  { serve one "d" }
policy p {
  hedged: when user == h -> small  hedge after 1s
  judged: when user == j -> small  escalate to large when empty
  free:   when user == f -> free
  otherwise -> small
}
"""
BOOK = Book(compiled(POLICY), frozenset())


def asked(user: str, text: str = "x", **more: object) -> tuple[Facts, object]:
    body = {"model": "small", "messages": [{"role": "user", "content": text}], "user": user, **more}
    raw = json.dumps(body).encode()
    decoded = decode("chat", raw)
    assert not hasattr(decoded, "status")
    call = Call(api="chat", path="/", headers={}, body=decoded, raw=raw, key={}, client_ip=None, now_s=0.0, region=None)  # type: ignore[arg-type]
    facts = Facts(call, BOOK.program, Calm())
    return facts, route(BOOK, None, facts, Calm(), 0.0)


def test_the_dearest_way_is_one_answer_and_what_hedges_and_escalations_add() -> None:
    found = {}
    for user in ("x", "h", "j", "f"):
        facts, way = asked(user, max_tokens=1000)
        prompt = facts["prompt.tokens"]
        assert isinstance(prompt, int)
        found[user] = most(BOOK, way, facts)  # type: ignore[arg-type]
    answer = -(-(max(prompt * 1 + 1000 * 2, prompt * 3 + 1000 * 1) * 10**9) // 10**6)
    assert found["x"] == (prompt + 1000, answer)
    assert found["h"] == (2 * prompt + 1000, answer + prompt * 3000)
    assert found["j"] == (2 * (prompt + 1000), answer + prompt * 10_000 + 1000 * 20_000)
    assert found["f"] == (prompt + 1000, 0)


@given(st.text(max_size=300), st.sampled_from("xhjf"), st.none() | st.integers(1, 100_000))
def test_the_bound_is_never_less(text: str, user: str, output: int | None) -> None:
    facts, way = asked(user, text, **({} if output is None else {"max_tokens": output}))
    loose, exact = bound(BOOK, way, facts), most(BOOK, way, facts)  # type: ignore[arg-type]
    assert loose is not None
    assert loose[0] >= exact[0]
    assert loose[1] >= exact[1]
