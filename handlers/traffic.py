"""Requests that were: lines of the router's log, or records of facts, decided by two policies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from router_dsl.fields import DEFAULT_OUTPUT_TOKENS, FAMILIES, REQUEST
from router_dsl.plan import NANO, Program, Scalar
from runtime.decision.book import Book
from runtime.decision.facts import Facts
from runtime.decision.ordering import unit_hash
from runtime.decision.rehearsal import Scripted, baseline_call
from runtime.decision.route import Route, UnknownPolicyError, route

Given = Mapping[str, Scalar | None]

_OF_LOG = {
    "api": "api", "model": "model", "stream": "stream", "tenant": "tenant", "prompt_tokens": "prompt.tokens",
}  # fmt: skip
"""Fields of the router's log that are facts of the request."""


class TrafficError(ValueError):
    """A line that is no record of a request; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One request as it was recorded.

    Attributes:
        given: Its facts, as far as they were recorded.
        output: Tokens of its answer, None when that was not recorded.
        draw: A random number that is the same at every reading.
    """

    given: Given
    output: int | None
    draw: float


def read(lines: Iterable[str]) -> Iterator[Logged]:
    """Give the requests of a log; other events, and lines that no rule decided, are passed over.

    Raises:
        TrafficError: A line is neither an event of the log nor a record of facts.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event: object = json.loads(line)
        except json.JSONDecodeError as error:
            raise TrafficError(f"line {number} is not JSON: {error.msg.lower()}") from error
        if not isinstance(event, dict):
            raise TrafficError(f"line {number} is no object")
        found = _logged(cast("dict[str, object]", event), number)
        if found is not None:
            yield found


def _logged(event: dict[str, object], number: int) -> Logged | None:
    draw = unit_hash(str(event.get("request_id", number)))
    if "event" in event:
        if event["event"] != "request" or event.get("rule") is None:
            return None
        given = {fact: _scalar(event[name]) for name, fact in _OF_LOG.items() if event.get(name) is not None}
        facts = event.get("facts")
        given |= _facts(facts) if isinstance(facts, dict) else {}
        output = event.get("completion_tokens")
        return Logged(given, output if isinstance(output, int) else None, draw)
    facts = event.get("facts", event)
    if not isinstance(facts, dict) or not any(_is_fact(name) for name in facts):
        raise TrafficError(f"line {number} is neither an event of the log nor a record of facts")
    output = event.get("completion_tokens")
    return Logged(_facts(facts), output if isinstance(output, int) else None, draw)


def _facts(facts: Mapping[str, object]) -> dict[str, Scalar | None]:
    return {name: _scalar(value) for name, value in facts.items() if name != "completion_tokens"}


def _scalar(value: object) -> Scalar | None:
    return value if isinstance(value, str | int | float | bool) else None


def _is_fact(name: str) -> bool:
    return name in REQUEST or name.partition(".")[0] in FAMILIES


@dataclass(slots=True)
class Share:
    """Of some requests: how many, and what they cost at the first choice, in nano-dollars."""

    requests: int = 0
    before_nusd: float = 0.0
    after_nusd: float = 0.0

    def add(self, before_nusd: float, after_nusd: float) -> None:
        """Count one."""
        self.requests += 1
        self.before_nusd += before_nusd
        self.after_nusd += after_nusd

    def to_json(self, whole: int) -> dict[str, object]:
        """Return the share as `diff --json` prints it; `whole` is how many requests there were."""
        return {
            "requests": self.requests,
            "share": round(self.requests / whole, 6) if whole else 0.0,
            "cost_before_usd": round(self.before_nusd / NANO, 6),
            "cost_after_usd": round(self.after_nusd / NANO, 6),
        }


Steps = tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Replay:
    """Two policies on the same requests.

    Attributes:
        all: Every request; `changed` those whose decision changes, by the steps before and after.
        unpriced: Requests whose first choice has no price; they count as free.
    """

    before: Book
    after: Book
    all: Share = field(default_factory=Share)
    changed: dict[tuple[Steps, Steps], Share] = field(default_factory=dict)
    unpriced: int = 0

    def take(self, logged: Logged, is_change: Mapping[tuple[Steps, Steps], object]) -> None:
        """Decide one request twice.

        Args:
            logged: The request.
            is_change: The changes that were found, by the steps before and after.
        """
        before, after = self._route(self.before, logged), self._route(self.after, logged)
        if before is None or after is None:
            return
        costs = self._nusd(self.before, *before, logged), self._nusd(self.after, *after, logged)
        self.all.add(*costs)
        steps = _steps(before[0]), _steps(after[0])
        if steps in is_change or _differ(self.before, before[0], self.after, after[0]):
            self.changed.setdefault(steps, Share()).add(*costs)

    def _route(self, book: Book, logged: Logged) -> tuple[Route, Facts] | None:
        given = {"model": None, **_known(book.program, logged.given)}
        facts = Facts(baseline_call(), book.program, Scripted(), given)
        try:
            return route(book, None, facts, Scripted(), logged.draw), facts
        except UnknownPolicyError:
            return None

    def _nusd(self, book: Book, found: Route, facts: Facts, logged: Logged) -> float:
        if not found.attempts:
            return 0.0
        entry = book.endpoints[found.attempts[0]]
        if entry.price_in is None or entry.price_out is None:
            self.unpriced += 1
            return 0.0
        prompt, limit = facts["prompt.tokens"], facts["output.tokens"]
        asked = limit if isinstance(limit, int | float) else DEFAULT_OUTPUT_TOKENS
        output = logged.output if logged.output is not None else asked
        return ((prompt if isinstance(prompt, int | float) else 0) * entry.price_in + output * entry.price_out) / 1e6


def _known(program: Program, given: Given) -> dict[str, Scalar | None]:
    """Return the recorded facts; own facts whose source was recorded follow from it."""
    found = dict(given)
    for fact in program.facts:
        if fact.name not in found and fact.source in given:
            found[fact.name] = given[fact.source]
    return found


def _steps(found: Route) -> Steps:
    return tuple((step.policy.name, step.index) for step in found.steps)


def _differ(before: Book, older: Route, after: Book, newer: Route) -> bool:
    """Whether two plans try other endpoints, or answer otherwise."""
    ids = [
        [book.endpoints[index].id for index in (*found.attempts, *found.escalation, *found.shadow)]
        for book, found in ((before, older), (after, newer))
    ]
    return ids[0] != ids[1] or (older.why, older.status) != (newer.why, newer.status)
