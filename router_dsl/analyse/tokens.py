"""What is certain between the tokens of a request: all of them are the prompt's plus the answer's limit, or 1024."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from router_dsl.analyse.attribute import MISSING, Attribute
from router_dsl.fields import DEFAULT_OUTPUT_TOKENS

if TYPE_CHECKING:
    from router_dsl.analyse.space import Space

PROMPT, OUTPUT, WHOLE = "prompt.tokens", "output.tokens", "request.tokens"

USUAL = 8
"""Tokens of the prompt that says `Hello`."""

Stretch = tuple[float, float]
"""The least and the greatest whole number of some classes."""

Solution = tuple[int | None, int | None]
"""Tokens of the prompt (None: missing), and the limit of the answer (None: none said)."""


def solution(space: Space, box: Mapping[int, int], *, real: bool) -> Solution | None:
    """Return tokens of prompt and answer that a box admits, the fewest first; None when there are none."""
    if WHOLE not in space.number:
        return 0, None
    return next(solutions(space, box, real=real), None)


def solutions(space: Space, box: Mapping[int, int], *, real: bool) -> Iterator[Solution]:
    """Give, for each way of choosing classes that fit together, the fewest usual tokens in them."""
    for prompt, output, whole in _stretches(space, box, real=real):
        if prompt is None:
            yield None, None
            continue
        answers = (DEFAULT_OUTPUT_TOKENS, DEFAULT_OUTPUT_TOKENS) if output is None else output
        least = max(whole[0], prompt[0] + answers[0])
        if least <= min(whole[1], prompt[1] + answers[1]):
            first = min(prompt[1], whole[1] - answers[0], max(prompt[0], USUAL, least - answers[1]))
            yield int(first), None if output is None else int(max(answers[0], least - first))


@dataclass(frozen=True, slots=True)
class Amounts:
    """Between which numbers the tokens of some requests lie; `output` is None where the client sets no limit."""

    prompt: Stretch
    output: Stretch | None
    together: Stretch

    def output_with(self, prompt: float) -> float | None:
        """Return the highest limit for an answer that goes with a prompt, None where there is none.

        Raises:
            ValueError: No limit goes with it.
        """
        if self.output is None:
            if not self.together[0] <= prompt + DEFAULT_OUTPUT_TOKENS <= self.together[1]:
                raise ValueError
            return None
        found = min(self.output[1], self.together[1] - prompt)
        if found < max(self.output[0], self.together[0] - prompt):
            raise ValueError
        return found

    def turns(self, contexts: Iterable[float]) -> list[float]:
        """Return the prompts among which the dearest is, the shortest first: cost is straight between them."""
        low, high = self.prompt
        ends = [self.together[0], self.together[1]]
        answers = (DEFAULT_OUTPUT_TOKENS,) * 2 if self.output is None else self.output
        found = {low, high, *(end - answer for end in ends for answer in answers), *contexts}
        return sorted(turn for turn in found if low <= turn <= high and turn < inf)


def amounts(space: Space, box: Mapping[int, int], context: float) -> Iterator[Amounts]:
    """Give the tokens of requests over the wire that are in a box and fit into a context."""
    for prompt, output, whole in _stretches(space, box, real=True):
        if prompt is not None:
            together = whole[0], min(whole[1], context)
            answers = (DEFAULT_OUTPUT_TOKENS,) * 2 if output is None else output
            low = max(prompt[0], together[0] - answers[1])
            high = min(prompt[1], together[1] - answers[0])
            if low <= high:
                yield Amounts((low, high), output, together)


def _stretches(
    space: Space, box: Mapping[int, int], *, real: bool
) -> Iterator[tuple[Stretch | None, Stretch | None, Stretch]]:
    """Give every choice of a stretch for prompt, answer and both together; None for what is missing."""
    for prompt in _classes(space, box, PROMPT, real=real):
        for output in _classes(space, box, OUTPUT, real=real):
            for whole in _classes(space, box, WHOLE, real=real):
                if prompt is None and whole is None:
                    yield None, output, (0, 0)
                elif prompt is not None and whole is not None:
                    yield prompt, output, whole


def _classes(space: Space, box: Mapping[int, int], fact: str, *, real: bool) -> list[Stretch | None]:
    """Return the stretches of a fact that a box leaves, neighbours joined, what is missing first."""
    number = space.number.get(fact)
    if number is None:
        unasked: list[Stretch | None] = [] if real and fact != OUTPUT else [None]
        return [*unasked, (1.0 if fact == OUTPUT else 3.0 if real else 0.0, float("inf"))]
    axis = space.axes[number]
    assert isinstance(axis, Attribute)
    mask = box.get(number, space.full[number]) & (space.real[number] if real else space.full[number])
    found: list[Stretch | None] = [None] if mask >> MISSING & 1 else []
    for index in range(1, len(axis.values)):
        if mask >> index & 1:
            low, high = axis.whole_range(index, real=real)
            if low > high:
                continue
            last = found[-1] if found else None
            if last is not None and last[1] + 1 >= low:
                found[-1] = (last[0], high)
            else:
                found.append((low, high))
    return found
