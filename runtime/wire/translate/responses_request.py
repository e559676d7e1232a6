"""Requests between OpenAI's Responses and chat completions, both ways."""

from __future__ import annotations

from runtime.wire.translate.loose import (
    Dropped,
    InexpressibleError,
    Json,
    object_of,
    objects_of,
    said,
    sayable,
    text_of,
)
from runtime.wire.translate.messages_request import is_nothing

FORMAT = "openai-responses-v1"
"""OpenRouter's name for reasoning that is encrypted as OpenAI does it."""

_SAME = ("model", "stream", "temperature", "top_p", "user", "parallel_tool_calls", "service_tier", "safety_identifier",
         "prompt_cache_key", "prompt_cache_retention")  # fmt: skip
"""Fields that both have under one name."""

# --- to chat --------------------------------------------------------------------------------------

# What rests on the provider's memory or its own machines.
_STATEFUL = ("previous_response_id", "conversation", "background", "prompt")


def to_chat(body: Json, dropped: Dropped) -> Json:
    """Return a Responses request as one for chat.

    Raises:
        InexpressibleError: It rests on what only OpenAI's own service has: stored answers, its own tools.
    """
    left = said(body)
    for name in _STATEFUL:
        if left.pop(name, None):
            raise InexpressibleError(name, "the endpoint keeps nothing between requests")
    messages: list[Json] = []
    instructions = left.pop("instructions", None)
    if isinstance(instructions, str):
        messages += [{"role": "system", "content": instructions}] if instructions else []
    else:
        messages += _items_to_chat(instructions, "instructions")
    given = left.pop("input", None)
    if isinstance(given, str):
        messages.append({"role": "user", "content": given})
    else:
        messages += _items_to_chat(given, "input")
    chat: Json = {"messages": messages, **{name: left.pop(name) for name in _SAME if name in left}}
    if "max_output_tokens" in left:
        chat["max_tokens"] = left.pop("max_output_tokens")
    reasoning = object_of(left.pop("reasoning", None))
    if effort := text_of(reasoning.get("effort")):
        chat["reasoning_effort"] = effort
    _tools_to_chat(left, chat)
    _text_to_chat(object_of(left.pop("text", None)), chat)
    if left.pop("store", False) is not False:
        dropped.add("store")
    if left.pop("truncation", "disabled") != "disabled":
        dropped.add("truncation")
    for name in ("metadata", "stream_options"):  # the answer repeats the one; the other pads events
        left.pop(name, None)
    dropped.add_rest(left)
    return chat


def _items_to_chat(items: object, field: str) -> list[Json]:
    found: list[Json] = []
    answer: Json | None = None  # the assistant's message that thoughts, words and calls next to each other make
    for place, item in enumerate(objects_of(items)):
        where, role = f"{field}[{place}]", text_of(item.get("role"))
        match item.get("type", "message"):
            case "message" if role != "assistant":
                found.append({"role": role, "content": _content_to_chat(item.get("content"), where)})
                answer = None
                continue
            case "function_call_output":
                output = item.get("output")
                content = output if isinstance(output, str) else _content_to_chat(output, where)
                found.append({"role": "tool", "tool_call_id": text_of(item.get("call_id")), "content": content})
                answer = None
                continue
            case "message" | "function_call" | "reasoning" as kind:
                if answer is None or not _continues(answer, kind):
                    answer = {"role": "assistant", "content": None}
                    found.append(answer)
                _add(answer, kind, item, where)
            case kind:
                raise InexpressibleError(f"{where}.type", f"chat has no equivalent for an item of type `{kind}`")
    return [message for message in found if not is_nothing(message)]


def _continues(answer: Json, kind: str) -> bool:
    """Whether an item joins the assistant's message before it.

    Chat has thoughts, words and calls in one, and the results of calls right behind it: nothing may come between.
    """
    return kind == "function_call" or answer["content"] is None or (kind == "reasoning" and "tool_calls" in answer)


def _add(answer: Json, kind: str, item: Json, field: str) -> None:
    match kind:
        case "message":
            answer["content"] = _content_to_chat(item.get("content"), field)
        case "function_call":
            function = {"name": text_of(item.get("name")), "arguments": text_of(item.get("arguments"))}
            call = {"id": text_of(item.get("call_id")), "type": "function", "function": function}
            calls = answer.setdefault("tool_calls", [])
            assert isinstance(calls, list)
            calls.append(call)
        case _:
            details = [*objects_of(answer.get("reasoning_details")), *thoughts_to_chat(item)]
            if details:
                answer["reasoning_details"] = details


