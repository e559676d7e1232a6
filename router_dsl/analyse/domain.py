"""What values a fact can have: its kind, and which of them a request over the wire can really bring."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from router_dsl.fields import ENDPOINT, OF_POOL, request_field
from router_dsl.plan import Atom, Program, Range, Scalar

Kind = Literal["text", "one of", "bool", "number", "whole", "share", "ip", "date", "set"]
"""`whole` numbers are at least 0; a `share` is in [0, 1]; the others as the scheme has them."""

_ALWAYS = frozenset(
    ("api", "model", "stream", "prompt.text", "prompt.tokens", "prompt.chars", "request.tokens", "turns", "tools",
     "images", "audio", "files", "json", "task", "attempt")
)  # fmt: skip
"""Facts that every request over the wire has."""

_WHOLE = frozenset(
    ("prompt.tokens", "request.tokens", "output.tokens", "prompt.chars", "turns", "tools", "images", "audio", "files",
     "attempt")
)  # fmt: skip
_LEAST = {"prompt.tokens": 3, "request.tokens": 4, "output.tokens": 1, "attempt": 1}
"""The smallest number that a request brings; 0 for other whole ones. Opening the answer is 3 tokens of any prompt."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What a fact can be.

    Attributes:
        kind: Of its values.
        values: Of `one of`.
        always: Every request over the wire has it.
        low, high: Between which numbers it lies in such requests.
        whole: Such requests bring whole numbers only.
    """

    kind: Kind
    values: tuple[str, ...] = ()
    always: bool = False
    low: float = float("-inf")
    high: float = float("inf")
    whole: bool = False


def domain_of_endpoints(fact: str) -> Domain:
    """Return the domain of a fact of endpoints."""
    kinds: dict[str, Kind] = {
        "set": "set", "bool": "bool", "tokens": "whole", "share": "share", "text": "text",
    }  # fmt: skip
    return Domain(kinds.get(ENDPOINT[fact].type, "number"))


def domain_of(program: Program, fact: str, asked: Iterable[Atom]) -> Domain:
    """Return the domain of a fact by its canonical name; one that nobody declares is what it is `asked` as."""
    if fact.startswith("over "):
        return Domain("bool", always=True)
    base = fact.partition("@")[0].partition("(")[0]
    if base in OF_POOL:
        return (
            Domain("share", always=True, low=0, high=1) if base == "healthy" else Domain("number", always=True, low=0)
        )
    for declared in program.facts:
        if declared.name == fact:
            if declared.type == "tokens":
                return Domain("whole", low=0, whole=True)
            return Domain(declared.type, declared.values)
    field = request_field(fact)
    if field is None:
        return _guessed(asked)
    if base == "time.hour":
        return Domain("number", always=True, low=0, high=23, whole=True)
    always = fact in _ALWAYS or base.startswith("time.")
    if field.type in ("number", "tokens"):
        whole = fact in _WHOLE
        low = _LEAST.get(fact, 0) if whole else float("-inf")
        high = 10_000.0 if fact == "attempt" else float("inf")
        return Domain("whole" if field.type == "tokens" else "number", (), always, low, high, whole)
    kind: Kind = field.type if field.type in ("bool", "ip", "date", "one of") else "text"
    return Domain(kind, field.values, always)


def _guessed(asked: Iterable[Atom]) -> Domain:
    constants: list[Scalar] = []
    for atom in asked:
        if atom.op == "is":
            return Domain("bool")
        ends = [end for item in atom.items for end in ((item.low, item.high) if isinstance(item, Range) else (item,))]
        constants += [value for value in (atom.value, *ends) if value is not None]
    if any(isinstance(value, bool) for value in constants):
        return Domain("bool")
    return Domain("number" if any(isinstance(value, int | float) for value in constants) else "text")


# --- the first valid value of a stretch -------------------------------------------------------------

_HIGHEST_ADDRESS = (1 << 128) - 1


def first_address(start: str, end: str | None) -> str | None:
    """Return the lowest address, as 32 hex digits, in `[start, end)`; None when no address is there."""
    digits = start[:32]
    known = "".join(char if char in "0123456789abcdef" else "" for char in digits)
    if known != digits:
        return None if start else "0" * 32
    number = int(digits.ljust(32, "0"), 16)
    if len(start) > 32:
        number += 1
    if number > _HIGHEST_ADDRESS:
        return None
    found = f"{number:032x}"
    return found if found >= start and (end is None or found < end) else None


def first_date(start: str, end: str | None) -> str | None:
    """Return the earliest date in `[start, end)` as text; None when no date is there."""
    # Between two turns lies a date or none: the turns are dates, the texts just behind them, and prefixes of dates.
    day = _at_least(start)
    if day is None:
        return None
    found = day.isoformat()
    return found if found >= start and (end is None or found < end) else None


def _at_least(start: str) -> date | None:
    """Return the first date whose text is not before `start`."""
    if start <= "2000-01-01":
        return date(2000, 1, 1)
    text = start[:10]
    for filler in ("0001-01-01", "0000-01-01"):
        try:
            day = date.fromisoformat((text + filler[len(text) :])[:10])
        except ValueError:
            continue
        return day if day.isoformat() >= start else day + timedelta(days=1)
    # `2026-12-32`, `2026-1`: the first day that sorts behind.
    year = int(text[:4]) if text[:4].isdigit() and int(text[:4]) > 0 else None
    if year is None or year >= 9999:
        return None
    days = (date(year, 1, 1) + timedelta(days=offset) for offset in range(367))
    return next((day for day in days if day.isoformat() >= start), None)
