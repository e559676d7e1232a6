"""Witnesses made and confirmed: a request is written, decided by the code that serves, and made small."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from handlers.asking import Parts, UnsayableError, requested
from handlers.cli import facts_said
from handlers.cli.request_file import RequestFileError, Written
from router_dsl import interpret
from router_dsl.analyse.witness import Ask, Request, Seen
from router_dsl.analyse.witness import Facts as SomeFacts
from router_dsl.plan import FORMAT, Certificate, Plan, Program, Requested, Scalar, Split, Target, Use
from runtime.decision.book import Book
from runtime.decision.explain import answer_cost_nusd, record
from runtime.decision.facts import Facts
from runtime.decision.naming import WishError
from runtime.decision.rehearsal import Scripted
from runtime.decision.route import Route, UnknownPolicyError, route

DRAWS = (0.0, 0.999, 0.5, 0.25, 0.75)
"""Random numbers that a request is tried with, besides one in every arm of a split."""

_MOST_DRAWS = 32


@dataclass(slots=True)
class Requests:
    """Requests to one program, decided as its rules mean, by the code that serves otherwise."""

    program: Program
    _book: Book | None = field(default=None, repr=False)
    _draws: tuple[float, ...] = ()

    def of(self, policy: str) -> Ask:
        """Return what makes requests to one policy."""
        return partial(self._ask, policy)

    def _ask(self, policy: str, facts: SomeFacts, claim: Callable[[Seen], bool]) -> Request | None:
        def holds(parts: Parts) -> bool:
            seen = self.seen(parts)
            return seen is not None and claim(seen)

        for parts in self.candidates(policy, facts):
            if holds(parts):
                return smaller(parts, holds)
        return None

    def candidates(self, policy: str, facts: SomeFacts) -> Iterator[Parts]:
        """Give requests with these facts, one for each random number worth trying; none where no request has them."""
        try:
            parts = requested(self.program, policy, facts, self._tokens)
        except UnsayableError:
            return
        for draw in self.draws:
            yield {**parts, "random": draw} if draw else parts
        names = [model.name for model in self.program.models]
        body = parts["body"]
        if self._lists and isinstance(body, dict) and "model" in body:
            yield from ({**parts, "body": {**body, "models": names}, "random": draw} for draw in self.draws)

    @property
    def _lists(self) -> bool:
        """Whether it makes a difference which models a client lists behind the first."""
        return any(
            isinstance(arm, Requested)
            for target in _targets(self.program)
            for arm in ([arm for _, arm in target.shares] if isinstance(target, Split) else [target])
        )

    def _decided(self, parts: Request) -> tuple[Route, Facts] | None:
        try:
            written = Written(json.dumps(parts))
            given: dict[str, Scalar | None] = {} if written.names_model else {"model": None}
            given.update(facts_said.fact(self.program, f"{name}={value}") for name, value in written.said.items())
            facts = Facts(written.call, self.program, Scripted(), given)
            return route(self.book, None, facts, Scripted(), written.draw), facts
        except (RequestFileError, facts_said.SaidError, UnknownPolicyError, WishError):
            return None

    def told(self, parts: Request) -> dict[str, object]:
        """Return what becomes of a request that some rule decides, as `explain` tells it, but shorter."""
        decided = self._decided(parts)
        assert decided is not None
        told = record(self.book, *decided)
        return {name: value for name, value in told.items() if name not in ("skipped", "facts", "file")}

    def cost_nusd(self, parts: Request) -> int | None:
        """Return what one answer costs at the dearest endpoint of the plan, in nano-dollars; None if unknown."""
        decided = self._decided(parts)
        return None if decided is None else answer_cost_nusd(self.book, *decided)

    def seen(self, parts: Request) -> Seen | None:
        """Return what becomes of a request, None when it is refused before any rule is asked."""
        decided = self._decided(parts)
        if decided is None:
            return None
        found, facts = decided
        return Seen(
            rules=tuple((step.policy.name, step.index) for step in found.steps),
            candidates=tuple(candidate.endpoint for candidate in found.candidates),
            attempts=found.attempts,
            escalation=found.escalation,
            shadow=found.shadow,
            options=found.options,
            why=found.why,
            status=found.status,
            message=found.message,
            facts=facts,
        )

    def _tokens(self, parts: Parts) -> int:
        written = Written(json.dumps(parts))
        count = Facts(written.call, self.program, Scripted())["prompt.tokens"]
        return int(count) if isinstance(count, int | float) else 0

    @property
    def book(self) -> Book:
        """The program, ready to decide; its engines are the meaning itself."""
        if self._book is None:
            plan = Plan(FORMAT, "", "", self.program, {}, Certificate("", 0, 0))
            engines = {policy.name: partial(interpret.decide, policy) for policy in self.program.policies}
            self._book = Book(plan, engines=engines)
        return self._book

    @property
    def draws(self) -> tuple[float, ...]:
        """Random numbers worth trying."""
        if not self._draws:
            arms = {
                middle for split in _targets(self.program) if isinstance(split, Split) for middle in _middles(split)
            }
            self._draws = tuple(dict.fromkeys([*DRAWS, *sorted(arms)]))[:_MOST_DRAWS]
        return self._draws


def smaller(parts: Parts, holds: Callable[[Parts], bool]) -> Parts:
    """Return a request without what it does not need for something to hold of it."""
    again = True
    while again:
        again = False
        for less in _without_one(parts):
            if holds(less):
                parts, again = less, True
                break
    return parts


def _targets(program: Program) -> Iterator[Target]:
    for policy in program.policies:
        for rule in policy.rules:
            if isinstance(rule.action, Use):
                yield from rule.action.targets


def _middles(split: Split) -> Iterator[float]:
    whole, start = sum(share for share, _ in split.shares), 0.0
    for share, _ in split.shares:
        yield round((start + share / 2) / whole, 6)
        start += share


def _without_one(parts: Parts) -> Iterator[Parts]:
    """Give the request with one thing less: a part, an entry of a part, an entry of the metadata."""
    for name, part in parts.items():
        if name != "body":  # a request without a model is none
            yield {key: value for key, value in parts.items() if key != name}
        if isinstance(part, dict):
            for entry, inner in part.items():
                if (name, entry) != ("body", "model"):
                    yield {**parts, name: {key: value for key, value in part.items() if key != entry}}
                if isinstance(inner, list) and entry == "models":
                    for place in range(len(inner)):
                        yield {**parts, name: {**part, entry: inner[:place] + inner[place + 1 :]}}
                if isinstance(inner, dict) and entry == "metadata":
                    for one in inner:
                        rest = {key: value for key, value in inner.items() if key != one}
                        yield {**parts, name: {**part, entry: rest}}
