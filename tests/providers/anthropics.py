"""What a provider that speaks Anthropic's Messages says, for the scripts of `scripted`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.providers.scripted import JSON, Script, Talk, sse, whole

USAGE = {"input_tokens": 4, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 3}
TEXT = ({"type": "text", "text": "hello"},)


def message(
    content: Sequence[dict[str, object]] = TEXT, stop: str = "end_turn", usage: dict[str, int] | None = None
) -> bytes:
    """Return a whole message."""
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-up",
            "content": list(content),
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": USAGE if usage is None else usage,
        }
    ).encode()


def named(event: dict[str, object]) -> bytes:
    """Return one event as it is sent."""
    return b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), json.dumps(event).encode())


def events(content: Sequence[dict[str, object]] = TEXT, stop: str | None = "end_turn", end: bool = True) -> list[bytes]:
    """Return the events of a whole stream, every block in two pieces."""
    start = {**json.loads(message(())), "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    found: list[dict[str, object]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(content):
        empty, pieces = _pieces(block)
        found.append({"type": "content_block_start", "index": index, "content_block": empty})
        found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in pieces]
        found.append({"type": "content_block_stop", "index": index})
    if stop is not None:
        delta = {"stop_reason": stop, "stop_sequence": None}
        found.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 3}})
    if end:
        found.append({"type": "message_stop"})
    return [named(event) for event in found]


def _pieces(block: dict[str, object]) -> tuple[dict[str, object], list[dict[str, object]]]:
    def halves(kind: str, key: str, text: str) -> list[dict[str, object]]:
        middle = len(text) // 2
        return [{"type": kind, key: text[:middle]}, {"type": kind, key: text[middle:]}]

    match block["type"]:
        case "text":
            return {**block, "text": ""}, halves("text_delta", "text", str(block["text"]))
        case "thinking":
            signed: dict[str, object] = {"type": "signature_delta", "signature": block["signature"]}
            thought = halves("thinking_delta", "thinking", str(block["thinking"]))
            return {**block, "thinking": "", "signature": ""}, [*thought, signed]
        case "tool_use":
            return {**block, "input": {}}, halves("input_json_delta", "partial_json", json.dumps(block["input"]))
    return block, []


def either(content: Sequence[dict[str, object]] = TEXT, stop: str = "end_turn") -> Script:
    """Answer properly whichever way was asked for."""

    async def script(talk: Talk) -> None:
        is_stream = talk.request.json.get("stream")
        await (sse(events(content, stop)) if is_stream else whole(200, message(content, stop), JSON))(talk)

    return script


def error(status: int, kind: str = "api_error", text: str = "no") -> Script:
    """Answer with an error."""
    said = {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_up"}
    return whole(status, json.dumps(said).encode(), JSON)
