"""A loaded plan, ready to decide: engines, guards and each rule's endpoints worked out once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import msgspec

from router_dsl.fields import APIS, NEEDS
from router_dsl.interpret import fixed_facts
from router_dsl.plan import (
    Atom,
    Call,
    Cond,
    Endpoint,
    Endpoints,
    Named,
    Not,
    Options,
    Plan,
    Program,
    Requested,
    Scalar,
    Split,
    Use,
)
from runtime.decision import engine, ordering, suitable
from runtime.wire.spoken import spoken

FactTable = Mapping[str, Scalar | None]


@dataclass(frozen=True, slots=True)
class ReadyGuard:
    """A guard as the router asks it.

    Attributes:
        refused: Endpoints that its fixed facts refuse, when it asks nothing measured.
        test: The endpoint condition, for a guard that asks measured facts, else None.
    """

    name: str
    applies: Callable[[FactTable], bool]
    refused: frozenset[int]
    test: suitable.Test | None


class ReadyWhere(msgspec.Struct, frozen=True):
    """A rule's `where`, likewise; `text` names it in explanations."""

    text: str
    refused: frozenset[int]
    test: suitable.Test | None


class ReadyTarget(msgspec.Struct, frozen=True):
    """A model, pool or endpoint of a rule.

    Attributes:
        fit: Its endpoints, in the order written, without those that can never be used here.
        settled: The same in their final order when no request can change it, else None.
        refused: The others, with what forbids them: the fixed part of `where`, or that their key is not set.
    """

    fit: tuple[int, ...]
    settled: tuple[int, ...] | None
    refused: tuple[tuple[int, str], ...]


class ReadyUse(msgspec.Struct, frozen=True):
    """The action of a rule that sends a request somewhere; `targets` keep the plan's order.

    Attributes:
        plain: Targets worked out as requests named them, by their endpoints; as many as there are models at most.
        asks_model: Whether `requested` is among the targets.
        is_settled: Whether nothing but the model asked for and the health of endpoints can change where it leads.
        usual: For `route`, by the endpoints of the model asked for; as many as there are models at most.
    """

    options: Options
    where: ReadyWhere | None
    targets: tuple[ReadyTarget | Requested | Split | Call, ...]
    plain: dict[tuple[int, ...], ReadyTarget]
    asks_model: bool
    is_settled: bool
    usual: dict[tuple[int, ...], object]


