"""Requests of chat completions as Anthropic's Messages have them."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.wire.translate.loose import (
    Dropped,
    InexpressibleError,
    Json,
    input_of,
    object_of,
    objects_of,
    sayable,
    text_of,
)
from runtime.wire.translate.messages_request import FORMAT, blocks_of, cached

LEAST_TOP_P = 0.95
"""Beside thinking Anthropic takes no `top_p` below."""

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
    left = sayable(body, _REFUSED, "Anthropic's interface")
    system, messages = _messages_from_chat(objects_of(left.pop("messages", None)), dropped)
    found: Json = {}
    for name in ("model", "stream", "top_p", "top_k", "cache_control"):
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
    for place, part in enumerate(blocks_of(content)):
        block = _block_from_chat(part, f"{field}.content[{place}]", dropped)
        if block.get("text") != "":
            found.append(cached(part, block))
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
        tools.append(cached(tool, entry))
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
    if chosen and tools:  # Anthropic refuses a choice among none
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
    elif not (effort or budget or reasoning.get("enabled")):
        pass
    elif not _may_think(found):
        dropped.add("reasoning_effort" if effort else "reasoning")
    else:
        _think(found, config, effort, budget, dropped)
    if config:
        found["output_config"] = config


def _may_think(found: Json) -> bool:
    """Whether Anthropic lets a model think here: no tool is forced, and the call it is to go on from has its thoughts.

    Clients of chat seldom send those back, and the request would be refused.
    """
    if object_of(found.get("tool_choice")).get("type") in ("any", "tool"):
        return False
    answers = [message for message in objects_of(found["messages"]) if message["role"] == "assistant"]
    kinds = [block.get("type") for block in objects_of(answers[-1]["content"])] if answers else []
    return "tool_use" not in kinds or kinds[0] in ("thinking", "redacted_thinking")


def _think(found: Json, config: Json, effort: str, budget: object, dropped: Dropped) -> None:
    """Ask for thinking, and leave out the sampling that Anthropic refuses beside it."""
    if not effort and isinstance(budget, int) and budget > 0:
        limit, budget = found["max_tokens"], max(1024, budget)
        found["thinking"] = {"type": "enabled", "budget_tokens": budget}
        if isinstance(limit, int | float) and limit <= budget:
            found["max_tokens"] = limit + budget  # the budget is part of the limit there
    else:
        found["thinking"] = {"type": "adaptive"}
    if effort == "minimal":
        dropped.add("reasoning_effort below low")
    if effort:
        config["effort"] = "low" if effort == "minimal" else effort
    top_p = found.get("top_p")
    for name, is_refused in (
        ("temperature", found.get("temperature") not in (None, 1)),
        ("top_p", isinstance(top_p, int | float) and top_p < LEAST_TOP_P),
        ("top_k", "top_k" in found),
    ):
        if is_refused:
            del found[name]
            dropped.add(name)
