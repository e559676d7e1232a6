"""A little SVG: text that is measured before it is drawn, boxes, lines; nothing from elsewhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

# A monospaced glyph is 0.6 em wide in every common face; a little more is kept for those that are not common.
_EM = 0.61

COLORS = """
  --paper: #ffffff; --ink: #1b1f24; --soft: #59636e; --faint: #6a737d; --line: #d1d9e0; --fill: #f6f8fa;
  --good: #116329; --good-fill: #dafbe1; --bad: #a40e26; --bad-fill: #ffebe9; --warn: #7d4e00; --warn-fill: #fff8c5;
  --note: #0550ae; --note-fill: #ddf4ff;
"""
DARK_COLORS = """
  --paper: #0d1117; --ink: #e6edf3; --soft: #9ea7b3; --faint: #7d8590; --line: #30363d; --fill: #161b22;
  --good: #56d364; --good-fill: #12261e; --bad: #ff938a; --bad-fill: #25171c; --warn: #e3b341; --warn-fill: #272115;
  --note: #79c0ff; --note-fill: #121d2f;
"""
"""Contrast of text on its ground is at least 4.5 : 1, in both (WCAG 2.2, AA)."""

STYLE = f"""
svg {{ {COLORS} background: var(--paper); }}
@media (prefers-color-scheme: dark) {{ svg {{ {DARK_COLORS} }} }}
text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink); }}
.title {{ font-size: 18px; font-weight: 600; }} .head {{ font-weight: 600; fill: var(--soft); }}
.strong {{ font-weight: 600; }} .soft {{ fill: var(--soft); }} .faint {{ fill: var(--faint); }}
.good {{ fill: var(--good); }} .bad {{ fill: var(--bad); }} .note {{ fill: var(--note); }}
.line {{ stroke: var(--line); stroke-width: 2; fill: none; }}
.way {{ stroke: var(--good); stroke-width: 3; fill: none; }}
.box {{ fill: var(--fill); stroke: var(--line); }} .box-good {{ fill: var(--good-fill); stroke: var(--good); }}
.box-bad {{ fill: var(--bad-fill); stroke: var(--bad); }}
.box-out {{ fill: none; stroke: var(--line); stroke-dasharray: 5 4; }}
.dot {{ fill: var(--paper); stroke: var(--faint); stroke-width: 2; }}
.dot-good {{ fill: var(--good); stroke: var(--good); }}
"""


def columns(text: str) -> int:
    """Return how many columns of a monospaced face a text takes; wide characters take two, marks none."""
    return sum(
        0 if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn", "Me")
        else 2 if unicodedata.east_asian_width(char) in ("W", "F")
        else 1
        for char in text
    )  # fmt: skip


def width(text: str, size: float = 13) -> float:
    """Return a text's width in pixels."""
    return columns(text) * size * _EM


def shortened(text: str, room: float, size: float = 13) -> str:
    """Return a text that fits the room, its end replaced by `…` where it does not."""
    if width(text, size) <= room:
        return text
    left = room / (size * _EM) - 1
    kept = 0
    for char in text:
        left -= columns(char)
        if left < 0:
            break
        kept += 1
    return text[:kept].rstrip() + "…"


def wrapped(text: str, room: float, size: float = 13, lines: int = 4) -> list[str]:
    """Return a text in lines that fit the room, broken at spaces; what is more than `lines` ends with `…`."""
    found = [""]
    for word in text.split():
        longer = f"{found[-1]} {word}".strip()
        if width(longer, size) <= room or not found[-1]:
            found[-1] = longer
        else:
            found.append(word)
    kept = found[:lines]
    if len(found) > lines:
        kept[-1] += " …"
    return [shortened(line, room, size) for line in kept]


@dataclass(slots=True)
class Drawing:
    """An SVG on its way: parts in the order they are painted."""

    wide: float
    parts: list[str] = field(default_factory=list)

    def text(
        self, x: float, y: float, text: str, style: str = "", *, room: float | None = None, size: float = 13
    ) -> None:
        """Write a line of text with its baseline at `y`; what is cut off is told on hover."""
        shown = text if room is None else shortened(text, room, size)
        whole = f"<title>{_xml(text)}</title>" if shown != text else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" class="{style}">{_xml(shown)}{whole}</text>')

    def box(self, x: float, y: float, wide: float, high: float, style: str) -> None:
        """Draw a box with round corners."""
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" rx="6" class="{style}"/>')

    def line(self, x: float, y: float, x2: float, y2: float, style: str) -> None:
        """Draw a line."""
        self.parts.append(f'<path d="M{x:g} {y:g}L{x2:g} {y2:g}" class="{style}"/>')

    def dot(self, x: float, y: float, style: str, radius: float = 6) -> None:
        """Draw a dot."""
        self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" class="{style}"/>')

    def svg(self, high: float, title: str, story: str) -> str:
        """Return the drawing as a file, with what it shows told in words."""
        return "\n".join(self._lines(high, title, story)) + "\n"

    def _lines(self, high: float, title: str, story: str) -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.wide:g} {high:g}" width="{self.wide:g}" '
            f'height="{high:g}" role="img" aria-labelledby="title story">'
        )
        yield f'<title id="title">{_xml(title)}</title>'
        yield f'<desc id="story">{_xml(story)}</desc>'
        yield f"<style>{STYLE}</style>"
        yield f'<rect width="{self.wide:g}" height="{high:g}" fill="var(--paper)"/>'
        yield from self.parts
        yield "</svg>"


def _xml(text: str) -> str:
    """Return a text as XML takes it: no markup, and none of the characters that XML has no place for."""
    return escape("".join(char if char in "\t\n" or char.isprintable() else "�" for char in text))
