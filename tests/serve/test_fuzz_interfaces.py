"""No body makes any interface fail, whichever the endpoints speak: never a 5xx of our own making, never a bug."""

from __future__ import annotations

import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.dispatch.transport import Outgoing, Response, TransportError
from runtime.serve.settings import Settings
from runtime.sim.transport import SimTransport
from tests.serve.desk import HELLO, Answer, Desk, no_sleep
from tests.serve.test_fuzz import QUIET, SCALARS, TEXTS

pytestmark = pytest.mark.slow

POLICY = """
provider sim    { url "sim://one?ttft=1ms" }
provider claude { url "https://claude.invalid/v1"  protocol anthropic }
provider native { url "https://native.invalid/v1"  protocol responses }
model small { serve sim "up" }
model claude { serve claude "up" }
model native { serve native "up" }
policy chat { otherwise -> requested else small }
"""


class Nowhere:
    """Carries requests to nobody, once they are whole."""

    async def send(self, request: Outgoing) -> Response:
        assert isinstance(json.loads(request.body), dict)
        raise TransportError("connect", "nobody is there", sent=False)

    async def aclose(self) -> None:
        pass


FEWER = settings(QUIET, max_examples=80)

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages",
         "/v1/messages/count_tokens")  # fmt: skip
KEYS = st.sampled_from(
    ["model", "messages", "input", "prompt", "role", "content", "type", "text", "tools", "tool_choice", "function",
     "name", "arguments", "parameters", "input_schema", "tool_calls", "call_id", "output", "id", "image_url", "url",
     "source", "data", "thinking", "budget_tokens", "output_config", "format", "response_format", "json_schema",
     "schema", "reasoning", "effort", "stop", "stop_sequences", "system", "instructions", "reasoning_details",
     "summary"]
)  # fmt: skip
KINDS = st.sampled_from(
    ["user", "assistant", "tool", "system", "developer", "text", "input_text", "output_text", "image_url",
     "input_image", "image", "tool_use", "tool_result", "thinking", "redacted_thinking", "function",
     "function_call", "message",
     "function_call_output", "reasoning", "file", "input_file", "document", "base64", "json_schema", "json_object",
     "enabled", "adaptive", "auto", "any", "required", "none", "high", "{}", ""]
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(SCALARS, KINDS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=14,
)
TURNS = st.lists(
    st.fixed_dictionaries({"role": KINDS}, optional={"content": VALUES, "type": KINDS, "tool_calls": VALUES}),
    min_size=1,
    max_size=3,
)
FIELDS = ("tools", "tool_choice", "system", "instructions", "thinking", "output_config", "response_format", "text",
          "reasoning", "reasoning_effort", "stop", "stop_sequences", "metadata", "n", "max_tokens", "temperature",
          "max_output_tokens", "previous_response_id", "parallel_tool_calls", "stream_options", "user")  # fmt: skip
BODIES = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["small", "claude", "native"]),
        "messages": st.just(HELLO) | TURNS,
        "input": TEXTS | TURNS,
        "prompt": TEXTS,
    },
    optional={"stream": st.booleans(), **dict.fromkeys(FIELDS, VALUES)},
)


@cache
def desk() -> Desk:
    nowhere = Nowhere()
    carriers = {"sim": SimTransport(sleep=no_sleep), "anthropic": nowhere, "responses": nowhere}
    return Desk(POLICY, Settings(anonymous=True), transports=carriers)  # type: ignore[arg-type]


def check(answer: Answer) -> None:
    seen = desk().log.seen
    assert not [event for event in seen if event["event"] == "internal_error"]
    exhausted = bool(seen) and seen[-1]["end"] == "exhausted"
    seen.clear()
    assert answer.heads == 1
    assert answer.ended
    assert answer.status < 500 or exhausted
    if answer.status >= 400:
        assert json.loads(answer.body)["error"]["message"]


@FEWER
@given(BODIES, st.sampled_from(PATHS), st.sampled_from(["", "/api"]))
def test_any_body_of_any_interface_gets_an_answer(body: object, path: str, prefix: str) -> None:
    check(desk().post(raw=json.dumps(body).encode(), path=prefix + path))


@FEWER
@given(VALUES, st.sampled_from(PATHS))
def test_any_json_to_any_interface_gets_an_answer(body: object, path: str) -> None:
    check(desk().post(raw=json.dumps(body).encode(), path=path))