def thoughts_to_chat(item: Json) -> list[Json]:
    """Return a reasoning item as OpenRouter's `reasoning_details`."""
    kind = text_of(item.get("format")) or FORMAT
    texts = [text_of(part.get("text")) for part in objects_of(item.get("content"))]
    found: list[Json] = []
    if text := "".join(texts):
        found.append({"type": "reasoning.text", "text": text, "format": kind})
        if signature := text_of(item.get("signature")):
            found[0]["signature"] = signature
    for part in objects_of(item.get("summary")):
        found.append({"type": "reasoning.summary", "summary": text_of(part.get("text")), "format": kind})
    if data := text_of(item.get("encrypted_content")):
        detail: Json = {"type": "reasoning.encrypted", "data": data, "format": kind}
        found.append({**detail, "id": item["id"]} if text_of(item.get("id")) else detail)
    return found


def _content_to_chat(content: object, field: str) -> object:
    if isinstance(content, str) or content is None:
        return content or ""
    parts = [_part_to_chat(part, f"{field}.content[{place}]") for place, part in enumerate(objects_of(content))]
    return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"type", "text"} else parts


def _part_to_chat(part: Json, field: str) -> Json:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": text_of(part.get("text"))}
        case "refusal":
            return {"type": "text", "text": text_of(part.get("refusal"))}
        case "input_image" if url := text_of(part.get("image_url")):
            image: Json = {"url": url}
            if detail := text_of(part.get("detail")):
                image["detail"] = detail
            return {"type": "image_url", "image_url": image}
        case "input_file" if text_of(part.get("file_data")) or text_of(part.get("file_id")):
            file = {name: part[name] for name in ("filename", "file_data", "file_id") if text_of(part.get(name))}
            return {"type": "file", "file": file}
        case kind:
            raise InexpressibleError(field, f"chat has no equivalent for a part of type `{kind}` like this")


def _tools_to_chat(left: Json, chat: Json) -> None:
    tools: list[Json] = []
    for place, tool in enumerate(objects_of(left.pop("tools", None))):
        if tool.get("type") != "function":
            raise InexpressibleError(f"tools[{place}].type", f"`{tool.get('type')}` is a tool that only OpenAI runs")
        names = ("name", "description", "parameters", "strict")
        function = {name: tool[name] for name in names if tool.get(name) is not None}
        tools.append({"type": "function", "function": function})
    if tools:
        chat["tools"] = tools
    match left.pop("tool_choice", None):
        case None:
            pass
        case str() as word:
            chat["tool_choice"] = word
        case {"type": "function", "name": name}:
            chat["tool_choice"] = {"type": "function", "function": {"name": name}}
        case _:
            raise InexpressibleError("tool_choice", "chat has no equivalent for this choice")


def _text_to_chat(text: Json, chat: Json) -> None:
    form = object_of(text.get("format"))
    match form.get("type"):
        case "json_schema":
            names = ("name", "description", "schema", "strict")
            schema = {name: form[name] for name in names if form.get(name) is not None}
            chat["response_format"] = {"type": "json_schema", "json_schema": schema}
        case "json_object":
            chat["response_format"] = {"type": "json_object"}
    if text_of(text.get("verbosity")):
        chat["verbosity"] = text["verbosity"]


# --- from chat ------------------------------------------------------------------------------------

_REFUSED = ("audio", "functions", "function_call", "web_search_options", "logprobs", "top_logprobs", "stop")


def from_chat(body: Json, dropped: Dropped) -> Json:
    """Return a chat request as one for Responses.

    Raises:
        InexpressibleError: It asks for what Responses has no way to say.
    """
    left = sayable(body, _REFUSED, "the Responses interface")
    messages = objects_of(left.pop("messages", None))
    found: Json = {name: left.pop(name) for name in _SAME if name in left}
    # Chat keeps nothing unless told to, Responses everything.
    found["store"] = left.pop("store", None) is True
    if messages and messages[0].get("role") in ("system", "developer") and isinstance(messages[0].get("content"), str):
        found["instructions"] = messages[0]["content"]
        messages = messages[1:]
        offset = 1
    else:
        offset = 0
    found["input"] = [
        item
        for place, message in enumerate(messages)
        for item in _items_from_chat(message, f"messages[{place + offset}]", dropped)
    ]
    limits = [left.pop(name, None) for name in ("max_completion_tokens", "max_tokens")]
    if limit := next((n for n in limits if isinstance(n, int | float) and n >= 1), None):
        found["max_output_tokens"] = limit
    reasoning = object_of(left.pop("reasoning", None))
    if effort := text_of(left.pop("reasoning_effort", None)) or text_of(reasoning.get("effort")):
        found["reasoning"] = {"effort": effort}
    _tools_from_chat(left, found)
    _text_from_chat(left, found)
    left.pop("stream_options", None)
    dropped.add_rest(left)
    return found


