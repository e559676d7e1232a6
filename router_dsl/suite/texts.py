"""A text that a regex finds, as short and plain as comes easily."""

from __future__ import annotations

import re
from collections.abc import Sequence
from re import _parser as parsing
from typing import cast

from router_dsl.interpret import finds

Tree = Sequence[tuple[object, object]]
"""A pattern as Python's own parser reads it: operations with their arguments."""

_PLAIN = "a1 _-/.,:@=#Ab"
"""Characters to try for a class, the plainest first."""


def example_of(pattern: str) -> str | None:
    """Return a text in which an RE2 pattern is found, None when none comes easily."""
    try:
        tree = parsing.parse(pattern)
    except (re.error, RecursionError, OverflowError):
        # RE2 and Python's `re` differ a little.
        return None
    text = _of(tree)
    return text if text is not None and finds(pattern)(text) else None


def _of(tree: Tree) -> str | None:
    parts = [_part(str(op), argument) for op, argument in tree]
    return None if any(part is None for part in parts) else "".join(part or "" for part in parts)


def _part(op: str, argument: object) -> str | None:
    match op, argument:
        case "LITERAL", int(code):
            return chr(code)
        case "NOT_LITERAL", int(code):
            return next(char for char in _PLAIN if ord(char) != code)
        case "ANY", _:
            return "a"
        case "AT", _:
            # Boundaries hold at the ends of a short text, or the whole is refused at last.
            return ""
        case "IN", list(items):
            return next((char for char in _PLAIN if _in_class(char, items)), _first_of(items))
        case (("MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT"), (int(low), _, inner)):
            one = _of(cast(Tree, inner))
            return None if one is None or low * len(one) > 200 else one * low
        case "SUBPATTERN", (_, _, _, inner):
            return _of(cast(Tree, inner))
        case "BRANCH", (_, [*branches]):
            return next((text for branch in branches if (text := _of(cast(Tree, branch))) is not None), None)
        case _:
            return None


def _in_class(char: str, items: Sequence[tuple[object, object]]) -> bool:
    negated = bool(items) and str(items[0][0]) == "NEGATE"
    return any(_matches(char, str(op), argument) for op, argument in items) != negated


def _matches(char: str, op: str, argument: object) -> bool:
    match op, argument:
        case "LITERAL", int(code):
            return ord(char) == code
        case "RANGE", (int(low), int(high)):
            return low <= ord(char) <= high
        case "CATEGORY", category:
            kind = str(category).removeprefix("CATEGORY_")
            word = char.isalnum() or char == "_"
            found = {"DIGIT": char.isdigit(), "SPACE": char.isspace(), "WORD": word}.get(kind.removeprefix("NOT_"))
            return found is not None and found != kind.startswith("NOT_")
        case _:
            return False


def _first_of(items: Sequence[tuple[object, object]]) -> str | None:
    for op, argument in items:
        match str(op), argument:
            case "LITERAL", int(code):
                return chr(code)
            case "RANGE", (int(low), _):
                return chr(low)
            case _:
                continue
    return None
