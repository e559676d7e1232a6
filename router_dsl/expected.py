"""What the grammar expects at a place, in an author's words."""

from __future__ import annotations

from collections.abc import Iterable

from router_dsl.lex import PUNCTUATION

SIGNS = {terminal: sign for sign, terminal in PUNCTUATION.items()}

DECLARATIONS = (
    "import", "provider", "model", "pool", "fact", "let", "guard", "limit", "policy", "defaults", "test", "assert",
)  # fmt: skip
OPTIONS = (
    "by", "where", "sticky", "prefer", "within", "first", "stall", "retry", "hedge", "escalate", "shadow", "cap",
    "set", "drop", "cache", "tag",
)  # fmt: skip
COMPARISONS = ("EQ", "NE", "LT", "LE", "GT", "GE", "CONTAINS", "STARTS", "ENDS", "MATCHES", "IN")

# Terminals that belong together, the fewest of them that make the group, and its name.
_GROUPS = (
    (frozenset(word.upper() for word in DECLARATIONS), 6, "a declaration"),
    (frozenset(word.upper() for word in OPTIONS), 6, "an option (`by`, `where`, `within`, …)"),
    (frozenset(COMPARISONS), 6, "a comparison (`==`, `in`, `contains`, …)"),
    (frozenset({"HAS", "MISSING", "OVER", "LPAR", "NAME"}), 5, "a condition"),
    (frozenset({"REQUESTED", "SPLIT", "POLICY", "REJECT", "NAME"}), 5, "an action"),
    (frozenset({"REQUESTED", "SPLIT", "POLICY", "NAME"}), 4, "a target"),
    (frozenset({"NAME", "STRING", "NUMBER"}), 3, "a value"),
    (frozenset({"NAME", "STRING"}), 2, "a name"),
)
_WORDS = {
    "NAME": "a name",
    "STRING": "a string",
    "NUMBER": "a number",
    "REGEX": "a regex `/…/`",
    "LABEL": "a rule's label",
    "$END": "the end of the file",
}
# What may always follow a name; worth saying only where nothing else may.
_CONTINUATIONS = frozenset({"DOT", "AT_SIGN", "SLASH", "LPAR", "DOTDOT", "SEMICOLON"})


def in_words(accepted: Iterable[str]) -> str:
    """Return the accepted terminals as a phrase: ``a name``, ```and`, `or` or `->` ``."""
    left = set(accepted)
    parts: list[str] = []
    for group, fewest, name in _GROUPS:
        if len(group & left) >= fewest:
            parts.append(name)
            left -= group | ({"NOT", "STRING"} if name in ("a condition", "an action", "a target") else set())
    left = left - _CONTINUATIONS if parts else left - _CONTINUATIONS or left
    if parts or len(left) > 1:
        left.discard("$END")
    if parts and "NOT" in left and "IN" not in left and "a comparison" in parts[0]:
        left.discard("NOT")
    parts += sorted((_WORDS[terminal] for terminal in left if terminal in _WORDS), key=len)
    parts += sorted(f"`{SIGNS.get(terminal) or terminal.lower()}`" for terminal in left if terminal not in _WORDS)
    return listed(parts)


def listed(parts: list[str]) -> str:
    """Return `a`, `a or b`, `a, b or c`."""
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " or " + parts[-1]
