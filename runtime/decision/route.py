"""The plan of one request: the deciding rule, which endpoints it leaves, and in which order they are tried.

Order of the attempts: targets as written; inside a target its endpoints in the order of `by` or `sticky`.
Out of the plan is what a guard, `where`, the context size or an unsupported feature excludes. An endpoint
out of service stays, but comes after every endpoint in service of every target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import msgspec

from router_dsl.plan import Options, Reject, Rule
from runtime.decision.book import Book, ReadyUse
from runtime.decision.facts import Facts
from runtime.decision.forbidden import forbidden
from runtime.decision.search import Candidate as Candidate
from runtime.decision.search import Exclusion as Exclusion
from runtime.decision.search import Search, sequence
from runtime.decision.search import Step as Step
from runtime.decision.state import Calm, State
from runtime.decision.wishes import Wishes, wishes_of

Why = Literal["rejected", "no_endpoints", "model_not_found", "context_length", "inexpressible"]


class UnknownPolicyError(LookupError):
    """The client or a caller asked for a policy that the plan does not have."""


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
    if wishes is None and not barred and not book.foreign[str(facts.look("api"))]:
        usual = _usual(book, name, index, facts)
        if usual is not None and _all_serve(usual[1], state):
            return usual[0]
    search = Search(book, facts, state, draw, wishes, barred)
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
    search = Search(book, facts, Calm(), 0.0, None, {})
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


def _concluded(search: Search) -> Route:
    steps = tuple(search.steps)
    if search.groups:
        assert search.lead is not None
        options = search.lead.options
        attempts, candidates = sequence(search.groups, search.state)
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


def _exclusions(search: Search) -> tuple[Exclusion, ...]:
    return tuple([Exclusion(e, by) for e, by in search.excluded.items()]) if search.excluded else ()
