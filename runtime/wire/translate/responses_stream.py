"""Streams between OpenAI's Responses and chat completions: events in, events out, one at a time."""

from __future__ import annotations

from runtime.wire.translate import responses_answer as answers
from runtime.wire.translate.loose import Json, count_of, object_of, objects_of, text_of
from runtime.wire.translate.messages_request import FORMAT as ANTHROPIC_FORMAT
from runtime.wire.translate.messages_stream import ChatToMessages
from runtime.wire.translate.responses_request import thoughts_to_chat


class ChatToResponses:
    """Turns chunks of chat into a stream of Responses, by way of the blocks that Messages would make of them.

    Args:
        asked: The client's request, parts of which every response repeats.
        created: Unix time for them.
    """

    def __init__(self, asked: Json, created: int) -> None:
        self._asked = asked
        self._blocks = ChatToMessages()
        self._number = 0
        self._head: Json = {"created": created}
        self._usage: Json | None = None
        self._finish: object = None
        self._output: list[Json] = []
        self._block: Json = {}  # the one that is open, as it began
        self._id: object = None
        self._said: list[str] = []  # and what it has said since

    def feed(self, chunk: Json) -> list[Json]:
        """Return the events that a chunk makes."""
        if "id" not in self._head:
            self._head.update(id=text_of(chunk.get("id")), model=text_of(chunk.get("model")))
        if usage := object_of(chunk.get("usage")):
            self._usage = answers.usage_from_chat(usage)
        for choice in objects_of(chunk.get("choices"))[:1]:
            self._finish = choice.get("finish_reason") or self._finish
        return self._numbered([made for event in self._blocks.feed(chunk) for made in self._take(event)])

    def end(self) -> list[Json]:
        """Return the events that end the stream."""
        return self._numbered([made for event in self._blocks.end() for made in self._take(event)])

    def _numbered(self, events: list[Json]) -> list[Json]:
        found = [{**event, "sequence_number": self._number + place} for place, event in enumerate(events)]
        self._number += len(events)
        return found

    def _take(self, event: Json) -> list[Json]:
        match event["type"]:
            case "message_start":
                response = self._response("in_progress")
                return [{"type": f"response.{kind}", "response": response} for kind in ("created", "in_progress")]
            case "content_block_start":
                return self._start(object_of(event["content_block"]))
            case "content_block_delta":
                return self._delta(object_of(event["delta"]))
            case "content_block_stop":
                return self._stop()
            case "message_stop":
                status = answers.status_of(self._finish)
                kind = "completed" if status == "completed" else "incomplete"
                return [{"type": f"response.{kind}", "response": self._response(status)}]
        return []

    def _response(self, status: str) -> Json:
        usage = None if status == "in_progress" else self._usage or answers.usage_from_chat({})
        return answers.response(self._head, self._asked, status, list(self._output), usage)

    @property
    def _name(self) -> str:
        return f"{text_of(self._head.get('id'))}_{len(self._output)}"

    def _event(self, kind: str, **fields: object) -> Json:
        return {"type": f"response.{kind}", "output_index": len(self._output), **fields}

    def _part(self, kind: str, **fields: object) -> Json:
        return self._event(kind, item_id=self._id, **fields)

    def _item(self, status: str) -> Json:
        """Return the open block as an item."""
        block, is_whole = self._block, status == "completed"
        match block["type"]:
            case "text":
                return answers.text_item(self._name, "".join(self._said) if is_whole else "", status)
            case "tool_use":
                arguments = "".join(self._said) if is_whole else ""
                return answers.call_item(self._name, str(block["id"]), str(block["name"]), arguments, status)
        signature = text_of(block.get("signed"))
        kind = ANTHROPIC_FORMAT if signature or block.get("data") else ""
        text = "".join(self._said) if is_whole else ""
        return answers.thought_item(self._name, text, signature, text_of(block.get("data")), kind)

    def _start(self, block: Json) -> list[Json]:
        self._block = dict(block)
        self._said.clear()
        item = self._item("in_progress")
        self._id = item["id"]
        found = [self._event("output_item.added", item=item)]
        if (part := self._said_part("")) is not None:
            found.append(self._part("content_part.added", content_index=0, part=part))
        return found

    def _said_part(self, text: str) -> Json | None:
        match self._block["type"]:
            case "text":
                return answers.text_part(text)
            case "thinking":
                return {"type": "reasoning_text", "text": text}
        return None

    def _delta(self, delta: Json) -> list[Json]:
        match delta["type"]:
            case "text_delta":
                text = self._say(delta["text"])
                return [self._part("output_text.delta", content_index=0, delta=text, logprobs=[])]
            case "thinking_delta":
                return [self._part("reasoning_text.delta", content_index=0, delta=self._say(delta["thinking"]))]
            case "input_json_delta":
                return [self._part("function_call_arguments.delta", delta=self._say(delta["partial_json"]))]
        self._block["signed"] = delta.get("signature")
        return []

    def _say(self, text: object) -> str:
        self._said.append(str(text))
        return str(text)

    def _stop(self) -> list[Json]:
        said = "".join(self._said)
        found: list[Json] = []
        match self._block["type"]:
            case "text":
                found.append(self._part("output_text.done", content_index=0, text=said, logprobs=[]))
            case "thinking":
                found.append(self._part("reasoning_text.done", content_index=0, text=said))
            case "tool_use":
                name = self._block["name"]
                found.append(self._part("function_call_arguments.done", arguments=said, name=name))
        if (part := self._said_part(said)) is not None:
            found.append(self._part("content_part.done", content_index=0, part=part))
        item = self._item("completed")
        found.append(self._event("output_item.done", item=item))
        self._output.append(item)
        return found


