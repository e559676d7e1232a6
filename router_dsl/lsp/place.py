"""Where a cursor stands: what the grammar has read before it, and the word being written there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from router_dsl import units
from router_dsl.lex import Token, lex
from router_dsl.reading import Standing, stand
from router_dsl.source import Source, Span
from router_dsl.syntax import tables

_REST_OF_WORD = re.compile(r"[A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")
_REST_OF_STRING = re.compile(r'[^"\\\n]*(?:\\.[^"\\\n]*)*"')


@dataclass(frozen=True, slots=True)
class Place:
    """A place where something can be written.

    Attributes:
        standing: Of what stands before `word`.
        word: The word, string or dotted fact that the cursor is in or behind; empty between words.
        before: The last token before it, or None.
    """

    standing: Standing
    word: Span
    before: Token | None


def place_at(source: Source, offset: int) -> Place | None:
    """Return the place of a cursor; None in a comment, and where what stands before it makes no sense."""
    # What stands behind the cursor is not looked at: it may be the rest of another thought.
    tokens = lex(Source(source.name, source.text[:offset])).tokens
    if _in_comment(source.text, tokens[-1].end if tokens else 0, offset):
        return None
    begin, end = offset, offset
    if tokens and (tokens[-1].end == offset or tokens[-1].text.startswith('"')):
        last = tokens[-1]
        rest = None
        if last.kind == "NAME":
            rest = _REST_OF_WORD.match(source.text, offset)
        elif last.kind in ("BAD", "STRING") and last.text.startswith('"') and last.end >= offset:
            rest = _REST_OF_STRING.match(source.text, offset) if last.kind == "BAD" else None
        if last.kind == "NAME" or (last.text.startswith('"') and last.kind == "BAD"):
            begin, end = last.start, rest.end() if rest else offset
            tokens.pop()
    while len(tokens) > 1 and tokens[-1].kind == "DOT" and tokens[-1].end == begin and tokens[-2].kind == "NAME":
        begin = tokens[-2].start
        del tokens[-2:]
    standing = stand(tables(), _unit(tokens))
    word = Span(source, begin, end)
    return None if standing is None else Place(standing, word, tokens[-1] if tokens else None)


def _in_comment(text: str, start: int, offset: int) -> bool:
    line = max(start, text.rfind("\n", 0, offset) + 1)
    return "#" in text[line:offset]


def _unit(tokens: list[Token]) -> list[Token]:
    """Return the declaration that the tokens end in; of one with braces, its head and its last member."""
    if not tokens:
        return tokens
    last = units.declarations(tokens)[-1]
    block = units.block(last)
    if block is None or block.close is not None:
        # A sound declaration is over; what begins behind it begins afresh.
        return last if block is None else block.rest
    return [*block.head, *(block.members[-1] if block.members else [])]
