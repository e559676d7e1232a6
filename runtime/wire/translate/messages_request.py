"""Requests between Anthropic's Messages and chat completions, both ways."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.wire.translate.loose import (
    Dropped,
    InexpressibleError,
    Json,
    arguments_of,
    input_of,
    object_of,
    objects_of,
    said,
    text_of,
)

FORMAT = "anthropic-claude-v1"
"""OpenRouter's name for reasoning that is signed as Anthropic signs it."""

# Shares of the output limit that OpenRouter gives each effort; read backwards for a budget in tokens.
_SHARE_OF_EFFORT = (("minimal", 0.15), ("low", 0.35), ("medium", 0.65), ("high", 0.875))

# --- to chat --------------------------------------------------------------------------------------

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
    for name in ("model", "stream", "max_tokens", "temperature", "top_p", "top_k"):
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
    for place, block in enumerate(_blocks(content)):
        where = f"{field}.content[{place}]"
        if block.get("type") == "tool_result":
            results.append(_result_to_chat(block, where, pictures, dropped))
        else:
            parts.append(_part_to_chat(block, where))
    parts = [*pictures, *parts]
    # Pictures of a tool's result follow it as the user's: chat has only text for tools to say.
    return [*results, {"role": role, "content": _content(parts)}] if parts or not results else results


def _blocks(content: object) -> list[Json]:
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
            return _cached(block, {"type": "image_url", "image_url": {"url": _url_of(source)}})
        case "document", "text":
            return _cached(block, {"type": "text", "text": text_of(source.get("data"))})
        case "document", "base64":
            name = text_of(block.get("title")) or "document.pdf"
            return _cached(block, {"type": "file", "file": {"filename": name, "file_data": _url_of(source)}})
        case kind, _:
            raise InexpressibleError(field, f"chat has no equivalent for a `{kind}` block like this")


def _cached(block: Json, part: Json) -> Json:
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
        for place, inner in enumerate(_blocks(content)):
            part = _part_to_chat(inner, f"{field}.content[{place}]")
            (texts if part["type"] == "text" else pictures).append(part)
        content = _content(texts) if texts else ""
    return {"role": "tool", "tool_call_id": text_of(block.get("tool_use_id")), "content": content}


def _assistant_to_chat(content: object, field: str) -> Json:
    parts: list[Json] = []
    calls: list[Json] = []
    thoughts: list[Json] = []
    for place, block in enumerate(_blocks(content)):
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
        tools.append(_cached(tool, {"type": "function", "function": function}))
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


# --- from chat ------------------------------------------------------------------------------------

_REFUSED = ("audio", "functions", "function_call", "web_search_options", "logprobs", "top_logprobs")


