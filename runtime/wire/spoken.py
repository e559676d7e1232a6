"""Which interface a provider is spoken to in, for each that a client may call."""

from __future__ import annotations

from collections.abc import Mapping

_OPENAI = {
    "chat": "chat",
    "completions": "completions",
    "embeddings": "embeddings",
    "messages": "chat",
    "responses": "chat",
}

SPOKEN: Mapping[str, Mapping[str, str]] = {
    "openai": _OPENAI,
    "sim": _OPENAI,
    "responses": {**_OPENAI, "chat": "responses", "messages": "responses", "responses": "responses"},
    "anthropic": {"chat": "messages", "messages": "messages", "responses": "messages"},
}
"""By the provider's protocol and the interface called; what is missing cannot be asked there."""


def spoken(protocol: str, api: str) -> str | None:
    """Return the interface (one of `fields.APIS`) that a provider of a protocol is asked in, None when it cannot be."""
    return SPOKEN[protocol].get(api)
