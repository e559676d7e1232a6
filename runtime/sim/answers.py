"""Answers of a simulated provider in OpenAI's shapes, cut into the parts in which they come."""

from __future__ import annotations

import base64
import json
import math
import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import msgspec

from runtime.sim import words
from runtime.sim.asked import Chat, Completion, Embedding, Generation, Keys

JSON = b"application/json"
SSE = b"text/event-stream; charset=utf-8"

# As many as OpenAI allows.
MOST_CHOICES = 128
MOST_DIMENSIONS = 4096
USUAL_DIMENSIONS = 256

# Every message costs a tokenizer a few marks of its own.
TOKENS_PER_MESSAGE = 4

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a body, and how many tokens it took to make them."""

    tokens: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; `parts` are what a stream sends one by one."""

    status: int
    content_type: bytes
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """Whose answer it is: the provider's name, the serial number of the request there, and when (Unix seconds)."""

    provider: str
    serial: int
    created: int

    def id(self, prefix: str) -> str:
        """Return an id that no other request at this provider has."""
        return f"{prefix}-sim{crc32(self.provider.encode()):08x}{self.serial:06x}"


@dataclass(frozen=True, slots=True)
class Said:
    """One choice: its tokens, the tool it calls if it does, and why it ended."""

    pieces: Sequence[str]
    tool: str | None
    finish: str

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)


def answer(method: str, path: str, raw: bytes, signature: Signature) -> Answer:
    """Return the answer to a request.

    Args:
        method: `POST`, or `GET` for `/models`.
        path: Its end names the interface; when it is empty the body's keys do.
        raw: The body.
        signature: Who answers.
    """
    if method == "GET" and path.endswith("/models"):
        return _models(signature)
    try:
        kind = _kind(path, raw)
        if kind == "chat":
            return _chat(msgspec.json.decode(raw, type=Chat), signature)
        if kind == "completions":
            return _completion(msgspec.json.decode(raw, type=Completion), signature)
        if kind == "embeddings":
            return _embedding(msgspec.json.decode(raw, type=Embedding), signature)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return refusal(400, f"the body is not what this interface takes: {error}", "invalid_request_error", None)
    return refusal(404, f"a simulated provider has no `{method} {path}`", "invalid_request_error", "unknown_url")


