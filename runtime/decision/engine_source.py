"""Straight-line functions, written at load from tables that are ours: text of an author never becomes code."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import CodeType


class Source:
    """One function being written. Every value in it, a fact's name included, is an argument of its maker."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: list[object] = []
        self._lines: list[str] = []
        self._depth = 0

    def begin(self, arguments: str) -> None:
        """Add the head of the function."""
        self._lines.append(f"  def {self._name}({arguments}):")

    def name(self, value: object) -> str:
        """Return a name that stands for the value."""
        self._values.append(value)
        return f"k{len(self._values) - 1}"

    def line(self, text: str) -> None:
        """Add a line of code made of names alone."""
        self._lines.append(" " * (self._depth + 4) + text)

    def enter(self, head: str) -> None:
        """Add the head of a compound statement; lines go inside until `leave`."""
        self.line(head)
        self._depth += 1

    def leave(self, to: int | None = None) -> None:
        """End the innermost compound statement, or all but `to` of them."""
        self._depth = self._depth - 1 if to is None else to

    def function(self) -> Callable[..., int]:
        """Return what was written."""
        names = ", ".join(f"k{number}" for number in range(len(self._values)))
        text = "\n".join([f"def make({names}):", *self._lines, f"  return {self._name}"])
        scope: dict[str, Callable[..., Callable[..., int]]] = {}
        exec(_compiled(text), scope)  # noqa: S102 - names and operators only, see `name`
        return scope["make"](*self._values)


@lru_cache(maxsize=256)
def _compiled(text: str) -> CodeType:
    # Blocks that ask the same facts have the same code: the cases of a switch mostly do.
    return compile(text, "<policy>", "exec")