class Book:
    """Everything a decision reads, immutable after loading but for its own look-up cache.

    Attributes:
        foreign: By the interface called, the endpoints that it must be translated for, with what they speak; None
            for those that cannot be asked at all.

    Args:
        plan: The decoded artefact.
        unconfigured: Endpoints that cannot be used here (their provider's key is not set), by index.
        engines: What decides each policy instead of the plan's trees.
    """

    def __init__(
        self,
        plan: Plan,
        unconfigured: Collection[int] = (),
        engines: Mapping[str, engine.Decide] | None = None,
    ) -> None:
        program = plan.program
        self.plan = plan
        self.program: Program = program
        self.endpoints: tuple[Endpoint, ...] = program.endpoints
        self.unconfigured = frozenset(unconfigured)
        self.engines = engine.load(plan) if engines is None else engines
        self.policies = {policy.name: policy for policy in program.policies}
        self.default = program.policies[0].name
        self.fixed = [fixed_facts(program, endpoint) for endpoint in program.endpoints]
        self.guards = tuple(
            ReadyGuard(guard.name, engine.condition(guard.when), *self._prepare(guard.require))
            if guard.when is not None
            else ReadyGuard(guard.name, lambda _facts: True, *self._prepare(guard.require))
            for guard in program.guards
        )
        self.names: dict[str, tuple[int, ...]] = {}
        for model in program.models:
            for name in (model.name, *model.aka):
                self.names[name] = model.endpoints
        self.smallest_context = min((e.context for e in self.endpoints if e.context is not None), default=None)
        self.says_features = any(e.supports is not None for e in self.endpoints)
        self.foreign = {api: self._foreign(api) for api in APIS}
        self._uses: dict[tuple[str, int], ReadyUse | None] = {}

    def without(self, unconfigured: Collection[int]) -> Book:
        """Return the same book for where these endpoints cannot be used; engines and tables are shared."""
        found = copy(self)
        found.unconfigured = frozenset(unconfigured)
        found._uses = {}
        return found

    @cached_property
    def asked(self) -> frozenset[str]:
        """The facts that the policy's conditions ask of requests, and those that say how much they cost."""
        program = self.program
        conds = [rule.when for policy in program.policies for rule in policy.rules]
        conds += [guard.when for guard in program.guards] + [limit.when for limit in program.limits]
        own = {fact for cond in conds if cond is not None for fact in _asked(cond)}
        return frozenset(own | {"model", "prompt.tokens", "output.tokens", *(fact for fact, _, _ in NEEDS)})

    def use(self, policy: str, rule: int) -> ReadyUse | None:
        """Return a rule's action, worked out on first use; None when it rejects."""
        key = (policy, rule)
        try:
            return self._uses[key]
        except KeyError:
            action = self.policies[policy].rules[rule].action
            ready = self._uses[key] = self._ready(action) if isinstance(action, Use) else None
            return ready

    def declares(self, name: str) -> bool:
        """Whether a model goes by that name."""
        return name in self.names

    def named(self, model: object) -> tuple[int, ...]:
        """Return the endpoints of the model a client asked for, by name or `aka`; none when it is unknown."""
        return self.names.get(model, ()) if isinstance(model, str) else ()

    def plain(self, endpoints: tuple[int, ...], use: ReadyUse) -> ReadyTarget:
        """Return these endpoints as a target of a rule."""
        found = use.plain.get(endpoints)
        if found is None:
            found = use.plain[endpoints] = self._target(endpoints, use.options, use.where)
        return found

    def _target(self, endpoints: tuple[int, ...], options: Options, where: ReadyWhere | None) -> ReadyTarget:
        refused = {e: self._no_key(e) for e in endpoints if e in self.unconfigured}
        if where is not None:
            refused = {e: where.text for e in endpoints if e in where.refused} | refused
        fit = tuple(e for e in endpoints if e not in refused)
        settled = None
        if options.sticky is None and not options.prefer_cache:
            settled = ordering.settled(fit, options.by, self.endpoints)
        return ReadyTarget(fit, settled, tuple(refused.items()))

    def _no_key(self, endpoint: int) -> str:
        key = self.program.providers[self.endpoints[endpoint].provider].key_env
        return f"no key: {key} is not set" if key else "no key"

    def _ready(self, use: Use) -> ReadyUse:
        options = use.options
        where = None
        if options.where is not None:
            where = ReadyWhere(f"where {options.where_text}", *self._prepare(options.where))
        targets = tuple(
            self._target(target.endpoints, options, where) if isinstance(target, Endpoints) else target
            for target in use.targets
        )
        asks_model = any(isinstance(target, Requested) for target in targets)
        is_settled = (
            all(isinstance(t, Requested) or (isinstance(t, ReadyTarget) and t.settled is not None) for t in targets)
            and (where is None or where.test is None)
            and options.escalate is None
            and options.shadow is None
        )
        return ReadyUse(options, where, targets, {}, asks_model, is_settled, {})

    def _foreign(self, api: str) -> dict[int, str | None]:
        """Return the endpoints that are not asked in the interface called, each with its own; None: it has none."""
        protocols = [self.program.providers[endpoint.provider].protocol for endpoint in self.endpoints]
        speaks = {index: spoken(protocol, api) for index, protocol in enumerate(protocols)}
        return {index: found for index, found in speaks.items() if found != api}

    def _prepare(self, cond: Cond) -> tuple[frozenset[int], suitable.Test | None]:
        """Return what the fixed facts refuse, or the test when measured facts are asked."""
        test = suitable.test(cond)
        if suitable.asks_measured(cond):
            return frozenset(), test
        return frozenset(i for i, facts in enumerate(self.fixed) if test(facts) is False), None


def _asked(cond: Cond) -> Iterator[str]:
    match cond:
        case Atom():
            yield cond.fact
        case Not() | Named():
            yield from _asked(cond.item)
        case _:
            for item in cond.items:
                yield from _asked(item)
