"""Which endpoints a condition on endpoints admits: fixed facts once at load, measured ones when asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from router_dsl.fields import ENDPOINT
from router_dsl.plan import And, Atom, Cond, Named, Not
from runtime.decision.engine import condition
from runtime.decision.state import State

EndpointFact = str | int | float | bool | tuple[str, ...] | None
Verdict = bool | None
"""True, False, or None: not known, because a measured fact has no data yet."""

Test = Callable[[Mapping[str, EndpointFact]], Verdict]

MEASURED = tuple(name for name, field in ENDPOINT.items() if field.measured)


def measured_facts(fixed: Mapping[str, EndpointFact], endpoint: int, state: State) -> dict[str, EndpointFact]:
    """Return the fixed facts of an endpoint together with what is measured of it now."""
    return {**fixed, **{name: state.measured(endpoint, name) for name in MEASURED}}


def asks_measured(cond: Cond) -> bool:
    """Whether any part of the condition needs data from traffic."""
    match cond:
        case Atom():
            return cond.fact in MEASURED
        case Not() | Named():
            return asks_measured(cond.item)
        case _:
            return any(asks_measured(item) for item in cond.items)


def test(cond: Cond) -> Test:
    """Return the condition as a function of an endpoint's facts, in three-valued logic (Kleene).

    A question about a measured fact without data has no answer; `has` and `missing` always have one.
    The caller excludes an endpoint only on a definite False.
    """
    match cond:
        case Atom():
            return _atom(cond)
        case Named():
            return test(cond.item)
        case Not():
            inner = test(cond.item)
            return lambda facts: None if (verdict := inner(facts)) is None else not verdict
        case _:
            # `and` is decided by a False, `or` by a True; otherwise one unknown part leaves the whole unknown.
            return _joined([test(item) for item in cond.items], deciding=not isinstance(cond, And))


def _atom(atom: Atom) -> Test:
    holds, fact = condition(atom), atom.fact
    if fact not in MEASURED or atom.op in ("has", "missing"):
        return holds
    return lambda facts: None if facts[fact] is None else holds(facts)


def _joined(parts: list[Test], *, deciding: bool) -> Test:
    def verdict(facts: Mapping[str, EndpointFact]) -> Verdict:
        result: Verdict = not deciding
        for part in parts:
            found = part(facts)
            if found is deciding:
                return deciding
            if found is None:
                result = None
        return result

    return verdict
