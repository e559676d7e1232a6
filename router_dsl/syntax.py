"""Text → syntax tree, or what is wrong with it: the only module that knows Lark.

The parser reads the whole file in one go. When it gets stuck, the file is cut into declarations, and a broken
one into its rules or lines, and each is read for itself: so every independent mistake is found in one run, and
what is sound is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import cast

from lark import Lark
from lark.exceptions import UnexpectedInput
from lark.lexer import Lexer, LexerState
from lark.lexer import Token as LarkToken
from lark.parsers.lalr_analysis import Shift
from lark.parsers.lalr_parser_state import ParserState

from router_dsl import ast, units
from router_dsl import syntax_codes as codes
from router_dsl.expected import in_words
from router_dsl.lex import Token, lex
from router_dsl.mend import mend
from router_dsl.source import Diagnostic, Source, Span, in_order
from router_dsl.transform import Transform

# Nobody reads more; a file of junk stays quick.
MAX_FINDINGS = 500


def parse(source: Source) -> tuple[ast.File, list[Diagnostic]]:
    """Return the file's tree and every independent syntax error, in order.

    With errors the tree holds what is sound, and `File.broken` the names of what is not.
    """
    lexed = lex(source)
    whole = Span(source, 0, len(source.text))
    if not lexed.tokens:
        return ast.File((), span=whole), in_order(lexed.diagnostics)
    reading = _read(lexed.tokens)
    if reading.file is not None:
        return replace(reading.file, span=whole), in_order(lexed.diagnostics + reading.findings)
    recovery = _Recovery()
    for unit in units.declarations(lexed.tokens):
        recovery.declaration(unit)
        if len(recovery.findings) > MAX_FINDINGS:
            break
    file = ast.File(tuple(recovery.items), tuple(recovery.broken), span=whole)
    return file, in_order([*lexed.diagnostics, *recovery.findings])[:MAX_FINDINGS]


# --- one reading ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Stretch:
    """Tokens to read as a file, and the mistakes that were mended meanwhile."""

    tokens: list[Token]
    findings: list[Diagnostic] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What came of reading a stretch: a tree, or the place where it got stuck."""

    file: ast.File | None
    findings: list[Diagnostic]
    stuck: _Stuck | None = None


class _Stuck(Exception):  # noqa: N818 - control flow inside this module, never an error of ours
    """The parser cannot go on.

    Attributes:
        token: The word it cannot take, or None at the end.
        before: The word before it, or None at the beginning.
        accepted: The terminals it would take.
        was_name: `before` was read as a keyword where a name could have stood.
    """

    def __init__(self, token: Token | None, before: Token | None, accepted: frozenset[str], was_name: bool) -> None:
        self.token = token
        self.before = before
        self.accepted = accepted
        self.was_name = was_name


class _Words(Lexer):
    """Lark's contextual lexing over our own tokens: a name is a keyword where the parser can take that keyword."""

    __future_interface__ = 2

    def __init__(self, lexer_conf: object) -> None:
        """Take nothing from Lark's own lexer configuration."""

    def lex(self, lexer_state: LexerState, parser_state: ParserState[int]) -> Iterator[LarkToken]:
        """Yield the tokens of a `_Stretch`, each under the terminal that it is here."""
        stretch = cast(_Stretch, lexer_state.text)
        tokens = stretch.tokens
        states = parser_state.parse_conf.states
        stack = parser_state.state_stack
        keywords = _keywords()
        before: Token | None = None
        was_name = False
        for i, token in enumerate(tokens):
            row = states[stack[-1]]
            terminal = _terminal(token, row, keywords)
            if terminal not in row:
                behind = tokens[i + 1] if i + 1 < len(tokens) else None
                arrow_ahead = any(t.kind == "ARROW" for t in tokens[i:])
                mended = mend(token, behind, _accepted(parser_state), keywords, arrow_ahead)
                if mended is None:
                    raise _Stuck(token, before, _accepted(parser_state), was_name)
                if mended.finding is not None:
                    stretch.findings.append(mended.finding)
                for stand_in in mended.tokens:
                    if stand_in.type not in states[stack[-1]]:
                        raise _Stuck(token, before, _accepted(parser_state), was_name)
                    yield cast(LarkToken, stand_in)
                if not mended.again:
                    before = token
                    continue
                row = states[stack[-1]]
                terminal = _terminal(token, row, keywords)
                if terminal not in row:
                    raise _Stuck(token, before, _accepted(parser_state), was_name)
            token.type = terminal
            was_name = terminal != "NAME" and token.kind == "NAME" and "NAME" in row
            before = token
            yield cast(LarkToken, token)
        if "$END" not in states[stack[-1]]:
            raise _Stuck(None, before, _accepted(parser_state), was_name)


