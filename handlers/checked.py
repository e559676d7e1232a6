"""The whole check of a policy: its meaning, and what is proved of every request."""

from __future__ import annotations

from collections.abc import Sequence

from handlers.oracle import Requests
from router_dsl.ast import File
from router_dsl.check import program
from router_dsl.plan import Program
from router_dsl.source import Diagnostic


def check(
    files: Sequence[File], reported: Sequence[Diagnostic] = (), *, proving: bool = True
) -> tuple[Program | None, list[Diagnostic]]:
    """Return the program that the files mean, None when there is an error, and all findings but those reported.

    Args:
        files: The root file first.
        reported: What loading found.
        proving: Judge assertions and look for doubtful rules, too; else whatever has a meaning is a program.
    """
    return program.check(files, reported, oracle_of=Requests if proving else None, doubts=proving)
