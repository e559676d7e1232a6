"""A loaded plan, ready to decide: engines, guards and each rule's endpoints worked out once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from router_dsl.plan import Cond, Endpoint, Endpoints, Plan, Program, Requested, Scalar, Split, Target, Use
from runtime.decision import engine, suitable

Facts = Mapping[str, Scalar | None]


@dataclass(frozen=True, slots=True)
class ReadyGuard:
    """A guard as the router asks it.

    Attributes:
        refused: Endpoints that its fixed facts refuse, when it asks nothing measured.
        test: The endpoint condition, for a guard that asks measured facts, else None.
    """

    name: str
    applies: Callable[[Facts], bool]
    refused: frozenset[int]
    test: suitable.Test | None


@dataclass(frozen=True, slots=True)
class ReadyWhere:
    """A rule's `where`, likewise."""

    text: str
    refused: frozenset[int]
    test: suitable.Test | None


class Book:
    """Everything a decision reads, immutable after loading but for its own look-up cache.

    Args:
        plan: The decoded artefact.
        unconfigured: Endpoints that cannot be used here (their provider's key is not set), by index.
    """

    def __init__(self, plan: Plan, unconfigured: Collection[int] = ()) -> None:
        program = plan.program
        self.plan = plan
        self.program: Program = program
        self.endpoints: tuple[Endpoint, ...] = program.endpoints
        self.unconfigured = frozenset(unconfigured)
        self.engines = engine.load(plan)
        self.policies = {policy.name: policy for policy in program.policies}
        self.default = program.policies[0].name
        self.fixed = [suitable.fixed_facts(program, endpoint) for endpoint in program.endpoints]
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
        self._wheres: dict[tuple[str, int], ReadyWhere | None] = {}

    def where(self, policy: str, rule: int) -> ReadyWhere | None:
        """Return the `where` of a rule's action, worked out on first use; None when it has none."""
        key = (policy, rule)
        if key not in self._wheres:
            action = self.policies[policy].rules[rule].action
            cond = action.options.where if isinstance(action, Use) else None
            text = action.options.where_text if isinstance(action, Use) else None
            self._wheres[key] = None if cond is None else ReadyWhere(f"where {text}", *self._prepare(cond))
        return self._wheres[key]

    def _prepare(self, cond: Cond) -> tuple[frozenset[int], suitable.Test | None]:
        test = suitable.test(cond)
        if suitable.asks_measured(cond):
            return frozenset(), test
        return frozenset(i for i, facts in enumerate(self.fixed) if test(facts) is False), None

    def stands_for(self, target: Target, facts: Facts) -> tuple[int, ...]:
        """Return the endpoints a plain target names; those of the model asked for when it is `requested`."""
        match target:
            case Endpoints():
                return target.endpoints
            case Requested():
                asked = facts["model"]
                return self.names.get(asked, ()) if isinstance(asked, str) else ()
            case Split():
                return tuple(e for _, arm in target.shares for e in self.stands_for(arm, facts))
            case _:
                return ()