def from_chat(body: Json, dropped: Dropped, output_default: int) -> Json:
    """Return a chat request as one for Messages.

    Args:
        body: The chat request.
        dropped: Told what is left out.
        output_default: `max_tokens`, which Anthropic insists on, where the client set none.

    Raises:
        InexpressibleError: It asks for what Anthropic has no way to say.
    """
    left = said(body)
    for name in _REFUSED:
        if left.pop(name, None):
            raise InexpressibleError(name, "Anthropic's interface has no equivalent")
    if left.pop("n", 1) != 1:
        raise InexpressibleError("n", "Anthropic's interface gives one answer")
    if "audio" in (modalities if isinstance(modalities := left.pop("modalities", None), list) else []):
        raise InexpressibleError("modalities", "Anthropic's interface has no audio")
    system, messages = _messages_from_chat(objects_of(left.pop("messages", None)), dropped)
    found: Json = {}
    for name in ("model", "stream", "top_p", "top_k"):
        if name in left:
            found[name] = left.pop(name)
    limits = [left.pop(name, None) for name in ("max_completion_tokens", "max_tokens")]
    found["max_tokens"] = next((n for n in limits if isinstance(n, int | float) and n >= 1), output_default)
    if system:
        found["system"] = _plainest(system)
    found["messages"] = messages
    if isinstance(temperature := left.pop("temperature", None), int | float):
        if temperature > 1:
            dropped.add("temperature above 1")
        found["temperature"] = min(temperature, 1)
    if stop := left.pop("stop", None):
        found["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    safety_id = left.pop("safety_identifier", None)
    if user := left.pop("user", None) or safety_id:
        found["metadata"] = {"user_id": user}
    if (tier := left.pop("service_tier", None)) is not None:
        found["service_tier"] = "standard_only" if tier == "default" else "auto"
    _tools_from_chat(left, found)
    _output_from_chat(left, found, dropped)
    left.pop("stream_options", None)
    dropped.add_rest(left)
    return found


def _messages_from_chat(messages: Sequence[Json], dropped: Dropped) -> tuple[list[Json], list[Json]]:
    system: list[Json] = []
    found: list[Json] = []
    in_results = False  # the last message found holds results of tools, which what the user says next may join
    for place, message in enumerate(messages):
        field, role, content = f"messages[{place}]", message.get("role"), message.get("content")
        if text_of(message.get("name")):
            dropped.add("name")
        match role:
            case "system" | "developer":
                system += _blocks_from_chat(content, field, dropped)
                continue
            case "assistant":
                found.append({"role": "assistant", "content": _plainest(_assistant_from_chat(message, field, dropped))})
                in_results = False
            case "tool":
                result = _result_from_chat(message, field, dropped)
                if in_results:
                    _content_of(found[-1]).append(result)
                else:
                    found.append({"role": "user", "content": [result]})
                in_results = True
            case "user":
                blocks = _blocks_from_chat(content, field, dropped)
                if in_results:
                    _content_of(found[-1]).extend(blocks)
                else:
                    found.append({"role": "user", "content": _plainest(blocks)})
                in_results = False
            case _:
                raise InexpressibleError(f"{field}.role", f"Anthropic's interface has no role `{text_of(role)}`")
    return system, found


def _content_of(message: Json) -> list[Json]:
    content = message["content"]
    assert isinstance(content, list)
    return content


def _plainest(blocks: list[Json]) -> object:
    """Return one plain text as text."""
    if not blocks:
        return ""
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} else blocks


