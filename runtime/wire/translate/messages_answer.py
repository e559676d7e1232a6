"""Whole answers and their parts between Anthropic's Messages and chat completions, both ways."""

from __future__ import annotations

from runtime.wire.translate.loose import Json, count_of, object_of, objects_of, text_of
from runtime.wire.translate.messages_from_chat import call_from_chat
from runtime.wire.translate.messages_request import FORMAT, call_to_chat, thought_to_chat

FINISH_OF_STOP = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
STOP_OF_FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def finish_of(stop_reason: object) -> str | None:
    """Return chat's word for why an answer ended; one that is not known passes as it is."""
    word = text_of(stop_reason)
    return FINISH_OF_STOP.get(word, word) or None


def stop_of(finish_reason: object, *, has_calls: bool) -> str:
    """Return Anthropic's word; some servers say `stop` after tool calls, too."""
    found = STOP_OF_FINISH.get(text_of(finish_reason), "end_turn")
    return "tool_use" if has_calls and found == "end_turn" else found


def usage_to_chat(usage: Json) -> Json:
    """Return Anthropic's counts under chat's names; there the prompt includes what was cached, here it does not."""
    read, written = count_of(usage.get("cache_read_input_tokens")), count_of(usage.get("cache_creation_input_tokens"))
    prompt, completion = count_of(usage.get("input_tokens")) + read + written, count_of(usage.get("output_tokens"))
    inside = object_of(usage.get("output_tokens_details"))
    reasoning = count_of(inside.get("thinking_tokens", inside.get("reasoning_tokens")))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def usage_from_chat(usage: Json) -> Json:
    """Return chat's counts under Anthropic's names."""
    inside = object_of(usage.get("prompt_tokens_details"))
    read, written = count_of(inside.get("cached_tokens")), count_of(inside.get("cache_write_tokens"))
    prompt = count_of(usage.get("prompt_tokens"))
    read = min(read, prompt)
    written = min(written, prompt - read)
    found: Json = {
        "input_tokens": prompt - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": count_of(usage.get("completion_tokens")),
    }
    if reasoning := count_of(object_of(usage.get("completion_tokens_details")).get("reasoning_tokens")):
        found["output_tokens_details"] = {"thinking_tokens": reasoning}
    return found


def to_chat(answer: Json, created: int) -> Json:
    """Return a message as a chat completion."""
    blocks = objects_of(answer.get("content"))
    texts = [text_of(block.get("text")) for block in blocks if block.get("type") == "text"]
    calls = [call_to_chat(block) for block in blocks if block.get("type") == "tool_use"]
    thoughts = [thought_to_chat(block) for block in blocks if block.get("type") in ("thinking", "redacted_thinking")]
    message: Json = {"role": "assistant", "content": "".join(texts) if texts else None, "refusal": None}
    if thoughts:
        message["reasoning"] = "".join(text_of(thought.get("text")) for thought in thoughts)
        message["reasoning_details"] = [{**thought, "index": place} for place, thought in enumerate(thoughts)]
    if calls:
        message["tool_calls"] = calls
    stop = answer.get("stop_reason")
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_of(stop)}
    return {
        "id": text_of(answer.get("id")),
        "object": "chat.completion",
        "created": created,
        "model": text_of(answer.get("model")),
        "choices": [{**choice, "native_finish_reason": stop}],
        "usage": usage_to_chat(object_of(answer.get("usage"))),
    }


def from_chat(answer: Json) -> Json:
    """Return a chat completion as a message."""
    choice = next(iter(objects_of(answer.get("choices"))), {})
    message = object_of(choice.get("message"))
    blocks = thoughts_of(message)
    content = message.get("content")
    parts = objects_of(content) if isinstance(content, list) else [{"text": content}]
    blocks += [{"type": "text", "text": part["text"]} for part in parts if text_of(part.get("text"))]
    if refusal := text_of(message.get("refusal")):
        blocks.append({"type": "text", "text": refusal})
    calls = [call_from_chat(call) for call in objects_of(message.get("tool_calls"))]
    reason = stop_of("content_filter" if refusal else choice.get("finish_reason"), has_calls=bool(calls))
    return {
        **head(answer),
        "content": [*blocks, *calls],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage_from_chat(object_of(answer.get("usage"))),
    }


def head(answer: Json) -> Json:
    """Return what a message begins with, from any part of a chat answer."""
    model = text_of(answer.get("model"))
    return {"id": text_of(answer.get("id")), "type": "message", "role": "assistant", "model": model}


def thoughts_of(message: Json) -> list[Json]:
    """Return a chat message's reasoning as blocks of thinking, whichever field it came in; most have no signature."""
    found: list[Json] = []
    for thought in objects_of(message.get("reasoning_details")):
        text = text_of(thought.get("text")) or text_of(thought.get("summary"))
        if thought.get("type") == "reasoning.encrypted":
            if thought.get("format") in (None, FORMAT):
                found.append({"type": "redacted_thinking", "data": text_of(thought.get("data"))})
        elif text:
            found.append({"type": "thinking", "thinking": text, "signature": text_of(thought.get("signature"))})
    text = reasoning_of(message)
    if not found and text:
        found.append({"type": "thinking", "thinking": text, "signature": ""})
    return found


def reasoning_of(message: Json) -> str:
    """Return the reasoning in a message or delta: OpenRouter's field, or DeepSeek's and vLLM's."""
    return text_of(message.get("reasoning")) or text_of(message.get("reasoning_content"))
