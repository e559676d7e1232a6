"""A file that is being typed, parsed piece by piece: what stays the same is not read again.

Strings, comments and regexes end on their line, so a text can be cut between lines. It is cut where declarations and
rules seem to begin; each piece is read for itself, as a part of a file or of a policy, and kept by its text. Where the
cuts do not fit the grammar, pieces are joined or the whole file is read, so that the result is always that of `parse`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal

from router_dsl import ast
from router_dsl.lex import Token, lex
from router_dsl.load import Parsed
from router_dsl.reading import read
from router_dsl.recover import Recovery
from router_dsl.source import Diagnostic, Excerpt, Place, Source, Span, in_order
from router_dsl.syntax import parse, tables

Frame = Literal["file", "head", "rules"]
"""What a piece is a part of: some declarations, the beginning of a policy with its brace, some rules."""

# Below this, reading all is as quick as finding out what to read.
FEWEST_LINES = 120

_BEGINS = re.compile(
    r"""^[ \t]*(?:
        (?P<declaration>(?:import|provider|model|pool|fact|let|guard|limit|policy|defaults|test|assert)\b(?![ \t]*:))
      | (?P<rule>(?:"(?:[^"\\\n]|\\.)*"|[A-Za-z_][\w-]*)[ \t]*: | otherwise[ \t]*->)
      | (?P<close>\})
    )""",
    re.MULTILINE | re.VERBOSE,
)
_DUMMY = lex(Source("", 'policy "?" {')).tokens


class _UnclearError(Exception):
    """The cuts do not fit the text: it is to be read whole."""


@dataclass(slots=True)
class _Piece:
    """Whole lines of a file.

    Attributes:
        lexed: What is wrong with its characters.
        depth: Braces opened and not closed.
        has_braces: There are any; `is_crossed`: one closes what was opened before the piece.
        items: Declarations; of a head and of rules, the one policy that they are a part of.
    """

    excerpt: Excerpt
    tokens: list[Token]
    lexed: list[Diagnostic]
    depth: int
    has_braces: bool
    is_crossed: bool
    items: tuple[ast.Declaration, ...] = ()
    broken: tuple[ast.Name, ...] = ()
    findings: list[Diagnostic] = field(default_factory=list)
    is_read: bool = False


Kept = dict[tuple[Frame, str], list[_Piece]]


@dataclass(slots=True)
class Pieces:
    """One file's pieces, from one text to the next."""

    fewest_lines: int = FEWEST_LINES
    _kept: Kept = field(default_factory=dict)

    def parse(self, name: str, text: str) -> Parsed:
        """Return the file's tree and its syntax errors, as `syntax.parse` does; the tree shares what did not change."""
        source = Source(name, text)
        if len(source.line_starts) < self.fewest_lines:
            return parse(source)
        cutting = _Cutting(source, self._kept)
        try:
            return cutting.file()
        except _UnclearError:
            return parse(source)
        finally:
            self._kept = cutting.used


