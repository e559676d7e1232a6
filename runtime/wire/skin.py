"""An answer as OpenRouter's clients read it: who gave it, what it cost, and counts that are numbers.

Bytes of a provider's answer pass as they are except where this says otherwise: texts, tool calls and whatever else
stands in an answer is never decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw

from runtime.wire import usage as wire_usage
from runtime.wire.sse import data, events
from runtime.wire.usage import Usage

_Object = dict[str, Raw]
_OBJECT: msgspec.json.Decoder[_Object] = msgspec.json.Decoder(_Object)
_OBJECTS: msgspec.json.Decoder[list[_Object]] = msgspec.json.Decoder(list[_Object])
_NULL = (b"null", b"")
_NONE = Raw(b"null")

_NEVER_NULL = ("usage", "error")
"""Fields of a chunk that OpenRouter's own SDK takes as an object or not at all; OpenAI says `usage: null`."""
NANO = 1_000_000_000

FINISH_REASONS = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop",
    "length": "length", "max_tokens": "length", "max_output_tokens": "length", "model_length": "length",
    "tool_calls": "tool_calls", "function_call": "tool_calls", "tool_use": "tool_calls",
    "content_filter": "content_filter", "safety": "content_filter", "refusal": "content_filter",
    "error": "error",
}  # fmt: skip
"""What providers say, in OpenRouter's five words; whatever else they say is an end, hence `stop`."""


class Cost(msgspec.Struct, frozen=True):
    """What an answer cost, in nano-dollars."""

    prompt_nusd: int
    completion_nusd: int


class Skin(msgspec.Struct, frozen=True):
    """What OpenRouter's clients learn about an answer beside what the provider says.

    Attributes:
        id: Of the generation.
        provider, model: Who gave it, in the policy's words; empty while unknown.
        cost: What tokens cost there, None where there is no price.
        is_free: The answer was in store: no tokens were used.
    """

    id: str
    provider: str
    model: str
    cost: Callable[[Usage], Cost | None]
    is_free: bool = False


class Tailor:
    """Adds to whole answers, or to chunks of them, what OpenRouter's clients look for."""

    def __init__(self, skin: Skin) -> None:
        self._skin = skin
        said = (("id", skin.id), ("model", skin.model), ("provider", skin.provider))
        self._fixed = {name: _raw(value) for name, value in said if value}

    def dress(self, fields: _Object) -> None:
        """Add it."""
        fields.update(self._fixed)
        fields.setdefault("system_fingerprint", _NONE)
        choices, usage = fields.get("choices"), fields.get("usage")
        if choices is not None and not _is_plain(bytes(choices)):
            fields["choices"] = _choices(choices)
        for name in _NEVER_NULL:
            if name in fields and bytes(fields[name]) in _NULL:
                del fields[name]
        if "usage" in fields and usage is not None:
            fields["usage"] = _usage(usage, self._skin, is_text=choices is not None)


def _is_plain(choices: bytes) -> bool:
    """Whether there is nothing to change in the choices of a chunk: one that is not finished, as most are."""
    unfinished = b'"finish_reason":null' in choices or b'"finish_reason": null' in choices
    return unfinished and choices.count(b'"finish_reason"') == 1 and b'"reasoning_content"' not in choices


def _choices(raw: Raw) -> Raw:
    try:
        found = _OBJECTS.decode(raw)
    except msgspec.DecodeError:
        return raw
    return _raw([_choice(choice) for choice in found])


def _choice(choice: _Object) -> _Object:
    reason = choice.get("finish_reason")
    if reason is not None and bytes(reason) not in _NULL:
        choice["native_finish_reason"] = reason
        said = msgspec.json.decode(reason)
        choice["finish_reason"] = _raw(FINISH_REASONS.get(said, "stop") if isinstance(said, str) else "stop")
    for name in ("delta", "message"):
        said_by = choice.get(name)
        if said_by is not None and b'"reasoning_content"' in bytes(said_by):
            choice[name] = _with_reasoning(said_by)
    return choice


def _with_reasoning(said: Raw) -> Raw:
    """Return a message whose reasoning stands where OpenRouter's clients look for it."""
    message = _OBJECT.decode(said)
    if "reasoning_content" in message and "reasoning" not in message:
        message["reasoning"] = message.pop("reasoning_content")
    return _raw(message)


