"""Whether a whole answer will do, or a stronger model should be asked: the reasons of `escalate to … when …`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal

from runtime.wire.said import Said

Fault = Literal["truncated", "refused", "invalid json", "empty"]

# OpenAI's word, and those that servers with another tradition let through.
CUT_SHORT = frozenset({"length", "max_tokens", "model_length", "model_context_window_exceeded"})
DECLINED = frozenset({"content_filter", "refusal", "safety"})

# Open models decline in words. Only how a short answer begins is looked at: a refusal deep inside a text is a
# quotation, and a long answer that begins with an apology still answers.
REFUSAL_CHARS = 500
_REFUSAL = re.compile(
    r"(?:(?:(?:i['’]m |i am )?(?:very |so |truly )?(?:sorry|afraid)|i apologi[sz]e|apologies|unfortunately|"
    r"as an ai(?: language)?(?: model| assistant)?)[\s,.:;—-]+(?:but |that )?)?"
    r"(?:i|we)(?: can['’]?t| cannot| can not| won['’]t| will not|(?: am|['’]m| are|['’]re) (?:unable|not able) to|"
    r"(?: am|['’]m) not comfortable| must decline| have to decline)"
    r"(?: (?:help|assist|comply|fulfill?|provide|answer|continue|support|engage|create|generate|write|discuss|"
    r"participate|do that|do this|share|respond|offer|give)\b|[.!]?$)",
    re.IGNORECASE,
)


def fault(said: Sequence[Said], when: Sequence[Fault], *, wants_json: bool) -> Fault | None:
    """Return the first reason of `when` that any choice of an answer gives, or None when it will do.

    Args:
        said: Its choices.
        when: Reasons to look for.
        wants_json: Whether the request asked for JSON (`response_format`).
    """
    for reason in when:
        if any(_is(reason, choice, wants_json) for choice in said) or (reason == "empty" and not said):
            return reason
    return None


def _is(reason: Fault, choice: Said, wants_json: bool) -> bool:
    match reason:
        case "truncated":
            return choice.finish_reason in CUT_SHORT
        case "refused":
            return bool(choice.refusal.strip()) or choice.finish_reason in DECLINED or _declines(choice)
        case "invalid json":
            return _is_invalid_json(choice, wants_json)
        case "empty":
            return not (choice.text.strip() or choice.refusal.strip() or choice.arguments or choice.is_more)


def _declines(choice: Said) -> bool:
    text = choice.text.strip()
    return len(text) <= REFUSAL_CHARS and not choice.arguments and _REFUSAL.match(text) is not None


def _is_invalid_json(choice: Said, wants_json: bool) -> bool:
    """Whether text that should be JSON is not: asked for, or begun as an object; or the arguments of a tool call."""
    if any(not _is_json(arguments) for arguments in choice.arguments if arguments.strip()):
        return True
    text = choice.text.strip()
    if not text:
        return wants_json and not choice.arguments
    return (wants_json or text.startswith("{")) and not _is_json(text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return False
    return True


def _no_json(word: str) -> object:
    """`NaN` and `Infinity` are Python's, not JSON's."""
    raise ValueError(word)
