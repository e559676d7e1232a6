"""The meaning of conditions and policies, written to be read: the oracle of tests and what `explain` asks.

A fact is missing when it is absent or None. A value of another kind than the question expects (text where a
number is asked for) counts as missing too, so every condition has an answer for every request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from router_dsl.plan import And, Atom, Cond, Endpoint, Named, Not, Or, Policy, Program, Range

Value = str | int | float | bool | tuple[str, ...] | None
"""What a fact can be; a tuple is the value of a `set` endpoint fact (`tags`, `supports`)."""

Facts = Mapping[str, "Value"]


def value_of(facts: Facts, name: str) -> Value:
    """Return the fact's value, None when it is missing; fills facts that are computed as asked."""
    try:
        return facts[name]
    except KeyError:
        return None


def holds(cond: Cond | None, facts: Facts) -> bool:
    """Return whether the condition holds; None, no condition, always does."""
    match cond:
        case None:
            return True
        case Atom():
            return _answer(cond, value_of(facts, cond.fact))
        case Not(item):
            return not holds(item, facts)
        case And(items):
            return all(holds(item, facts) for item in items)
        case Or(items):
            return any(holds(item, facts) for item in items)
        case Named(_, item):
            return holds(item, facts)


def fixed_facts(program: Program, endpoint: Endpoint) -> dict[str, Value]:
    """Return the endpoint facts that the policy itself states, by their name in `where`."""
    return {
        "provider": program.providers[endpoint.provider].name,
        "model": endpoint.model,
        "region": endpoint.region,
        "tags": endpoint.tags,
        "quantization": endpoint.quantization,
        "zdr": endpoint.zdr,
        "context": endpoint.context,
        "output": endpoint.output,
        "price.in": endpoint.price_in,
        "price.out": endpoint.price_out,
        "price.cached": endpoint.price_cached,
        "supports": endpoint.supports,
    }


def decide(policy: Policy, facts: Facts) -> int:
    """Return the index of the first rule whose condition holds; the last has none, so there always is one."""
    return next(index for index, rule in enumerate(policy.rules) if holds(rule.when, facts))


def why_not(cond: Cond | None, facts: Facts) -> str:
    """Return a short reason why the condition does not hold, or that it does.

    `plan == trial is false: plan is missing`, `prompt.tokens > 24k is false: prompt.tokens is 812`. Of an `and`
    it gives the first part that is false; of an `or` every part.
    """
    if holds(cond, facts):
        return "it holds"
    match cond:
        case Atom():
            return f"{cond.text} is false" + ("" if _says_it(cond, facts) else f": {_seen(cond, facts)}")
        case Not(item):
            return f"not ({text_of(item)}) is false: {_why(item, facts)}"
        case And(items):
            return why_not(next(item for item in items if not holds(item, facts)), facts)
        case Or(items):
            return "none of " + ", ".join(f"{text_of(item)} ({_short(item, facts)})" for item in items)
        case Named(name, item):
            return f"{name} is false: {why_not(item, facts)}"
    raise AssertionError("no condition always holds")


def text_of(cond: Cond) -> str:
    """Return the condition on one line, in the author's words."""
    match cond:
        case Atom():
            return cond.text
        case Not(item):
            return f"not {_bracketed(item)}"
        case And(items):
            return " and ".join(_bracketed(item) if isinstance(item, Or) else text_of(item) for item in items)
        case Or(items):
            return " or ".join(text_of(item) for item in items)
        case Named(name, _):
            return name


# --- one question -----------------------------------------------------------------------------------