def _terminal(token: Token, row: Mapping[str, object], keywords: Mapping[str, str]) -> str:
    kind = token.kind
    if token.labels and "LABEL" in row and kind in ("NAME", "STRING"):
        return "LABEL"
    if kind == "NAME":
        keyword = keywords.get(token.text)
        return keyword if keyword is not None and keyword in row else kind
    return kind


def _accepted(state: ParserState[int]) -> frozenset[str]:
    """Return the terminals that the parser can really take; its table knows some that only seem so."""
    states = state.parse_conf.states
    accepted = set()
    for terminal in states[state.state_stack[-1]]:
        if not terminal.isupper():
            continue
        stack = list(state.state_stack)
        while terminal in (row := states[stack[-1]]):
            action, argument = row[terminal]
            if action is Shift:
                accepted.add(terminal)
                break
            if argument.expansion:
                del stack[-len(argument.expansion) :]
            _, target = states[stack[-1]][argument.origin.name]
            stack.append(target)
            if terminal == "$END" and target == state.parse_conf.end_state:
                accepted.add(terminal)
                break
    return frozenset(accepted)


@cache
def _parser() -> Lark:
    grammar = (Path(__file__).parent / "grammar.lark").read_text("utf-8")
    return Lark(
        grammar,
        start="file",
        parser="lalr",
        lexer=_Words,
        keep_all_tokens=True,
        maybe_placeholders=False,
        transformer=Transform(),
    )


@cache
def _keywords() -> Mapping[str, str]:
    return {t.name.lower(): t.name for t in _parser().terminals if t.pattern and t.pattern.value.isalpha()}


def _read(tokens: list[Token]) -> _Reading:
    stretch = _Stretch(tokens)
    try:
        file = cast(ast.File, _parser().parse(stretch))
    except _Stuck as stuck:
        return _Reading(None, stretch.findings, stuck)
    except UnexpectedInput as error:
        # The table promised a terminal that a reduction then took back.
        state = cast("ParserState[int]", error.state)
        token = cast(Token, error.token)
        at_end = not isinstance(token, Token)
        return _Reading(None, stretch.findings, _Stuck(None if at_end else token, tokens[-1], _accepted(state), False))
    return _Reading(file, stretch.findings)


