"""The space of all requests: one axis a fact, and conditions as unions of boxes in it.

A *box* says of some axes which classes are left; of the others all are. Questions that no order of values answers
(`contains`, `ends with`, `matches`) are axes of their own, with the classes no and yes, tied to their fact by what is
certain: a known value answers them, a missing fact says no, and a text that contains `abc` contains `ab`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from router_dsl.analyse import tokens
from router_dsl.analyse.attribute import Attribute, attribute
from router_dsl.analyse.domain import domain_of, domain_of_endpoints
from router_dsl.compile.columns import Turns, turns_of
from router_dsl.compile.terms import PROBED, atoms_of
from router_dsl.interpret import holds
from router_dsl.plan import And, Atom, Cond, Named, Not, Or, Program

Box = dict[int, int]
"""Classes left, as a mask, by axis; axes that are not in it are unrestricted."""

NO, YES = 1, 2

WIDEST = 1024
"""Most boxes of a condition. A rule has at most 256 terms; a guard or an assertion is joined with those."""


class TooWideError(ValueError):
    """A condition that is more boxes than can be looked at."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A question about a text that is an axis of its own.

    Attributes:
        atom: The question.
        fact: Axis of its fact.
        yes, no: Classes of the fact on which the answer is certain.
    """

    atom: Atom
    fact: int
    yes: int
    no: int


@dataclass(slots=True)
class Space:
    """The axes that a program's conditions span.

    Attributes:
        axes: Facts first, then probes.
        full: All classes of each axis; `real` those that a request over the wire can bring.
        number: Axis of a fact, by its name.
    """

    program: Program
    axes: list[Attribute | Probe] = field(default_factory=list)
    full: list[int] = field(default_factory=list)
    real: list[int] = field(default_factory=list)
    number: dict[str, int] = field(default_factory=dict)
    _probes: dict[Atom, int] = field(default_factory=dict)
    _probes_of: dict[int, list[int]] = field(default_factory=dict)
    _implied: dict[int, list[int]] = field(default_factory=dict)
    _excluded: dict[int, list[int]] = field(default_factory=dict)
    _masks: dict[int, tuple[Cond, tuple[int, int] | None]] = field(default_factory=dict)

    def attribute(self, fact: str) -> Attribute:
        """Return the axis of a fact."""
        found = self.axes[self.number[fact]]
        assert isinstance(found, Attribute)
        return found

    @property
    def tied_axes(self) -> list[int]:
        """The axes of the facts whose values add up (`tokens`)."""
        return [self.number[fact] for fact in (tokens.PROMPT, tokens.OUTPUT, tokens.WHOLE) if fact in self.number]

    def excluded(self, probe: int) -> list[int]:
        """Return the probes that answer no whenever this one answers yes."""
        return self._excluded[probe]

    def implied(self, probe: int) -> list[int]:
        """Return the probes that answer yes whenever this one does."""
        return self._implied[probe]

    # --- conditions as boxes ------------------------------------------------------------------------

    def boxes(self, cond: Cond | None) -> list[Box]:
        """Return boxes that together hold exactly the requests of which the condition is true.

        Raises:
            TooWideError: There are more than `WIDEST`.
        """
        return [{}] if cond is None else self._ways(cond, True)

    def _ways(self, cond: Cond, wanted: bool) -> list[Box]:
        single = self._single(cond)
        if single is not None:
            axis, mask = single
            mask = mask if wanted else self.full[axis] & ~mask
            return self._settled([{axis: mask}])
        match cond:
            case Not(item):
                return self._ways(item, not wanted)
            case Named(_, item):
                return self._ways(item, wanted)
            case And(items) | Or(items):
                if isinstance(cond, And) == wanted:
                    return self.meet([self._ways(item, wanted) for item in items])
                return self._few([box for item in items for box in self._ways(item, wanted)])
            case Atom():
                return self._settled([{self._probes[_bare(cond)]: YES if wanted else NO}])

    def meet(self, unions: Sequence[list[Box]]) -> list[Box]:
        """Return boxes that hold what is in one box of every union."""
        found: list[Box] = [{}]
        # The narrow ones first: what is empty early is not multiplied.
        for union in sorted(unions, key=len):
            found = [both for one, other in product(found, union) if (both := self.both(one, other)) is not None]
            self._few(found)
        return found

    def both(self, one: Mapping[int, int], other: Mapping[int, int]) -> Box | None:
        """Return what is in both boxes, None when nothing is."""
        found = dict(one)
        for axis, mask in other.items():
            mask &= found.get(axis, self.full[axis])
            if not mask:
                return None
            found[axis] = mask
        return found if self.settle(found) else None

    def _few(self, boxes: list[Box]) -> list[Box]:
        if len(boxes) > WIDEST:
            raise TooWideError
        return boxes

    def _settled(self, boxes: list[Box]) -> list[Box]:
        return [box for box in boxes if all(box.values()) and self.settle(box)]

    def _single(self, cond: Cond) -> tuple[int, int] | None:
        """Return axis and mask of a condition on one fact that has no probe in it, else None."""
        if isinstance(cond, Atom):
            axis = self.number[cond.fact]
            return None if _bare(cond) in self._probes else (axis, self.attribute(cond.fact).mask(cond))
        known = self._masks.get(id(cond))
        if known is None:
            known = self._masks[id(cond)] = (cond, self._joined(cond))
        return known[1]

    def _joined(self, cond: Cond) -> tuple[int, int] | None:
        if isinstance(cond, Named):
            return self._single(cond.item)
        if isinstance(cond, Not):
            inner = self._single(cond.item)
            return None if inner is None else (inner[0], self.full[inner[0]] & ~inner[1])
        assert isinstance(cond, And | Or)
        parts = [self._single(item) for item in cond.items]
        if None in parts or len({part[0] for part in parts if part is not None}) != 1:
            return None
        known = [part for part in parts if part is not None]
        axis, mask = known[0]
        for _, other in known[1:]:
            mask = mask & other if isinstance(cond, And) else mask | other
        return axis, mask

    # --- what is certain ----------------------------------------------------------------------------

    def settle(self, box: Box) -> bool:
        """Narrow a box by what is certain between a text and the questions about it; False when nothing is left."""
        if not self._probes_of:
            return True
        for fact, probes in self._probes_of.items():
            if (fact in box or any(probe in box for probe in probes)) and not self._settle(box, fact, probes):
                return False
        return True

    def _settle(self, box: Box, fact: int, probes: Sequence[int]) -> bool:
        left = box.get(fact, self.full[fact])
        answers = {number: box.get(number, NO | YES) for number in probes}
        changed = True
        while changed:
            changed = False
            for number in probes:
                probe = self.axes[number]
                assert isinstance(probe, Probe)
                answer = answers[number]
                narrowed = left & ~(probe.no if answer == YES else probe.yes if answer == NO else 0)
                if not narrowed & ~probe.yes:
                    answer &= YES
                if not narrowed & ~probe.no:
                    answer &= NO
                if answer == YES:
                    for implied in self._implied[number]:
                        if not answers[implied] & YES:
                            return False
                        changed = changed or answers[implied] != YES
                        answers[implied] = YES
                    for excluded in self._excluded[number]:
                        if not answers[excluded] & NO:
                            return False
                        changed = changed or answers[excluded] != NO
                        answers[excluded] = NO
                if not answer or not narrowed:
                    return False
                changed = changed or narrowed != left or answer != answers[number]
                left, answers[number] = narrowed, answer
        if left != self.full[fact]:
            box[fact] = left
        for number, answer in answers.items():
            if answer != NO | YES:
                box[number] = answer
        return True

    def is_possible(self, box: Mapping[int, int], *, real: bool = False) -> bool:
        """Return whether what is certain between facts leaves something of a settled box."""
        return tokens.solution(self, box, real=real) is not None

    def realistic(self, box: Box) -> Box | None:
        """Return the part of a box that requests over the wire can bring, None when there is none."""
        narrowed = {axis: mask & self.real[axis] for axis, mask in box.items()}
        return narrowed if all(narrowed.values()) and self.settle(narrowed) else None


def _bare(atom: Atom) -> Atom:
    """Return the question without its wording."""
    return Atom(atom.fact, atom.op, atom.value, atom.items, "")


def space_of(program: Program, conds: Iterable[Cond | None], *, of_endpoints: bool = False) -> Space:
    """Return the space that these conditions span.

    Args:
        program: Whose facts they ask.
        conds: Every condition that will be asked for.
        of_endpoints: They ask facts of endpoints.
    """
    asked: defaultdict[str, dict[Atom, None]] = defaultdict(dict)
    for cond in conds:
        for atom in () if cond is None else atoms_of(cond):
            asked[atom.fact][_bare(atom)] = None
    space = Space(program)
    for fact, atoms in asked.items():
        domain = domain_of_endpoints(fact) if of_endpoints else domain_of(program, fact, atoms)
        texts = domain.kind in ("text", "date", "ip", "set")
        found = attribute(fact, domain, _all_turns(atom for atom in atoms if atom.op not in PROBED))
        _add(space, found, found.full, found.real)
        space.number[fact] = len(space.axes) - 1
        if texts:
            for atom in atoms:
                if atom.op in PROBED:
                    _add_probe(space, atom)
    _relate(space)
    return space


def _all_turns(atoms: Iterator[Atom]) -> Turns:
    turns = Turns()
    for atom in atoms:
        own = turns_of(atom)
        turns.points |= own.points
        turns.starts |= own.starts
        turns.numbers |= own.numbers
        turns.ordered |= own.ordered
    return turns


def _add(space: Space, axis: Attribute | Probe, full: int, real: int) -> None:
    space.axes.append(axis)
    space.full.append(full)
    space.real.append(real)


def _add_probe(space: Space, atom: Atom) -> None:
    fact = space.attribute(atom.fact)
    yes = no = 0
    for number, value in enumerate(fact.values):
        if not fact.full >> number & 1:
            continue
        if not _stands_for_many(fact, number):
            if holds(atom, {atom.fact: value}):
                yes |= 1 << number
            else:
                no |= 1 << number
        elif atom.op == "contains" and str(atom.value) in fact.prefix(number):
            yes |= 1 << number
    number = space._probes[atom] = len(space.axes)
    axis = space.number[atom.fact]
    _add(space, Probe(atom, axis, yes, no), NO | YES, NO | YES)
    space._probes_of.setdefault(axis, []).append(number)


def _stands_for_many(fact: Attribute, number: int) -> bool:
    """Whether a class of texts has more than one."""
    if number == 0:
        return False
    if not fact.starts:
        return number == 2
    return fact.end(number) != str(fact.starts[number - 1]) + "\0"


def _relate(space: Space) -> None:
    """Note which yes to one question about a text means yes, or no, to another."""
    for fact, probes in space._probes_of.items():
        axis = space.axes[fact]
        atoms = {number: probe.atom for number in probes if isinstance(probe := space.axes[number], Probe)}
        is_text = isinstance(axis, Attribute) and axis.domain.kind != "set"
        for number, one in atoms.items():
            others = [(other, atom) for other, atom in atoms.items() if is_text and other != number]
            space._implied[number] = [other for other, atom in others if _means(one, atom)]
            space._excluded[number] = [other for other, atom in others if _rules_out(one, atom)]


def _means(one: Atom, other: Atom) -> bool:
    """Whether a text that passes one question passes the other, as far as that is certain."""
    if one.op == "matches" or other.op == "matches":
        return False
    inner, outer = str(other.value), str(one.value)
    if other.op == "contains":
        return inner in outer
    return one.op == "ends" and outer.endswith(inner)


def _rules_out(one: Atom, other: Atom) -> bool:
    """Whether no text passes both questions, as far as that is certain: it cannot end in two ways."""
    if one.op != "ends" or other.op != "ends":
        return False
    shorter, longer = sorted((str(one.value), str(other.value)), key=len)
    return not longer.endswith(shorter)
