"""What one request finds: what is left of each target of the deciding rule, its order, and what forbids the rest."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from router_dsl.fields import DEFAULT_OUTPUT_TOKENS
from router_dsl.plan import Call, Endpoints, Options, Policy, Requested, Rule, Split
from runtime.decision import ordering, suitable
from runtime.decision.book import Book, ReadyTarget, ReadyUse, ReadyWhere
from runtime.decision.facts import Facts
from runtime.decision.forbidden import forbidden
from runtime.decision.foreign import Foreign
from runtime.decision.state import State
from runtime.decision.wishes import Wishes


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


Group = tuple[Sequence[int], int]
"""One target after exclusion: its endpoints in the order of its rule, and the attempts it may make."""


class Search:
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
        fits += [self._fit_alone(model, use, outer) for model in wishes.named.models[1:]]
        fits = [fit for fit in fits if fit]
        if wishes.is_pooled and fits:
            together = list(dict.fromkeys(endpoint for fit in fits for endpoint in fit))
            fits = [self._as_wished(self._in_order(together, use.options))]
        fits.sort(key=lambda fit: all(wishes.is_too_slow(endpoint, self.state) for endpoint in fit))
        attempts = use.options.retry + 1
        others = min(len(fits), attempts) - 1
        shares = [attempts - others, *[1] * others, *[0] * len(fits)]
        self._join(list(zip(fits, shares, strict=False)), wishes)

    def _fit_alone(self, model: str, use: ReadyUse, outer: tuple[ReadyWhere, ...]) -> Sequence[int]:
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
            self.forbidden
            or self.foreign.speaks
            or outer
            or (where is not None and where.test is not None)
            or self.wishes is not None
        )
        fit: Sequence[int] = target.fit
        if narrowed:
            fit = [e for e in fit if self._admits(e, wheres, use.options.drop)]
        if not fit:
            return ()
        if self.wishes is not None:
            is_settled = target.settled is not None and self.wishes.by is None
            ordered = [e for e in target.settled or () if e in fit] if is_settled else self._in_order(fit, use.options)
            return self._as_wished(ordered)
        if target.settled is None:
            return self._in_order(fit, use.options)
        return [e for e in target.settled if e in fit] if narrowed else target.settled

    def _as_wished(self, ordered: list[int]) -> list[int]:
        return ordered if self.wishes is None else self.wishes.arrange(ordered, self.book.program, self.state)

    def aside(self, target: Endpoints, most: int) -> tuple[tuple[int, ...], tuple[Candidate, ...]]:
        """Return attempts, `most` at most, and candidates for what runs besides the plan, under the same conditions."""
        assert self.lead is not None
        fit = self.fit(self.book.plain(target.endpoints, self.lead), self.lead, self.outer)
        return sequence([(fit, most)], self.state) if fit else ((), ())

    def _admits(self, endpoint: int, wheres: Sequence[ReadyWhere], drop: tuple[str, ...]) -> bool:
        reason = self.forbidden.get(endpoint)
        if reason is None:
            for where in wheres:
                if endpoint in where.refused or (where.test is not None and self._fails(where.test, endpoint)):
                    reason = where.text
                    break
        if reason is None and endpoint in self.foreign.speaks:
            reason = self.foreign.reason(endpoint, drop)
        if reason is None and self.wishes is not None:
            reason = self._unwished(endpoint, self.wishes, drop)
        if reason is not None:
            self.excluded.setdefault(endpoint, reason)
        return reason is None

    def _unwished(self, endpoint: int, wishes: Wishes, drop: tuple[str, ...]) -> str | None:
        reason = wishes.against(self.book.program, endpoint, self.facts)
        if reason is None and wishes.provider.require_parameters and endpoint in self.foreign.speaks:
            lost = self.foreign.lost(endpoint, drop)
            reason = f"provider.require_parameters ({', '.join(lost)})" if lost else None
        return reason

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


def sequence(groups: Sequence[Group], state: State) -> tuple[tuple[int, ...], tuple[Candidate, ...]]:
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
