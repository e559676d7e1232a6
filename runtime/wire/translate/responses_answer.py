"""Whole answers and their parts between OpenAI's Responses and chat completions, both ways."""

from __future__ import annotations

from runtime.wire.translate.loose import Json, count_of, object_of, objects_of, text_of
from runtime.wire.translate.messages_answer import reasoning_of
from runtime.wire.translate.responses_request import thoughts_to_chat

PREFIX = "resp_"

_ECHOED: Json = {
    "frequency_penalty": 0, "instructions": None, "max_output_tokens": None, "metadata": {}, "reasoning": None,
    "parallel_tool_calls": True, "presence_penalty": 0, "temperature": None, "text": {"format": {"type": "text"}},
    "tool_choice": "auto", "tools": [], "top_p": None, "truncation": "disabled", "user": None,
}  # fmt: skip
"""Fields of the request that an answer repeats, and what they are when it did not say them."""


def response(head: Json, asked: Json, status: str, output: list[Json], usage: Json | None) -> Json:
    """Return a response object.

    Args:
        head: `id`, `created` and `model` of the chat answer.
        asked: The client's request, parts of which it repeats.
        status: `in_progress`, `completed`, or the reason why it is incomplete.
        output: Its items.
        usage: By Responses' names.
    """
    is_whole = status in ("in_progress", "completed")
    echoed = {name: asked[name] if asked.get(name) is not None else unsaid for name, unsaid in _ECHOED.items()}
    echoed["tools"] = [{"parameters": None, "strict": None, **tool} for tool in objects_of(asked.get("tools"))]
    return {
        **echoed,
        "id": PREFIX + text_of(head.get("id")).removeprefix(PREFIX),
        "object": "response",
        "created_at": count_of(head.get("created")),
        "completed_at": count_of(head.get("created")) if status == "completed" else None,
        "status": status if is_whole else "incomplete",
        "background": False,
        "error": None,
        "incomplete_details": None if is_whole else {"reason": status},
        "model": text_of(head.get("model")),
        "output": output,
        "previous_response_id": None,
        "store": False,
        "usage": usage,
    }


def status_of(finish_reason: object) -> str:
    """Return a response's status, or why it is incomplete."""
    return {"length": "max_output_tokens", "content_filter": "content_filter"}.get(text_of(finish_reason), "completed")


def finish_of(found: Json, *, has_calls: bool) -> str:
    """Return chat's word for why a response ended."""
    if found.get("status") == "incomplete":
        reason = object_of(found.get("incomplete_details")).get("reason")
        return "content_filter" if reason == "content_filter" else "length"
    return "tool_calls" if has_calls else "stop"


def usage_from_chat(usage: Json) -> Json:
    """Return chat's counts under the names of Responses."""
    prompt, completion = count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens"))
    inside, made = object_of(usage.get("prompt_tokens_details")), object_of(usage.get("completion_tokens_details"))
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": count_of(inside.get("cached_tokens")),
            "cache_write_tokens": count_of(inside.get("cache_write_tokens")),
        },
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": count_of(made.get("reasoning_tokens"))},
        "total_tokens": prompt + completion,
    }


def usage_to_chat(usage: Json) -> Json:
    """Return the counts of Responses under chat's names."""
    prompt, completion = count_of(usage.get("input_tokens")), count_of(usage.get("output_tokens"))
    inside, made = object_of(usage.get("input_tokens_details")), object_of(usage.get("output_tokens_details"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": count_of(inside.get("cached_tokens")),
            "cache_write_tokens": count_of(inside.get("cache_write_tokens")),
        },
        "completion_tokens_details": {"reasoning_tokens": count_of(made.get("reasoning_tokens"))},
    }


# --- items ----------------------------------------------------------------------------------------


def text_item(name: str, text: str, status: str = "completed") -> Json:
    """Return a message item."""
    item: Json = {"id": f"msg_{name}", "type": "message", "role": "assistant", "status": status}
    return {**item, "content": [text_part(text)] if status == "completed" else []}


