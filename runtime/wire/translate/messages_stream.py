"""Streams between Anthropic's Messages and chat completions: events in, events out, one at a time."""

from __future__ import annotations

from runtime.wire.translate.loose import Json, encoded, object_of, objects_of, parsed, text_of
from runtime.wire.translate.messages_answer import (
    finish_of,
    head,
    reasoning_of,
    stop_of,
    thoughts_of,
    usage_from_chat,
    usage_to_chat,
)
from runtime.wire.translate.messages_request import FORMAT


class MessagesToChat:
    """Turns a stream of Messages into chunks of chat.

    Args:
        created: Unix time for the chunks.
        wants_usage: Whether the last chunk is to carry the usage.
    """

    def __init__(self, created: int, *, wants_usage: bool) -> None:
        self._created = created
        self._wants_usage = wants_usage
        self._head: Json = {"id": "", "model": ""}
        self._usage: Json = {}
        self._stop: object = None
        self._calls = -1
        self._thoughts = -1
        self._input: object = None  # of the tool use under way, while none of it was passed on

    def feed(self, event: Json) -> list[Json]:
        """Return the chunks that an event makes."""
        match event.get("type"):
            case "message_start":
                message = object_of(event.get("message"))
                self._head = {"id": text_of(message.get("id")), "model": text_of(message.get("model"))}
                self._usage.update(object_of(message.get("usage")))
                return [self._chunk({"role": "assistant", "content": ""})]
            case "content_block_start":
                return self._start(object_of(event.get("content_block")))
            case "content_block_delta":
                return self._delta(object_of(event.get("delta")))
            case "content_block_stop":
                given, self._input = self._input, None
                return [] if given is None else [self._arguments(encoded(given).decode())]
            case "message_delta":
                self._stop = object_of(event.get("delta")).get("stop_reason") or self._stop
                self._usage.update({k: v for k, v in object_of(event.get("usage")).items() if v is not None})
        return []

    def end(self) -> list[Json]:
        """Return the chunks that end the stream."""
        last = self._chunk({}, finish_of(self._stop))
        object_of(objects_of(last["choices"])[0])["native_finish_reason"] = self._stop
        if not self._wants_usage:
            return [last]
        return [last, {**self._chunk({}), "choices": [], "usage": usage_to_chat(self._usage)}]

    def _start(self, block: Json) -> list[Json]:
        match block.get("type"):
            case "tool_use":
                self._calls += 1
                self._input = object_of(block.get("input"))
                function = {"name": text_of(block.get("name")), "arguments": ""}
                call = {"index": self._calls, "id": text_of(block.get("id")), "type": "function", "function": function}
                return [self._chunk({"tool_calls": [call]})]
            case "text" if text := text_of(block.get("text")):
                return [self._chunk({"content": text})]
            case "thinking":
                self._thoughts += 1
                text = text_of(block.get("thinking"))
                return [self._thought(text)] if text else []
            case "redacted_thinking":
                self._thoughts += 1
                return [self._detail({"type": "reasoning.encrypted", "data": text_of(block.get("data"))})]
        return []

    def _delta(self, delta: Json) -> list[Json]:
        match delta.get("type"):
            case "text_delta":
                return [self._chunk({"content": text_of(delta.get("text"))})]
            case "input_json_delta":
                piece = text_of(delta.get("partial_json"))
                if not piece:
                    return []
                self._input = None
                return [self._arguments(piece)]
            case "thinking_delta":
                return [self._thought(text_of(delta.get("thinking")))]
            case "signature_delta":
                return [self._detail({"type": "reasoning.text", "signature": text_of(delta.get("signature"))})]
        return []

    def _arguments(self, piece: str) -> Json:
        return self._chunk({"tool_calls": [{"index": self._calls, "function": {"arguments": piece}}]})

    def _thought(self, text: str) -> Json:
        return self._detail({"type": "reasoning.text", "text": text}, {"reasoning": text})

    def _detail(self, detail: Json, more: Json | None = None) -> Json:
        found = {**detail, "format": FORMAT, "index": self._thoughts}
        return self._chunk({**(more or {}), "reasoning_details": [found]})

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        return {
            "id": self._head["id"],
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._head["model"],
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }


class _Segment:
    """A block of a message while its pieces come.

    Attributes:
        kind: `text`, `thinking`, `redacted` or `call`.
        block: What it starts with.
        waiting: Deltas that were not passed on yet.
        arguments: Of a call, all that came.
        is_sealed: Nothing is added any more.
    """

    def __init__(self, kind: str, block: Json) -> None:
        self.kind = kind
        self.block = block
        self.waiting: list[Json] = []
        self.arguments = ""
        self.is_open = False
        self.is_sealed = kind == "redacted"

    @property
    def is_whole(self) -> bool:
        """Whether it is complete once another has begun: a call, when its arguments are an object to the last brace."""
        if self.kind != "call":
            return True
        try:
            return isinstance(parsed(self.arguments), dict)
        except (ValueError, RecursionError):
            return False


