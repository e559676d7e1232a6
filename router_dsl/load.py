"""Files and their imports: the root file and everything it needs, each once, parsed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from router_dsl import ast
from router_dsl.source import Diagnostic, Source, Span
from router_dsl.syntax import parse

# A policy is read whole and kept whole; the largest generated ones known have 100,000 rules in 12 MB.
LARGEST_BYTES = 64 * 1024 * 1024


Parsed = tuple[ast.File, list[Diagnostic]]


def load(path: Path, root: Path | None = None) -> tuple[list[ast.File], list[Diagnostic]]:
    """Return the file and all it imports, the root file first, and what is wrong with reading or parsing them.

    A root file that cannot be read gives no file and one finding.

    Args:
        path: The root file, named in findings as it is written here.
        root: The folder that imports may not leave, links followed; the root file's own unless said.
    """
    name = str(path)
    text, reason = read(path)
    if text is None:
        return [], [unreadable(name, reason)]
    return _load(Source(name, text), path, path.parent if root is None else root)


def load_text(text: str, name: str, root: Path | None = None) -> tuple[list[ast.File], list[Diagnostic]]:
    """Return the same for a text that is not in a file; its imports start from `root`, else the current folder."""
    folder = Path() if root is None else root
    return _load(Source(name, text), folder / "-", folder)


def load_parsed(
    parsed: Parsed, path: Path, root: Path, known: Callable[[Path, str], Parsed | None]
) -> tuple[list[ast.File], list[Diagnostic]]:
    """Return the same for a root file that is parsed already, as an editor has it.

    Args:
        path: Where the root file is; its imports start from there.
        known: Gives what an imported file (its resolved path, its name in findings) is, None to read and parse it.
    """
    loading = _Loading(root.resolve(), known)
    _take(parsed, path.resolve(), loading)
    return loading.files, loading.diagnostics


def unreadable(name: str, reason: str) -> Diagnostic:
    """Return the finding about a root file that has no text."""
    return Diagnostic("E219", f"cannot read `{name}`: {reason}", Span(Source(name, ""), 0, 0))


def is_unread(finding: Diagnostic) -> bool:
    """Whether a finding is `unreadable`'s; an import that cannot be read has a place in its importer."""
    return finding.code == "E219" and finding.span.end == 0


def imported_name(importer: str, path: str) -> str:
    """Return how findings call a file that is imported as `path`: from the same place as its importer."""
    return os.path.normpath(os.path.join(os.path.dirname(importer), path))


@dataclass(slots=True)
class _Loading:
    """The work on one policy.

    Attributes:
        root: The folder that imports may not leave, links resolved.
        known: Gives files that are parsed already.
        open: The files that are being read, from the root file to the current one, by resolved path.
    """

    root: Path
    known: Callable[[Path, str], Parsed | None] = lambda path, name: None
    files: list[ast.File] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)
    open: dict[Path, str] = field(default_factory=dict)


def _load(source: Source, path: Path, root: Path) -> tuple[list[ast.File], list[Diagnostic]]:
    loading = _Loading(root.resolve())
    _take(parse(source), path.resolve(), loading)
    return loading.files, loading.diagnostics


def _take(parsed: Parsed, real: Path, loading: _Loading) -> None:
    file, found = parsed
    name = file.span.source.name
    loading.files.append(file)
    loading.diagnostics += found
    loading.seen.add(real)
    loading.open[real] = name
    for item in file.items:
        if isinstance(item, ast.Import):
            _follow(item, name, real, loading)
    del loading.open[real]


def _follow(item: ast.Import, importer: str, importer_real: Path, loading: _Loading) -> None:
    written = item.path.value
    name = imported_name(importer, written)

    def refuse(code: str, message: str, help: str | None = None) -> None:
        loading.diagnostics.append(Diagnostic(code, message, item.path.span, help))

    try:
        real = (importer_real.parent / written).resolve()
    except (OSError, ValueError, RuntimeError):
        refuse("E219", f"cannot read `{written}`: it is no path")
        return
    if os.path.isabs(written) or not real.is_relative_to(loading.root):
        refuse(
            "E220",
            f"`{written}` is outside the policy's folder",
            "imports are relative and stay inside it; `--root` widens it",
        )
        return
    if real in loading.open:
        steps = list(loading.open.values())[list(loading.open).index(real) :]
        circle = " → ".join(f"`{step}`" for step in [*steps, steps[0]])
        refuse("E222", f"files import each other in a circle: {circle}", "move what they share into a third file")
        return
    if real in loading.seen:
        return
    if len(loading.open) >= _DEEPEST:
        refuse("E222", f"imports are nested more than {_DEEPEST} deep", "import the file from the root file")
        return
    parsed = loading.known(real, name)
    if parsed is None:
        text, reason = read(real)
        if text is None:
            refuse("E219", f"cannot read `{name}`: {reason}")
            return
        parsed = parse(Source(name, text))
    _take(parsed, real, loading)


# Imports are followed one inside the other.
_DEEPEST = 64


def read(path: Path) -> tuple[str | None, str]:
    """Return the file's text, or None and why there is none."""
    try:
        if path.is_dir():
            return None, "it is a folder"
        with path.open("rb") as stream:
            raw = stream.read(LARGEST_BYTES + 1)
        if len(raw) > LARGEST_BYTES:
            return None, "it is larger than 64 MiB"
        # A byte order mark is an editor's habit, not the author's text.
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        return None, f"it is not UTF-8 text (byte {error.start + 1})"
    except FileNotFoundError:
        return None, "there is no such file"
    except PermissionError:
        return None, "permission denied"
    except (OSError, ValueError) as error:
        return None, (getattr(error, "strerror", None) or "it is no path").lower()
