"""What a check has found so far, and which unknown names a broken file makes doubtful."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from router_dsl import ast
from router_dsl.source import Diagnostic, Source, Span
from router_dsl.suggest import suggest


@dataclass(slots=True)
class Report:
    """The findings of one check; owned by `program.check`, written by every pass.

    Attributes:
        sources: The texts under check.
        broken: Syntax errors have removed parts of the files, so that declarations may be hidden.
        reported: What loading and parsing have found.
        imports_lost: An imported file is not among the files, so that any name may be declared there.
    """

    sources: Sequence[Source]
    broken: bool = False
    reported: Sequence[Diagnostic] = ()
    imports_lost: bool = False
    diagnostics: list[Diagnostic] = field(default_factory=list)
    has_errors: bool = False

    def add(
        self,
        code: str,
        message: str,
        span: Span,
        help: str | None = None,
        witness: Mapping[str, object] | None = None,
    ) -> None:
        """Record a finding; `message` is one line, lower case, the author's text in backticks."""
        self.diagnostics.append(Diagnostic(code, message, span, help, witness))
        self.has_errors = self.has_errors or code.startswith("E")

    def unknown(
        self, code: str, kind: str, word: str, span: Span, candidates: Iterable[str], help: str | None = None
    ) -> None:
        """Record that `word` names nothing, with the nearest candidate, or `help` when none is near.

        In a broken file the finding is kept quiet when the text seems to declare the word after all; when an
        imported file is missing, also when no candidate is near.
        """
        near = self.near(word, candidates)
        if self.hides(word) or (near is None and self.imports_lost):
            self.has_errors = True
            return
        self.add(code, f"unknown {kind} `{word}`", span, f"did you mean `{near}`?" if near else help)

    def near(self, word: str, candidates: Iterable[str]) -> str | None:
        """Return the candidate that the author probably meant, or None."""
        return suggest(word, candidates)

    def hides(self, word: str) -> bool:
        """Whether the text of a broken file seems to declare `word` in a part that the syntax tree has lost."""
        if not self.broken:
            return False
        name = f'"?{re.escape(word)}"?'
        declared = re.compile(
            rf"(?:\b(?:provider|model|pool|fact|let|guard|limit|policy|as)\s+{name}(?![\w-])|(?<![\w-]){name}\s*:)"
        )
        return any(declared.search(source.text) for source in self.sources)

    def lost(self, node: ast.Node, word: str) -> bool:
        """Whether `word` may have stood in a node of a broken file, in a part that the syntax tree has lost."""
        if not self.broken:
            return False
        span = node.span
        return word in span.text or any(
            finding.span.source is span.source and span.start <= finding.span.start < span.end
            for finding in self.reported
        )


# A comment runs to the end of its line; `#` inside a string or a regex starts none.
_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*"|/(?:[^/\\\n]|\\.)*/)|#[^\n]*')


# White space and comments, outside of strings and regexes.
_BLANK = re.compile(r'("(?:[^"\\]|\\.)*"|/(?:[^/\\\n]|\\.)*/)|(?:\s|#[^\n]*)+')


def squeezed(span: Span) -> str:
    """Return the author's text on one line: comments gone, white space runs as one space."""
    text = _balanced(span)
    if "#" in text or '"' in text or "/" in text:
        return _BLANK.sub(lambda match: match[1] or " ", text).strip()
    return " ".join(text.split())


_PARENTHESIS = re.compile(r"[()]")


def _balanced(span: Span) -> str:
    """Return the span's text with the parentheses around its first and last part, which no node covers."""
    text = span.text
    if "(" not in text and ")" not in text:
        return text
    whole, start, end = span.source.text, span.start, span.end
    bare = _COMMENT.sub("", text) if '"' in text or "/" in text or "#" in text else text
    missing = lowest = 0
    for char in _PARENTHESIS.findall(bare):
        missing += 1 if char == "(" else -1
        lowest = min(lowest, missing)
    for _ in range(-lowest):
        start = max(whole.rfind("(", 0, start), 0)
    for _ in range(missing - lowest):
        end = (whole.find(")", end) + 1) or end
    return whole[start:end]
