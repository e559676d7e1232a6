"""The plan of one request: the deciding rule, which endpoints it leaves, and in which order they are tried.

Order of the attempts: targets as written; inside a target its endpoints in the order of `by` or `sticky`.
Out of the plan is what a guard, `where`, the context size or an unsupported feature excludes. An endpoint
out of service stays, but comes after every endpoint in service of every target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from router_dsl.fields import DEFAULT_OUTPUT_TOKENS
from router_dsl.plan import Call, Endpoints, Options, Policy, Reject, Requested, Rule, Split, Use
from runtime.decision import ordering, suitable
from runtime.decision.book import Book, Facts
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


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint (index into the program's) of the plan, and the place of its target in the chain."""

    endpoint: int
    target: int


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An endpoint of the rule's targets that may not be used, and what forbids it."""

    endpoint: int
    by: str


@dataclass(frozen=True, slots=True)
class Step:
    """One decision on the way: the policy asked and the index of the rule that decided."""

    policy: Policy
    index: int

    @property
    def rule(self) -> Rule:
        """The rule that decided."""
        return self.policy.rules[self.index]


@dataclass(frozen=True, slots=True)
class Route:
    """What is to be done with one request.

    Attributes:
        steps: The first is the policy asked; further ones are policies that it called.
        candidates: In the order they are preferred.
        attempts: Endpoint indices in the exact order of the attempts, repeats included, hedges and escalations not.
        options: Those of the deciding rule.
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

    @property
    def policy(self) -> str:
        """Name of the policy asked."""
        return self.steps[0].policy.name

    @property
    def rule(self) -> Rule:
        """The rule of that policy that decided."""
        return self.steps[0].rule


@dataclass(slots=True)
class _Group:
    """One target after exclusion: its endpoints in order, in service first decided later."""

    endpoints: list[int]
    retry: int


@dataclass(slots=True)
class _Search:
    """The work on one request: what has been found so far."""

    book: Book
    facts: Facts
    state: State
    draw: ordering.Draw
    forbidden: dict[int, str]
    steps: list[Step] = field(default_factory=list)
    groups: list[_Group] = field(default_factory=list)
    excluded: dict[int, str] = field(default_factory=dict)
    asked_unknown: bool = False

    def decide(self, name: str) -> Rule:
        policy = self.book.policies[name]
        step = Step(policy, self.book.engines[name](self.facts))
        self.steps.append(step)
        return step.rule

    def add(self, use: Use, outer_where: Sequence[tuple[str, int]]) -> None:
        """Add the targets of an action, each narrowed by its own `where` and those of the rules that called it."""
        here = self.steps[-1]
        wheres = (*outer_where, (here.policy.name, here.index))
        for target in use.targets:
            match target:
                case Call():
                    rule = self.decide(target.policy)
                    if isinstance(rule.action, Use):
                        self.add(rule.action, wheres)
                case Split():
                    arm = self._arm(target)
                    self._add_plain(arm, use.options, wheres)
                case _:
                    self._add_plain(target, use.options, wheres)

    def _arm(self, split: Split) -> Endpoints | Requested:
        key = self.facts[split.by]
        shares = [share for share, _ in split.shares]
        draw = self.draw if key is None else ordering.Draw(ordering.unit_hash(str(key)))
        return split.shares[draw.pick(shares)][1]

    def _add_plain(self, target: Endpoints | Requested, options: Options, wheres: Sequence[tuple[str, int]]) -> None:
        named = self.book.stands_for(target, self.facts)
        if isinstance(target, Requested) and not named:
            self.asked_unknown = True
        fit = [e for e in dict.fromkeys(named) if self._fits(e, wheres)]
        if fit:
            self.groups.append(_Group(self._in_order(fit, options), options.retry))

    def _fits(self, endpoint: int, wheres: Sequence[tuple[str, int]]) -> bool:
        reason = self.forbidden.get(endpoint)
        for policy, index in wheres:
            where = self.book.where(policy, index)
            if reason is None and where is not None and not self._admits(where.refused, where.test, endpoint):
                reason = where.text
        if reason is not None:
            self.excluded.setdefault(endpoint, reason)
        return reason is None

    def _admits(self, refused: frozenset[int], test: suitable.Test | None, endpoint: int) -> bool:
        if test is None:
            return endpoint not in refused
        return test(suitable.measured_facts(self.book.fixed[endpoint], endpoint, self.state)) is not False

    def _in_order(self, fit: list[int], options: Options) -> list[int]:
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
    search = _Search(book, facts, state, ordering.Draw(draw), _forbidden(book, facts, state))
    rule = search.decide(name)
    if isinstance(rule.action, Use):
        search.add(rule.action, ())
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
    for endpoint in book.unconfigured:
        key = book.program.providers[book.endpoints[endpoint].provider].key_env
        forbidden.setdefault(endpoint, f"no key: {key} is not set" if key else "no key")
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
    attempts, candidates = _sequence(search.groups, search.state)
    excluded = tuple(Exclusion(e, by) for e, by in search.excluded.items())
    steps = tuple(search.steps)
    last = steps[-1].rule.action
    if attempts:
        first = steps[0].rule.action
        # A rule that does nothing but call a policy leaves the whole request to it.
        own = next((step.rule.action for step in steps if not _only_calls(step.rule)), first)
        options = own.options if isinstance(own, Use) else None
        return Route(steps, candidates, excluded, attempts, options)
    if isinstance(last, Reject):
        message = last.message or f"rejected by rule {steps[-1].rule.label}"
        return Route(steps, (), excluded, (), None, "rejected", last.status, message)
    if not excluded and search.asked_unknown:
        message = f"the model `{search.facts['model']}` is not served here"
        return Route(steps, (), (), (), None, "model_not_found", 404, message)
    reasons = ", ".join(dict.fromkeys(search.excluded.values()))
    message = f"no endpoint is left for rule {steps[-1].rule.label}" + (f": {reasons}" if reasons else "")
    return Route(steps, (), excluded, (), None, "no_endpoints", 404, message)


def _only_calls(rule: Rule) -> bool:
    return isinstance(rule.action, Use) and all(isinstance(target, Call) for target in rule.action.targets)


def _sequence(groups: Sequence[_Group], state: State) -> tuple[tuple[int, ...], tuple[Candidate, ...]]:
    """Return the attempts in order and the candidates in order of preference.

    Each target has 1 + retry attempts, on different endpoints as long as it has them. Those in service come
    first, target by target; what is out of service comes after all of them, with the attempts that are left.
    """
    attempts: list[int] = []
    late: list[int] = []
    candidates: list[Candidate] = []
    candidates_late: list[Candidate] = []
    seen: set[int] = set()
    tried: set[int] = set()
    for place, group in enumerate(groups):
        serving = [state.in_service(e) for e in group.endpoints]
        for endpoint, serves in zip(group.endpoints, serving, strict=True):
            if endpoint not in seen:
                seen.add(endpoint)
                (candidates if serves else candidates_late).append(Candidate(endpoint, place))
        fresh = [(e, s) for e, s in zip(group.endpoints, serving, strict=True) if e not in tried]
        up = [e for e, serves in fresh if serves]
        down = [e for e, serves in fresh if not serves]
        budget = group.retry + 1 if fresh else 0
        now = max(min(len(up), budget), budget - len(down)) if up else 0
        attempts += [up[i % len(up)] for i in range(now)]
        late += [down[i % len(down)] for i in range(budget - now)]
        tried.update(attempts, late)
    return tuple(attempts + late), tuple(candidates + candidates_late)
