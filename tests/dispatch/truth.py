"""What a client was told, read the way an SDK reads it."""

from __future__ import annotations

import json

from runtime.dispatch.record import Record
from tests.dispatch.bench import Bench
from tests.providers import scripted as say


def streamed(body: bytes) -> list[dict[str, object]]:
    """Return the JSON events of a client's stream; every byte of it must be part of one."""
    assert body.endswith(b"\n\n")
    events = body[:-2].split(b"\n\n")
    found = []
    for event in events:
        assert event.startswith(b"data: "), event
        if event != b"data: [DONE]":
            found.append(json.loads(event[6:]))
    return found


def text_of(body: bytes) -> str:
    return "".join(choice["delta"].get("content") or "" for e in streamed(body) for choice in e["choices"])


def ends_well(bench: Bench, text: str) -> None:
    body = bench.client.body
    assert bench.client.is_closed
    assert text_of(body) == text
    assert body.count(b"[DONE]") == 1
    assert body.endswith(say.DONE)
    assert b'"error"' not in body


def ends_in_error(bench: Bench, text: str) -> None:
    body = bench.client.body
    assert bench.client.is_closed
    assert b"[DONE]" not in body
    assert text_of(body) == text
    *before, last = streamed(body)
    assert last["error"]["metadata"]["provider_name"].startswith("p")
    assert last["id"] == "chatcmpl-1"
    assert last["choices"] == [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]
    assert not any("error" in e for e in before)


def outcomes(record: Record) -> list[str]:
    return [attempt.outcome for attempt in record.attempts]
