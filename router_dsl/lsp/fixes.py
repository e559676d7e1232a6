"""Quick fixes: what a finding's help says to write, as a change of the text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from router_dsl import syntax_codes as codes
from router_dsl.source import Diagnostic, Span

_MEANT = re.compile(r"did you mean `([^`…]+)`\?")
_OTHER_NAME = re.compile(r"`[^`]+` is another name of the model `[^`]+`: write `([^`…]+)`")
_WRITE = re.compile(r"(?:write|as text it is written|any other name is a string:|a range is) `([^`…]+)`")
_LEFT_OUT = re.compile(r"expected `([^`]+)` before `")
_TO_FILL_IN = re.compile(r"\b[A-Z]{4,}\b")
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")

# Findings that mark something larger than the word to change.
_LARGE = frozenset({"E303", "E404"})
_CLOSING = {'close it with `"`': '"', "close it with `/`": "/"}


@dataclass(frozen=True, slots=True)
class Fix:
    """One change that takes a finding away; `title` says it in a few words."""

    title: str
    span: Span
    text: str


def fixes(finding: Diagnostic) -> list[Fix]:
    """Return the changes that a finding's help names outright; none where it only explains."""
    help_, span = finding.help or "", finding.span
    if (sign := _CLOSING.get(help_)) is not None:
        return [Fix(f"close it with `{sign}`", Span(span.source, span.end, span.end), sign)]
    if finding.code == codes.LEFT_OUT and (missing := _LEFT_OUT.match(finding.message)) is not None:
        sign = missing[1]
        return [Fix(f"insert `{sign}`", Span(span.source, span.start, span.start), f"{sign} ")]
    new = _replacement(finding, help_)
    return [] if new is None or new == span.text else [Fix(f"change to `{new}`", span, new)]


def _replacement(finding: Diagnostic, help_: str) -> str | None:
    """Return what to write in place of all that a finding marks, None when its help does not say."""
    if finding.code in _LARGE:
        return None
    for pattern in (_MEANT, _OTHER_NAME):
        if (found := pattern.fullmatch(help_)) is not None and not _TO_FILL_IN.search(found[1]):
            return _as_written(found[1], finding)
    found = _WRITE.fullmatch(help_)
    return found[1] if found is not None and not _TO_FILL_IN.search(found[1]) else None


def _as_written(word: str, finding: Diagnostic) -> str:
    """Return a name as it can stand in the place of the one that a finding marks."""
    is_name = finding.code not in (codes.OTHER_WORD, "E204")
    was_quoted = finding.span.text.startswith('"')
    needs_quotes = is_name and not all(_BARE.fullmatch(part) for part in word.split())
    return json.dumps(word, ensure_ascii=False) if was_quoted or needs_quotes else word
