"""From a file to what a policy means, without compiling it: for commands that only read it."""

from __future__ import annotations

import sys
from pathlib import Path

from handlers.cli.output import FOUND, OK, USAGE, complain, show
from router_dsl.check.program import check
from router_dsl.load import is_unread, load
from router_dsl.plan import PlanError, Program, decode
from router_dsl.source import in_order


def meaning_of(file: Path, root: Path | None = None) -> tuple[Program | None, int]:
    """Return the meaning of a `.route` or `.plan` file, or None and the exit code; stderr says why.

    Assertions are not judged: what they say makes no difference to what a policy does.

    Args:
        file: The file.
        root: Folder that imports may not leave; the file's own unless said.
    """
    try:
        if file.suffix == ".plan":
            return decode(file.read_bytes()).program, OK
    except OSError as error:
        complain(f"`{file}`: {(error.strerror or str(error)).lower()}")
        return None, USAGE
    except PlanError as error:
        complain(f"`{file}`: {error}")
        return None, FOUND
    files, found = load(file, root)
    program, more = check(files, found, doubts=False) if files else (None, [])
    if program is None:
        show(in_order([*found, *more]), sys.stderr)
        complain(f"`{file}` does not compile")
    return program, USAGE if any(map(is_unread, found)) else FOUND
