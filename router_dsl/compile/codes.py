"""Codes E6xx: rules that are right and mean something, but do not fit the tables that decide."""

from __future__ import annotations

COMPILE: dict[str, tuple[str, str, str, str]] = {
    "E601": (
        "rule with too many alternatives",
        "A rule is compiled to its alternatives: each `or` over different facts lists them, `and` between such `or`s "
        "multiplies them, and `not (… and …)` is an `or`. Past 256 the rule is refused. Questions about one fact do "
        "not count, however they are joined: `task in [code, math]` and `user == a or user == b` are one alternative. "
        "Give the alternatives rules of their own with the same action, or what is excluded a rule before this one.",
        "policy main { wide: when "
        + " and ".join(f"(header.a{i} == x or header.b{i} == x)" for i in range(9))
        + " -> m  otherwise -> m }",
        "policy main { narrow: when header.a == x or header.b == x -> m  otherwise -> m }",
    ),
}
"""Code → (title, explanation, failing example, mended example), as in `check/codes_structure.py`."""
