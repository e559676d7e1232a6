"""What commands print: colour only where a person reads it, errors on one line, findings with carets."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from router_dsl.source import Diagnostic

OK = 0
FOUND = 1
"""Exit code: the command worked and what it looked at is at fault."""
USAGE = 2
"""Exit code: the command itself was wrong: options, files, values."""

_SGR = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


def wants_color(stream: TextIO) -> bool:
    """Whether a person reads the stream on a terminal; `NO_COLOR` and `FORCE_COLOR` overrule (no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, *styles: str, on: bool) -> str:
    """Return the text in these styles (`bold`, `dim`, or a colour), or as it is when not `on`."""
    if not on:
        return text
    return f"\x1b[{';'.join(_SGR[style] for style in styles)}m{text}\x1b[0m"


def complain(message: str, help: str | None = None) -> None:
    """Print one problem on stderr, in one line, and what to do about it in another."""
    color = wants_color(sys.stderr)
    print(f"{paint('pointsman:', 'red', 'bold', on=color)} {message}", file=sys.stderr)
    if help:
        print(f"  {paint('help:', 'cyan', on=color)} {help}", file=sys.stderr)


def show(diagnostics: Iterable[Diagnostic], stream: TextIO) -> None:
    """Print findings about a policy, in order, with the lines they are about."""
    found = list(diagnostics)
    if not found:
        return
    # Imported where there is something to show: serving a plan has no sources.
    from router_dsl.source import in_order, render

    color = wants_color(stream)
    for diagnostic in in_order(found):
        print(render(diagnostic, color=color), end="\n\n", file=stream)