class ResponsesToChat:
    """Turns a stream of Responses into chunks of chat.

    Args:
        wants_usage: Whether the last chunk is to carry the usage.
    """

    def __init__(self, *, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._head: Json = {"id": "", "created": 0, "model": ""}
        self._usage: Json = {}
        self._finish = "stop"
        self._calls: dict[int, int] = {}
        self._said: set[int] = set()  # items of which something was passed on as it came
        self._thoughts = -1

    def feed(self, event: Json) -> list[Json]:
        """Return the chunks that an event makes."""
        place, delta = count_of(event.get("output_index")), text_of(event.get("delta"))
        match text_of(event.get("type")).removeprefix("response."):
            case "created":
                found = object_of(event.get("response"))
                name = text_of(found.get("id")).removeprefix(answers.PREFIX)
                created = count_of(found.get("created_at"))
                self._head = {"id": name, "created": created, "model": text_of(found.get("model"))}
                return [self._chunk({"role": "assistant", "content": ""})]
            case "output_item.added":
                return self._added(object_of(event.get("item")), place)
            case "output_text.delta":
                return [self._chunk({"content": delta})]
            case "refusal.delta":
                return [self._chunk({"refusal": delta})]
            case "reasoning_text.delta":
                self._said.add(place)
                detail = {"type": "reasoning.text", "text": delta, "index": self._thoughts}
                return [self._chunk({"reasoning": delta, "reasoning_details": [detail]})]
            case "reasoning_summary_text.delta":
                self._said.add(place)
                detail = {"type": "reasoning.summary", "summary": delta, "index": self._thoughts}
                return [self._chunk({"reasoning": delta, "reasoning_details": [detail]})]
            case "function_call_arguments.delta":
                self._said.add(place)
                return [self._arguments(place, delta)]
            case "output_item.done":
                return self._done(object_of(event.get("item")), place)
            case "completed" | "incomplete":
                found = object_of(event.get("response"))
                self._usage = object_of(found.get("usage"))
                self._finish = answers.finish_of(found, has_calls=bool(self._calls))
        return []

    def end(self) -> list[Json]:
        """Return the chunks that end the stream."""
        last = self._chunk({}, self._finish)
        if not self._wants_usage:
            return [last]
        return [last, {**self._chunk({}), "choices": [], "usage": answers.usage_to_chat(self._usage)}]

    def _added(self, item: Json, place: int) -> list[Json]:
        if item.get("type") == "reasoning":
            self._thoughts += 1
        if item.get("type") != "function_call":
            return []
        self._calls[place] = len(self._calls)
        function = {"name": text_of(item.get("name")), "arguments": ""}
        call = {"index": self._calls[place], "id": text_of(item.get("call_id")), "type": "function"}
        return [self._chunk({"tool_calls": [{**call, "function": function}]})]

    def _done(self, item: Json, place: int) -> list[Json]:
        """Return what an item that is complete has beyond what was passed on of it."""
        match item.get("type"):
            case "function_call" if place not in self._said and place in self._calls:
                return [self._arguments(place, text_of(item.get("arguments")))]
            case "reasoning":
                more: list[Json] = []
                for detail in thoughts_to_chat(item):
                    if detail["type"] == "reasoning.encrypted":
                        more.append(detail)
                    elif "signature" in detail:
                        more.append({name: detail[name] for name in ("type", "signature", "format")})
                details = [{**detail, "index": self._thoughts} for detail in more]
                return [self._chunk({"reasoning_details": details})] if details else []
        return []

    def _arguments(self, place: int, piece: str) -> Json:
        call = {"index": self._calls.get(place, 0), "function": {"arguments": piece}}
        return self._chunk({"tool_calls": [call]})

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
