"""How the engine gets there: what it asks, how often, and that it never raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from differential import Asked, engines, shipped

from router_dsl import interpret
from router_dsl.compile import layout
from router_dsl.plan import And, Atom, Cond, Named, Not, Op, Or, Range, Scalar
from router_dsl.strategies import policy_of, program_of
from runtime.decision import engine, engine_blocks, engine_rules


def ask(fact: str, op: Op, value: Scalar | None = None, *items: Scalar | Range) -> Atom:
    return Atom(fact, op, value, items, f"{fact} {op} {value}")


TRIAL = ask("plan", "eq", "trial")
LONG = ask("prompt.tokens", "gt", 8000)
SECRET = ask("prompt.text", "matches", "secret")
CODE = ask("task", "eq", "code")


def asked(conds: Sequence[Cond | None], facts: Mapping[str, object], form: int) -> tuple[int, set[str]]:
    """Return the rule and the facts looked at; form 0 is what serves, 1 the tables."""
    request = Asked(facts)
    rule = engines(program_of(policy_of(conds)))[form](request)
    return rule, set(request)


ALL = {"plan": "trial", "prompt.tokens": 9000, "prompt.text": "x", "task": "chat", "over spend": False}


@pytest.mark.parametrize("form", [0, 1])
def test_a_dear_fact_is_asked_only_while_a_rule_that_needs_it_is_alive(form: int) -> None:
    conds = [And((SECRET, TRIAL)), None]
    assert asked(conds, {**ALL, "plan": "pro"}, form) == (1, {"plan"})
    assert asked(conds, ALL, form) == (1, {"plan", "prompt.text"})


@pytest.mark.parametrize("form", [0, 1])
def test_nothing_is_asked_for_rules_behind_the_one_that_decides(form: int) -> None:
    conds = [TRIAL, SECRET, LONG, CODE, None]
    assert asked(conds, ALL, form) == (0, {"plan"})


@pytest.mark.parametrize("form", [0, 1])
def test_of_the_facts_a_rule_needs_the_cheap_ones_are_asked_first(form: int) -> None:
    conds = [And((CODE, SECRET, LONG, TRIAL)), None]
    assert asked(conds, {**ALL, "prompt.tokens": 10}, form) == (1, {"plan", "prompt.tokens"})
    assert asked(conds, {**ALL, "plan": None}, form) == (1, {"plan"})


@pytest.mark.parametrize("form", [0, 1])
def test_a_limit_is_looked_up_only_while_a_rule_asks(form: int) -> None:
    conds = [And((TRIAL, ask("over spend", "is"))), None]
    assert asked(conds, {**ALL, "plan": "pro"}, form)[1] == {"plan"}
    assert asked(conds, {**ALL, "over spend": True}, form) == (0, {"plan", "over spend"})


@pytest.mark.parametrize("form", [0, 1])
def test_dynamic_facts_are_read_anew_at_every_decision(form: int) -> None:
    conds = [ask("healthy(fast)", "lt", 0.5), ask("over spend", "is"), None]
    decide = engines(program_of(policy_of(conds)))[form]
    states = [(1.0, False), (0.4, False), (1.0, True), (1.0, False), (None, None)]
    assert [decide({"healthy(fast)": share, "over spend": over}) for share, over in states] == [2, 0, 1, 2, 2]


def test_a_case_of_a_switch_leaves_dear_shared_facts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BLOCK_TERMS", 4)
    own = [And((ask("tenant", "eq", f"t{number}"), TRIAL)) for number in range(8)]
    conds = [*own, SECRET, None]
    assert asked(conds, {**ALL, "tenant": "t3"}, 1) == (3, {"tenant", "plan"})
    assert asked(conds, {**ALL, "tenant": "t3", "plan": None}, 1) == (9, {"tenant", "plan", "prompt.text"})
    assert asked(conds, {**ALL, "tenant": "unheard"}, 1) == (9, {"tenant", "prompt.text"})


def test_the_memo_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_blocks, "_MEMO_ENTRIES", 4)
    conds = [And(tuple(ask(fact, "eq", f"v{number}") for fact in "abc")) for number in range(3)]
    decide = engines(program_of(policy_of([*conds, None])))[1]
    for number in range(50):
        assert decide({"a": f"v{number}", "b": f"v{number}", "c": f"v{number}"}) == min(number, 3)


def test_code_is_written_for_small_policies_alone() -> None:
    assert engine_rules.is_small(policy_of([TRIAL] * 39 + [None]).rules)
    assert not engine_rules.is_small(policy_of([TRIAL] * 60 + [None]).rules)
    deep: Cond = TRIAL
    for _ in range(100):
        deep = Not(Named("n", deep))
    assert not engine_rules.is_small(policy_of([deep, None]).rules)
    assert [decide({"plan": "trial"}) for decide in engines(program_of(policy_of([deep, None])))] == [0, 0]


HOSTILE = ['"', "'", "\\", '""")\nraise SystemExit\n("""', "k0", "{facts}", "\n", "%s", "\u2028", "\0"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_an_author_never_becomes_code(text: str) -> None:
    conds = [
        And((ask(f"header.{text}", "eq", text), ask(f"header.{text}", "ne", text + "x"))),
        ask(f"key.{text}", "in", None, text, "b"),
        Or((ask("model", "contains", text), ask("model", "starts", text), ask("model", "ge", text))),
        None,
    ]
    policy = policy_of(conds)
    for request in (
        {f"header.{text}": text, f"key.{text}": text, "model": text},
        {f"header.{text}": None, f"key.{text}": text, "model": None},
        {f"header.{text}": "a", f"key.{text}": None, "model": f"a{text}"},
        {f"header.{text}": "a", f"key.{text}": None, "model": None},
    ):
        meant = interpret.decide(policy, request)
        assert [decide(request) for decide in engines(program_of(policy))] == [meant, meant]


ODD = [None, "", "x", 0, 1, -1, 10**30, -(10**30), 1e308, float("inf"), float("nan"), True, False, (), ("a",), "\ud800"]


def test_values_of_every_kind_are_answered() -> None:
    ops: list[Atom] = [
        *(ask("x", op, value) for op in ("eq", "ne", "lt", "le", "gt", "ge") for value in (5, 0.5, 2**60, "m", "")),
        *(ask("x", op) for op in ("has", "missing", "is")),
        *(ask("x", op, None, 1, "m", True, Range(2, 9), Range("a", "f")) for op in ("in", "not in")),
        *(ask("x", op, "a") for op in ("contains", "starts", "ends", "matches")),
        ask("x", "eq", True),
        ask("x", "starts", ""),
        ask("x", "starts", "\U0010ffff"),
        ask("x", "starts", "a\ud7ff"),
    ]
    for atom in ops:
        policy = policy_of([atom, None])
        forms = engines(program_of(policy))
        test = engine.condition(atom)
        for value in ODD:
            holds = interpret.holds(atom, {"x": value})
            assert bool(test({"x": value})) == holds, (atom, value)
            assert [decide({"x": value}) for decide in forms] == [1 - holds] * 2, (atom, value)


def test_every_policy_of_a_plan_is_loaded() -> None:
    program = program_of(policy_of([TRIAL, None]))
    assert list(engine.load(shipped(program))) == ["main"]


def test_few_rules_of_many_alternatives_are_looked_up_and_still_ask_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BLOCK_TERMS", 2)
    either = Or(tuple(ask(f"header.{name}", "eq", "x") for name in "abc"))
    headers = dict.fromkeys(("header.a", "header.b", "header.c"))
    conds = [either, And((TRIAL, SECRET)), And((CODE, TRIAL)), None]
    assert asked(conds, {**ALL, **headers, "header.c": "x"}, 0) == (0, {*headers, "plan"})
    assert asked(conds, {**ALL, **headers, "plan": None}, 0) == (3, {*headers, "plan"})
