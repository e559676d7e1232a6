"""Requests that pin the rules of a policy: one that decides each, and one near miss for each of its questions.

A near miss differs from a request that the rule takes in the answer of one question alone, and the rule does not take
it (unique-cause MC/DC). What no request shows is said: a rule that nothing reaches, a question that changes nothing,
or a text that could not be made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from router_dsl.compile.terms import atoms_of
from router_dsl.interpret import decide, holds
from router_dsl.plan import And, Atom, Cond, Endpoints, Named, Not, Or, Policy, Program, Reject, Rule
from router_dsl.suite.search import Choice, Facts, Search
from router_dsl.suite.values import Given, written_fact, written_name, written_value


@dataclass(frozen=True, slots=True)
class Case:
    """A request and the rule that decides it.

    Attributes:
        about: The rule it is for; `decides` differs from it in a near miss.
        question: The question whose other answer makes it a near miss, or None.
        holds: A request that `about` takes.
    """

    policy: str
    about: Rule
    decides: Rule
    given: Given
    question: Atom | None = None

    @property
    def holds(self) -> bool:
        """Whether it is a request that `about` takes."""
        return self.about is self.decides


@dataclass(frozen=True, slots=True)
class Unshown:
    """A rule that no request was found for, or a question of one that decides nothing; `reason` says why."""

    policy: str
    rule: Rule
    question: Atom | None
    reason: str


def suite(program: Program, search: Search) -> tuple[list[Case], list[Unshown]]:
    """Return requests for every rule of every policy, and what no request was found for."""
    cases: list[Case] = []
    unshown: list[Unshown] = []
    for policy in program.policies:
        for index in range(len(policy.rules)):
            _of_rule(policy, index, program, search, cases, unshown)
    return cases, unshown


def _of_rule(
    policy: Policy, index: int, program: Program, search: Search, cases: list[Case], unshown: list[Unshown]
) -> None:
    rule = policy.rules[index]
    earlier = [before.when for before in policy.rules[:index] if before.when is not None]
    given = search.find(rule.when, earlier)
    if given is None:
        unshown.append(Unshown(policy.name, rule, None, _why_none(rule, search)))
        return
    cases.append(Case(policy.name, rule, rule, given))
    taken = [given]
    for atom in dict.fromkeys(atoms_of(rule.when)) if rule.when is not None else ():
        near = _near_miss(policy, index, atom, taken, search)
        if near is None:
            other = _deciding_by(rule.when, atom, earlier, search, given)
            near = None if other is None else _near_miss(policy, index, atom, [other], search)
            if near is not None and other is not None and other not in taken:
                taken.append(other)
                cases.append(Case(policy.name, rule, rule, other))
        if near is None:
            unshown.append(Unshown(policy.name, rule, atom, "no two requests differ in its answer alone"))
        else:
            cases.append(Case(policy.name, rule, policy.rules[decide(policy, search.facts(near))], near, atom))


def _why_none(rule: Rule, search: Search) -> str:
    made = [atom for atom in atoms_of(rule.when) if atom.op == "matches"] if rule.when is not None else []
    if any(not any(holds(atom, {atom.fact: value}) for value in search.values.get(atom.fact, ())) for atom in made):
        return "no text that its regex finds could be made"
    alone = search.find(rule.when, ())
    if alone is None:
        return "its condition holds for no request that was tried"
    return "an earlier rule takes every request that was tried"


def _near_miss(policy: Policy, index: int, atom: Atom, taken: Sequence[Given], search: Search) -> Given | None:
    """Return a request that differs from one that the rule takes in the answer of one question, which decides."""
    cond = policy.rules[index].when
    assert cond is not None
    best: tuple[bool, Given] | None = None
    for given in taken:
        before = holds(atom, search.facts(given))
        for is_given, value in _nearest(atom, search):
            changed = {name: old for name, old in given.items() if name != atom.fact}
            if is_given:
                changed[atom.fact] = value
            facts = search.facts(changed)
            if holds(atom, facts) == before or holds(cond, facts):
                continue
            if not _holds_with(cond, atom, facts, before):
                continue
            # What falls through to a later rule shows more than what an earlier one takes.
            found = (decide(policy, facts) > index, changed)
            if found[0]:
                return changed
            best = best or found
    return None if best is None else best[1]


def _nearest(atom: Atom, search: Search) -> list[Choice]:
    """Return what a question's fact can be; for a bound, what is nearest to it first."""
    choices = list(search.choices(atom.fact))
    bound = atom.value
    if atom.op not in ("lt", "le", "gt", "ge") or not isinstance(bound, int | float):
        return choices
    numbers = [choice for choice in choices if isinstance(choice[1], int | float)]
    numbers.sort(key=lambda choice: abs(choice[1] - bound) if isinstance(choice[1], int | float) else 0)
    return [*numbers, *(choice for choice in choices if choice not in numbers)]


