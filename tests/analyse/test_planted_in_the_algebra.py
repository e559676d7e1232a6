"""Faults planted in the algebra: the tests that count policies out find every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import pytest
from counted import check_changes, edited, wrong
from small import random_program

from router_dsl.analyse import attribute, compare, regions, rules, search, space, tokens
from router_dsl.analyse.attribute import Attribute
from router_dsl.analyse.search import Search, Term
from router_dsl.analyse.space import Box, Space
from router_dsl.plan import Atom

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake that somebody could make."""

    name: str
    plant: Plant
    texts: bool = False
    compares: bool = False


def missing_passes_comparisons(patch: pytest.MonkeyPatch) -> None:
    real = Attribute._mask
    patch.setattr(Attribute, "_mask", lambda self, atom: real(self, atom) | (1 if atom.op in ("lt", "le") else 0))


def negation_is_false_for_missing(patch: pytest.MonkeyPatch) -> None:
    real = Attribute._mask
    patch.setattr(Attribute, "_mask", lambda self, atom: real(self, atom) & ~(1 if atom.op in ("ne", "not in") else 0))


def bound_belongs_to_the_wrong_side(patch: pytest.MonkeyPatch) -> None:
    real = Attribute._mask
    swap = {"lt": "le", "ge": "gt"}

    def mask(self: Attribute, atom: Atom) -> int:
        return real(self, Atom(atom.fact, swap.get(atom.op, atom.op), atom.value, atom.items, ""))  # type: ignore[arg-type]

    patch.setattr(Attribute, "_mask", mask)


def a_turn_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = space._all_turns

    def turns(atoms: Iterator[Atom]) -> attribute.Turns:
        found = real(atoms)
        found.numbers = set(sorted(found.numbers)[1:])
        return found

    patch.setattr(space, "_all_turns", turns)


def named_texts_are_any_text(patch: pytest.MonkeyPatch) -> None:
    real = Attribute._mask
    patch.setattr(
        Attribute, "_mask", lambda self, atom: real(self, atom) | (4 if atom.op == "in" and not self.starts else 0)
    )


def a_cut_along_one_axis_keeps_all(patch: pytest.MonkeyPatch) -> None:
    real = search._cuts
    patch.setattr(search, "_cuts", lambda box, other, full: (found := real(box, other, full)) and found[:1])


def a_piece_is_lost(patch: pytest.MonkeyPatch) -> None:
    real = Search._left

    def left(self: Search, box: Box, taken: list[Term], depth: int) -> Iterator[Box]:
        if not depth:
            yield from real(self, box, taken, depth)

    patch.setattr(Search, "_left", left)


def the_last_rule_before_is_not_taken(patch: pytest.MonkeyPatch) -> None:
    real = regions.Regions.taken
    patch.setattr(regions.Regions, "taken", lambda self, policy, index, box: real(self, policy, index, box)[:-1])


def a_guess_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(search.Guess, "outside", lambda self, box, alive: dict(box))


def an_or_is_an_and(patch: pytest.MonkeyPatch) -> None:
    real = Space._ways
    patch.setattr(Space, "_ways", lambda self, cond, wanted: real(self, cond, wanted)[:2])


def a_denied_and_is_denied_part_by_part(patch: pytest.MonkeyPatch) -> None:
    real = Space._joined

    def joined(self: Space, cond: object) -> tuple[int, int] | None:
        found = real(self, cond)  # type: ignore[arg-type]
        return found if found is None or not isinstance(cond, space.Or) else (found[0], found[1] & ~1)

    patch.setattr(Space, "_joined", joined)


def a_known_text_answers_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Space, "settle", lambda self, box: True)


def a_part_of_a_text_is_not_in_the_whole(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(space, "_means", lambda one, other: False)


def an_end_means_every_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(space, "_means", lambda one, other: one.op == other.op)


def a_cover_is_not_the_least(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Search, "fewest", lambda self, box, taken, owners: list(dict.fromkeys(term.owner for term in taken)))


def nothing_is_possible(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tokens, "solution", lambda space, box, *, real: None)


def every_rule_is_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        compare._Pair, "_kept", lambda self: list(zip(range(len(self.older)), range(len(self.newer)), strict=False))
    )


def only_the_older_rules_take(patch: pytest.MonkeyPatch) -> None:
    real = compare._Pair.__init__

    def init(self: compare._Pair, *args: object) -> None:
        real(self, *args)  # type: ignore[arg-type]
        self.newer_until = [0] * len(self.newer_until)

    patch.setattr(compare._Pair, "__init__", init)


def always_is_concluded_from_any_cover(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "_hold_always", lambda regions, policy, by: True)


FAULTS = [
    Fault("a comparison holds for a missing fact", missing_passes_comparisons),
    Fault("a negation is false for a missing fact", negation_is_false_for_missing),
    Fault("a bound belongs to the wrong side", bound_belongs_to_the_wrong_side),
    Fault("a turn is forgotten", a_turn_is_forgotten),
    Fault("a list of texts holds any text", named_texts_are_any_text),
    Fault("what sticks out along two axes is cut along one", a_cut_along_one_axis_keeps_all),
    Fault("pieces are lost", a_piece_is_lost),
    Fault("the last rule before is not taken", the_last_rule_before_is_not_taken),
    Fault("a guess is not checked", a_guess_is_not_checked),
    Fault("alternatives are lost", an_or_is_an_and),
    Fault("an `or` about one fact forgets that it may be missing", a_denied_and_is_denied_part_by_part),
    Fault("a known text answers no question", a_known_text_answers_nothing, texts=True),
    Fault("what contains a text does not contain its parts", a_part_of_a_text_is_not_in_the_whole, texts=True),
    Fault("one end of a text means every end", an_end_means_every_end, texts=True),
    Fault("a cover is not the least", a_cover_is_not_the_least),
    Fault("nothing is possible", nothing_is_possible),
    Fault("any cover holds always", always_is_concluded_from_any_cover),
    Fault("every rule counts as kept", every_rule_is_kept, compares=True),
    Fault("only the older rules take requests away", only_the_older_rules_take, compares=True),
]


def finds(fault: Fault, seeds: range) -> bool:
    """Return whether some policy is judged wrongly; a crash is a wrong judgement too."""
    for seed in seeds:
        program = random_program(seed, texts=fault.texts)
        try:
            if fault.compares:
                check_changes(program, edited(program, Random(-seed)), seed)
            elif any(True for _ in wrong(program, texts=fault.texts)):
                return True
        except (AssertionError, IndexError, KeyError, ValueError, RecursionError):
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.plant(monkeypatch)
    assert finds(fault, range(100_000, 104_000))


@pytest.mark.slow
def test_the_sound_algebra_passes_the_check_that_finds_faults() -> None:
    assert not any(finds(fault, range(100_000, 100_060)) for fault in FAULTS[-8:])
