"""The plan of one request: the deciding rule, which endpoints it leaves, and in which order they are tried.

Order of the attempts: targets as written; inside a target its endpoints in the order of `by` or `sticky`.
Out of the plan is what a guard, `where`, the context size or an unsupported feature excludes. An endpoint
out of service stays, but comes after every endpoint in service of every target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import msgspec

from router_dsl.fields import DEFAULT_OUTPUT_TOKENS
from router_dsl.plan import Call, Endpoints, Options, Policy, Reject, Requested, Rule, Split
from runtime.decision import ordering, suitable
from runtime.decision.book import Book, ReadyTarget, ReadyUse, ReadyWhere
from runtime.decision.facts import Facts
from runtime.decision.forbidden import forbidden
from runtime.decision.foreign import Foreign
from runtime.decision.state import Calm, State
from runtime.decision.wishes import Wishes, wishes_of

Why = Literal["rejected", "no_endpoints", "model_not_found", "context_length", "inexpressible"]


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
        explores: An endpoint that comes first only to find out how it is by now, or None.
        wishes: What the client wished of it, None when it only named a model.
        why: Why there is nothing to try, else None.
        status, message: Of a rejection; 0 and empty otherwise.
        param: The field of the body that no endpoint's interface can express, where that is why.
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
    wishes: Wishes | None = None
    explores: int | None = None
    param: str | None = None

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
        "asked_unknown", "book", "draw", "excluded", "explores", "facts", "forbidden", "foreign", "groups",
        "is_curious", "lead", "outer", "state", "steps", "wishes",
    )  # fmt: skip

    def __init__(
        self,
        book: Book,
        facts: Facts,
        state: State,
        draw: float,
        wishes: Wishes | None,
        barred: dict[int, str],
    ) -> None:
        self.book = book
        self.facts = facts
        self.state = state
        self.draw = ordering.Draw(draw)
        self.wishes = wishes
        self.forbidden = barred
        self.foreign = Foreign(book, facts)
        if wishes is not None:
            wishes.forbid(book.program, facts, self.forbidden)
        self.steps: list[Step] = []
        self.groups: list[Group] = []
        self.excluded: dict[int, str] = {}
        self.asked_unknown = False
        self.explores: int | None = None
        self.is_curious = True
        # The action whose options hold for the whole request: the first with a target of its own, since a rule that
        # does nothing but call a policy leaves the request to it; and the `where` of the rules that called it.
        self.lead: ReadyUse | None = None
        self.outer: tuple[ReadyWhere, ...] = ()

    def decide(self, name: str, outer: tuple[ReadyWhere, ...] = ()) -> None:
        """Ask a policy and add what its rule uses, narrowed by the `where` of the rules that called it."""
        self.follow(name, self.book.engines[name](self.facts), outer)

    def follow(self, name: str, index: int, outer: tuple[ReadyWhere, ...] = ()) -> None:
        """Add what a rule uses."""
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
                    named = self._arm(target) if isinstance(target, Split) else target
                    if isinstance(named, Endpoints):
                        self.add(self.book.plain(named.endpoints, use), use, outer)
                    elif self.wishes is None or len(self.wishes.named.models) < 2:
                        self.add(self._named(self.facts["model"], use), use, outer)
                    else:
                        self.add_listed(self.wishes, use, outer)

    def _named(self, model: object, use: ReadyUse) -> ReadyTarget:
        endpoints = self.book.named(model)
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
        if not fit:
            return
        if self.wishes is None:
            self.groups.append((fit, use.options.retry + 1))
        else:
            self._join([(fit, use.options.retry + 1)], self.wishes)

    def add_listed(self, wishes: Wishes, use: ReadyUse, outer: tuple[ReadyWhere, ...]) -> None:
        """Add the models that the client listed, in its order, as the one target that they are together.

        They share the attempts of that target: one for each model as far as they go, and what is left for the first.
        """
        if self.lead is None:
            self.lead, self.outer = use, outer
        fits = [self.fit(self._named(self.facts["model"], use), use, outer)]
        fits += [self._fit_alone(model, wishes, use, outer) for model in wishes.named.models[1:]]
        fits = [fit for fit in fits if fit]
        if wishes.is_pooled and fits:
            together = list(dict.fromkeys(endpoint for fit in fits for endpoint in fit))
            fits = [self._as_wished(self._in_order(together, use.options))]
        fits.sort(key=lambda fit: all(wishes.is_too_slow(endpoint, self.state) for endpoint in fit))
        attempts = use.options.retry + 1
        others = min(len(fits), attempts) - 1
        shares = [attempts - others, *[1] * others, *[0] * len(fits)]
        self._join(list(zip(fits, shares, strict=False)), wishes)

    def _fit_alone(self, model: str, wishes: Wishes, use: ReadyUse, outer: tuple[ReadyWhere, ...]) -> Sequence[int]:
        """Return what is left of a listed model; nothing where asking for it alone would be decided otherwise.

        Without this a list would open what the policy keeps closed: `when model == big and plan != pro -> reject 403`.
        """
        facts = self.facts.naming(model)
        target = self._named(model, use)
        for step in self.steps:
            index = self.book.engines[step.policy.name](facts)
            if index != step.index:
                reason = f"models: rule {step.policy.rules[index].label} decides for {model}"
                self._exclude(target.fit, reason)
                return ()
        mine, self.forbidden = self.forbidden, forbidden(self.book, facts, self.state)
        wishes.forbid(self.book.program, facts, self.forbidden)
        fit = self.fit(target, use, outer)
        self.forbidden = mine
        return fit

    def _join(self, groups: list[Group], wishes: Wishes) -> None:
        """Add groups that stand for one target."""
        if wishes.is_only_first:
            if self.groups:
                for endpoints, _ in groups:
                    self._exclude(endpoints, "provider.allow_fallbacks")
                return
            if not wishes.provider.order:
                groups = [(self._only_first(endpoints), attempts) for endpoints, attempts in groups]
        self.groups += groups

    def _only_first(self, endpoints: Sequence[int]) -> Sequence[int]:
        first = next((e for e in endpoints if self.state.in_service(e)), endpoints[0])
        self._exclude([e for e in endpoints if e != first], "provider.allow_fallbacks")
        return (first,)

    def _exclude(self, endpoints: Sequence[int], reason: str) -> None:
        used = {endpoint for group, _ in self.groups for endpoint in group}
        for endpoint in endpoints:
            if endpoint not in used:
                self.excluded.setdefault(endpoint, reason)

    def fit(self, target: ReadyTarget, use: ReadyUse, outer: tuple[ReadyWhere, ...]) -> Sequence[int]:
        """Return what is left of a target, in its order."""
        where = use.where
        for endpoint, reason in target.refused:
            self.excluded.setdefault(endpoint, self.forbidden.get(endpoint, reason))
        wheres = outer if where is None else (*outer, where)
        narrowed = bool(
            self.forbidden or self.foreign.speaks or outer or (where is not None and where.test is not None)
        )
        fit: Sequence[int] = target.fit
        if narrowed:
            fit = [e for e in fit if self._admits(e, wheres, use.options.drop)]
        if self.wishes is not None and fit:
            return self._as_wished(self._in_order(fit, use.options))
        if target.settled is None:
            return self._in_order(fit, use.options) if fit else ()
        return [e for e in target.settled if e in fit] if narrowed else target.settled

    def _as_wished(self, ordered: list[int]) -> list[int]:
        return ordered if self.wishes is None else self.wishes.arrange(ordered, self.book.program, self.state)

    def aside(self, target: Endpoints, most: int) -> tuple[tuple[int, ...], tuple[Candidate, ...]]:
        """Return attempts, `most` at most, and candidates for what runs besides the plan, under the same conditions."""
        assert self.lead is not None
        fit = self.fit(self.book.plain(target.endpoints, self.lead), self.lead, self.outer)
        return _sequence([(fit, most)], self.state) if fit else ((), ())

    def _admits(self, endpoint: int, wheres: Sequence[ReadyWhere], drop: tuple[str, ...]) -> bool:
        reason = self.forbidden.get(endpoint)
        if reason is None:
            for where in wheres:
                if endpoint in where.refused or (where.test is not None and self._fails(where.test, endpoint)):
                    reason = where.text
                    break
        if reason is None and endpoint in self.foreign.speaks:
            reason = self.foreign.reason(endpoint, drop)
            if reason is None and self.wishes is not None and self.wishes.provider.require_parameters:
                lost = self.foreign.lost(endpoint, drop)
                reason = f"provider.require_parameters ({', '.join(lost)})" if lost else None
        if reason is not None:
            self.excluded.setdefault(endpoint, reason)
        return reason is None

    def _fails(self, test: suitable.Test, endpoint: int) -> bool:
        return test(suitable.measured_facts(self.book.fixed[endpoint], endpoint, self.state)) is False

    def _in_order(self, fit: Sequence[int], options: Options) -> list[int]:
        table = self.book.endpoints
        by = options.by
        if self.wishes is not None:
            by = by if self.wishes.by is None else ((self.wishes.by, 1.0),)
        ordered = ordering.order(fit, by, self.cost, table, self.state, self.draw)
        if self.wishes is not None and self.wishes.is_order_said:
            return ordered  # the client's order is neither balanced nor sticky
        if options.sticky is not None and (key := self.facts[options.sticky]) is not None:
            return ordering.rendezvous(str(key), ordered, table)
        if options.prefer_cache and (key := _cache_key(self.facts)):
            # A cached read must be worth something: cheaper than a fresh one, or unpriced.
            warm = [e for e in ordered if _caches(table[e].price_cached, table[e].price_in)]
            return ordering.rendezvous(key, warm, table) + [e for e in ordered if e not in warm]
        return self._curious(ordered) if ordering.is_measured(by) else ordered

    def _curious(self, ordered: list[int]) -> list[int]:
        """Put what is to be found out about before the rest, in the first target alone: once a request."""
        if not self.is_curious or self.groups or len(ordered) < 2:
            return ordered
        self.is_curious = False
        self.explores = ordering.curiosity(ordered, self.state, self.draw)
        return ordered if self.explores is None else [self.explores, *(e for e in ordered if e != self.explores)]

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
        naming.WishError: The client wishes for what cannot be.
    """
    wishes = wishes_of(facts.call.body, book.declares)
    name = policy if policy is not None else _selected(book, facts, wishes)
    if name not in book.policies:
        raise UnknownPolicyError(name)
    index = book.engines[name](facts)
    barred = forbidden(book, facts, state)
    if wishes is None and not barred and not book.foreign[facts.call.api]:
        usual = _usual(book, name, index, facts)
        if usual is not None and _all_serve(usual[1], state):
            return usual[0]
    search = _Search(book, facts, state, draw, wishes, barred)
    search.follow(name, index)
    return _concluded(search)


