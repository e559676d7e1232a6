"""The fields of a request that a simulated provider looks at; everything else is accepted and ignored."""

from __future__ import annotations

import msgspec


class Part(msgspec.Struct, frozen=True):
    """One part of a message."""

    type: str = "text"
    text: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One message."""

    role: str
    content: str | list[Part] | None = None

    def text(self) -> str:
        """Return its text."""
        if isinstance(self.content, str):
            return self.content
        return " ".join(part.text for part in self.content or () if part.text)


class Function(msgspec.Struct, frozen=True):
    """A function that is offered, or the name of the one to call."""

    name: str
    parameters: dict[str, object] | None = None


class Tool(msgspec.Struct, frozen=True):
    """A tool that is offered, or the choice of one."""

    type: str = "function"
    function: Function | None = None


class JsonSchema(msgspec.Struct, frozen=True):
    """The schema of a structured answer."""

    schema: dict[str, object] | None = None


class Format(msgspec.Struct, frozen=True):
    """`response_format`."""

    type: str = "text"
    json_schema: JsonSchema | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """`stream_options`."""

    include_usage: bool | None = None


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What chat and plain completions have in common."""

    model: str = "sim"
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    def limit(self) -> int | None:
        """Return the most tokens an answer may have."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk that has the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class Chat(Generation, frozen=True, kw_only=True):
    """`POST /chat/completions`."""

    messages: list[Message]
    tools: list[Tool] | None = None
    tool_choice: str | Tool | None = None
    response_format: Format | None = None


class Completion(Generation, frozen=True, kw_only=True):
    """`POST /completions`; token ids are accepted and not read."""

    prompt: str | list[str | int | list[int]]

    def prompts(self) -> list[str]:
        """Return the prompts, each of which gets its own answers."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        return [text for text in self.prompt if isinstance(text, str)] or [""]


class Embedding(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /embeddings`."""

    input: str | list[str | int | list[int]]
    model: str = "sim"
    dimensions: int | None = None
    encoding_format: str | None = None

    def inputs(self) -> list[str]:
        """Return the inputs as texts, token ids written out."""
        if isinstance(self.input, str):
            return [self.input]
        if all(isinstance(item, int) for item in self.input):
            return [str(self.input)]
        return [item if isinstance(item, str) else str(item) for item in self.input]


class Keys(msgspec.Struct, frozen=True):
    """What tells the interfaces apart when the address does not."""

    messages: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
