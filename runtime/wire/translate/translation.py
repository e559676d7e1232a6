"""One request, answer or stream between a client and an endpoint that speak different interfaces.

Every translation goes by way of chat, which with OpenRouter's additions can say what the others can. Bytes in, bytes
out; the same interface on both sides is never translated at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from runtime.wire.errors import Problem, bad_request, printable
from runtime.wire.sse import Head
from runtime.wire.translate import (
    messages_answer,
    messages_from_chat,
    messages_request,
    messages_stream,
    responses_answer,
    responses_request,
    responses_stream,
)
from runtime.wire.translate.loose import Dropped, InexpressibleError, Json, encoded, object_of, parsed

OUTPUT_DEFAULT = 4096
"""`max_tokens` for Anthropic where neither the client nor the policy says how long an answer may be: what the smallest
of its models can do."""


def request(
    api: str, spoken: str, raw: bytes, output_default: int | None = None, limit: str = "max_tokens"
) -> tuple[bytes, tuple[str, ...]]:
    """Return a body as the endpoint's interface has it, and the names of what was left out.

    Args:
        api: The client's interface.
        spoken: The endpoint's.
        raw: A body that `wire.request.decode` accepted.
        output_default: Limit of the answer where the interface insists on one, and the client set none.
        limit: Chat's name of that limit at the endpoint: OpenAI refuses what many others alone understand.

    Raises:
        InexpressibleError: The endpoint's interface cannot say it.
    """
    dropped = Dropped()
    body = object_of(parsed(raw))
    to_chat = {"messages": messages_request.to_chat, "responses": responses_request.to_chat}.get(api)
    chat = body if to_chat is None else to_chat(body, dropped)
    if spoken == "responses":
        found = responses_request.from_chat(chat, dropped)
    elif spoken == "messages":
        found = messages_from_chat.from_chat(chat, dropped, output_default or OUTPUT_DEFAULT)
    else:
        found = messages_request.plain(chat, dropped)
        if "max_tokens" in found:
            found[limit] = found.pop("max_tokens")
    return encoded(found), dropped.names


def signed(raw: bytes) -> bytes:
    """Return a Messages body for Anthropic without thoughts that it did not sign."""
    return encoded(messages_request.signed(object_of(parsed(raw))))


def obstacle(api: str, spoken: str, raw: bytes) -> Problem | None:
    """Return the 400 for a request that an endpoint's interface cannot express, or None."""
    try:
        request(api, spoken, raw)
    except InexpressibleError as error:
        said = f"`{error.field}` cannot be sent on: {printable(error.message)}"
        return bad_request(said, error.field, "unsupported_parameter")
    except (ValueError, RecursionError):
        return bad_request("the request body is nested too deeply or has a number without end", code="invalid_json")
    return None


def losses(api: str, spoken: str, raw: bytes) -> tuple[str, ...]:
    """Return the names of what an endpoint's interface leaves out of a request that it can express."""
    return request(api, spoken, raw)[1]


def answer(api: str, spoken: str, raw: bytes, unix_s: float, asked: bytes = b"{}") -> bytes:
    """Return a whole answer, one that `unary.read` found usable, as the client's interface has it.

    Args:
        api: The client's interface.
        spoken: The endpoint's.
        raw: What the endpoint sent.
        unix_s: When.
        asked: The client's body, parts of which an answer of Responses repeats.
    """
    found = object_of(parsed(raw))
    if spoken == "messages":
        found = messages_answer.to_chat(found, int(unix_s))
    elif spoken == "responses":
        found = responses_answer.to_chat(found)
    if api == "messages":
        found = messages_answer.from_chat(found)
    elif api == "responses":
        found = responses_answer.from_chat(found, object_of(parsed(asked)))
    return encoded(found)


class _Step(Protocol):
    """Events of one interface in, of another out."""

    def feed(self, event: Json) -> list[Json]:
        """Return what an event makes."""
        ...

    def end(self) -> list[Json]:
        """Return what ends the stream."""
        ...


class Passage:
    """A stream on its way from the endpoint's interface into the client's.

    Args:
        api: The client's interface.
        spoken: The endpoint's.
        unix_s: When the request came.
        wants_usage: Whether the client wants the usage chunk of chat.
        asked: The client's body, parts of which a stream of Responses repeats.
    """

    def __init__(self, api: str, spoken: str, unix_s: float, *, wants_usage: bool, asked: bytes = b"{}") -> None:
        self._steps: list[_Step] = []
        wants_usage = wants_usage or api != "chat"
        if spoken == "messages":
            self._steps.append(messages_stream.MessagesToChat(int(unix_s), wants_usage=wants_usage))
        elif spoken == "responses":
            self._steps.append(responses_stream.ResponsesToChat(wants_usage=wants_usage))
        if api == "messages":
            self._steps.append(messages_stream.ChatToMessages())
        elif api == "responses":
            self._steps.append(responses_stream.ChatToResponses(object_of(parsed(asked)), int(unix_s)))
        self._write: Callable[[Json], bytes] = chat_event if api == "chat" else named_event
        self._is_chat = api == "chat"
        self._unix_s = unix_s
        self.head: Head | None = None

    def feed(self, data: bytes) -> bytes:
        """Return what the data of one event makes for the client."""
        try:
            event = parsed(data)
        except (ValueError, RecursionError):
            return b""
        return self._written([object_of(event)], 0)

    def end(self) -> bytes:
        """Return what ends the client's stream properly."""
        found = b""
        for place, step in enumerate(self._steps):
            found += self._written(step.end(), place + 1)
        return found + (b"data: [DONE]\n\n" if self._is_chat else b"")

    def _written(self, events: list[Json], start: int) -> bytes:
        for step in self._steps[start:]:
            events = [made for event in events for made in step.feed(event)]
        if self._is_chat and self.head is None and events:
            first = events[0]
            self.head = Head(str(first["id"]), "chat.completion.chunk", int(self._unix_s), str(first["model"]))
        return b"".join(map(self._write, events))


def chat_event(event: Json) -> bytes:
    """Return an event of chat as it is sent."""
    return b"data: " + encoded(event) + b"\n\n"


def named_event(event: Json) -> bytes:
    """Return an event of Messages or Responses as it is sent: SDKs drop those without a name."""
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + encoded(event) + b"\n\n"