Usual = tuple[Route, tuple[int, ...]]
"""A plan that holds while these endpoints, all that it lists, are in service."""


def _usual(book: Book, name: str, index: int, facts: Facts) -> Usual | None:
    """Return the plan of all requests that a rule decides while nothing is the matter, worked out once.

    None where it depends on more than the rule, the model asked for and the health of the endpoints: on a draw, a
    split, a called policy, a measurement, a session. Not for requests that any endpoint must have translated.
    """
    use = book.use(name, index)
    if use is None or not use.is_settled:
        return None
    asked = book.named(facts["model"]) if use.asks_model else ()
    try:
        return cast("Usual | None", use.usual[asked])
    except KeyError:
        found = use.usual[asked] = _work_out(book, name, index, facts, asked, use)
        return found


def _work_out(book: Book, name: str, index: int, facts: Facts, asked: tuple[int, ...], use: ReadyUse) -> Usual | None:
    if asked and book.plain(asked, use).settled is None:
        return None
    search = _Search(book, facts, Calm(), 0.0, None, {})
    search.follow(name, index)
    found = _concluded(search)
    return (found, tuple(candidate.endpoint for candidate in found.candidates)) if found.why is None else None


def _all_serve(endpoints: Sequence[int], state: State) -> bool:
    """Whether these are all in service."""
    in_service = state.in_service
    return False not in [in_service(endpoint) for endpoint in endpoints]