def _answer(atom: Atom, value: Value) -> bool:
    match atom.op:
        case "missing":
            return value is None
        case "has":
            return bool(value)
        case "is":
            return value is True
        case "eq":
            return _equals(value, atom.value)
        case "ne":
            return not _equals(value, atom.value)
        case "in":
            return _among(value, atom)
        case "not in":
            return not _among(value, atom)
        case "contains":
            return isinstance(value, str | tuple) and str(atom.value) in value
        case "starts":
            return isinstance(value, str) and value.startswith(str(atom.value))
        case "ends":
            return isinstance(value, str) and value.endswith(str(atom.value))
        case "matches":
            return isinstance(value, str) and finds(str(atom.value))(value)
        case "lt":
            return _comparable(value, atom.value) and value < atom.value  # type: ignore[operator]
        case "le":
            return _comparable(value, atom.value) and value <= atom.value  # type: ignore[operator]
        case "gt":
            return _comparable(value, atom.value) and value > atom.value  # type: ignore[operator]
        case "ge":
            return _comparable(value, atom.value) and value >= atom.value  # type: ignore[operator]


def _kind(value: Value) -> str:
    # A bool is an int to Python, never to a policy.
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def _equals(value: Value, other: Value) -> bool:
    return _kind(value) == _kind(other) and value == other


def _comparable(value: Value, other: Value) -> bool:
    return _kind(value) == _kind(other) in ("number", "str")


def _among(value: Value, atom: Atom) -> bool:
    return any(_within(value, item) if isinstance(item, Range) else _equals(value, item) for item in atom.items)


def _within(value: Value, item: Range) -> bool:
    return (
        _comparable(value, item.low) and _comparable(value, item.high) and item.low <= value <= item.high  # type: ignore[operator]
    )


@lru_cache(maxsize=1024)
def finds(pattern: str) -> Callable[[str], bool]:
    """Return a search for an RE2 pattern, unanchored; linear in the text whatever the pattern."""
    import re2  # its import costs 10 ms that policies without patterns need not pay

    # Bytes: the wrapper maps offsets back for `str`, twice the work, and refuses lone surrogates.
    search = re2.compile(pattern.encode()).search
    return lambda text: search(text.encode("utf-8", "replace")) is not None


# --- reasons ----------------------------------------------------------------------------------------

_LONGEST_VALUE = 60
"""Characters of a fact's value shown in a reason; a prompt has many more."""


def _says_it(atom: Atom, facts: Facts) -> bool:
    """Whether the bare verdict tells the whole story: a bool fact that is false."""
    return atom.op == "is" and value_of(facts, atom.fact) is False


def _seen(atom: Atom, facts: Facts) -> str:
    value = value_of(facts, atom.fact)
    if isinstance(value, str) and _asks_address(atom):
        value = _address(value)
    if isinstance(value, float) and atom.fact.startswith("healthy("):
        value = f"{value * 100:g}%"
    return f"{atom.fact} is {'missing' if value is None else _shown(value)}"


def _asks_address(atom: Atom) -> bool:
    """Whether the question is about an IP address, whose operands are ranges of 32 hex digits."""
    ends = [end for item in atom.items if isinstance(item, Range) for end in (item.low, item.high)]
    return atom.fact == "client.ip" or (bool(ends) and all(isinstance(end, str) and len(end) == 32 for end in ends))


def _address(digits: str) -> str:
    """Return 32 hex digits as people write the address."""
    from ipaddress import IPv6Address

    try:
        found = IPv6Address(int(digits, 16))
    except ValueError:
        return digits
    return str(found.ipv4_mapped or found)


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(value) + "]"
    if value == "":
        return "empty"
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _why(cond: Cond, facts: Facts) -> str:
    """Return why a condition that holds does."""
    match cond:
        case Atom():
            return _seen(cond, facts)
        case Not(item):
            return why_not(item, facts)
        case And(items):
            return ", ".join(_why(item, facts) for item in items)
        case Or(items):
            return _why(next(item for item in items if holds(item, facts)), facts)
        case Named(name, item):
            return f"{name} holds: {_why(item, facts)}"


def _short(cond: Cond, facts: Facts) -> str:
    """Return why a part of an `or` does not hold, without repeating its text."""
    match cond:
        case Atom():
            return _seen(cond, facts)
        case Not(item):
            return _why(item, facts)
        case _:
            return why_not(cond, facts)


def _bracketed(cond: Cond) -> str:
    text = text_of(cond)
    return f"({text})" if isinstance(cond, And | Or) else text
