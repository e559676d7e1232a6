"""What is certain between the tokens of a request: all of them are the prompt's plus the answer's limit, or 1024."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from router_dsl.analyse.attribute import MISSING, Attribute
from router_dsl.fields import DEFAULT_OUTPUT_TOKENS

if TYPE_CHECKING:
    from router_dsl.analyse.space import Space

PROMPT, OUTPUT, WHOLE = "prompt.tokens", "output.tokens", "request.tokens"

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
    """Give, for each way of choosing classes that fit together, the fewest tokens of prompt and answer in them."""
    for prompt, output, whole in _stretches(space, box, real=real):
        if prompt is None:
            yield None, None
            continue
        answers = (DEFAULT_OUTPUT_TOKENS, DEFAULT_OUTPUT_TOKENS) if output is None else output
        least = max(whole[0], prompt[0] + answers[0])
        if least <= min(whole[1], prompt[1] + answers[1]):
            first = min(prompt[1], max(prompt[0], least - answers[1]))
            yield int(first), None if output is None else int(max(answers[0], least - first))


def most(
    space: Space, box: Mapping[int, int], *, context: float, answer: float
) -> Iterator[tuple[Stretch, Stretch, Stretch, bool]]:
    """Give stretches (prompt, answer, together) of real requests in a box that fit into a context.

    The answer's is what the provider may write: what the client allows, at most `answer` tokens, at most what the
    context leaves. The last item says whether the client sets a limit.
    """
    for prompt, output, whole in _stretches(space, box, real=True):
        if prompt is None:
            continue
        together = whole[0], min(whole[1], context)
        if output is None:
            low, high = together[0] - DEFAULT_OUTPUT_TOKENS, together[1] - DEFAULT_OUTPUT_TOKENS
            prompt = max(prompt[0], low), min(prompt[1], high)
            if prompt[0] <= prompt[1]:
                yield prompt, (0, answer), (0, context), False
        elif max(together[0], prompt[0] + output[0]) <= min(together[1], prompt[1] + output[1]):
            yield prompt, (output[0], output[1]), together, True


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