def _selected(book: Book, facts: Facts, wishes: Wishes | None) -> str:
    if wishes is not None and wishes.named.policy is not None:
        return wishes.named.policy
    asked = facts["model"]
    return asked[1:] if isinstance(asked, str) and asked.startswith("@") else book.default


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
        return Route(
            steps, candidates, excluded, attempts, options, escalation=escalation, shadow=shadow, wishes=search.wishes,
            explores=search.explores,
        )  # fmt: skip
    excluded = _exclusions(search)
    last = steps[-1].rule
    if isinstance(last.action, Reject):
        message = last.action.message or f"rejected by rule {last.label}"
        return Route(steps, (), excluded, (), None, "rejected", last.action.status, message, wishes=search.wishes)
    if not excluded and search.asked_unknown:
        message = _unknown(search.facts["model"], search.wishes)
        return Route(steps, (), (), (), None, "model_not_found", 404, message, wishes=search.wishes)
    if (found := search.foreign.problem(search.excluded.values())) is not None:
        why: Why = "inexpressible"
        return Route(
            steps, (), excluded, (), None, why, found.status, found.message, wishes=search.wishes, param=found.param
        )
    reasons = ", ".join(dict.fromkeys(search.excluded.values()))
    message = f"no endpoint is left for rule {last.label}" + (f": {reasons}" if reasons else "")
    if excluded and all(e.by.startswith("context ") for e in excluded):
        return Route(steps, (), excluded, (), None, "context_length", 400, message, wishes=search.wishes)
    return Route(steps, (), excluded, (), None, "no_endpoints", 404, message, wishes=search.wishes)


def _unknown(asked: object, wishes: Wishes | None) -> str:
    if wishes is not None and len(wishes.named.models) > 1:
        return f"none of the models {', '.join(f'`{name}`' for name in wishes.named.models)} is served here"
    return "the request names no model" if asked is None else f"the model `{asked}` is not served here"


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