def _usage(raw: Raw, skin: Skin, *, is_text: bool) -> Raw:
    """Return usage as OpenRouter's clients insist on it: numbers throughout, and what it cost where that is known."""
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return raw
    counted = wire_usage.read(found)
    if counted is None or not isinstance(found, dict):
        return raw
    if skin.is_free:
        counted, found = Usage(0, 0), {}
    kept = {name: value for name, value in found.items() if value is not None}
    kept["prompt_tokens"] = counted.prompt
    if is_text:
        inside = found.get("prompt_tokens_details"), found.get("completion_tokens_details")
        kept["completion_tokens"] = counted.completion
        kept["prompt_tokens_details"] = {**_numbers(inside[0]), "cached_tokens": counted.cached}
        kept["completion_tokens_details"] = {**_numbers(inside[1]), "reasoning_tokens": counted.reasoning}
    kept["total_tokens"] = counted.prompt + counted.completion
    cost = skin.cost(counted)
    if cost is not None:
        total = (cost.prompt_nusd + cost.completion_nusd) / NANO
        kept["cost"] = total
        kept["is_byok"] = False
        kept["cost_details"] = {
            "upstream_inference_cost": total,
            "upstream_inference_prompt_cost": cost.prompt_nusd / NANO,
            "upstream_inference_completions_cost": cost.completion_nusd / NANO,
        }
    return _raw(kept)


def _numbers(found: object) -> dict[str, object]:
    if not isinstance(found, dict):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, int | float)}


def _raw(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))


# --- whole answers and streams --------------------------------------------------------------------


def answer(raw: bytes, skin: Skin | None, metadata: Mapping[str, object] | None) -> bytes:
    """Return a whole answer, dressed.

    Args:
        raw: As the provider sent it.
        skin: None leaves what is there alone.
        metadata: Joins it as `openrouter_metadata`, if there is any.
    """
    try:
        return _encoded(_OBJECT.decode(raw), None if skin is None else Tailor(skin), metadata)
    except (ValueError, RecursionError):
        return raw


class Stream:
    """A stream being dressed; feed it whole events.

    Args:
        skin: None leaves what is there alone.
        metadata: Joins the last chunk as `openrouter_metadata`, if there is any; once an answer is finished its last
            chunk is held back until it is known to be the last.
    """

    def __init__(self, skin: Skin | None, metadata: Mapping[str, object] | None) -> None:
        self._tailor = None if skin is None else Tailor(skin)
        self._metadata = metadata
        self._held = b""

    @property
    def is_plain(self) -> bool:
        """Whether chunks of plain content pass as they are, for now."""
        return self._tailor is None and not self._held

    def feed(self, block: bytes, *, last: bool) -> bytes:
        """Return what the client gets for whole events."""
        found = [event for event in events(block) if event]
        if not last:
            return b"".join(self._passed(event) for event in found)
        ends = next((place for place in range(len(found) - 1, -1, -1) if _is_chunk(found[place])), None)
        passed = []
        for place, event in enumerate(found):
            if place == ends:
                passed += [self._release(), self._dressed(event, self._metadata)]
            else:
                if ends is None and self._metadata is not None:
                    passed.append(self._end())
                passed.append(self._passed(event))
        if ends is None and not found and self._metadata is not None:
            passed.append(self._end())
        return b"".join(passed)

    def _passed(self, event: bytes) -> bytes:
        if not _is_chunk(event):
            return event
        before = self._release()
        if self._metadata is not None and any(mark in event for mark in _NEAR_THE_END):
            self._held = event
            return before
        return before + self._dressed(event, None)

    def _release(self) -> bytes:
        event, self._held = self._held, b""
        return self._dressed(event, None) if event else b""

    def _end(self) -> bytes:
        """Return the metadata on what was held, or on a chunk of its own where nothing was."""
        event, self._held = self._held, b""
        metadata, self._metadata = self._metadata, None
        if not event:
            event = b'data: {"id":"","object":"chat.completion.chunk","created":0,"model":"","choices":[]}\n\n'
        return self._dressed(event, metadata)

    def _dressed(self, event: bytes, metadata: Mapping[str, object] | None) -> bytes:
        if self._tailor is None and metadata is None:
            return event
        is_simple = event.startswith(b"data: {") and event.count(b"\n") == 2 and b"\r" not in event
        try:
            fields = _OBJECT.decode(event[6:] if is_simple else data(event) or b"")
            line = b"data: " + _encoded(fields, self._tailor, metadata) + b"\n\n"
        except (ValueError, RecursionError):
            return event
        names = () if is_simple else [line for line in event.splitlines() if line.startswith(b"event:")]
        return b"".join(name + b"\n" for name in names) + line


_NEAR_THE_END = (b'"finish_reason":"', b'"finish_reason": "', b'"usage":{', b'"usage": {', b'"message_stop"')


def _is_chunk(event: bytes) -> bool:
    if event.startswith(b"data: {"):
        return True
    found = data(event) if not event.startswith(b":") else None
    return found is not None and found.startswith(b"{")


def _encoded(fields: _Object, tailor: Tailor | None, metadata: Mapping[str, object] | None) -> bytes:
    if tailor is not None:
        tailor.dress(fields)
    if metadata is not None:
        fields["openrouter_metadata"] = _raw(metadata)
    return msgspec.json.encode(fields)
