"""From a box of requests to the facts of one of them, and what a witness has to go through before it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from router_dsl.analyse import tokens
from router_dsl.analyse.attribute import MISSING, Attribute
from router_dsl.analyse.space import YES, Box, Probe, Space
from router_dsl.interpret import Value, holds
from router_dsl.plan import Atom, Options

Facts = dict[str, Value]
Request = Mapping[str, object]
"""A request as `explain --request` takes it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a request; endpoints are indices.

    Attributes:
        rules: Policy and rule index of each decision on the way.
        attempts: In order, repeats included; `escalation` and `shadow` likewise.
        options: Of the deciding rule, None for a rejection.
        why: Why nothing is tried, else None; `status` and `message` of a rejection.
        facts: All there are, by canonical name.
    """

    rules: tuple[tuple[str, int], ...]
    candidates: tuple[int, ...]
    attempts: tuple[int, ...]
    escalation: tuple[int, ...]
    shadow: tuple[int, ...]
    options: Options | None
    why: str | None
    status: int
    message: str
    facts: Mapping[str, Value]

    @property
    def endpoints(self) -> frozenset[int]:
        """Every endpoint that may see the request."""
        return frozenset((*self.candidates, *self.attempts, *self.escalation, *self.shadow))


Ask = Callable[[Facts, Callable[[Seen], bool]], "Request | None"]
"""Gives the smallest request found that has these facts and of which the claim holds, None without one."""


class Oracle(Protocol):
    """Makes requests and lets the code that serves decide them."""

    def of(self, policy: str) -> Ask:
        """Return what makes requests to one policy."""
        ...


MOST_TRIED = 24
"""Boxes from which a request is made before giving up."""


def witness(space: Space, boxes: Iterable[Box], ask: Ask, claim: Callable[[Seen], bool]) -> tuple[Request | None, bool]:
    """Return a request from one of the boxes of which the claim holds, and whether there was any box to try.

    Args:
        space: That of the boxes.
        boxes: Parts of the space; what no request over the wire can bring is passed over.
        ask: Confirms every request.
        claim: What it must show.
    """
    tried = 0
    for box in boxes:
        real = space.realistic(box)
        if real is None:
            continue
        for facts in samples(space, real):
            tried += 1
            found = ask(facts, claim)
            if found is not None:
                return found, True
            if tried >= MOST_TRIED:
                return None, True
        if not tried and space.is_possible(real, real=True):
            tried += 1  # there may be such a text, but none was found
    return None, tried > 0


_SOLUTIONS = 4


def samples(space: Space, box: Mapping[int, int]) -> Iterator[Facts]:
    """Give facts in a box, what is usual where the box leaves it; usual facts are left out."""
    facts: Facts = {}
    for number, axis in enumerate(space.axes):
        if not isinstance(axis, Attribute):
            continue
        probes = [
            (probe.atom, box[other] == YES)
            for other, probe in enumerate(space.axes)
            if isinstance(probe, Probe) and probe.fact == number and other in box and box[other] in (1, YES)
        ]
        if number not in box and not probes:
            continue
        mask = box.get(number, space.full[number]) & space.real[number]
        if not mask:
            return
        if probes and _is_usual(axis, mask, probes):
            continue
        if probes:
            found = _text(axis, mask, probes)
            if found is None:
                return
            facts[axis.fact] = found[0]
        elif not mask >> axis.baseline & 1 or axis.fact in _NO_BASELINE:
            facts[axis.fact] = _likeliest(axis, mask)
    yield from _with_tokens(space, box, facts)


def _is_usual(axis: Attribute, mask: int, probes: Sequence[tuple[Atom, bool]]) -> bool:
    """Whether what a request usually has of a text is in the mask and answers every question as wanted."""
    usual = {axis.fact: axis.values[axis.baseline]}
    return bool(mask >> axis.baseline & 1) and all(holds(atom, usual) == answer for atom, answer in probes)


_NO_BASELINE = ("prompt.tokens", "request.tokens", "output.tokens", "prompt.chars", "prompt.text", "prompt.last")
"""What the baseline's text has of these is for the tokenizer's estimate to say."""


def _likeliest(axis: Attribute, mask: int) -> Value:
    """Return a value of a mask: a present one if there is one, the usual one before others."""
    if mask >> axis.baseline & 1 and axis.baseline != MISSING:
        return axis.values[axis.baseline]
    return axis.values[axis.plainest(mask)]


def _with_tokens(space: Space, box: Mapping[int, int], facts: Facts) -> Iterator[Facts]:
    asked = [fact for fact in (tokens.PROMPT, tokens.OUTPUT, tokens.WHOLE) if space.number.get(fact) in box]
    if not asked:
        yield facts
        return
    for count, (prompt, output) in enumerate(tokens.solutions(space, box, real=True)):
        if count >= _SOLUTIONS:
            return
        found: Facts = {fact: value for fact, value in facts.items() if fact != tokens.WHOLE}
        found[tokens.OUTPUT] = output
        if prompt != tokens.USUAL:
            found[tokens.PROMPT] = prompt
        else:
            found.pop(tokens.PROMPT, None)
        yield found


# --- texts ------------------------------------------------------------------------------------------


def _text(axis: Attribute, mask: int, probes: Sequence[tuple[Atom, bool]]) -> tuple[Value] | None:
    """Return a value in the mask that answers every question as wanted, None when none was found."""
    wanted = [atom for atom, answer in probes if answer]
    ends = [str(atom.value) for atom in wanted if atom.op == "ends"]
    tail = max(ends, key=len, default="")
    middles = [str(atom.value) for atom in wanted if atom.op == "contains"]
    middles += [example for atom in wanted if atom.op == "matches" and (example := example_of(str(atom.value)))]
    for number in range(len(axis.values)):
        if not mask >> number & 1:
            continue
        base = axis.values[number]
        if base is None:
            tries: list[Value] = [None]
        else:
            start = axis.prefix(number) if axis.starts else ""
            tries = [base, *(start + text + tail for text in _joins(middles)), f"{base}{tail}"]
            tries += [f"{base} {text}{tail}" for text in _joins(middles)]
        for value in tries:
            facts = {axis.fact: value}
            if axis.class_of(value) == number and all(holds(atom, facts) == answer for atom, answer in probes):
                return (value,)
    return None


def _joins(parts: Sequence[str]) -> list[str]:
    if len(parts) < 2:
        return list(parts) or [""]
    return [*parts, "".join(parts), " ".join(parts), "\n".join(parts), " ".join(reversed(parts))]


def example_of(pattern: str) -> str | None:
    """Return a text that an RE2 pattern matches, None when none was found; the caller tries it."""
    try:
        # The standard library's own parser of a syntax that RE2's is nearly a part of; it has no public name.
        tree: Any = re._parser.parse(pattern)
        return _example(tree)
    except (re.error, RecursionError, ValueError, OverflowError, TypeError):
        return None


_CLASSES = {"CATEGORY_DIGIT": "0", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a", "CATEGORY_NOT_DIGIT": "a",
            "CATEGORY_NOT_SPACE": "a", "CATEGORY_NOT_WORD": " "}  # fmt: skip


def _example(tree: Any) -> str:
    return "".join(_example_of_part(str(op), value) for op, value in tree)


def _example_of_part(op: str, value: Any) -> str:
    match op:
        case "LITERAL":
            return chr(value)
        case "NOT_LITERAL":
            return "a" if value != ord("a") else "b"
        case "ANY":
            return "a"
        case "IN":
            return _member(value)
        case "BRANCH":
            return _example(value[1][0])
        case "SUBPATTERN":
            return _example(value[-1])
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return _example(value[2]) * int(value[0])
        case "AT":
            return ""
        case _:
            raise ValueError(op)


def _member(items: Any) -> str:
    named = [(str(op), value) for op, value in items]
    if named and named[0][0] == "NEGATE":
        refused = re.compile("|".join(re.escape(chr(v)) for op, v in named[1:] if op == "LITERAL") or r"(?!)")
        return next(char for char in "a0 -b.\n" if not refused.fullmatch(char))
    op, value = named[0]
    return chr(value) if op == "LITERAL" else chr(value[0]) if op == "RANGE" else _CLASSES[str(value)]
