"""The plan of one request: the deciding rule, which endpoints it leaves, and in which order they are tried.

Order of the attempts: targets as written; inside a target its endpoints in the order of `by` or `sticky`.
Out of the plan is what a guard, `where`, the context size or an unsupported feature excludes. An endpoint
out of service stays, but comes after every endpoint in service of every target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from router_dsl.fields import DEFAULT_OUTPUT_TOKENS
from router_dsl.plan import Call, Endpoints, Options, Policy, Reject, Requested, Rule, Split
from runtime.decision import ordering, suitable
from runtime.decision.book import Book, ReadyTarget, ReadyUse, ReadyWhere
from runtime.decision.facts import Facts
from runtime.decision.state import State

Why = Literal["rejected", "no_endpoints", "model_not_found"]

# What a request needs of an endpoint that says what it supports: fact, the value that needs nothing, feature.
NEEDS = (
    ("tools", 0, "tools"),
    ("json", "none", "json"),
    ("images", 0, "vision"),
    ("audio", 0, "audio"),
    ("files", 0, "files"),
)


class UnknownPolicyError(LookupError):
    """The client or a caller asked for a policy that the plan does not have."""


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """An endpoint (index into the program's) of the plan, and the place of its target in the chain."""

    endpoint: int
    target: int


class Exclusion(msgspec.Struct, frozen=True, gc=False):
    """An endpoint of the rule's targets that may not be used, and what forbids it."""

    endpoint: int
    by: str


class Step(msgspec.Struct, frozen=True):
    """One decision on the way: the policy asked and the index of the rule that decided."""

    policy: Policy
    index: int

    @property
    def rule(self) -> Rule:
        """The rule that decided."""
        return self.policy.rules[self.index]


class Route(msgspec.Struct, frozen=True):
    """What is to be done with one request.

    Attributes:
        steps: The first is the policy asked; further ones are policies that it called.
        candidates: In the order they are preferred.
        attempts: Endpoint indices in the exact order of the attempts, repeats included, hedges and escalations not.
        options: Those of the deciding rule.
        escalation: As `attempts`, for asking the stronger model of `escalate`; empty without one.
        shadow: Endpoints that may be sent a copy, best first; empty without a `shadow`.
        why: Why there is nothing to try, else None.
        status, message: Of a rejection; 0 and empty otherwise.
    """

    steps: tuple[Step, ...]
    candidates: tuple[Candidate, ...]
    excluded: tuple[Exclusion, ...]
    attempts: tuple[int, ...]
    options: Options | None
    why: Why | None = None
    status: int = 0
    message: str = ""
    escalation: tuple[int, ...] = ()
    shadow: tuple[int, ...] = ()

    @property
    def policy(self) -> str:
        """Name of the policy asked."""
        return self.steps[0].policy.name

    @property
    def rule(self) -> Rule:
        """The rule of that policy that decided."""
        return self.steps[0].rule


Group = tuple[Sequence[int], int]
"""One target after exclusion: its endpoints in the order of its rule, and the attempts it may make."""


class _Search:
    """The work on one request: what has been found so far."""

    __slots__ = (
        "asked_unknown", "book", "draw", "excluded", "facts", "forbidden", "groups", "lead", "outer", "state", "steps",
    )  # fmt: skip

    def __init__(self, book: Book, facts: Facts, state: State, draw: float) -> None:
        self.book = book
        self.facts = facts
        self.state = state
        self.draw = ordering.Draw(draw)
        self.forbidden = _forbidden(book, facts, state)
        self.steps: list[Step] = []
        self.groups: list[Group] = []
        self.excluded: dict[int, str] = {}
        self.asked_unknown = False
        # The action whose options hold for the whole request: the first with a target of its own, since a rule that
        # does nothing but call a policy leaves the request to it; and the `where` of the rules that called it.
        self.lead: ReadyUse | None = None
        self.outer: tuple[ReadyWhere, ...] = ()

    def decide(self, name: str, outer: tuple[ReadyWhere, ...] = ()) -> None:
        """Ask a policy and add what its rule uses, narrowed by the `where` of the rules that called it."""
        index = self.book.engines[name](self.facts)
        self.steps.append(Step(self.book.policies[name], index))
        use = self.book.use(name, index)
        if use is None:
            return
        for target in use.targets:
            match target:
                case ReadyTarget():
                    self.add(target, use, outer)
                case Call():
                    self.decide(target.policy, outer if use.where is None else (*outer, use.where))
                case _:
                    self.add(self._plain(target, use), use, outer)

    def _plain(self, target: Requested | Split, use: ReadyUse) -> ReadyTarget:
        named = self._arm(target) if isinstance(target, Split) else target
        if isinstance(named, Endpoints):
            return self.book.plain(named.endpoints, use)
        endpoints = self.book.named(self.facts["model"])
        if not endpoints:
            self.asked_unknown = True
        return self.book.plain(endpoints, use)

    def _arm(self, split: Split) -> Endpoints | Requested:
        key = self.facts[split.by]
        draw = self.draw if key is None else ordering.Draw(ordering.unit_hash(str(key)))
        return split.shares[draw.pick([share for share, _ in split.shares])][1]

    def add(self, target: ReadyTarget, use: ReadyUse, outer: tuple[ReadyWhere, ...]) -> None:
        """Add a target: what is left of it, in its order."""
        if self.lead is None:
            self.lead, self.outer = use, outer
        fit = self.fit(target, use, outer)
        if fit:
            self.groups.append((fit, use.options.retry + 1))

    def fit(self, target: ReadyTarget, use: ReadyUse, outer: tuple[ReadyWhere, ...]) -> Sequence[int]:
        """Return what is left of a target, in its order."""
        where = use.where
        for endpoint, reason in target.refused:
            self.excluded.setdefault(endpoint, self.forbidden.get(endpoint, reason))
        narrowed = bool(self.forbidden or outer or (where is not None and where.test is not None))
        fit: Sequence[int] = target.fit
        if narrowed:
            fit = [e for e in fit if self._admits(e, outer if where is None else (*outer, where))]
        if target.settled is None:
            return self._in_order(fit, use.options) if fit else ()
        return [e for e in target.settled if e in fit] if narrowed else target.settled

    def aside(self, target: Endpoints, most: int) -> tuple[tuple[int, ...], tuple[Candidate, ...]]:
        """Return attempts, `most` at most, and candidates for what runs besides the plan, under the same conditions."""
        assert self.lead is not None
        fit = self.fit(self.book.plain(target.endpoints, self.lead), self.lead, self.outer)
        return _sequence([(fit, most)], self.state) if fit else ((), ())

    def _admits(self, endpoint: int, wheres: Sequence[ReadyWhere]) -> bool:
        reason = self.forbidden.get(endpoint)
        if reason is None:
            for where in wheres:
                if endpoint in where.refused or (where.test is not None and self._fails(where.test, endpoint)):
                    reason = where.text
                    break
        if reason is not None:
            self.excluded.setdefault(endpoint, reason)
        return reason is None

    def _fails(self, test: suitable.Test, endpoint: int) -> bool:
        return test(suitable.measured_facts(self.book.fixed[endpoint], endpoint, self.state)) is False

    def _in_order(self, fit: Sequence[int], options: Options) -> list[int]:
        table = self.book.endpoints
        ordered = ordering.order(fit, options.by, self.cost, table, self.state, self.draw)
        if options.sticky is not None and (key := self.facts[options.sticky]) is not None:
            return ordering.rendezvous(str(key), ordered, table)
        if options.prefer_cache and (key := _cache_key(self.facts)):
            # A cached read must be worth something: cheaper than a fresh one, or unpriced.
            warm = [e for e in ordered if _caches(table[e].price_cached, table[e].price_in)]
            return ordering.rendezvous(key, warm, table) + [e for e in ordered if e not in warm]
        return ordered

    def cost(self, endpoint: int) -> float | None:
        """Estimated cost of this request, in nano-dollars times a million; None when unpriced."""
        entry = self.book.endpoints[endpoint]
        if entry.price_in is None or entry.price_out is None:
            return None
        prompt, output = self.facts["prompt.tokens"], self.facts["output.tokens"]
        answer = DEFAULT_OUTPUT_TOKENS if output is None else output
        return float(prompt or 0) * entry.price_in + float(answer) * entry.price_out


def route(book: Book, policy: str | None, facts: Facts, state: State, draw: float) -> Route:
    """Return the plan of one request.

    Args:
        policy: Name of the policy, None for the default, or for the one the client names with `model: "@NAME"`.
        draw: The request's one random number, in [0, 1).

    Raises:
        UnknownPolicyError: There is no such policy.
    """
    name = policy if policy is not None else _selected(book, facts)
    if name not in book.policies:
        raise UnknownPolicyError(name)
    search = _Search(book, facts, state, draw)
    search.decide(name)
    return _concluded(search)


def _selected(book: Book, facts: Facts) -> str:
    asked = facts["model"]
    return asked[1:] if isinstance(asked, str) and asked.startswith("@") else book.default


def _forbidden(book: Book, facts: Facts, state: State) -> dict[int, str]:
    """Return the endpoints that no rule may use for this request, and why."""
    forbidden: dict[int, str] = {}
    for guard in book.guards:
        if not guard.applies(facts):
            continue
        refused = guard.refused if guard.test is None else _refused_now(book, guard.test, state)
        for endpoint in refused:
            forbidden.setdefault(endpoint, f"guard {guard.name}")
    if book.smallest_context is not None:
        _forbid_small(book, facts, forbidden)
    if book.says_features:
        _forbid_unable(book, facts, forbidden)
    return forbidden


def _refused_now(book: Book, test: suitable.Test, state: State) -> list[int]:
    return [
        endpoint
        for endpoint, fixed in enumerate(book.fixed)
        if test(suitable.measured_facts(fixed, endpoint, state)) is False
    ]


def _forbid_small(book: Book, facts: Facts, forbidden: dict[int, str]) -> None:
    if facts.request_tokens_at_most() <= (book.smallest_context or 0):
        return
    tokens = facts["request.tokens"]
    if not isinstance(tokens, int | float) or tokens <= (book.smallest_context or 0):
        return
    for index, endpoint in enumerate(book.endpoints):
        if endpoint.context is not None and tokens > endpoint.context:
            forbidden.setdefault(index, f"context {endpoint.context} < {tokens:.0f} tokens")


def _forbid_unable(book: Book, facts: Facts, forbidden: dict[int, str]) -> None:
    needed = [feature for fact, nothing, feature in NEEDS if facts[fact] not in (None, nothing)]
    if not needed:
        return
    for index, endpoint in enumerate(book.endpoints):
        if endpoint.supports is not None:
            lacking = [feature for feature in needed if feature not in endpoint.supports]
            if lacking:
                forbidden.setdefault(index, f"supports no {', '.join(lacking)}")


def _caches(price_cached: int | None, price_in: int | None) -> bool:
    return price_cached is None or price_in is None or price_cached < price_in


def _cache_key(facts: Facts) -> str | None:
    """Return what prompts that share a cached prefix have in common: the session, else how the prompt begins."""
    session = facts["session"]
    if session is not None:
        return f"session {session}"
    system, text = facts["prompt.system"], facts["prompt.text"]
    start = system or text
    # 1 KiB: about the 256 tokens below which no provider caches a prefix.
    return f"prefix {str(start)[:1024]}" if start else None


def _concluded(search: _Search) -> Route:
    steps = tuple(search.steps)
    if search.groups:
        assert search.lead is not None
        options = search.lead.options
        attempts, candidates = _sequence(search.groups, search.state)
        escalation: tuple[int, ...] = ()
        shadow: tuple[int, ...] = ()
        if options.escalate is not None:
            escalation, _ = search.aside(options.escalate.target, options.retry + 1)
        if options.shadow is not None:
            shadow = tuple(candidate.endpoint for candidate in search.aside(options.shadow.target, 1)[1])
        excluded = _exclusions(search)
        return Route(steps, candidates, excluded, attempts, options, escalation=escalation, shadow=shadow)
    excluded = _exclusions(search)
    last = steps[-1].rule
    if isinstance(last.action, Reject):
        message = last.action.message or f"rejected by rule {last.label}"
        return Route(steps, (), excluded, (), None, "rejected", last.action.status, message)
    if not excluded and search.asked_unknown:
        asked = search.facts["model"]
        message = "the request names no model" if asked is None else f"the model `{asked}` is not served here"
        return Route(steps, (), (), (), None, "model_not_found", 404, message)
    reasons = ", ".join(dict.fromkeys(search.excluded.values()))
    message = f"no endpoint is left for rule {last.label}" + (f": {reasons}" if reasons else "")
    return Route(steps, (), excluded, (), None, "no_endpoints", 404, message)


def _exclusions(search: _Search) -> tuple[Exclusion, ...]:
    return tuple([Exclusion(e, by) for e, by in search.excluded.items()]) if search.excluded else ()


def _sequence(groups: Sequence[Group], state: State) -> tuple[tuple[int, ...], tuple[Candidate, ...]]:
    """Return the attempts in order and the candidates in order of preference.

    Each target has 1 + retry attempts, on different endpoints as long as it has them. Those in service come
    first, target by target; what is out of service comes after all of them, with the attempts that are left.
    An endpoint that an earlier target tries, or lists, does not come again.
    """
    attempts: list[int] = []
    late: list[int] = []
    candidates: list[Candidate] = []
    candidates_late: list[Candidate] = []
    listed: set[int] = set()
    for place, (endpoints, budget) in enumerate(groups):
        up: list[int] = []
        down: list[int] = []
        for endpoint in endpoints:
            serves = state.in_service(endpoint)
            if endpoint not in listed:
                listed.add(endpoint)
                (candidates if serves else candidates_late).append(Candidate(endpoint, place))
            if not place or (endpoint not in attempts and endpoint not in late):
                (up if serves else down).append(endpoint)
        if not up and not down:
            continue
        now = max(min(len(up), budget), budget - len(down)) if up else 0
        attempts += up[:now] if now <= len(up) else [up[i % len(up)] for i in range(now)]
        late += [down[i % len(down)] for i in range(budget - now)]
    return tuple(attempts + late), tuple(candidates + candidates_late)
