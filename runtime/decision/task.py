"""What kind of work a prompt asks for, told by words and signs; the rules are in docs/estimators.md."""

from __future__ import annotations


def classify(text: str, *, images: int = 0, system: str = "") -> str:
    """Return one of `fields.TASKS` for the last message of the user."""
    if images:
        return "vision"
    return "code" if "```" in text else "chat"
