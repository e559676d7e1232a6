"""`pointsman fmt`: lay out policies the one way."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from handlers.cli.output import FOUND, OK, USAGE, complain, paint, show, wants_color
from router_dsl.format import format_source
from router_dsl.source import Diagnostic, Source, in_order

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Layout:
    """One file as it is and as it is to be.

    Attributes:
        before: Its bytes.
        findings: Syntax errors; with any, `after` is `before`.
    """

    name: str
    before: bytes
    after: bytes
    findings: list[Diagnostic]

    @property
    def changes(self) -> bool:
        """It is not laid out as it is to be."""
        return self.before != self.after

    def diff(self) -> str:
        """Return what changes, as a unified diff."""
        before, after = (text.decode("utf-8").splitlines(keepends=True) for text in (self.before, self.after))
        # A line without its end would run into the next of the diff.
        lines = [line if line.endswith("\n") else line + "\n" for line in difflib.unified_diff(before, after)]
        return "".join([f"--- {self.name}\n", f"+++ {self.name}\n", *lines[2:]]) if lines else ""


def main(argv: Sequence[str]) -> int:
    """Lay out files in place; 0 when all is well, 1 for broken files or what would change, 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="pointsman fmt", description="Lay out policies the one way.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a .route file, a folder of them, or - for a filter")
    parser.add_argument("--check", action="store_true", help="write nothing; say which files would change")
    parser.add_argument("--diff", action="store_true", help="write nothing; show what would change")
    parser.add_argument("--json", action="store_true", help="print what was done, or would be, as JSON")
    options = parser.parse_args(argv)
    writes = not (options.check or options.diff)
    layouts: list[Layout] = []
    unread = False
    for name in _named(options.files):
        layout = _layout(name)
        if layout is None:
            unread = True
            continue
        layouts.append(layout)
        if writes and layout.changes and name != STDIN and not _write(Path(name), layout.after):
            unread = True
    if options.json:
        _print_json(layouts, with_diff=options.diff)
    else:
        _print(layouts, writes=writes, diff=options.diff)
    if unread:
        return USAGE
    bad = any(layout.findings or (layout.changes and not writes) for layout in layouts)
    return FOUND if bad else OK


def _named(files: Sequence[str]) -> list[str]:
    names: list[str] = []
    for name in files:
        path = Path(name)
        folder = name != STDIN and path.is_dir()
        names += sorted(map(str, path.rglob("*.route"))) if folder else [name]
    return list(dict.fromkeys(names))


def _layout(name: str) -> Layout | None:
    """Return a file's layout, or None, after a complaint, when it cannot be read."""
    try:
        before = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
        text = before.decode("utf-8")
    except UnicodeDecodeError as error:
        complain(f"cannot read `{name}`: it is not UTF-8 text (byte {error.start + 1})")
        return None
    except (OSError, ValueError) as error:
        complain(f"cannot read `{name}`: {_reason(error)}")
        return None
    after, findings = format_source(Source("stdin" if name == STDIN else name, text))
    return Layout(name, before, after.encode("utf-8") if not findings else before, findings)


def _write(path: Path, text: bytes) -> bool:
    """Replace a file whole: whoever reads it meanwhile sees the old text or the new one."""
    real = path.resolve()
    try:
        with NamedTemporaryFile(dir=real.parent, prefix=f".{real.name}.", delete=False) as new:
            try:
                new.write(text)
                new.flush()
                shutil.copymode(real, new.name)
                os.replace(new.name, real)
            except OSError:
                os.unlink(new.name)
                raise
    except OSError as error:
        complain(f"cannot write `{path}`: {_reason(error)}")
        return False
    return True


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]


def _print(layouts: Sequence[Layout], *, writes: bool, diff: bool) -> None:
    show(in_order(finding for layout in layouts for finding in layout.findings), sys.stderr)
    for layout in layouts:
        if layout.name == STDIN and writes:
            sys.stdout.flush()
            sys.stdout.buffer.write(layout.after if not layout.findings else b"")
            sys.stdout.buffer.flush()
        elif layout.changes and diff:
            print(_painted(layout.diff()), end="")
        elif layout.changes:
            print(f"{'laid out' if writes else 'would change'} {layout.name}")


def _painted(diff: str) -> str:
    on = wants_color(sys.stdout)
    styles = {"+": "green", "-": "red", "@": "cyan"}
    return "".join(
        paint(line.rstrip("\n"), styles[line[0]], on=on) + "\n" if line[0] in styles else line
        for line in diff.splitlines(keepends=True)
    )


def _print_json(layouts: Sequence[Layout], *, with_diff: bool) -> None:
    files = [
        {"file": layout.name, "changed": layout.changes, **({"diff": layout.diff()} if with_diff else {})}
        for layout in layouts
    ]
    findings = in_order(finding for layout in layouts for finding in layout.findings)
    print(json.dumps({"files": files, "findings": [finding.to_json() for finding in findings]}, indent=2))