def text_part(text: str) -> Json:
    """Return the part of a message item that is its text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(name: str, call_id: str, function: str, arguments: str, status: str = "completed") -> Json:
    """Return a function call item."""
    item: Json = {"id": f"fc_{name}", "type": "function_call", "status": status}
    return {**item, "call_id": call_id, "name": function, "arguments": arguments}


def thought_item(name: str, text: str, signature: str = "", encrypted: str = "", kind: str = "") -> Json:
    """Return a reasoning item; `signature` and `format` are OpenRouter's additions."""
    item: Json = {"id": f"rs_{name}", "type": "reasoning", "summary": []}
    if text:
        item["content"] = [{"type": "reasoning_text", "text": text}]
    if signature:
        item["signature"] = signature
    if encrypted:
        item["encrypted_content"] = encrypted
    if kind:
        item["format"] = kind
    return item


def from_chat(answer: Json, asked: Json) -> Json:
    """Return a chat completion as a response."""
    choice = next(iter(objects_of(answer.get("choices"))), {})
    message = object_of(choice.get("message"))
    name = text_of(answer.get("id"))
    output = [thought_item(f"{name}_{place}", *each) for place, each in enumerate(_thoughts(message))]
    content = message.get("content")
    texts = [content] if isinstance(content, str) else [part.get("text") for part in objects_of(content)]
    refusal = text_of(message.get("refusal"))
    if text := "".join(map(text_of, texts)):
        output.append(text_item(f"{name}_{len(output)}", text))
    if refusal:
        item = text_item(f"{name}_{len(output)}", "")
        output.append({**item, "content": [{"type": "refusal", "refusal": refusal}]})
    for call in objects_of(message.get("tool_calls")):
        function, place = object_of(call.get("function")), f"{name}_{len(output)}"
        arguments = text_of(function.get("arguments"))
        output.append(call_item(place, text_of(call.get("id")), text_of(function.get("name")), arguments))
    usage = usage_from_chat(object_of(answer.get("usage")))
    return response(answer, asked, status_of(choice.get("finish_reason")), output, usage)


def _thoughts(message: Json) -> list[tuple[str, str, str, str]]:
    """Return text, signature, encrypted data and format of each thought."""
    found = []
    for thought in objects_of(message.get("reasoning_details")):
        kind = text_of(thought.get("format"))
        text = text_of(thought.get("text")) or text_of(thought.get("summary"))
        data = text_of(thought.get("data")) if thought.get("type") == "reasoning.encrypted" else ""
        if text or data:
            found.append((text, text_of(thought.get("signature")), data, kind))
    if not found and (text := reasoning_of(message)):
        found.append((text, "", "", ""))
    return found


def to_chat(found: Json) -> Json:
    """Return a response as a chat completion."""
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    texts: list[str] = []
    thoughts: list[Json] = []
    calls: list[Json] = []
    for item in objects_of(found.get("output")):
        match item.get("type"):
            case "message":
                for part in objects_of(item.get("content")):
                    texts += [text_of(part.get("text"))] if part.get("type") == "output_text" else []
                    if refusal := text_of(part.get("refusal")):
                        message["refusal"] = refusal
            case "reasoning":
                thoughts += thoughts_to_chat(item)
            case "function_call":
                function = {"name": text_of(item.get("name")), "arguments": text_of(item.get("arguments"))}
                calls.append({"id": text_of(item.get("call_id")), "type": "function", "function": function})
    if texts:
        message["content"] = "".join(texts)
    if thoughts:
        message["reasoning"] = "".join(text_of(t.get("text")) or text_of(t.get("summary")) for t in thoughts)
        message["reasoning_details"] = [{**thought, "index": place} for place, thought in enumerate(thoughts)]
    if calls:
        message["tool_calls"] = calls
    finish = finish_of(found, has_calls=bool(calls))
    return {
        "id": text_of(found.get("id")).removeprefix(PREFIX),
        "object": "chat.completion",
        "created": count_of(found.get("created_at")),
        "model": text_of(found.get("model")),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage_to_chat(object_of(found.get("usage"))),
    }
