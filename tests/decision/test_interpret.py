"""The meaning of conditions: tables of known cases, and the reasons given when one does not hold."""

from __future__ import annotations

import math

import pytest

from router_dsl.interpret import decide, holds, text_of, why_not
from router_dsl.plan import And, Atom, Cond, Named, Not, Op, Or, Range, Scalar
from router_dsl.strategies import policy_of


def ask(op: Op, value: Scalar | None = None, *items: Scalar | Range, fact: str = "x") -> Atom:
    shown = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.get(op, op)
    text = f"{op} {fact}" if op in ("has", "missing") else f"{fact} {shown} {value if value is not None else items}"
    return Atom(fact, op, value, items, text)


CASES = [
    # equality is of kind and value
    (ask("eq", "a"), {"a"}, {"b", "", None, 1}),
    (ask("ne", "a"), {"b", "", None, 1}, {"a"}),
    (ask("eq", 1), {1}, {True, "1", None, 2, math.nan}),
    (ask("ne", 1), {True, "1", None, 2, math.nan}, {1}),
    (ask("eq", True), {True}, {1, "true", None, False}),
    (ask("eq", False), {False}, {0, "", None, True}),
    # order is of numbers, or of texts
    (ask("lt", 5), {4, 4.999, -math.inf}, {5, 6, None, "4", True, math.nan}),
    (ask("le", 5), {5, False * 1.0}, {5.0001, None, "5", math.nan}),
    (ask("gt", 0), {1, 0.1, math.inf}, {0, None, True, "1", math.nan}),
    (ask("ge", 0), {0, 1}, {-1, None, False, math.nan}),
    (ask("ge", "2026-06-01"), {"2026-06-01", "2026-12-24"}, {"2026-05-31", None, 2026}),
    (ask("lt", "2026-06-01"), {"2026-05-31", ""}, {"2026-06-01", None, 2025}),
    # lists and ranges, both ends included
    (ask("in", None, "a", "b"), {"a", "b"}, {"c", "", None, 1}),
    (ask("not in", None, "a", "b"), {"c", "", None, 1}, {"a", "b"}),
    (ask("in", None, Range(9, 17)), {9, 17, 12.5}, {8, 18, None, "12", True, math.nan}),
    (ask("not in", None, Range(9, 17)), {8, 18, None, "12", True, math.nan}, {9, 17, 12.5}),
    (ask("in", None, Range(17, 9)), set(), {9, 12, 17, None}),
    (ask("in", None, 1, Range(5, 6), 9), {1, 5, 6, 9}, {2, 7, None}),
    (ask("in", None, Range("0a000000", "0affffff")), {"0a000000", "0a00ff00", "0affffff"}, {"0b000000", None}),
    # text
    (ask("contains", "ab"), {"ab", "xabx"}, {"AB", "a b", "", None, 1}),
    (ask("contains", ""), {"", "x"}, {None, 0}),
    (ask("contains", "zdr"), {("zdr", "eu")}, {("zdrx",), ()}),
    (ask("starts", "ab"), {"ab", "abc"}, {"xab", "Ab", "a", None, 1}),
    (ask("ends", "ab"), {"ab", "xab"}, {"abx", "aB", "b", None, 1}),
    (ask("matches", "a+b"), {"xaab", "ab"}, {"AB", "b", "", None, 1}),
    (ask("matches", "(?i)^ab$"), {"AB", "ab"}, {"xab", None}),
    (ask("matches", "é"), {"café", "\ud800é"}, {"cafe", "\ud800"}),
    # presence
    (ask("has"), {"a", 1, -1, 0.5, ("a",), math.nan}, {"", 0, (), None}),
    (ask("missing"), {None}, {"", 0, "a", ()}),
    (ask("is"), {True}, {False, None, 1, "true"}),
]