def _blocks_from_chat(content: object, field: str, dropped: Dropped) -> list[Json]:
    """Return content as blocks; Anthropic refuses texts that are empty."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    found = []
    for place, part in enumerate(_blocks(content)):
        block = _block_from_chat(part, f"{field}.content[{place}]", dropped)
        if block.get("text") != "":
            found.append(_cached(part, block))
    return found


def _block_from_chat(part: Json, field: str, dropped: Dropped) -> Json:
    match part.get("type"):
        case "text":
            return {"type": "text", "text": text_of(part.get("text"))}
        case "refusal":
            return {"type": "text", "text": text_of(part.get("refusal"))}
        case "image_url":
            image = part.get("image_url")
            if text_of(object_of(image).get("detail")) not in ("", "auto"):
                dropped.add("detail")
            return {
                "type": "image",
                "source": _source_of(image if isinstance(image, str) else object_of(image).get("url")),
            }
        case "file":
            file = object_of(part.get("file"))
            data = text_of(file.get("file_data"))
            if not data.startswith("data:application/pdf;base64,"):
                raise InexpressibleError(field, "Anthropic's interface takes only files that are sent along, and PDF")
            block: Json = {"type": "document", "source": _source_of(data)}
            return {**block, "title": file["filename"]} if text_of(file.get("filename")) else block
        case kind:
            raise InexpressibleError(field, f"Anthropic's interface has no equivalent for a part of type `{kind}`")


def _source_of(url: object) -> Json:
    text = text_of(url)
    head, comma, data = text.partition(",")
    if head.startswith("data:") and head.endswith(";base64") and comma:
        return {"type": "base64", "media_type": head[5:-7], "data": data}
    return {"type": "url", "url": text}


def _result_from_chat(message: Json, field: str, dropped: Dropped) -> Json:
    content = message.get("content")
    given = content if isinstance(content, str) else _plainest(_blocks_from_chat(content, field, dropped))
    return {"type": "tool_result", "tool_use_id": text_of(message.get("tool_call_id")), "content": given}


def _assistant_from_chat(message: Json, field: str, dropped: Dropped) -> list[Json]:
    for name in ("function_call", "audio"):
        if message.get(name):
            raise InexpressibleError(f"{field}.{name}", "Anthropic's interface has no equivalent")
    blocks = [block for each in objects_of(message.get("reasoning_details")) if (block := thought_from_chat(each))]
    blocks += _blocks_from_chat(message.get("content"), field, dropped)
    if refusal := text_of(message.get("refusal")):
        blocks.append({"type": "text", "text": refusal})
    for place, call in enumerate(objects_of(message.get("tool_calls"))):
        if call.get("type") not in (None, "function"):
            raise InexpressibleError(f"{field}.tool_calls[{place}].type", "only functions can be called")
        blocks.append(call_from_chat(call))
    return blocks


def thought_from_chat(thought: Json) -> Json | None:
    """Return a reasoning detail as a block of thinking; None for one that Anthropic has not signed and would refuse."""
    if thought.get("format") not in (None, FORMAT):
        return None
    if thought.get("type") == "reasoning.encrypted":
        return {"type": "redacted_thinking", "data": text_of(thought.get("data"))}
    signature = text_of(thought.get("signature"))
    if thought.get("type") != "reasoning.text" or not signature:
        return None
    return {"type": "thinking", "thinking": text_of(thought.get("text")), "signature": signature}


def call_from_chat(call: Json) -> Json:
    """Return a tool call as a tool use."""
    function = object_of(call.get("function"))
    name, arguments = text_of(function.get("name")), input_of(function.get("arguments"))
    return {"type": "tool_use", "id": text_of(call.get("id")), "name": name, "input": arguments}


def _tools_from_chat(left: Json, found: Json) -> None:
    tools: list[Json] = []
    for place, tool in enumerate(objects_of(left.pop("tools", None))):
        if tool.get("type") != "function":
            raise InexpressibleError(f"tools[{place}].type", "only tools of type `function` have an equivalent")
        function = object_of(tool.get("function"))
        entry: Json = {"name": text_of(function.get("name"))}
        if text_of(function.get("description")):
            entry["description"] = function["description"]
        entry["input_schema"] = object_of(function.get("parameters")) or {"type": "object", "properties": {}}
        if function.get("strict") is not None:
            entry["strict"] = function["strict"]
        tools.append(_cached(tool, entry))
    if tools:
        found["tools"] = tools
    choice = left.pop("tool_choice", None)
    chosen: Json = {}
    match choice:
        case None:
            pass
        case "auto" | "none":
            chosen = {"type": choice}
        case "required":
            chosen = {"type": "any"}
        case {"type": "function", "function": {"name": name}}:
            chosen = {"type": "tool", "name": name}
        case _:
            raise InexpressibleError("tool_choice", "Anthropic's interface has no equivalent for this choice")
    parallel = left.pop("parallel_tool_calls", None)
    if isinstance(parallel, bool) and chosen.get("type") != "none" and (chosen or (tools and not parallel)):
        chosen = {**(chosen or {"type": "auto"}), "disable_parallel_tool_use": not parallel}
    if chosen:
        found["tool_choice"] = chosen


def _output_from_chat(left: Json, found: Json, dropped: Dropped) -> None:
    config: Json = {}
    form = object_of(left.pop("response_format", None))
    match form.get("type"):
        case "json_schema":
            schema = object_of(object_of(form.get("json_schema")).get("schema"))
            config["format"] = {"type": "json_schema", "schema": schema}
        case "json_object":
            raise InexpressibleError("response_format", "Anthropic's interface promises JSON only to a schema")
    reasoning = object_of(left.pop("reasoning", None))
    effort = text_of(left.pop("reasoning_effort", None)) or text_of(reasoning.get("effort"))
    budget = reasoning.get("max_tokens")
    if effort == "none" or (not effort and reasoning.get("enabled") is False):
        found["thinking"] = {"type": "disabled"}
    elif effort:
        if effort == "minimal":
            dropped.add("reasoning_effort below low")
        found["thinking"] = {"type": "adaptive"}
        config["effort"] = "low" if effort == "minimal" else effort
    elif isinstance(budget, int) and budget > 0:
        limit = found["max_tokens"]
        found["thinking"] = {"type": "enabled", "budget_tokens": max(1024, budget)}
        if isinstance(limit, int | float) and limit <= max(1024, budget):
            found["max_tokens"] = limit + max(1024, budget)  # the budget is part of the limit there
    elif reasoning.get("enabled"):
        found["thinking"] = {"type": "adaptive"}
    if config:
        found["output_config"] = config


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
        return {**kept, "content": bare(kept["content"])} if "content" in kept else kept

    return {k: bare(v) if k in ("messages", "tools") else v for k, v in chat.items()}
