"""A file that does not parse whole, read piece by piece: what is sound, and every independent mistake.

The file is cut into declarations, and a broken one into its rules, steps or lines; each is read for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import takewhile

from router_dsl import ast, units
from router_dsl import syntax_codes as codes
from router_dsl.diagnose import diagnose
from router_dsl.lex import MAX_FINDINGS, Token
from router_dsl.mend import is_guess
from router_dsl.reading import Reading, Tables, read_mending
from router_dsl.source import Diagnostic
from router_dsl.transform import Transform


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
        if reading.file is not None and (block is None or not any(is_guess(f) for f in reading.findings)):
            self.items += reading.file.items
            self.findings += reading.findings
        elif block is None:
            self.findings += _findings(reading, "declaration")
            self._lose(tokens[1:2])
        else:
            self._block(block)

    def _stray(self, tokens: list[Token]) -> None:
        """Read what stands between declarations."""
        help_ = "an earlier `}` may be one too many"
        if tokens[0].kind == "RBRACE":
            self.findings.append(Diagnostic(codes.UNBALANCED, "this `}` closes nothing", tokens[0].span, help_))
        else:
            reading = self._read(tokens)
            finding = reading.findings if reading.file is not None else _findings(reading, "declaration")[:1]
            self.items += reading.file.items if reading.file is not None else ()
            self.findings += [replace(f, help=help_) if f.code == codes.UNEXPECTED else f for f in finding]

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
            if len(self.findings) > MAX_FINDINGS:
                break
            # A brace inside a member is what a stray `{` before it leaves over.
            member = list(takewhile(lambda token: token.kind != "RBRACE", member))
            if not member:
                continue
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
    if any(is_guess(finding) or finding.code == codes.OTHER_WORD for finding in reading.findings):
        # What was guessed may have been guessed wrong: do not build on it.
        return reading.findings
    return [*reading.findings, diagnose(stuck, what)]
