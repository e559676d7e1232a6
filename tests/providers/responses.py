"""What a provider that speaks OpenAI's Responses says, for the scripts of `scripted`."""

from __future__ import annotations

import json

from tests.providers.scripted import JSON, Script, Talk, sse, whole

USAGE = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0}, "output_tokens": 3,
         "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 12}  # fmt: skip


def item(text: str = "hello") -> dict[str, object]:
    """Return a message item."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def response(*output: dict[str, object], status: str = "completed") -> dict[str, object]:
    """Return a response object."""
    return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "upstream", "error": None,
            "incomplete_details": None, "instructions": None, "metadata": {}, "output": list(output), "tools": [],
            "parallel_tool_calls": True, "tool_choice": "auto", "temperature": 1, "top_p": 1,
            "usage": USAGE if status == "completed" else None}  # fmt: skip


def named(event: dict[str, object]) -> bytes:
    """Return one event as it is sent."""
    return b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), json.dumps(event).encode())


def events(*texts: str, end: bool = True) -> list[bytes]:
    """Return the events of a whole stream."""
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    whole_item = item("".join(texts))
    found: list[dict[str, object]] = [
        {"type": "response.created", "response": response(status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": {**whole_item, "content": []}},
        {"type": "response.content_part.added", **at, "part": {"type": "output_text", "text": "", "annotations": []}},
        *({"type": "response.output_text.delta", **at, "delta": text, "logprobs": []} for text in texts),
        {"type": "response.output_item.done", "output_index": 0, "item": whole_item},
    ]
    if end:
        found.append({"type": "response.completed", "response": response(whole_item)})
    return [named({**event, "sequence_number": place}) for place, event in enumerate(found)]


def either(text: str = "hello") -> Script:
    """Answer properly whichever way was asked for."""

    async def script(talk: Talk) -> None:
        is_stream = talk.request.json.get("stream")
        raw = json.dumps(response(item(text))).encode()
        await (sse(events(text[:2], text[2:])) if is_stream else whole(200, raw, JSON))(talk)

    return script