def refusal(status: int, message: str, kind: str, code: str | None) -> Answer:
    """Return an error in OpenAI's shape."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return Answer(status, JSON, (Part(0, msgspec.json.encode({"error": error})),))


def _kind(path: str, raw: bytes) -> str | None:
    if path:
        for kind, end in (
            ("chat", "/chat/completions"),
            ("completions", "/completions"),
            ("embeddings", "/embeddings"),
        ):
            if path.endswith(end):
                return kind
        return None
    keys = msgspec.json.decode(raw, type=Keys)
    named = (("chat", keys.messages), ("completions", keys.prompt), ("embeddings", keys.input))
    return next((kind for kind, value in named if bytes(value)), None)


# --- chat -----------------------------------------------------------------------------------------


def _chat(asked: Chat, signature: Signature) -> Answer:
    question = next((message.text() for message in reversed(asked.messages) if message.role == "user"), "")
    prompt_tokens = sum(len(words.tokens(message.text())) + TOKENS_PER_MESSAGE for message in asked.messages)
    said = [_say(asked, signature.provider, question, choice) for choice in range(_choices(asked))]
    head: Fields = {
        "id": signature.id("chatcmpl"),
        "object": "chat.completion.chunk" if asked.stream else "chat.completion",
        "created": signature.created,
        "model": asked.model,
        "system_fingerprint": "fp_sim",
    }
    usage = _usage(prompt_tokens, said)
    if asked.stream:
        return Answer(200, SSE, tuple(_stream(head, _chat_chunks(said, head), asked.wants_usage(), usage)))
    choices = [_chat_choice(index, choice, head) for index, choice in enumerate(said)]
    return _whole(head, choices, usage)


def _say(asked: Chat, provider: str, question: str, choice: int) -> Said:
    tool = _tool_to_call(asked, question)
    form = asked.response_format
    if tool is not None:
        name, schema = tool
        return _limited(json.dumps(words.fill(schema, question or "simulated"), ensure_ascii=False), asked, name)
    text = words.say(provider, asked.model, question, choice)
    if form is not None and form.type == "json_schema" and form.json_schema is not None:
        text = json.dumps(words.fill(form.json_schema.schema or {}, "simulated"), ensure_ascii=False)
    elif form is not None and form.type == "json_object":
        text = json.dumps({"provider": provider, "model": asked.model, "answer": text}, ensure_ascii=False)
    return _limited(text, asked, None)


def _tool_to_call(asked: Chat, question: str) -> tuple[str, dict[str, object]] | None:
    """Return name and schema of the tool to call, or None.

    It is called when the choice says so (`required`, or one by name), or when the question mentions its name; never
    once the last message is a tool's result, so that loops come to an end.
    """
    offered = [tool.function for tool in asked.tools or () if tool.function is not None]
    if not offered or asked.tool_choice == "none" or (asked.messages and asked.messages[-1].role == "tool"):
        return None
    wanted = asked.tool_choice
    if wanted == "required":
        chosen = offered[:1]
    elif isinstance(wanted, str) or wanted is None or wanted.function is None:
        chosen = [function for function in offered if function.name in question]
    else:
        name = wanted.function.name
        chosen = [function for function in offered if function.name == name]
    return (chosen[0].name, chosen[0].parameters or {}) if chosen else None


def _chat_choice(index: int, said: Said, head: Fields) -> Fields:
    message: Fields = {"role": "assistant", "content": None if said.tool else said.text, "refusal": None}
    if said.tool:
        function = {"name": said.tool, "arguments": said.text}
        message["tool_calls"] = [{"id": _call_id(head, index), "type": "function", "function": function}]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": said.finish}


def _chat_chunks(said: Sequence[Said], head: Fields) -> Iterator[tuple[int, Fields]]:
    """Give (tokens, choice) for every chunk: all roles, then the choices' tokens in turn, then why each ended."""
    for index, choice in enumerate(said):
        delta: Fields = {"role": "assistant", "content": None if choice.tool else "", "refusal": None}
        if choice.tool:
            function = {"name": choice.tool, "arguments": ""}
            delta["tool_calls"] = [{"index": 0, "id": _call_id(head, index), "type": "function", "function": function}]
        yield 0, {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
    for place in range(max(len(choice.pieces) for choice in said)):
        for index, choice in enumerate(said):
            if place < len(choice.pieces):
                piece: Fields = {"content": choice.pieces[place]}
                if choice.tool:
                    piece = {"tool_calls": [{"index": 0, "function": {"arguments": choice.pieces[place]}}]}
                yield 1, {"index": index, "delta": piece, "logprobs": None, "finish_reason": None}
    for index, choice in enumerate(said):
        yield 0, {"index": index, "delta": {}, "logprobs": None, "finish_reason": choice.finish}


def _call_id(head: Fields, index: int) -> str:
    return f"call_{head['id']}-{index}"


# --- plain completions ----------------------------------------------------------------------------


def _completion(asked: Completion, signature: Signature) -> Answer:
    prompts = asked.prompts()
    said = [
        _limited(words.say(signature.provider, asked.model, prompt, choice), asked, None)
        for prompt in prompts
        for choice in range(_choices(asked))
    ]
    head: Fields = {
        "id": signature.id("cmpl"),
        "object": "text_completion",
        "created": signature.created,
        "model": asked.model,
    }
    usage = _usage(sum(len(words.tokens(prompt)) for prompt in prompts), said)
    if asked.stream:
        return Answer(200, SSE, tuple(_stream(head, _text_chunks(said), asked.wants_usage(), usage)))
    choices = [_text_choice(index, choice.text, choice.finish) for index, choice in enumerate(said)]
    return _whole(head, choices, usage)


def _text_choice(index: int, text: str, finish: str | None) -> Fields:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def _text_chunks(said: Sequence[Said]) -> Iterator[tuple[int, Fields]]:
    for index, choice in enumerate(said):
        for piece in choice.pieces:
            yield 1, _text_choice(index, piece, None)
        yield 0, _text_choice(index, "", choice.finish)


# --- what both have -------------------------------------------------------------------------------


def _choices(asked: Generation) -> int:
    return min(max(asked.n or 1, 1), MOST_CHOICES)


def _limited(text: str, asked: Generation, tool: str | None) -> Said:
    """Cut the text at a stop sequence and at the limit."""
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    if tool is None:
        text = text[: min((text.find(stop) for stop in stops if stop and stop in text), default=len(text))]
    pieces, limit = words.tokens(text), asked.limit()
    if limit is not None and len(pieces) > max(limit, 0):
        return Said(pieces[: max(limit, 0)], tool, "length")
    return Said(pieces, tool, "tool_calls" if tool else "stop")


def _usage(prompt_tokens: int, said: Sequence[Said]) -> Fields:
    completion_tokens = sum(len(choice.pieces) for choice in said)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _whole(head: Fields, choices: Sequence[Fields], usage: Fields) -> Answer:
    made = usage["completion_tokens"]
    assert isinstance(made, int)
    return Answer(200, JSON, (Part(made, msgspec.json.encode({**head, "choices": choices, "usage": usage})),))


def _stream(head: Fields, chunks: Iterator[tuple[int, Fields]], wants_usage: bool, usage: Fields) -> Iterator[Part]:
    # As OpenAI does it: with usage asked for, every chunk has the field and only the last one a value.
    extra: Fields = {"usage": None} if wants_usage else {}
    for made, choice in chunks:
        yield Part(made, _event({**head, "choices": [choice], **extra}))
    if wants_usage:
        yield Part(0, _event({**head, "choices": [], "usage": usage}))
    yield Part(0, b"data: [DONE]\n\n")


def _event(fields: Fields) -> bytes:
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"


# --- embeddings and models ------------------------------------------------------------------------


def _embedding(asked: Embedding, signature: Signature) -> Answer:
    size = min(max(asked.dimensions or USUAL_DIMENSIONS, 1), MOST_DIMENSIONS)
    inputs = asked.inputs()
    rows: list[Fields] = []
    for index, text in enumerate(inputs):
        vector = _vector(asked.model, text, size)
        value: object = vector.tolist()
        if asked.encoding_format == "base64":
            value = base64.b64encode(vector.tobytes()).decode("ascii")
        rows.append({"object": "embedding", "index": index, "embedding": value})
    used = sum(len(words.tokens(text)) for text in inputs)
    usage = {"prompt_tokens": used, "total_tokens": used}
    body = {"object": "list", "data": rows, "model": asked.model, "usage": usage}
    return Answer(200, JSON, (Part(0, msgspec.json.encode(body)),))


def _vector(model: str, text: str, size: int) -> array[float]:
    """Return a unit vector that depends on the text alone."""
    draw = random.Random(f"{model}:{text}")  # noqa: S311 - not for secrets
    raw = [draw.gauss(0.0, 1.0) for _ in range(size)]
    length = math.hypot(*raw) or 1.0
    return array("f", [value / length for value in raw])


def _models(signature: Signature) -> Answer:
    entry = {"id": "sim", "object": "model", "created": signature.created, "owned_by": signature.provider}
    return Answer(200, JSON, (Part(0, msgspec.json.encode({"object": "list", "data": [entry]})),))
