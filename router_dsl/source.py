"""Where text stands and what is wrong with it: sources, spans, diagnostics."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning"]

_LINE_END = re.compile("\n")


@dataclass(frozen=True, slots=True)
class Source:
    """One file's text under the name that messages show for it."""

    name: str
    text: str
    line_starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = [0, *(found.end() for found in _LINE_END.finditer(self.text))]
        object.__setattr__(self, "line_starts", tuple(starts))

    @property
    def origin(self) -> int:
        """Character offset of its text in its file."""
        return 0

    def position(self, offset: int) -> tuple[int, int]:
        """Return (line, column) of a character offset, both from 1, columns in characters."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Return the text of a line, counted from 1, without its line end."""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] - 1 if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r")


@dataclass(slots=True)
class Place:
    """Where whole lines stand in their file; moves when the text before them changes.

    Attributes:
        start: Character offset of the first.
        line: Lines before it.
    """

    start: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True)
class Excerpt(Source):
    """Some whole lines of a file, read for themselves: what was made of them stays right where they move to."""

    place: Place = field(compare=False, repr=False)

    @property
    def origin(self) -> int:
        """Character offset of its text in its file."""
        return self.place.start

    def position(self, offset: int) -> tuple[int, int]:
        """Return (line, column) in the file, both from 1."""
        line, column = Source.position(self, offset)
        return line + self.place.line, column

    def line(self, number: int) -> str:
        """Return the text of one of its lines, counted from 1 in the file."""
        return Source.line(self, number - self.place.line)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one source: character offsets, `end` exclusive."""

    source: Source = field(repr=False)
    start: int
    end: int

    @property
    def line(self) -> int:
        """Line of the first character, from 1."""
        return self.source.position(self.start)[0]

    @property
    def first(self) -> int:
        """Offset of the first character in its file."""
        return self.source.origin + self.start

    @property
    def last(self) -> int:
        """Exclusive end in its file."""
        return self.source.origin + self.end

    @property
    def text(self) -> str:
        """The characters it covers."""
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """Return the span from the start of this one to the end of `other`."""
        return Span(self.source, self.start, max(self.end, other.end))


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a policy, for its author.

    Attributes:
        code: Stable code, `E…` for errors and `W…` for warnings; `router_dsl/codes.py` lists them.
        message: One line, lower case, no full stop, the author's text in backticks.
        help: What to do about it, or None.
        witness: A request (LANGUAGE §9's REQ.json) that shows it, or None.
    """

    code: str
    message: str
    span: Span
    help: str | None = None
    witness: Mapping[str, object] | None = None

    @property
    def severity(self) -> Severity:
        """`error` for `E…` codes, `warning` for `W…`."""
        return "error" if self.code.startswith("E") else "warning"

    def sort_key(self) -> tuple[str, int, int, str]:
        """Order of a report: by file, place, code."""
        return self.span.source.name, self.span.first, self.span.last, self.code

    def to_json(self) -> dict[str, object]:
        """Return the finding as `check --json` prints it; lines and columns count from 1."""
        line, column = self.span.source.position(self.span.start)
        end_line, end_column = self.span.source.position(self.span.end)
        return {
            "file": self.span.source.name,
            "line": line,
            "column": column,
            "end_line": end_line,
            "end_column": end_column,
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "help": self.help,
            "witness": self.witness,
        }


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the diagnostics sorted by place, each (place, code, message) once."""
    unique = {(d.sort_key(), d.message): d for d in diagnostics}
    return [unique[key] for key in sorted(unique)]


def render(diagnostic: Diagnostic, *, color: bool = False) -> str:
    """Return the finding as text: place, code, message, the line with carets, help.

    Args:
        color: Add ANSI colours, for a terminal.
    """
    source, span = diagnostic.span.source, diagnostic.span
    line, column = source.position(span.start)
    text = source.line(line)
    width = max(1, min(span.end - span.start, len(text) - column + 1))
    tint, bold, reset = ("", "", "")
    if color:
        tint = "\x1b[31m" if diagnostic.severity == "error" else "\x1b[33m"
        bold, reset = "\x1b[1m", "\x1b[0m"
    gutter = " " * len(str(line))
    # Tabs keep their width under the text when the caret line repeats them.
    lead = "".join("\t" if char == "\t" else " " for char in text[: column - 1])
    lines = [
        f"{bold}{source.name}:{line}:{column}:{reset} {tint}{diagnostic.code}{reset} {bold}{diagnostic.message}{reset}",
        f"{gutter} |",
        f"{line} | {text}",
        f"{gutter} | {lead}{tint}{'^' * width}{reset}",
    ]
    if diagnostic.help:
        lines.append(f"{gutter} = help: {diagnostic.help}")
    return "\n".join(lines)
