"""Tokens as a provider counted them, under whichever names it uses."""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Token counts of one answer; `cached` is part of `prompt`, `reasoning` of `completion`."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


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
    inside = _count(_object(found, "prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    reasoning = _count(_object(found, "completion_tokens_details", "output_tokens_details"), "reasoning_tokens")
    return Usage(prompt or 0, completion or 0, (cached if inside is None else inside) or 0, reasoning or 0)


def _count(found: dict[object, object], *names: str) -> int | None:
    for name in names:
        value = found.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15:
            return int(value)
    return None


def _object(found: dict[object, object], *names: str) -> dict[object, object]:
    for name in names:
        value = found.get(name)
        if isinstance(value, dict):
            return value
    return {}
