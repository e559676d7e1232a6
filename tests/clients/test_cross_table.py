"""Every interface of a client against every protocol of a provider; makes the table of docs/translation.md."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.clients.serving import serving
from tests.providers import anthropics as claude
from tests.providers import responses as native
from tests.providers import scripted as say
from tests.providers.scripted import JSON, Provider, Received, Script

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs" / "translation.md"
BEGIN, END = "<!-- made by tests/clients/test_cross_table.py -->\n", "<!-- end -->\n"

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
PROTOCOLS = ("openai", "responses", "anthropic")
CASES = ("plain", "stream", "tools", "image", "error", "cut")

PIXEL = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}}
DATA_URL = f"data:image/png;base64,{PIXEL}"

Said = tuple[str, list[tuple[str, str]]]
"""Text, and the name and arguments of each call."""


# --- what clients send and read -------------------------------------------------------------------


def body(api: str, case: str) -> dict[str, object]:
    chat_image = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": DATA_URL}}]
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    images: dict[str, object] = {
        "chat": chat_image,
        "messages": [{"type": "text", "text": "What?"}, {"type": "image", "source": source}],
        "responses": [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": DATA_URL}],
    }
    tools: dict[str, dict[str, object]] = {
        "chat": {"type": "function", "function": {"name": "look", "parameters": SCHEMA}},
        "messages": {"name": "look", "input_schema": SCHEMA},
        "responses": {"type": "function", "name": "look", "parameters": SCHEMA},
    }
    turns = [{"role": "user", "content": images[api] if case == "image" else "Hello"}]
    found: dict[str, object] = {"model": "small", "input" if api == "responses" else "messages": turns}
    if api == "messages":
        found["max_tokens"] = 99
    if api == "chat":
        found["stream_options"] = {"include_usage": True}
    if case == "tools":
        found["tools"] = [tools[api]]
    return found


def read(api: str, found: Mapping[str, object]) -> Said:
    text, calls = "", []
    match found:
        case {"choices": [{"message": message}]}:
            text = message["content"] or ""
            calls = [(c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", ())]
        case {"type": "message", "content": blocks}:
            text = "".join(block.get("text", "") for block in blocks)  # type: ignore[attr-defined]
            uses = [block for block in blocks if block["type"] == "tool_use"]  # type: ignore[attr-defined]
            calls = [(use["name"], json.dumps(use["input"])) for use in uses]
        case {"object": "response", "output": items}:
            for item in items:  # type: ignore[attr-defined]
                if item["type"] == "message":
                    text += "".join(part["text"] for part in item["content"])
                else:
                    calls.append((item["name"], item["arguments"]))
    return text, calls


def events(raw: bytes) -> list[tuple[str, dict[str, object]]]:
    """Return name and data of each event; `[DONE]` is left out."""
    found = []
    for block in raw.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if fields.get("data") not in (None, "[DONE]"):
            found.append((fields.get("event", ""), json.loads(fields["data"])))
    return found


def read_stream(api: str, raw: bytes) -> Said:
    text, names, arguments = "", [], []
    for _, event in events(raw):
        match event:
            case {"choices": [{"delta": delta}]}:
                text += delta.get("content") or ""
                for call in delta.get("tool_calls", ()):
                    names += [name] if (name := call["function"].get("name")) else []
                    arguments.append(call["function"].get("arguments", ""))
            case {"type": "content_block_start", "content_block": {"type": "tool_use", "name": name}}:
                names.append(name)
            case {"type": "content_block_delta", "delta": delta}:
                text += delta.get("text", "")  # type: ignore[attr-defined]
                arguments.append(delta.get("partial_json", ""))  # type: ignore[attr-defined]
            case {"type": "response.output_text.delta", "delta": delta}:
                text += str(delta)
            case {"type": "response.output_item.added", "item": {"type": "function_call", "name": name}}:
                names.append(name)
            case {"type": "response.function_call_arguments.delta", "delta": delta}:
                arguments.append(str(delta))
    return text, [(str(name), "".join(arguments)) for name in names]


def counted(api: str, raw: bytes, *, is_stream: bool) -> tuple[int, int]:
    """Return the tokens of prompt and answer, as they were told last."""
    parts = [event for _, event in events(raw)] if is_stream else [json.loads(raw)]
    usage: dict[str, int] = {}
    for part in parts:
        usage |= part.get("response", part.get("message", part)).get("usage") or {}
    apart = usage.get("cache_read_input_tokens", 0) + usage.get("cache_creation_input_tokens", 0)
    if api == "chat":
        return usage["prompt_tokens"], usage["completion_tokens"]
    return usage["input_tokens"] + apart, usage["output_tokens"]


# --- what providers say ---------------------------------------------------------------------------

USES = ({"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}},)
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}


def chat_call() -> bytes:
    found = json.loads(say.answer(None, "tool_calls"))
    found["choices"][0]["message"]["tool_calls"] = [CALL]
    return json.dumps(found).encode()


def chat_call_events() -> list[bytes]:
    role, *_, finish, usage, done = say.events(finish="tool_calls")
    made = json.loads(say.event("x")[6:])
    made["choices"][0]["delta"] = {"tool_calls": [{"index": 0, **CALL}]}
    return [role, b"data: " + json.dumps(made).encode() + b"\n\n", finish, usage, done]


CUT = say.events("hel", "lo", finish=None, usage=None, done=False)
ITEMS = tuple(json.dumps(native.response(item)).encode() for item in (native.item(), native.call()))
WHOLE = {
    "openai": (say.answer("hello"), chat_call()),
    "responses": ITEMS,
    "anthropic": (claude.message(), claude.message(USES, "tool_use")),
}
STREAMS = {
    "openai": (say.events("hel", "lo"), chat_call_events(), CUT),
    "responses": (native.events("hel", "lo"), native.call_events(), native.events("hel", "lo", end=False)),
    "anthropic": (claude.events(), claude.events(USES, "tool_use"), claude.events(stop=None, end=False)),
}
OPENAI_REFUSAL = b'{"error": {"message": "too cold", "type": "invalid_request_error", "param": null, "code": null}}'
REFUSAL = {
    "openai": say.status(400, body=OPENAI_REFUSAL),
    "responses": say.status(400, body=OPENAI_REFUSAL),
    "anthropic": claude.error(400, "invalid_request_error", "too cold"),
}


def script(protocol: str, case: str, *, is_stream: bool) -> Script:
    if case == "error":
        return REFUSAL[protocol]
    if is_stream:
        return say.sse(STREAMS[protocol][{"tools": 1, "cut": 2}.get(case, 0)], end="fin" if case == "cut" else "end")
    return say.whole(200, WHOLE[protocol][case == "tools"], JSON)


def shown_pixel(protocol: str, request: Received) -> bool:
    """Whether the provider was shown the picture in its own words."""
    turn = (request.json.get("input") or request.json["messages"])[-1]  # type: ignore[index]
    match turn["content"]:
        case [{"type": "text"}, {"type": "image_url", "image_url": {"url": url}}]:
            return protocol == "openai" and url == DATA_URL
        case [{"type": "input_text"}, {"type": "input_image", "image_url": url}]:
            return protocol == "responses" and url == DATA_URL
        case [{"type": "text"}, {"type": "image", "source": {"data": data, "media_type": "image/png"}}]:
            return protocol == "anthropic" and data == PIXEL
    return False


# --- the table ------------------------------------------------------------------------------------


async def cell(http: httpx.AsyncClient, url: str, provider: Provider, api: str, protocol: str, case: str) -> str:
    """Carry one case out and return what the table says of it; wrong answers fail here."""
    told = set()
    for is_stream in {"plain": (False,), "stream": (True,), "cut": (True,)}.get(case, (False, True)):
        provider.then(script(protocol, case, is_stream=is_stream))
        answer = await http.post(url + PATHS[api], json={**body(api, case), **({"stream": True} if is_stream else {})})
        sent = STREAMS[protocol][case == "tools"] if is_stream else WHOLE[protocol][case == "tools"]
        raw = b"".join(sent) if isinstance(sent, list) else sent
        if case == "error":
            error = answer.json()["error"]
            assert answer.status_code == 400
            assert error["message"] == "too cold"
            assert error["type"] == "invalid_request_error"
            told.add("400")
        elif case == "cut":
            name, last = events(answer.content)[-1]
            assert "broke off" in last["error"]["message"]  # type: ignore[index]
            told.add(f"`event: {name}`" if name else "`error` chunk")
        else:
            assert answer.status_code == 200, answer.text
            said = read_stream(api, answer.content) if is_stream else read(api, answer.json())
            text, calls = said
            assert text == ("" if case == "tools" else "hello"), (api, protocol, case)
            assert counted(api, answer.content, is_stream=is_stream) == (9, 3)
            assert [(name, json.loads(given)) for name, given in calls] == (
                [("look", {"at": "x"})] if case == "tools" else []
            )
            if case == "image":
                assert shown_pixel(protocol, provider.received[-1])
            told.add("untouched" if answer.content == raw else "translated")
    assert len(told) == 1, told
    return told.pop()


async def table() -> str:
    lines = [f"| client | provider | {' | '.join(CASES)} |", "|---|---|" + "---|" * len(CASES)]
    for protocol in PROTOCOLS:
        async with Provider() as provider:
            policy = f"""
provider up {{ url "{provider.url}"  key env.UP  protocol {protocol} }}
model small {{ serve up "m" }}
policy main {{ otherwise -> small retry 0 }}
"""
            async with serving(policy, {"UP": "k"}) as served, httpx.AsyncClient() as http:
                for api in PATHS:
                    cells = [await cell(http, served.url, provider, api, protocol, case) for case in CASES]
                    lines.append(f"| {api} | `{protocol}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def test_every_client_is_served_by_every_provider_as_the_docs_say() -> None:
    made = asyncio.run(table())
    before, _, rest = DOCS.read_text("utf-8").partition(BEGIN)
    told, _, after = rest.partition(END)
    assert told.strip() == made.strip(), f"{DOCS.name} should say:\n{made}"
    assert before
    assert after
