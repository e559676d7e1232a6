"""Requests of Anthropic's Messages as chat completions have them, and as strict servers take them."""

from __future__ import annotations

from runtime.wire.translate.loose import (
    Dropped,
    InexpressibleError,
    Json,
    arguments_of,
    object_of,
    objects_of,
    said,
    text_of,
)

FORMAT = "anthropic-claude-v1"
"""OpenRouter's name for reasoning that is signed as Anthropic signs it."""

# Shares of the output limit that OpenRouter gives each effort; read backwards for a budget in tokens.
_SHARE_OF_EFFORT = (("minimal", 0.15), ("low", 0.35), ("medium", 0.65), ("high", 0.875))

_SERVER_SIDE = ("mcp_servers", "container")


def to_chat(body: Json, dropped: Dropped) -> Json:
    """Return a Messages request as one for chat.

    Raises:
        InexpressibleError: It uses what only Anthropic has: its own tools, files it stores.
    """
    left = said(body)
    for name in _SERVER_SIDE:
        if left.pop(name, None):
            raise InexpressibleError(name, "only Anthropic's own interface has this")
    messages = _system_to_chat(left.pop("system", None))
    for place, message in enumerate(objects_of(left.pop("messages", None))):
        messages += _message_to_chat(message, f"messages[{place}]", dropped)
    chat: Json = {"messages": messages}
    for name in ("model", "stream", "max_tokens", "temperature", "top_p", "top_k", "cache_control"):
        if name in left:
            chat[name] = left.pop(name)
    if stops := left.pop("stop_sequences", None):
        chat["stop"] = stops
    metadata = object_of(left.pop("metadata", None))
    if user := text_of(metadata.get("user_id")):
        chat["user"] = user
    if tier := left.pop("service_tier", None):
        chat["service_tier"] = "default" if tier == "standard_only" else tier
    _tools_to_chat(left, chat)
    _output_to_chat(left, chat)
    dropped.add_rest(left)
    return chat


def _system_to_chat(system: object) -> list[Json]:
    if isinstance(system, str):
        return [{"role": "system", "content": system}] if system else []
    parts = [_text_part(block) for block in objects_of(system) if text_of(block.get("text"))]
    return [{"role": "system", "content": _content(parts)}] if parts else []


def _text_part(block: Json) -> Json:
    part: Json = {"type": "text", "text": text_of(block.get("text"))}
    if "cache_control" in block:
        part["cache_control"] = block["cache_control"]
    return part


def _content(parts: list[Json]) -> object:
    """Return parts as the plainest content that says the same; many servers take text alone."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


def _message_to_chat(message: Json, field: str, dropped: Dropped) -> list[Json]:
    role, content = text_of(message.get("role")), message.get("content")
    if isinstance(content, str) or content is None:
        return [{"role": role, "content": content or ""}]
    if role == "assistant":
        return [_assistant_to_chat(content, field)]
    results: list[Json] = []
    parts: list[Json] = []
    pictures: list[Json] = []
    for place, block in enumerate(blocks_of(content)):
        where = f"{field}.content[{place}]"
        if block.get("type") == "tool_result":
            results.append(_result_to_chat(block, where, pictures, dropped))
        else:
            parts.append(_part_to_chat(block, where))
    parts = [*pictures, *parts]
    # Pictures of a tool's result follow it as the user's: chat has only text for tools to say.
    return [*results, {"role": role, "content": _content(parts)}] if parts or not results else results


def blocks_of(content: object) -> list[Json]:
    """Return content blocks; a bare text among them counts as one."""
    if not isinstance(content, list):
        return []
    return [{"type": "text", "text": each} if isinstance(each, str) else object_of(each) for each in content]


def _part_to_chat(block: Json, field: str) -> Json:
    source = object_of(block.get("source"))
    match block.get("type"), source.get("type"):
        case "text", _:
            return _text_part(block)
        case "image", "base64" | "url":
            return cached(block, {"type": "image_url", "image_url": {"url": _url_of(source)}})
        case "document", "text":
            return cached(block, {"type": "text", "text": text_of(source.get("data"))})
        case "document", "base64":
            name = text_of(block.get("title")) or "document.pdf"
            return cached(block, {"type": "file", "file": {"filename": name, "file_data": _url_of(source)}})
        case kind, _:
            raise InexpressibleError(field, f"chat has no equivalent for a `{kind}` block like this")


def cached(block: Json, part: Json) -> Json:
    """Return a part with the cache mark of the block that it is made from."""
    return {**part, "cache_control": block["cache_control"]} if "cache_control" in block else part


def _url_of(source: Json) -> str:
    if source.get("type") == "url":
        return text_of(source.get("url"))
    return f"data:{text_of(source.get('media_type'))};base64,{text_of(source.get('data'))}"


def _result_to_chat(block: Json, field: str, pictures: list[Json], dropped: Dropped) -> Json:
    if block.get("is_error"):
        dropped.add("is_error")
    content = block.get("content")
    if not isinstance(content, str):
        texts: list[Json] = []
        for place, inner in enumerate(blocks_of(content)):
            part = _part_to_chat(inner, f"{field}.content[{place}]")
            (texts if part["type"] == "text" else pictures).append(part)
        content = _content(texts) if texts else ""
    return {"role": "tool", "tool_call_id": text_of(block.get("tool_use_id")), "content": content}


def _assistant_to_chat(content: object, field: str) -> Json:
    parts: list[Json] = []
    calls: list[Json] = []
    thoughts: list[Json] = []
    for place, block in enumerate(blocks_of(content)):
        match block.get("type"):
            case "text":
                parts.append(_text_part(block))
            case "thinking" | "redacted_thinking":
                thoughts.append(thought_to_chat(block))
            case "tool_use":
                calls.append(call_to_chat(block))
            case kind:
                raise InexpressibleError(f"{field}.content[{place}]", f"chat has no equivalent for a `{kind}` block")
    message: Json = {"role": "assistant", "content": _content(parts) if parts else None if calls else ""}
    if thoughts:
        message["reasoning_details"] = thoughts
    if calls:
        message["tool_calls"] = calls
    return message


def thought_to_chat(block: Json) -> Json:
    """Return a block of thinking as OpenRouter's `reasoning_details` has it, its signature kept."""
    if block.get("type") == "redacted_thinking":
        return {"type": "reasoning.encrypted", "data": text_of(block.get("data")), "format": FORMAT}
    thought: Json = {"type": "reasoning.text", "text": text_of(block.get("thinking")), "format": FORMAT}
    if signature := text_of(block.get("signature")):
        thought["signature"] = signature
    return thought


