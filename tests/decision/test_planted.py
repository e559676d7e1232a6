"""Faults planted in the compiler and the engine, one at a time: the differential check kills every one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import pytest
from differential import disagreements, sampled

from router_dsl.compile import build, certify, columns, layout
from router_dsl.compile.certify import UncertifiedError
from router_dsl.compile.columns import OTHER
from router_dsl.interpret import Value, holds
from router_dsl.plan import Atom, Block, Certificate, Cond, Probe, Tree
from router_dsl.strategies import program_of
from runtime.decision import engine, engine_blocks, engine_conditions, engine_rules, engine_tables

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to get it wrong.

    Attributes:
        certified: The certificate refuses it at build, before any request; else it is the engine's alone.
    """

    name: str
    plant: Plant
    certified: bool


def off_by_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(columns, "after_number", lambda number: number)


def text_range_end_excluded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(columns, "after_text", lambda text: text)


def missing_counts_as_present(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(columns, "MISSING", OTHER)


def zero_is_had(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(columns, "EMPTY", OTHER)


def negation_of_missing_is_false(patch: pytest.MonkeyPatch) -> None:
    def wrong(cond: Cond, facts: dict[str, Value]) -> bool:
        negated = isinstance(cond, Atom) and cond.op in ("ne", "not in")
        return holds(cond, facts) and not (negated and None in facts.values())

    patch.setattr(columns, "holds", wrong)


def negation_of_missing_is_false_in_code(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine_conditions, "_negated", lambda answers: lambda value: value is not None and not answers(value))


def prefix_has_no_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(columns, "behind", lambda prefix: ())


def probe_is_inverted(patch: pytest.MonkeyPatch) -> None:
    right = columns.probe

    def wrong(cond: Cond, fact: str, yes: int, no: int, full: int) -> Probe:
        return right(cond, fact, no, yes, full)

    patch.setattr(build, "probe", wrong)


def bits_are_reversed(patch: pytest.MonkeyPatch) -> None:
    right = build.block_of

    def wrong(block: list[object], body_facts: frozenset[str]) -> Block:
        found = right(block, body_facts)  # type: ignore[arg-type]
        return msgspec.structs.replace(found, rules=found.rules[::-1])

    patch.setattr(build, "block_of", wrong)


def an_alternative_is_lost(patch: pytest.MonkeyPatch) -> None:
    right = build.terms
    patch.setattr(build, "terms", lambda index, rule: right(index, rule)[:1])


def default_of_the_switch_is_lost(patch: pytest.MonkeyPatch) -> None:
    right = build.tree_of

    def wrong(policy: object, body_facts: frozenset[str] = frozenset()) -> Tree:
        tree = right(policy, body_facts)  # type: ignore[arg-type]
        return msgspec.structs.replace(tree, shared=tree.shared[-1:]) if tree.switch else tree

    patch.setattr(build, "tree_of", wrong)


def a_case_overrules_earlier_rules(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "limited", lambda rules, before: 0)


def a_shared_rule_is_cut_one_early(patch: pytest.MonkeyPatch) -> None:
    right = engine.limited
    patch.setattr(engine, "limited", lambda rules, before: right(rules, before) >> 1)


def lazy_stops_too_early(patch: pytest.MonkeyPatch) -> None:
    right = engine_tables.lazy_tables
    patch.setattr(engine_blocks, "lazy_tables", lambda block: right(block)[:-1])


def lazy_forgets_the_facts_to_come(patch: pytest.MonkeyPatch) -> None:
    right = engine_tables.needs

    def wrong(block: Block, lazy: Sequence[engine_tables.Lazy]) -> list[int]:
        return [need & -need for need in right(block, lazy)]

    patch.setattr(engine_blocks, "needs", wrong)


def memo_key_is_incomplete(patch: pytest.MonkeyPatch) -> None:
    class Key(tuple[object, ...]):
        """Equal to another that differs in its last value alone."""

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key) and self[:-1] == other[:-1]

        def __hash__(self) -> int:
            return hash(self[:-1])

    patch.setattr(engine_blocks, "itemgetter", lambda *names: lambda facts: Key(facts[name] for name in names))


def code_takes_at_least_for_more(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(engine_rules._SYMBOLS, "gt", ">=")


def true_is_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine_conditions, "_NUMBERS", frozenset((int, float, bool)))
    patch.setattr(engine_tables.Table, "ask", lambda self: _careless(self))


def _careless(table: engine_tables.Table) -> Callable[[dict[str, Value]], int]:
    rest, missing = table.rest(), table.missing

    def ask(facts: dict[str, Value]) -> int:
        value = facts[table.fact]
        return missing if value is None else rest(int(value) if isinstance(value, bool) else value)

    return ask


FAULTS = [
    Fault("off by one at an interval's edge", off_by_one, certified=True),
    Fault("a range of texts excludes its end", text_range_end_excluded, certified=True),
    Fault("the bit of the missing class is another's", missing_counts_as_present, certified=True),
    Fault("`has` takes zero and the empty text for something", zero_is_had, certified=True),
    Fault("a negation is false for a missing fact, in tables", negation_of_missing_is_false, certified=True),
    Fault("a negation is false for a missing fact, in code", negation_of_missing_is_false_in_code, certified=False),
    Fault("a prefix has no end", prefix_has_no_end, certified=True),
    Fault("a probe is inverted", probe_is_inverted, certified=True),
    Fault("the bits stand in the wrong order", bits_are_reversed, certified=True),
    Fault("an alternative of an `or` is lost", an_alternative_is_lost, certified=True),
    Fault("the default blocks of a switch are dropped", default_of_the_switch_is_lost, certified=True),
    Fault("a case overrules earlier shared rules", a_case_overrules_earlier_rules, certified=False),
    Fault("shared rules are cut one too early", a_shared_rule_is_cut_one_early, certified=False),
    Fault("the last lazy fact is never asked", lazy_stops_too_early, certified=False),
    Fault("a term counts as decided before later facts", lazy_forgets_the_facts_to_come, certified=False),
    Fault("the memo's key leaves a fact out", memo_key_is_incomplete, certified=False),
    Fault("the code of a small policy takes `>` for `>=`", code_takes_at_least_for_more, certified=False),
    Fault("true counts as the number one", true_is_one, certified=False),
]


def find_one(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> bool:
    """Return whether some sampled policy is decided wrongly; a crash is a wrong decision too."""
    monkeypatch.setattr(layout, "BLOCK_TERMS", 16)
    for seed in range(first, last):
        policy, requests = sampled(seed, requests=60)
        try:
            if any(True for _ in disagreements(policy, requests)):
                return True
        except (IndexError, KeyError, ValueError):
            return True
    return False


@pytest.mark.slow
def test_the_sound_compiler_passes_the_check_that_kills_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not find_one(monkeypatch, 0, 60)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_by_requests(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    # The certificate would refuse most of them before any request.
    monkeypatch.setattr(build, "certify", lambda program, trees: Certificate("", 0, 0))
    monkeypatch.setattr("differential.shipped", lambda program: build.build(program, ""))
    fault.plant(monkeypatch)
    assert find_one(monkeypatch, 0, 400)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.certified], ids=lambda fault: fault.name)
def test_a_planted_fault_is_refused_by_the_certificate(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    certify._answers.cache_clear()
    fault.plant(monkeypatch)
    monkeypatch.setattr(layout, "BLOCK_TERMS", 16)
    with pytest.raises(UncertifiedError):
        build_all(range(400))
    certify._answers.cache_clear()


def build_all(seeds: range) -> None:
    for seed in seeds:
        policy, _ = sampled(seed, requests=0)
        build.build(program_of(policy), "")
