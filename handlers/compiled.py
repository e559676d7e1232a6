"""From a file to a plan for the authoring commands: a `.plan` is decoded, a `.route` is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from router_dsl.plan import Plan
from router_dsl.seal import Key, open_plan

if TYPE_CHECKING:
    from router_dsl.source import Diagnostic


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan, or None with the errors that stand against it; warnings come with either.

    Attributes:
        files: What it was compiled from, the root file first.
    """

    plan: Plan | None
    diagnostics: list[Diagnostic]
    files: tuple[Path, ...] = ()


def compile_file(path: Path, root: Path | None = None, keys: Sequence[Key] = (), *, proving: bool = True) -> Compiled:
    """Return the plan of a `.route` or `.plan` file.

    Args:
        root: Folder that imports may not leave; the file's own unless said.
        keys: One of them must have signed a `.plan`; without keys it may be signed or not.
        proving: Whether assertions must hold; what only looks at a policy can do without, and a false one is best
            looked at.

    Raises:
        OSError: The file cannot be read.
        PlanError: A `.plan` file is not a usable plan, or there are keys and none has signed it.
        KeyTextError: A key cannot be used.
    """
    if path.suffix == ".plan":
        return Compiled(open_plan(path.read_bytes(), keys), [])
    path.stat()
    return compile_source(path, root, proving=proving)


def compile_source(path: Path, root: Path | None = None, *, proving: bool = True) -> Compiled:
    """Return the plan of a `.route` file; that it cannot be read is among the findings."""
    # The authoring half (Lark, checker, compiler) loads only for a source.
    from handlers.checked import check
    from router_dsl.compile.build import build, source_digest
    from router_dsl.load import load
    from router_dsl.source import in_order

    files, found = load(path, root)
    if not files:
        return Compiled(None, in_order(found))
    sources = tuple(Path(file.span.source.name) for file in files)
    program, more = check(files, found, proving=proving)
    diagnostics = in_order([*found, *more])
    if program is None or any(d.severity == "error" for d in diagnostics):
        return Compiled(None, diagnostics, sources)
    return Compiled(build(program, source_digest(files)), diagnostics, sources)