class ChatToMessages:
    """Turns chunks of chat into a stream of Messages.

    Anthropic's blocks come one after the other. Where fragments of several tool calls are interleaved, those of a later
    one wait until the one before it is complete.
    """

    def __init__(self) -> None:
        self._has_begun = False
        self._block = 0  # index of the first of the queue
        self._queue: list[_Segment] = []
        self._calls: dict[int, _Segment] = {}
        self._usage: Json = {}
        self._finish: object = None
        self._is_refused = False

    def feed(self, chunk: Json) -> list[Json]:
        """Return the events that a chunk makes."""
        usage = object_of(chunk.get("usage")) or object_of(object_of(chunk.get("x_groq")).get("usage"))
        self._usage = usage or self._usage
        found: list[Json] = []
        if not self._has_begun:
            self._has_begun = True
            counts = usage_from_chat(self._usage)
            start = {**head(chunk), "content": [], "stop_reason": None, "stop_sequence": None, "usage": counts}
            found.append({"type": "message_start", "message": start})
        for choice in objects_of(chunk.get("choices"))[:1]:
            self._take(choice)
        return found + self._advance()

    def end(self) -> list[Json]:
        """Return the events that end the stream."""
        found = [*([] if self._has_begun else self.feed({})), *self._advance(is_end=True)]
        finish = "content_filter" if self._is_refused else self._finish
        delta = {"stop_reason": stop_of(finish, has_calls=bool(self._calls)), "stop_sequence": None}
        found.append({"type": "message_delta", "delta": delta, "usage": usage_from_chat(self._usage)})
        return [*found, {"type": "message_stop"}]

    def _take(self, choice: Json) -> None:
        delta = object_of(choice.get("delta"))
        details = objects_of(delta.get("reasoning_details"))
        for detail in details:
            self._detail(detail)
        if not details:
            self._thinking(reasoning_of(delta))
        content = delta.get("content")
        for text in [content] if isinstance(content, str) else [p.get("text") for p in objects_of(content)]:
            self._text(text_of(text))
        refusal = text_of(delta.get("refusal"))
        self._text(refusal)
        for place, call in enumerate(objects_of(delta.get("tool_calls"))):
            self._call(call, place)
        self._is_refused = self._is_refused or bool(refusal)
        self._finish = choice.get("finish_reason") or self._finish

    def _text(self, text: str) -> None:
        if text:
            segment = self._last("text", {"type": "text", "text": ""})
            segment.waiting.append({"type": "text_delta", "text": text})

    def _thinking(self, text: str, signature: str = "") -> None:
        if not text and not signature:
            return
        segment = self._last("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        if text:
            segment.waiting.append({"type": "thinking_delta", "thinking": text})
        if signature:
            segment.waiting.append({"type": "signature_delta", "signature": signature})
            segment.is_sealed = True  # what follows a signature is another thought

    def _detail(self, detail: Json) -> None:
        if detail.get("type") == "reasoning.encrypted":
            self._queue += [_Segment("redacted", block) for block in thoughts_of({"reasoning_details": [detail]})]
        else:
            text = text_of(detail.get("text")) or text_of(detail.get("summary"))
            self._thinking(text, text_of(detail.get("signature")))

    def _call(self, piece: Json, place: int) -> None:
        index = piece.get("index")
        key = index if isinstance(index, int) else place
        function = object_of(piece.get("function"))
        segment = self._calls.get(key)
        if segment is None:
            block = {"type": "tool_use", "id": text_of(piece.get("id")), "name": text_of(function.get("name"))}
            segment = self._calls[key] = _Segment("call", {**block, "input": {}})
            self._queue.append(segment)
        if fragment := text_of(function.get("arguments")):
            segment.arguments += fragment
            segment.waiting.append({"type": "input_json_delta", "partial_json": fragment})

    def _last(self, kind: str, block: Json) -> _Segment:
        """Return the last segment if it is of that kind and may be added to, else a new one."""
        if not self._queue or self._queue[-1].kind != kind or self._queue[-1].is_sealed:
            self._queue.append(_Segment(kind, block))
        return self._queue[-1]

    def _advance(self, *, is_end: bool = False) -> list[Json]:
        """Pass on what waits of the first segment, and of those behind it as each becomes the first."""
        found: list[Json] = []
        while self._queue:
            first, index = self._queue[0], self._block
            if not first.is_open:
                first.is_open = True
                found.append({"type": "content_block_start", "index": index, "content_block": first.block})
            found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in first.waiting]
            first.waiting.clear()
            if not is_end and (len(self._queue) == 1 or not first.is_whole):
                break
            found.append({"type": "content_block_stop", "index": index})
            self._block += 1
            del self._queue[0]
        return found
