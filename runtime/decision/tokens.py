"""How many tokens a text is, estimated from its letters alone; the error is stated in docs/estimators.md."""

from __future__ import annotations

# What OpenAI's chat format adds: 3 tokens and the role for each message, 3 to open the answer.
PER_MESSAGE = 4
PER_REQUEST = 3

# A picture of 1024×1024 is 765 tokens to OpenAI's vision models and about 1,400 to Anthropic's.
PER_ATTACHMENT = 1000


def estimate(text: str) -> int:
    """Return about how many tokens a current tokenizer makes of a text."""
    return (len(text.encode("utf-8", "replace")) + 2) // 4


def of_messages(count: int) -> int:
    """Return the tokens that wrapping that many messages costs."""
    return PER_REQUEST + PER_MESSAGE * count


def of_json(size_bytes: int) -> int:
    """Return about how many tokens JSON of that size is."""
    return (size_bytes + 3) // 4
