"""A file that does not parse whole, read piece by piece: what is sound, and every independent mistake.

The file is cut into declarations, and a broken one into its rules, steps or lines; each is read for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from router_dsl import ast, units
from router_dsl import syntax_codes as codes
from router_dsl.expected import in_words
from router_dsl.lex import Token
from router_dsl.reading import Reading, Stuck, Tables, read_mending
from router_dsl.source import Diagnostic
from router_dsl.transform import Transform

# Nobody reads more; a file of junk stays quick.
MAX_FINDINGS = 500


@dataclass(slots=True)
class Recovery:
    """What is sound in a broken file, and what is wrong with the rest.

    Attributes:
        broken: Names whose declaration, and labels whose rule, did not parse.
    """

    tables: Tables
    items: list[ast.Declaration] = field(default_factory=list)
    broken: list[ast.Name] = field(default_factory=list)
    findings: list[Diagnostic] = field(default_factory=list)

    def file(self, tokens: list[Token]) -> None:
        """Read the tokens of a file."""
        for piece in units.declarations(tokens):
            self._declaration(piece)
            if len(self.findings) > MAX_FINDINGS:
                break

    def _read(self, tokens: list[Token]) -> Reading:
        return read_mending(self.tables, tokens)

    def _declaration(self, tokens: list[Token]) -> None:
        block = units.block(tokens) if tokens[0].kind == "NAME" else None
        if block is not None and block.rest:
            self._declaration(tokens[: -len(block.rest)])
            self._stray(block.rest)
            return
        if tokens[0].kind == "RBRACE":
            self._stray(tokens)
            return
        reading = self._read(tokens)
        if reading.file is not None:
            self.items += reading.file.items
            self.findings += reading.findings
        elif block is None:
            self.findings += _findings(reading, "declaration")
            self._lose(tokens[1:2])
        else:
            self._block(block)

    def _stray(self, tokens: list[Token]) -> None:
        """Read what stands between declarations."""
        if tokens[0].kind == "RBRACE":
            help_ = "an earlier `}` may be one too many"
            self.findings.append(Diagnostic(codes.UNBALANCED, "this `}` closes nothing", tokens[0].span, help_))
        else:
            self.findings += _findings(self._read(tokens), "declaration")

    def _lose(self, tokens: list[Token]) -> None:
        """Remember a name that cannot be looked up because its declaration is broken."""
        for token in tokens:
            if token.kind in ("NAME", "STRING"):
                self.broken.append(Transform().name([token]))

    def _block(self, block: units.Block) -> None:
        """Read a declaration with braces, member by member."""
        close = block.close
        if close is None:
            close = _closing(block.head[-1])
            if not any(token.kind == "LBRACE" for member in block.members for token in member):
                message = "this `{` is never closed"
                self.findings.append(Diagnostic(codes.UNBALANCED, message, block.head[-1].span, "add the missing `}`"))
        head = block.head
        frame = self._read([*head, close])
        if frame.file is None:
            self.findings += _findings(frame, "declaration")
            self._lose(head[1:2])
            head = _stand_in_head(head)
            frame = self._read([*head, close])
            if frame.file is None:
                return
        in_policy = isinstance(frame.file.items[0], ast.Policy)
        parts: list[ast.Declaration] = []
        mended_head = len(self._read([*head, close]).findings)
        for member in block.members:
            reading = self._read([*head, *member, _closing(member[-1])])
            reading = replace(reading, findings=reading.findings[mended_head:])
            if reading.file is not None:
                parts += reading.file.items
                self.findings += reading.findings
            else:
                self.findings += _findings(reading, "rule" if in_policy else "line")
                if in_policy:
                    self._lose(member[:1])
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


def _findings(reading: Reading, what: str) -> list[Diagnostic]:
    stuck = reading.stuck
    assert stuck is not None
    if stuck.token is not None and stuck.token.kind == "BAD":
        return reading.findings
    if any(finding.code in (codes.LEFT_OUT, codes.OTHER_WORD) for finding in reading.findings):
        # What was guessed may have been guessed wrong: do not build on it.
        return reading.findings
    return [*reading.findings, _diagnose(stuck, what)]


def _diagnose(stuck: Stuck, what: str) -> Diagnostic:
    token, before = stuck.token, stuck.before
    expected = in_words(stuck.accepted)
    help_ = _help(stuck)
    if token is None or not token.text:
        assert before is not None
        message = f"this {what} ends too early: expected {expected} behind `{before.text}`"
        return Diagnostic(codes.TOO_EARLY, message, before.span, help_)
    return Diagnostic(codes.UNEXPECTED, f"unexpected `{token.text}`: expected {expected}", token.span, help_)


def _help(stuck: Stuck) -> str | None:
    if stuck.was_name and stuck.before is not None:
        word = stuck.before.text
        return f'as a name `{word}` is written `"{word}"` here'
    return None