@pytest.mark.parametrize(("cond", "yes", "no"), CASES, ids=lambda case: case.text if isinstance(case, Atom) else "")
def test_a_question_is_answered_as_the_language_says(cond: Atom, yes: set[object], no: set[object]) -> None:
    assert all(holds(cond, {"x": value}) for value in yes)
    assert not any(holds(cond, {"x": value}) for value in no)
    absent: dict[str, None] = {}
    assert holds(cond, absent) == holds(cond, {"x": None})


def test_no_condition_always_holds() -> None:
    assert holds(None, {})
    assert why_not(None, {}) == "it holds"


def test_the_first_rule_that_holds_decides_and_otherwise_is_last() -> None:
    policy = policy_of([ask("gt", 5), ask("gt", 2), None])
    assert [decide(policy, {"x": value}) for value in (6, 3, 1, None)] == [0, 1, 2, 2]


def test_facts_computed_as_asked_are_computed() -> None:
    class Lazy(dict[str, str]):
        def __missing__(self, name: str) -> str:
            return f"value of {name}"

    assert holds(ask("eq", "value of x"), Lazy())


PLAN = Atom("plan", "eq", "trial", (), "plan == trial")
LONG = Atom("prompt.tokens", "gt", 24_000, (), "prompt.tokens > 24k")

REASONS: list[tuple[Cond, dict[str, object], str]] = [
    (PLAN, {}, "plan == trial is false: plan is missing"),
    (PLAN, {"plan": "pro"}, "plan == trial is false: plan is pro"),
    (PLAN, {"plan": ""}, "plan == trial is false: plan is empty"),
    (LONG, {"prompt.tokens": 812}, "prompt.tokens > 24k is false: prompt.tokens is 812"),
    (And((PLAN, LONG)), {"plan": "trial"}, "prompt.tokens > 24k is false: prompt.tokens is missing"),
    (And((PLAN, LONG)), {}, "plan == trial is false: plan is missing"),
    (Or((PLAN, LONG)), {}, "none of plan == trial (plan is missing), prompt.tokens > 24k (prompt.tokens is missing)"),
    (Not(PLAN), {"plan": "trial"}, "not (plan == trial) is false: plan is trial"),
    (Named("long", LONG), {"prompt.tokens": 3}, "long is false: prompt.tokens > 24k is false: prompt.tokens is 3"),
    (Not(Named("long", LONG)), {"prompt.tokens": 90_000}, "not (long) is false: long holds: prompt.tokens is 90000"),
    (Not(Or((PLAN, LONG))), {"plan": "trial"}, "not (plan == trial or prompt.tokens > 24k) is false: plan is trial"),
    (
        Not(And((PLAN, LONG))),
        {"plan": "trial", "prompt.tokens": 90_000},
        "not (plan == trial and prompt.tokens > 24k) is false: plan is trial, prompt.tokens is 90000",
    ),
    (Atom("stream", "is", None, (), "stream"), {"stream": False}, "stream is false"),
    (Atom("tags", "contains", "eu", (), "tags contains eu"), {"tags": ("us", "zdr")},
     "tags contains eu is false: tags is [us, zdr]"),
    (Atom("p", "eq", "x", (), "p == x"), {"p": "line\none " + "y" * 100},
     "p == x is false: p is line one " + "y" * 50 + "…"),
]  # fmt: skip


@pytest.mark.parametrize(("cond", "facts", "reason"), REASONS, ids=[reason for _, _, reason in REASONS])
def test_a_reason_names_the_first_part_that_fails_and_what_was_found(
    cond: Cond, facts: dict[str, object], reason: str
) -> None:
    assert not holds(cond, facts)
    assert why_not(cond, facts) == reason


def test_text_of_a_condition_brackets_what_binds_less() -> None:
    cond = And((Or((PLAN, LONG)), Not(Or((PLAN, LONG))), Named("eu", PLAN)))
    assert text_of(cond) == (
        "(plan == trial or prompt.tokens > 24k) and not (plan == trial or prompt.tokens > 24k) and eu"
    )
