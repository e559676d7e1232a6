"""Tokens as a provider counted them, under whichever names it uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Token counts of one answer; `cached` is part of `prompt`, `reasoning` of `completion`."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


MOST = 10**15
"""A count beyond this is none."""

_Count = Annotated[int, msgspec.Meta(ge=0, lt=MOST)]


class _Inside(msgspec.Struct, gc=False):
    cached_tokens: _Count | None = None
    reasoning_tokens: _Count | None = None


class Usual(msgspec.Struct, gc=False):
    """A `usage` object that counts under OpenAI's names for chat and none of the others, as most are."""

    prompt_tokens: _Count
    completion_tokens: _Count
    prompt_tokens_details: _Inside | None = None
    completion_tokens_details: _Inside | None = None
    prompt_cache_hit_tokens: None = None
    cache_read_input_tokens: None = None
    cached_tokens: None = None
    input_tokens_details: None = None
    output_tokens_details: None = None

    def counts(self) -> Usage:
        """Return what it counts."""
        cached = (self.prompt_tokens_details.cached_tokens or 0) if self.prompt_tokens_details is not None else 0
        inside = self.completion_tokens_details
        reasoning = (inside.reasoning_tokens or 0) if inside is not None else 0
        return Usage(self.prompt_tokens, self.completion_tokens, cached, reasoning)


def read(found: object) -> Usage | None:
    """Return the usage in a decoded `usage` object, or None when it counts nothing.

    Understands OpenAI's names for chat and for Responses, and the places where others put cached tokens (DeepSeek's
    `prompt_cache_hit_tokens`, Anthropic's `cache_read_input_tokens`, a bare `cached_tokens`).
    """
    if not isinstance(found, dict):
        return None
    prompt = _count(found, "prompt_tokens", "input_tokens")
    completion = _count(found, "completion_tokens", "output_tokens")
    if prompt is None and completion is None:
        return None
    cached = _count(found, "prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens")
    if "prompt_tokens" not in found:  # Anthropic counts apart what was read from its cache and what was put there
        prompt = (prompt or 0) + (_count(found, "cache_read_input_tokens") or 0)
        prompt += _count(found, "cache_creation_input_tokens") or 0
    inside = _count(_object(found, "prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    answer = _object(found, "completion_tokens_details", "output_tokens_details")
    reasoning = _count(answer, "reasoning_tokens", "thinking_tokens")
    return Usage(prompt or 0, completion or 0, (cached if inside is None else inside) or 0, reasoning or 0)


CACHED_IN_HEADERS = frozenset((b"fireworks-cached-prompt-tokens",))
"""Where providers tell how much of the prompt was read from their cache, when they do not in the body."""


def with_headers(found: Usage, headers: Iterable[tuple[bytes, bytes]]) -> Usage:
    """Return a usage with what only the answer's headers tell: cached tokens, where the body names none."""
    if found.cached:
        return found
    for name, value in headers:
        if name in CACHED_IN_HEADERS and value.isdigit() and int(value[:16]) <= found.prompt:
            return msgspec.structs.replace(found, cached=int(value[:16]))
    return found


def _count(found: dict[object, object], *names: str) -> int | None:
    for name in names:
        value = found.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST:
            return int(value)
    return None


def _object(found: dict[object, object], *names: str) -> dict[object, object]:
    for name in names:
        value = found.get(name)
        if isinstance(value, dict):
            return value
    return {}