def call_to_chat(block: Json) -> Json:
    """Return a tool use as a tool call."""
    function = {"name": text_of(block.get("name")), "arguments": arguments_of(block.get("input"))}
    return {"id": text_of(block.get("id")), "type": "function", "function": function}


def _tools_to_chat(left: Json, chat: Json) -> None:
    tools: list[Json] = []
    for place, tool in enumerate(objects_of(left.pop("tools", None))):
        if tool.get("type") not in (None, "custom"):
            raise InexpressibleError(f"tools[{place}].type", f"`{tool['type']}` is a tool that only Anthropic runs")
        function: Json = {"name": text_of(tool.get("name"))}
        if "description" in tool:
            function["description"] = tool["description"]
        function["parameters"] = object_of(tool.get("input_schema"))
        if "strict" in tool:
            function["strict"] = tool["strict"]
        tools.append(cached(tool, {"type": "function", "function": function}))
    if tools:
        chat["tools"] = tools
    choice = object_of(left.pop("tool_choice", None))
    match choice.get("type"):
        case "auto" | "none" as same:
            chat["tool_choice"] = same
        case "any":
            chat["tool_choice"] = "required"
        case "tool":
            chat["tool_choice"] = {"type": "function", "function": {"name": text_of(choice.get("name"))}}
    if isinstance(choice.get("disable_parallel_tool_use"), bool):
        chat["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]


def _output_to_chat(left: Json, chat: Json) -> None:
    config = object_of(left.pop("output_config", None))
    form = object_of(config.get("format") or left.pop("output_format", None))
    if form.get("type") == "json_schema":
        schema = {"name": "output", "schema": object_of(form.get("schema")), "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    thinking = object_of(left.pop("thinking", None))
    if effort := text_of(config.get("effort")):
        chat["reasoning_effort"] = "xhigh" if effort == "max" else effort
    elif thinking.get("type") == "enabled":
        chat["reasoning_effort"] = _effort_of(thinking.get("budget_tokens"), chat.get("max_tokens"))
    elif thinking.get("type") == "disabled":
        chat["reasoning_effort"] = "none"


def _effort_of(budget: object, limit: object) -> str:
    if not isinstance(budget, int | float) or not isinstance(limit, int | float) or limit <= 0:
        return "medium"
    return next((effort for effort, share in _SHARE_OF_EFFORT if budget <= share * limit), "xhigh")


# --- what a server refuses ------------------------------------------------------------------------


def signed(body: Json) -> Json:
    """Return a Messages request without thoughts that Anthropic has not signed and would refuse: we wrote them.

    A conversation that a provider of chat has answered so far has them in its history.
    """

    def kept(message: Json) -> Json:
        content = message.get("content")
        if not isinstance(content, list):
            return message
        blocks = [
            b for b in content if not (isinstance(b, dict) and b.get("type") == "thinking" and not b.get("signature"))
        ]
        return {**message, "content": blocks}

    messages = body.get("messages")
    listed = messages if isinstance(messages, list) else []
    return {**body, "messages": [kept(each) if isinstance(each, dict) else each for each in listed]}


def _is_unsigned(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") == "thinking" and not block.get("signature")


def plain(chat: Json, dropped: Dropped) -> Json:
    """Return a chat request without what only Anthropic and OpenRouter understand and strict servers refuse."""

    def bare(value: object) -> object:
        if isinstance(value, list):
            return [bare(each) for each in value]
        if not isinstance(value, dict) or value.keys().isdisjoint(("cache_control", "reasoning_details", "content")):
            return value
        if "cache_control" in value:
            dropped.add("cache_control")
        if "reasoning_details" in value:
            dropped.add("thinking")
        kept = {k: v for k, v in value.items() if k not in ("cache_control", "reasoning_details")}
        if kept.get("role") == "developer":  # which is `system` to OpenAI and unknown to many others
            kept["role"] = "system"
        return {**kept, "content": bare(kept["content"])} if "content" in kept else kept

    if "cache_control" in chat:
        dropped.add("cache_control")
    kept = {name: value for name, value in chat.items() if name != "cache_control"}
    if "tools" in kept:
        kept["tools"] = bare(kept["tools"])
    kept["messages"] = [
        message for each in objects_of(kept.get("messages")) if not is_nothing(message := object_of(bare(each)))
    ]
    return kept


def is_nothing(message: Json) -> bool:
    """Whether a message says nothing at all, as one whose thoughts were all that it had and are left out."""
    return message.get("content") is None and message.keys() <= {"role", "content"}
