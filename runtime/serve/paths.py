"""The addresses of inference: which interface each is, and whose errors its clients read."""

from __future__ import annotations

from runtime.wire.errors import Dialect

PREFIXES: tuple[tuple[str, Dialect], ...] = (("", "openai"), ("/api", "openrouter"))
"""In front of every address: OpenAI's, and OpenRouter's."""

INFERENCE = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "messages",
    "/v1/responses": "responses",
}
"""By address without its prefix, one of `fields.APIS`."""

COUNT_TOKENS = "/v1/messages/count_tokens"

API_OF_PATH = {prefix + path: api for prefix, _ in PREFIXES for path, api in INFERENCE.items()}


def dialect_of(path: str) -> Dialect:
    """Return whose clients call an address, served or not."""
    prefix = "/api" if path.startswith("/api/") else ""
    if path.removeprefix(prefix).startswith("/v1/messages"):
        return "anthropic"
    return "openrouter" if prefix else "openai"


DIALECT_OF_PATH = {path: dialect_of(path) for path in API_OF_PATH}
