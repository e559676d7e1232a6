"""Small changes of a policy, each a mistake that someone could make: what its tests should notice.

A change is made on the resolved program, so it always compiles, and it comes with the condition under which a
request could tell it from the original.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec import structs

from router_dsl.interpret import text_of
from router_dsl.plan import (
    DEFAULT_OPTIONS,
    And,
    Atom,
    Call,
    Cond,
    Named,
    Not,
    Op,
    Or,
    Policy,
    Program,
    Range,
    Reject,
    Rule,
    Use,
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed program.

    Attributes:
        what: The change in a few words.
        file, line: What was changed.
        policy: The policy whose rules were changed, None when only guards were.
        goals: Of a request that could show it: what holds, and which earlier rules do not. One is enough.
        compiles: Conditions or the order of rules have changed, so that the tables have, too.
    """

    program: Program
    what: str
    file: str
    line: int
    policy: str | None
    goals: tuple[tuple[Cond | None, tuple[Cond, ...]], ...]
    compiles: bool = True


Place = tuple[str, int]
"""A file and a line."""


def mutants(program: Program, guards: Mapping[str, Place]) -> Iterator[Mutant]:
    """Yield the changes of every policy, rule by rule, then those of the guards.

    Args:
        guards: Where each guard stands.
    """
    for policy in program.policies:
        for index in range(len(policy.rules)):
            yield from _of_rule(program, policy, index)
    for index, guard in enumerate(program.guards):
        without = structs.replace(program, guards=program.guards[:index] + program.guards[index + 1 :])
        goals = tuple(
            (_both(rule.when, guard.when), _earlier(policy, i))
            for policy in program.policies
            for i, rule in enumerate(policy.rules)
            if isinstance(rule.action, Use)
        )
        file, line = guards[guard.name]
        yield Mutant(without, f"guard {guard.name} left out", file, line, None, goals, compiles=False)


def _earlier(policy: Policy, index: int) -> tuple[Cond, ...]:
    return tuple(rule.when for rule in policy.rules[:index] if rule.when is not None)


def _both(one: Cond | None, other: Cond | None) -> Cond | None:
    if one is None or other is None:
        return one or other
    return And((one, other))


def _of_rule(program: Program, policy: Policy, index: int) -> Iterator[Mutant]:
    rule, earlier = policy.rules[index], _earlier(policy, index)

    def mutant(
        rules: Sequence[Rule], what: str, *goals: tuple[Cond | None, tuple[Cond, ...]], compiles: bool = True
    ) -> Mutant:
        changed = structs.replace(policy, rules=tuple(rules))
        policies = tuple(changed if one is policy else one for one in program.policies)
        new = structs.replace(program, policies=policies)
        return Mutant(new, what, rule.file, rule.line, policy.name, goals, compiles)

    def with_rule(new: Rule) -> list[Rule]:
        return [*policy.rules[:index], new, *policy.rules[index + 1 :]]

    if rule.when is not None:
        rest = [*policy.rules[:index], *policy.rules[index + 1 :]]
        yield mutant(rest, f"rule {rule.label} left out", (rule.when, earlier))
        behind = policy.rules[index + 1]
        if behind.when is not None:
            swapped = [*policy.rules[:index], behind, rule, *policy.rules[index + 2 :]]
            yield mutant(swapped, f"rule {rule.label} behind {behind.label}", (_both(rule.when, behind.when), earlier))
        for cond, what in _conditions(rule.when):
            goals = ((And((rule.when, Not(cond))), earlier), (And((Not(rule.when), cond)), earlier))
            yield mutant(with_rule(structs.replace(rule, when=cond)), f"rule {rule.label}: {what}", *goals)
    for action, what in _actions(rule):
        new = with_rule(structs.replace(rule, action=action))
        yield mutant(new, f"rule {rule.label}: {what}", (rule.when, earlier), compiles=False)


# --- conditions -----------------------------------------------------------------------------------


def _conditions(cond: Cond) -> Iterator[tuple[Cond, str]]:
    """Give the conditions that differ in one place, and how."""
    match cond:
        case Atom():
            yield from _atoms(cond)
        case Named(name, item):
            yield from ((Named(name, changed), what) for changed, what in _conditions(item))
        case Not(item):
            yield item, f"`{text_of(cond)}` without `not`"
            yield from ((Not(changed), what) for changed, what in _conditions(item))
        case And(items) | Or(items):
            kind = type(cond)
            for i, item in enumerate(items):
                left = items[:i] + items[i + 1 :]
                yield left[0] if len(left) == 1 else kind(left), f"without `{text_of(item)}`"
                for changed, what in _conditions(item):
                    yield kind((*items[:i], changed, *items[i + 1 :])), what
            other = Or(items) if kind is And else And(items)
            yield other, "`and` and `or` exchanged"


_AT_THE_BOUND: dict[Op, tuple[Op, str]] = {"lt": ("le", "<="), "le": ("lt", "<"), "gt": ("ge", ">="), "ge": ("gt", ">")}
_AROUND: dict[Op, int] = {"lt": -1, "le": 1, "gt": 1, "ge": -1}


def _atoms(atom: Atom) -> Iterator[tuple[Cond, str]]:
    yield Not(atom), f"`{atom.text}` turned round"
    if (at := _AT_THE_BOUND.get(atom.op)) is not None:
        op, sign = at
        yield structs.replace(atom, op=op), f"`{atom.text}` with `{sign}`"
    if atom.op in _AROUND and isinstance(atom.value, int | float) and not isinstance(atom.value, bool):
        step = max(1, abs(int(atom.value)) // 10) if abs(atom.value) > 1 else 0.1
        moved = round(atom.value + step, 6)
        yield structs.replace(atom, value=moved), f"`{atom.text}` with the bound a tenth higher"
    if len(atom.items) > 1:
        for i, item in enumerate(atom.items):
            shown = f"{item.low}..{item.high}" if isinstance(item, Range) else item
            fewer = atom.items[:i] + atom.items[i + 1 :]
            yield structs.replace(atom, items=fewer), f"`{atom.text}` without `{shown}`"


# --- actions --------------------------------------------------------------------------------------


def _actions(rule: Rule) -> Iterator[tuple[Use | Reject, str]]:
    action = rule.action
    if isinstance(action, Reject):
        other = 403 if action.status != 403 else 429
        yield structs.replace(action, status=other), f"rejects with {other}"
        return
    targets, options = action.targets, action.options
    if len(targets) > 1:
        yield structs.replace(action, targets=targets[1:]), "its first target left out"
        yield structs.replace(action, targets=targets[:-1]), "its last target left out"
        if not isinstance(targets[1], Call):
            swapped = (targets[1], targets[0], *targets[2:])
            yield structs.replace(action, targets=swapped), "its first two targets exchanged"
    if options.where is not None:
        without = structs.replace(options, where=None, where_text=None)
        yield structs.replace(action, options=without), f"without `where {options.where_text}`"
    if options.by not in ((("order", 1.0),), DEFAULT_OPTIONS.by):
        ordered = structs.replace(options, by=(("order", 1.0),))
        yield structs.replace(action, options=ordered), f"`by {options.by[0][0]}` made `by order`"
    if options.retry != DEFAULT_OPTIONS.retry:
        more = structs.replace(options, retry=options.retry + 1)
        yield structs.replace(action, options=more), f"`retry {options.retry}` made `retry {options.retry + 1}`"
    if options.escalate is not None:
        yield structs.replace(action, options=structs.replace(options, escalate=None)), "without `escalate`"