# --- recovery -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Recovery:
    """What is sound in a file that does not parse whole, and what is wrong with the rest."""

    items: list[ast.Declaration] = field(default_factory=list)
    broken: list[ast.Name] = field(default_factory=list)
    findings: list[Diagnostic] = field(default_factory=list)

    def declaration(self, tokens: list[Token]) -> None:
        """Read what seems to be one declaration."""
        block = units.block(tokens) if tokens[0].kind == "NAME" else None
        if block is not None and block.rest:
            self.declaration(tokens[: -len(block.rest)])
            self.stray(block.rest)
            return
        if tokens[0].kind == "RBRACE":
            self.stray(tokens)
            return
        reading = _read(tokens)
        if reading.file is not None:
            self.items += reading.file.items
            self.findings += reading.findings
        elif block is None:
            self.findings += _findings(reading, "declaration")
            self.lost(tokens[1:2])
        else:
            self.block(block)

    def stray(self, tokens: list[Token]) -> None:
        """Read what stands between declarations."""
        if tokens[0].kind == "RBRACE":
            message = "this `}` closes nothing"
            self.findings.append(
                Diagnostic(codes.UNBALANCED, message, tokens[0].span, "an earlier `}` may be one too many")
            )
        else:
            self.findings += _findings(_read(tokens), "declaration")

    def lost(self, tokens: list[Token]) -> None:
        """Remember a name that cannot be looked up because its declaration is broken."""
        for token in tokens:
            if token.kind in ("NAME", "STRING"):
                self.broken.append(Transform().name([token]))

    def block(self, block: units.Block) -> None:
        """Read a declaration with braces, member by member."""
        close = block.close
        if close is None:
            close = _closing(block.head[-1])
            if not any(token.kind == "LBRACE" for member in block.members for token in member):
                message = "this `{` is never closed"
                self.findings.append(Diagnostic(codes.UNBALANCED, message, block.head[-1].span, "add the missing `}`"))
        frame = _read([*block.head, close])
        head = block.head
        if frame.file is None:
            self.findings += _findings(frame, "declaration")
            self.lost(head[1:2])
            head = _stand_in_head(head)
            frame = _read([*head, close])
            if frame.file is None:
                return
        parts: list[ast.Declaration] = []
        for member in block.members:
            reading = _read([*head, *member, _closing(member[-1])])
            if reading.file is not None:
                parts += reading.file.items
                self.findings += reading.findings
            else:
                self.findings += _findings(reading, "rule" if head[0].text == "policy" else "line")
                self.lost(member[:1])
        if head is block.head:
            self.findings += frame.findings
            self.items.append(_joined(frame.file.items[0], parts))


def _closing(behind: Token) -> Token:
    """Return a brace that the author did not write: it has no text."""
    return Token(behind.source, "RBRACE", "", behind.end, behind.end)


def _stand_in_head(head: list[Token]) -> list[Token]:
    keyword, brace = head[0], head[-1]
    name = Token(keyword.source, "STRING", '"?"', keyword.start, keyword.end)
    return [keyword, brace] if keyword.text == "defaults" else [keyword, name, brace]


def _joined(frame: ast.Declaration, parts: list[ast.Declaration]) -> ast.Declaration:
    """Return a declaration with the members that were read one by one."""
    match frame:
        case ast.Policy():
            return replace(frame, rules=tuple(x for p in parts if isinstance(p, ast.Policy) for x in p.rules))
        case ast.Test():
            return replace(frame, steps=tuple(x for p in parts if isinstance(p, ast.Test) for x in p.steps))
        case ast.Provider():
            return replace(frame, props=tuple(x for p in parts if isinstance(p, ast.Provider) for x in p.props))
        case ast.Defaults():
            return replace(frame, options=tuple(x for p in parts if isinstance(p, ast.Defaults) for x in p.options))
        case ast.Model():
            models = [p for p in parts if isinstance(p, ast.Model)]
            props = tuple(x for m in models for x in m.props)
            return replace(frame, props=props, serves=tuple(x for m in models for x in m.serves))
        case _:
            return frame


def _findings(reading: _Reading, what: str) -> list[Diagnostic]:
    stuck = reading.stuck
    assert stuck is not None
    if stuck.token is not None and stuck.token.kind == "BAD":
        return reading.findings
    if any(finding.code in (codes.LEFT_OUT, codes.OTHER_WORD) for finding in reading.findings):
        # What was guessed may have been guessed wrong: do not build on it.
        return reading.findings
    return [*reading.findings, _diagnose(stuck, what)]


def _diagnose(stuck: _Stuck, what: str) -> Diagnostic:
    token, before = stuck.token, stuck.before
    expected = in_words(stuck.accepted)
    help_ = _help(stuck)
    if token is None or not token.text:
        assert before is not None
        message = f"this {what} ends too early: expected {expected} behind `{before.text}`"
        return Diagnostic(codes.TOO_EARLY, message, before.span, help_)
    return Diagnostic(codes.UNEXPECTED, f"unexpected `{token.text}`: expected {expected}", token.span, help_)


def _help(stuck: _Stuck) -> str | None:
    if stuck.was_name and stuck.before is not None:
        word = stuck.before.text
        return f'as a name `{word}` is written `"{word}"` here'
    return None