class _Cutting:
    """One text on its way to its tree."""

    def __init__(self, source: Source, kept: Kept) -> None:
        self._source = source
        self._kept = kept
        self.used: Kept = {}
        found = list(_BEGINS.finditer(source.text))
        self._kinds = [match.lastgroup for match in found]
        # What stands before the first declaration, comments, belongs to it.
        self._starts = [0, *(match.start() for match in found[1:]), len(source.text)]
        self._lines = 0
        self._items: list[ast.Declaration] = []
        self._broken: list[ast.Name] = []
        self._findings: list[Diagnostic] = []

    def file(self) -> Parsed:
        """Return the tree of all pieces.

        Raises:
            _UnclearError: The pieces do not make a file.
        """
        if self._kinds[:1] != ["declaration"]:
            raise _UnclearError
        at = 0
        while at < len(self._kinds):
            head = self._piece("head", at, at + 1)
            at = self._policy(head, at + 1) if _opens_policy(head.tokens) else self._declarations(at)
        whole = Span(self._source, 0, len(self._source.text))
        return ast.File(tuple(self._items), tuple(self._broken), span=whole), in_order(self._findings)

    def _declarations(self, at: int) -> int:
        """Read from a mark to the next that can begin a declaration; return the place of that."""
        end = self._next(at + 1, "declaration")
        piece = self._piece("file", at, end)
        while piece.depth > 0 and end < len(self._kinds):
            # `limit` and `policy` begin lines inside of blocks, too.
            end = self._next(end + 1, "declaration")
            piece = self._piece("file", at, end)
        if piece.depth != 0 or piece.is_crossed:
            raise _UnclearError
        if _read(piece, "file").findings and end < len(self._kinds):
            # A name that is a keyword may begin a line.
            further = self._next(end + 1, "declaration")
            joined = self._piece("file", at, further)
            if joined.depth == 0 and not joined.is_crossed and not _read(joined, "file").findings:
                piece, end = joined, further
        self._take(piece, self._piece_lines(at, end))
        self._items += piece.items
        return end

    def _policy(self, head: _Piece, at: int) -> int:
        """Read the rules of a policy up to its closing brace; return the place behind it."""
        self._take(_read(head, "head"), self._piece_lines(at - 1, at))
        rules: list[ast.Rule] = []
        while at < len(self._kinds) and self._kinds[at] == "rule":
            end = self._next(at + 1, "rule", "close")
            piece = self._piece("rules", at, end)
            if piece.has_braces:
                raise _UnclearError
            self._take(_read(piece, "rules"), self._piece_lines(at, end))
            rules += [rule for item in piece.items if isinstance(item, ast.Policy) for rule in item.rules]
            at = end
        if head.findings or self._kinds[at : at + 1] != ["close"]:
            raise _UnclearError
        close = self._piece("file", at, at + 1)
        if len(close.tokens) != 1 or close.lexed:
            raise _UnclearError
        self._take(close, self._piece_lines(at, at + 1))
        (policy,) = head.items
        assert isinstance(policy, ast.Policy)
        begin, end = head.excerpt.origin + policy.span.start, close.excerpt.origin + close.tokens[0].end
        self._items.append(replace(policy, rules=tuple(rules), span=Span(self._source, begin, end)))
        return at + 1

    def _next(self, at: int, *kinds: str) -> int:
        """Return the place of the next mark of one of these kinds, or the end."""
        while at < len(self._kinds) and self._kinds[at] not in kinds:
            at += 1
        return min(at, len(self._kinds))

    def _piece(self, frame: Frame, begin: int, end: int) -> _Piece:
        """Return the lines between two marks, those kept from before where their text is the same."""
        text = self._source.text[self._starts[begin] : self._starts[end]]
        key = (frame, text)
        kept = self._kept.get(key)
        piece = kept.pop() if kept else _lexed(self._source.name, text)
        piece.excerpt.place.start = self._starts[begin]
        self.used.setdefault(key, []).append(piece)
        return piece

    def _piece_lines(self, begin: int, end: int) -> int:
        """Return how many lines end between two marks."""
        return self._source.text.count("\n", self._starts[begin], self._starts[end])

    def _take(self, piece: _Piece, lines: int) -> None:
        """Count a piece in; pieces come in the order of the text."""
        piece.excerpt.place.line = self._lines
        self._lines += lines
        self._broken += piece.broken
        self._findings += piece.findings


def _opens_policy(tokens: list[Token]) -> bool:
    is_policy = len(tokens) == 3 and tokens[0].text == "policy" and tokens[0].kind == "NAME"
    return is_policy and tokens[1].kind in ("NAME", "STRING") and tokens[2].kind == "LBRACE"


def _lexed(name: str, text: str) -> _Piece:
    excerpt = Excerpt(name, text, Place())
    lexed = lex(excerpt)
    if "/*" in text and any(finding.message.startswith("`/*`") for finding in lexed.diagnostics):
        raise _UnclearError  # the only thing that goes on over several lines
    braces = [1 if token.kind == "LBRACE" else -1 for token in lexed.tokens if token.kind in ("LBRACE", "RBRACE")]
    is_crossed = any(depth < 0 for depth in accumulate(braces))
    return _Piece(excerpt, lexed.tokens, lexed.diagnostics, sum(braces), bool(braces), is_crossed)


def _read(piece: _Piece, frame: Frame) -> _Piece:
    """Return the piece with what it says, read once."""
    if piece.is_read:
        return piece
    piece.is_read = True
    tokens = piece.tokens
    if frame != "file":
        close = Token(piece.excerpt, "RBRACE", "", tokens[-1].end, tokens[-1].end)
        tokens = [*tokens, close] if frame == "head" else [*_DUMMY, *tokens, close]
    file = read(tables(), tokens) if not piece.lexed else None
    if file is not None:
        piece.items = file.items
        return piece
    recovery = Recovery(tables())
    recovery.file(tokens)
    piece.items, piece.broken = tuple(recovery.items), tuple(recovery.broken)
    piece.findings = [*piece.lexed, *recovery.findings]
    return piece