def _holds_with(cond: Cond, atom: Atom, facts: Facts, answer: bool) -> bool:
    """Whether the condition would hold if one question had that answer."""
    match cond:
        case Atom():
            return answer if cond == atom else holds(cond, facts)
        case Not(item):
            return not _holds_with(item, atom, facts, answer)
        case And(items):
            return all(_holds_with(item, atom, facts, answer) for item in items)
        case Or(items):
            return any(_holds_with(item, atom, facts, answer) for item in items)
        case Named(_, item):
            return _holds_with(item, atom, facts, answer)


def _deciding_by(cond: Cond | None, atom: Atom, earlier: Sequence[Cond], search: Search, start: Given) -> Given | None:
    """Return a request that the rule takes because of the answer of one question, and not without it."""
    assert cond is not None
    for answer in (True, False):
        literal: Cond = atom if answer else Not(atom)
        goal, without = _with(cond, atom, answer), _with(cond, atom, not answer)
        if goal is False or without is True:
            continue
        parts: list[Cond] = [literal]
        parts += [] if isinstance(goal, bool) else [goal]
        parts += [] if isinstance(without, bool) else [Not(without)]
        found = search.find(parts[0] if len(parts) == 1 else And(tuple(parts)), earlier, start)
        if found is not None:
            return found
    return None


def _with(cond: Cond, atom: Atom, answer: bool) -> Cond | bool:
    """Return the condition that is left when one question has that answer."""
    match cond:
        case Atom():
            return answer if cond == atom else cond
        case Named(_, item):
            return _with(item, atom, answer)
        case Not(item):
            inner = _with(item, atom, answer)
            return not inner if isinstance(inner, bool) else Not(inner)
        case And(items) | Or(items):
            deciding = isinstance(cond, Or)
            left = [_with(item, atom, answer) for item in items]
            if deciding in left:
                return deciding
            kept = [item for item in left if not isinstance(item, bool)]
            if not kept:
                return not deciding
            return kept[0] if len(kept) == 1 else type(cond)(tuple(kept))


# --- as text --------------------------------------------------------------------------------------


def title(case: Case, default: str) -> str:
    """Return what a case shows, in a few words; of a policy that is not the default, with its name."""
    where = "" if case.policy == default else f"{case.policy}: "
    if case.question is None:
        return f"{where}{case.about.label} decides"
    return f"{where}{case.about.label} hangs on {case.question.text}"


def expectations(case: Case) -> Iterator[str]:
    """Give what can be expected of a case, the surest first."""
    yield f"expect rule {written_name(case.decides.label)}"
    if isinstance(case.decides.action, Reject):
        yield f"expect reject {case.decides.action.status}"
    elif isinstance(target := case.decides.action.targets[0], Endpoints):
        yield f"expect {target.text}"


def written(name: str, policy: str, given: Given, lines: Sequence[str], program: Program) -> str:
    """Return a `test` block, not laid out.

    Args:
        lines: Its other steps: what must come of the request, and what is out of service.
    """
    limits = [fact for fact, value in given.items() if fact.startswith("over ") and value]
    facts = [
        f"{written_fact(fact)} {written_value(fact, value, program)}"
        for fact, value in given.items()
        if not fact.startswith("over ")
    ]
    steps = [f"policy {written_name(policy)}"] if policy != program.policies[0].name else []
    steps += [f"given {', '.join(facts)}"] if facts else []
    steps += [f"over {written_name(limit[5:])}" for limit in limits]
    return "\n".join([f"test {json.dumps(name, ensure_ascii=False)} {{", *steps, *lines, "}"])
