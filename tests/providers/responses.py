"""What a provider that speaks OpenAI's Responses says, for the scripts of `scripted`."""

from __future__ import annotations

import json
from collections.abc import Sequence

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


def call() -> dict[str, object]:
    """Return a function call item."""
    return {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "c1", "name": "look",
            "arguments": '{"at":"x"}'}  # fmt: skip


def events(*texts: str, end: bool = True) -> list[bytes]:
    """Return the events of a whole stream of text."""
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "response.content_part.added", **at, "part": {"type": "output_text", "text": "", "annotations": []}}
    deltas = [{"type": "response.output_text.delta", **at, "delta": text, "logprobs": []} for text in texts]
    whole_item = item("".join(texts))
    return _stream({**whole_item, "content": []}, [part, *deltas], whole_item, end=end)


def call_events() -> list[bytes]:
    """Return the events of a whole stream that calls a function."""
    at = {"item_id": "fc_1", "output_index": 0, "type": "response.function_call_arguments.delta"}
    return _stream({**call(), "arguments": ""}, [{**at, "delta": '{"at":'}, {**at, "delta": '"x"}'}], call())


def _stream(
    start: dict[str, object], between: Sequence[dict[str, object]], done: dict[str, object], *, end: bool = True
) -> list[bytes]:
    found = [
        {"type": "response.created", "response": response(status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": start},
        *between,
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]
    if end:
        found.append({"type": "response.completed", "response": response(done)})
    return [named({**event, "sequence_number": place}) for place, event in enumerate(found)]


def either(text: str = "hello") -> Script:
    """Answer properly whichever way was asked for."""

    async def script(talk: Talk) -> None:
        is_stream = talk.request.json.get("stream")
        raw = json.dumps(response(item(text))).encode()
        await (sse(events(text[:2], text[2:])) if is_stream else whole(200, raw, JSON))(talk)

    return script
