"""The cheap bound of `request.tokens`, which spares most requests the estimate, is one."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from router_dsl.check.program import check
from router_dsl.load import load_text
from runtime.decision.facts import Call, Facts
from runtime.decision.state import Calm
from runtime.wire.request import Body, decode

TEXT = st.one_of(
    st.text(max_size=200), st.sampled_from(["ᐃᓄᒃᑎᑐᑦ " * 20, "😀" * 50, "a b c " * 40, "{}[]();" * 30, "12345 " * 30])
)
PART = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXT),
    st.just({"type": "image_url", "image_url": {"url": "x"}}),
    st.just({"type": "file", "file": {"file_id": "f"}}),
)
MESSAGE = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "system", "assistant", "tool"]),
    st.one_of(TEXT, st.lists(PART, max_size=4)),
)
TOOL = st.builds(lambda name: {"type": "function", "function": {"name": name, "parameters": {}}}, st.text(max_size=20))
BODY = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(MESSAGE, min_size=1, max_size=4)},
    optional={"tools": st.lists(TOOL, max_size=3), "max_tokens": st.integers(1, 10_000)},
)

FILES, _ = load_text('provider a { url "http://a/v1" } model m { serve a "m" } policy p { otherwise -> m }', "p.route")
PROGRAM, _ = check(FILES)


@given(BODY, st.booleans())
def test_no_request_is_estimated_above_its_bound(body: dict[str, object], ascii_only: bool) -> None:
    raw = json.dumps(body, ensure_ascii=ascii_only, separators=(",", ":")).encode("utf-8", "surrogatepass")
    decoded = decode("chat", raw)
    if not isinstance(decoded, Body) or PROGRAM is None:
        return
    facts = Facts(Call("chat", "/", {}, decoded, raw, {}, None, 0.0, None), PROGRAM, Calm())
    tokens = facts["request.tokens"]
    assert isinstance(tokens, int | float)
    assert tokens <= facts.request_tokens_at_most()


def test_the_bound_is_tight_enough_to_spare_short_requests_the_estimate() -> None:
    raw = b'{"model":"m","messages":[{"role":"user","content":"Hello"}]}'
    decoded = decode("chat", raw)
    assert isinstance(decoded, Body)
    assert PROGRAM is not None
    assert (
        Facts(Call("chat", "/", {}, decoded, raw, {}, None, 0.0, None), PROGRAM, Calm()).request_tokens_at_most() < 1200
    )
