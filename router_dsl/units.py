"""Where one broken declaration, rule or line ends and the next begins: what the parser recovers by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from router_dsl.expected import DECLARATIONS
from router_dsl.lex import Token
from router_dsl.suggest import suggest

BLOCKS = ("provider", "model", "policy", "test", "defaults")
_NAMES = ("NAME", "STRING", "ODD_NUMBER")
# A line that begins so goes on with the line before: inside a condition, and behind a `serve`.
_IN_CONDITION = frozenset({"and", "or", "not", "when"})
_IN_SERVE = frozenset({"price", "region", "context", "quantization", "zdr", "supports", "tags", "weight"})
_IN_SERVE |= {"as", "in", "out", "cached"}


@dataclass(frozen=True, slots=True)
class Block:
    """A declaration with braces, cut up.

    Attributes:
        head: Up to and with `{`.
        members: Its rules, steps or lines.
        close: The closing brace, or None.
        rest: What stands behind the closing brace and begins nothing.
    """

    head: list[Token]
    members: list[list[Token]]
    close: Token | None
    rest: list[Token]


def declarations(tokens: list[Token]) -> list[list[Token]]:
    """Return the tokens cut where declarations begin; a first piece may hold what belongs to none."""
    starts = [0]
    depth = 0
    for i, token in enumerate(tokens):
        if i > starts[-1] and token.kind == "NAME" and _begins_declaration(tokens, i, depth):
            starts.append(i)
            depth = 0
        if token.kind == "LBRACE":
            depth += 1
        elif token.kind == "RBRACE":
            depth = max(0, depth - 1)
    return [tokens[a:b] for a, b in zip(starts, [*starts[1:], len(tokens)], strict=True) if a < b]


def _begins_declaration(tokens: list[Token], i: int, depth: int) -> bool:
    token = tokens[i]
    word = token.text
    if word in DECLARATIONS:
        if token.labels and not (depth == 0 and token.begins_line):
            return False
        if depth == 0 and (tokens[i - 1].kind == "RBRACE" or token.begins_line):
            return True
        return token.begins_line and _has_shape(word, tokens, i)
    if depth or not token.begins_line:
        return False
    meant = suggest(word, DECLARATIONS)
    return meant is not None and _has_shape(meant, tokens, i)


def _has_shape(word: str, tokens: list[Token], i: int) -> bool:
    kinds = [token.kind for token in tokens[i + 1 : i + 3]] + ["", ""]
    match word:
        case "import":
            return kinds[0] == "STRING"
        case "provider" | "model" | "policy" | "test":
            return kinds[0] in _NAMES and kinds[1] == "LBRACE"
        case "pool" | "let":
            return kinds[0] in _NAMES and kinds[1] in ("ASSIGN", "EQ")
        case "fact" | "guard" | "limit":
            return kinds[0] in _NAMES and kinds[1] == "COLON"
        case "defaults":
            return kinds[0] == "LBRACE"
        case _:
            return kinds[0] == "NAME"


def block(tokens: list[Token]) -> Block | None:
    """Return a declaration cut into its members, or None when it has no braces."""
    opening = next((i for i, token in enumerate(tokens) if token.kind == "LBRACE"), None)
    if opening is None:
        return None
    depth, end = 0, len(tokens)
    for i in range(opening, len(tokens)):
        if tokens[i].kind == "LBRACE":
            depth += 1
        elif tokens[i].kind == "RBRACE":
            depth -= 1
            if depth == 0:
                end = i
                break
    head, body, rest = tokens[: opening + 1], tokens[opening + 1 : end], tokens[end + 1 :]
    close = tokens[end] if end < len(tokens) else None
    begins = _begins_line if head[0].text in BLOCKS and head[0].text != "policy" else _begins_rule
    return Block(head, _cut(body, begins), close, rest)


def _cut(body: list[Token], begins: Callable[[list[Token], int, int], bool]) -> list[list[Token]]:
    starts = [0]
    for i in range(1, len(body)):
        if begins(body, i, starts[-1]):
            starts.append(i)
    return [body[a:b] for a, b in zip(starts, [*starts[1:], len(body)], strict=True) if a < b]


def _begins_rule(body: list[Token], i: int, start: int) -> bool:
    token = body[i]
    if token.kind not in ("NAME", "STRING"):
        return False
    if token.labels and (token.begins_line or (i + 2 < len(body) and body[i + 2].text in ("when", "whn"))):
        return True
    if token.text == "otherwise" and body[i - 1].kind != "COLON":
        return True
    behind = body[i + 1] if i + 1 < len(body) else token
    return token.begins_line and (
        behind.text in ("when", "whn") or (token.text == "when" and body[i - 1].kind != "COLON")
    )


def _begins_line(body: list[Token], i: int, start: int) -> bool:
    token = body[i]
    if token.kind != "NAME" or body[i - 1].kind == "COMMA" or not token.begins_line:
        return False
    return token.text not in (_IN_SERVE if body[start].text == "serve" else _IN_CONDITION)