def _items_from_chat(message: Json, field: str, dropped: Dropped) -> list[Json]:
    role, content = text_of(message.get("role")), message.get("content")
    if text_of(message.get("name")):
        dropped.add("name")
    match role:
        case "system" | "developer" | "user":
            return [{"type": "message", "role": role, "content": _content_from_chat(content, field)}]
        case "tool":
            output = content if isinstance(content, str) else _content_from_chat(content, field)
            return [{"type": "function_call_output", "call_id": text_of(message.get("tool_call_id")), "output": output}]
        case "assistant":
            return _answer_from_chat(message, field, dropped)
    raise InexpressibleError(f"{field}.role", f"the Responses interface has no role `{role}`")


def _answer_from_chat(message: Json, field: str, dropped: Dropped) -> list[Json]:
    for name in ("function_call", "audio"):
        if message.get(name):
            raise InexpressibleError(f"{field}.{name}", "the Responses interface has no equivalent")
    found: list[Json] = []
    for detail in objects_of(message.get("reasoning_details")):
        if detail.get("type") == "reasoning.encrypted" and detail.get("format") in (None, FORMAT):
            item: Json = {"type": "reasoning", "summary": [], "encrypted_content": text_of(detail.get("data"))}
            found.append({**item, "id": detail["id"]} if text_of(detail.get("id")) else item)
        else:
            dropped.add("thinking")
    content = message.get("content")
    texts = [content] if isinstance(content, str) else [text_of(part.get("text")) for part in objects_of(content)]
    texts.append(text_of(message.get("refusal")))
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts if text]
    if parts:
        found.append({"type": "message", "role": "assistant", "content": parts})
    for call in objects_of(message.get("tool_calls")):
        function = object_of(call.get("function"))
        names = {"name": text_of(function.get("name")), "arguments": text_of(function.get("arguments"))}
        found.append({"type": "function_call", "call_id": text_of(call.get("id")), **names})
    return found


def _content_from_chat(content: object, field: str) -> object:
    if isinstance(content, str) or content is None:
        return content or ""
    parts = enumerate(objects_of(content))
    return [_part_from_chat(part, f"{field}.content[{place}]") for place, part in parts]


def _part_from_chat(part: Json, field: str) -> Json:
    match part.get("type"):
        case "text":
            return {"type": "input_text", "text": text_of(part.get("text"))}
        case "image_url":
            image = part.get("image_url")
            fields = {"url": image} if isinstance(image, str) else object_of(image)
            detail = text_of(fields.get("detail")) or "auto"
            return {"type": "input_image", "image_url": text_of(fields.get("url")), "detail": detail}
        case "file":
            return {"type": "input_file", **object_of(part.get("file"))}
        case kind:
            raise InexpressibleError(field, f"the Responses interface has no equivalent for a part of type `{kind}`")


def _tools_from_chat(left: Json, found: Json) -> None:
    tools: list[Json] = []
    for place, tool in enumerate(objects_of(left.pop("tools", None))):
        if tool.get("type") != "function":
            raise InexpressibleError(f"tools[{place}].type", "only tools of type `function` have an equivalent")
        function = object_of(tool.get("function"))
        # Strict unless told otherwise there, lax unless told otherwise here.
        tools.append({"type": "function", "parameters": None, "strict": False, **said(function)})
    if tools:
        found["tools"] = tools
    match left.pop("tool_choice", None):
        case None:
            pass
        case str() as word:
            found["tool_choice"] = word
        case {"type": "function", "function": {"name": name}}:
            found["tool_choice"] = {"type": "function", "name": name}
        case _:
            raise InexpressibleError("tool_choice", "the Responses interface has no equivalent for this choice")


def _text_from_chat(left: Json, found: Json) -> None:
    text: Json = {}
    form = object_of(left.pop("response_format", None))
    match form.get("type"):
        case "json_schema":
            text["format"] = {"type": "json_schema", **said(object_of(form.get("json_schema")))}
        case "json_object":
            text["format"] = {"type": "json_object"}
    if verbosity := left.pop("verbosity", None):
        text["verbosity"] = verbosity
    if text:
        found["text"] = text
