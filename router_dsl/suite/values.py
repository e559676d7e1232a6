"""The values of facts that are worth trying, and how each is written in a `given`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from ipaddress import IPv6Address

from router_dsl.compile.terms import atoms_of
from router_dsl.fields import FAMILIES, REQUEST, Type, request_field
from router_dsl.plan import Atom, Cond, Program, Range, Scalar
from router_dsl.suite.texts import example_of

Value = Scalar | None
"""None takes the fact away."""

Given = Mapping[str, Value]
"""Facts of a request by canonical name; the rest has the baseline. `over LIMIT` is one of them."""

_LOWEST: Mapping[str, int] = {"attempt": 1, "turns": 0}
_HOURS = range(24)
_COUNTS = ("turns", "tools", "images", "audio", "files", "attempt", "prompt.chars")


def type_of(fact: str, program: Program) -> tuple[Type, tuple[str, ...]]:
    """Return the type of a fact, and its values when they are few."""
    for own in program.facts:
        if own.name == fact:
            return own.type, own.values
    field = request_field(fact)
    if fact.startswith("over "):
        return "bool", ()
    return ("text", ()) if field is None else (field.type, field.values)


def values_of(conditions: Iterable[Cond], program: Program) -> dict[str, list[Value]]:
    """Return, for each fact that conditions ask about, the values around everything they compare it with.

    The plainest come first. Every value is one that a `test` can give.
    """
    asked: dict[str, list[Atom]] = {}
    for condition in conditions:
        for atom in atoms_of(condition):
            asked.setdefault(atom.fact, []).append(atom)
    return {fact: _values(fact, atoms, program) for fact, atoms in asked.items()}


def _values(fact: str, atoms: Iterable[Atom], program: Program) -> list[Value]:
    kind, few = type_of(fact, program)
    found: list[Value] = [value for atom in atoms for value in _around(atom, kind)]
    if kind in ("text", "ip") or few:
        found += few or (("other",) if kind == "text" else (_digits("10.0.0.1"), _digits("203.0.113.9")))
    if kind == "bool":
        found += [True, False]
    if kind in ("number", "tokens", "share"):
        found += [1, 0]
    pieces = [str(atom.value) for atom in atoms if atom.op in ("contains", "starts", "ends") and atom.value is not None]
    if len(pieces) > 1:
        found += [" ".join(pieces), " ".join(reversed(pieces))]
    field = request_field(fact)
    may_go = not fact.startswith("over ") and field is not None and field.baseline is not None
    kept = [value for value in found if _fits(value, fact, kind, few)]
    unique = list({(type(value) is bool, value): value for value in kept}.values())
    return [*unique, None] if may_go else unique


def _around(atom: Atom, kind: Type) -> Iterator[Value]:
    if atom.op == "has" and kind in ("text", "one of"):
        yield "x"
    if atom.op == "matches" and isinstance(atom.value, str):
        yield example_of(atom.value)
    elif atom.value is not None:
        yield from _near(atom.value, kind)
    for item in atom.items:
        if isinstance(item, Range):
            yield from _near(item.low, kind)
            yield from _near(item.high, kind)
        else:
            yield from _near(item, kind)


def _near(value: Scalar, kind: Type) -> Iterator[Value]:
    yield value
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        step: int | float = 0.01 if kind == "share" else 1 if float(value).is_integer() else 0.1
        above, below = value + step, value - step
        yield from (round(above, 6), round(below, 6)) if isinstance(step, float) else (above, below)
    elif kind == "date":
        try:
            day = date.fromisoformat(value)
        except ValueError:
            return
        yield from ((day + timedelta(1)).isoformat(), (day - timedelta(1)).isoformat())
    elif kind == "ip":
        yield from _neighbours(value)


def _neighbours(digits: str) -> Iterator[str]:
    number = int(digits, 16)
    for near in (number + 1, number - 1):
        if 0 <= near < 2**128:
            yield f"{near:032x}"


def _digits(address: str) -> str:
    return IPv6Address(f"::ffff:{address}").exploded.replace(":", "")


def _fits(value: Value, fact: str, kind: Type, few: tuple[str, ...]) -> bool:
    """Whether a request can have the value, and a test give it."""
    match kind:
        case "one of":
            return isinstance(value, str) and value in few
        case "bool":
            return isinstance(value, bool)
        case "number" | "tokens" | "share":
            if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
                return False
            if fact.startswith("time.hour"):
                return value in _HOURS
            whole = kind == "tokens" or fact in _COUNTS
            in_reach = value >= _LOWEST.get(fact, 0) and (kind != "share" or value <= 1)
            return in_reach and (not whole or float(value).is_integer())
        case "date":
            return isinstance(value, str) and _is_day(value)
        case "ip":
            return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None
        case _:
            return isinstance(value, str) and value.isprintable() and value != ""


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


# --- as written -----------------------------------------------------------------------------------

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")


def written_name(name: str) -> str:
    """Return a name as it stands in a policy, in quotation marks where it needs them."""
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def written_fact(fact: str) -> str:
    """Return a canonical fact name as it stands in a policy."""
    plain, at, zone = fact.partition("@")
    if at and plain in REQUEST:
        return f"{plain}@{json.dumps(zone)}"
    head, paren, pool = fact.partition("(")
    if paren and head in REQUEST:
        return f"{head}({written_name(pool[:-1])})"
    family, dot, entry = fact.partition(".")
    if dot and family in FAMILIES:
        return f"{family}.{written_name(entry)}"
    return fact if fact in REQUEST else written_name(fact)


def written_value(fact: str, value: Value, program: Program) -> str:
    """Return a value as `given` takes it."""
    kind, _ = type_of(fact, program)
    match value:
        case None:
            return "missing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number(value, kind)
        case str():
            if kind == "ip":
                address = IPv6Address(int(value, 16))
                return json.dumps(str(address.ipv4_mapped or address))
            is_word = kind != "date" and value != "missing" and _BARE.fullmatch(value)
            return value if is_word else json.dumps(value, ensure_ascii=False)


def _number(value: int | float, kind: Type) -> str:
    if kind == "share":
        return f"{value * 100:.10g}%"
    whole = int(value) if float(value).is_integer() else None
    if whole is None:
        return f"{value:.10g}"
    return f"{whole // 1000}k" if kind == "tokens" and whole >= 1000 and whole % 1000 == 0 else str(whole)
