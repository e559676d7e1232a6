"""What is reported with a request that shows it: assertions that are false, and plans that guards can empty."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from router_dsl.analyse.claims import judge
from router_dsl.analyse.plans import Plans, Way
from router_dsl.analyse.regions import UNKNOWN_HELP
from router_dsl.analyse.search import BudgetError
from router_dsl.analyse.space import Box, TooWideError
from router_dsl.analyse.witness import Oracle, Request, Seen, witness
from router_dsl.check.report import squeezed
from router_dsl.check.scope import Scope
from router_dsl.plan import Call, Policy, Requested, Use


def warn(plans: Plans, scope: Scope, dead: set[tuple[str, int]], oracle: Oracle) -> None:
    """Report assertions that are false or unknown, and rules whose plan a guard can empty.

    Args:
        plans: Of the program.
        scope: Its policies and assertions stand in the order of the program's.
        dead: Rules that never decide anyway, as policy and index.
        oracle: Makes and confirms requests.
    """
    for claim, node in zip(plans.program.assertions, scope.assertions, strict=True):
        judged = judge(plans, claim, oracle)
        text = squeezed(node.span)
        if judged.verdict == "false":
            message = f"`{text}` is false: {judged.why}"
            scope.report.add("E701", message, node.span, _shows(judged.request), judged.request)
        elif judged.verdict == "unknown" and not judged.why.endswith("has no price"):  # W508 says that
            help = UNKNOWN_HELP if "too many" in judged.why else None
            scope.report.add("W515", f"whether `{text}` holds is unknown: {judged.why}", node.span, help)
    for policy, policy_node in zip(plans.program.policies, scope.policies.values(), strict=True):
        for index, rule in enumerate(policy.rules):
            action = rule.action
            if (policy.name, index) in dead or not isinstance(action, Use) or isinstance(action.targets[0], Call):
                continue  # a rule that only calls leaves it to the rules it calls
            found = emptied(plans, policy, index, oracle)
            if found is not None:
                guards, request = found
                names = " and ".join(f"guard `{name}`" for name in guards)
                message = f"{names} can leave rule `{rule.label}` no endpoint"
                help = "give it a fallback that the guard lets pass, or reject such requests before it"
                scope.report.add("W514", message, policy_node.rules[index].label.span, help, request)


def _shows(request: Request | None) -> str | None:
    return None if request is None else "the witness of `check --json`, given to `explain --request`, shows it"


def emptied(plans: Plans, policy: Policy, index: int, oracle: Oracle) -> tuple[list[str], Request] | None:
    """Return guards that can exclude every endpoint of a rule's plan, and a request of which they do."""
    if not plans.program.guards:
        return None
    try:
        for way in plans.ways_of(policy, index):
            for guards, boxes in _emptying(plans, way):
                request, _ = witness(plans.regions.space, boxes, oracle.of(policy.name), _is_empty)
                if request is not None:
                    return guards, request
    except (BudgetError, TooWideError):
        return None
    return None


def _is_empty(seen: Seen) -> bool:
    return seen.why == "no_endpoints"


_MOST_SETS = 64


def _emptying(plans: Plans, way: Way) -> Iterator[tuple[list[str], Iterator[Box]]]:
    """Give sets of guards that together exclude all endpoints of a way, and where they apply."""
    named = [target for rule in way.rules if isinstance(rule.action, Use) for target in rule.action.targets]
    if not way.slots or all(isinstance(target, Requested) for target in named):
        return  # what the client names is the client's choice
    always = {guard.name for guard in plans.program.guards if guard.when is None}
    fixed = [slot for slot in way.slots if any(choice.asked is None for choice in slot.choices)]
    space = plans.regions.space
    unnamed = [
        box for slot in way.slots for choice in slot.choices if choice.asked is not None for box in [choice.asked]
    ]
    model = space.number.get("model")
    away: list[Box] = []
    if unnamed and model is not None:
        left = space.full[model]
        for box in unnamed:
            left &= ~box[model]
        away = [{model: left}]
    for chosen in product(*([choice for choice in slot.choices if choice.asked is None] for slot in fixed)):
        refusing = []
        for slot, choice in zip(fixed, chosen, strict=True):
            refusing += [
                plans.refusing(endpoint) for endpoint in choice.endpoints if plans.passes(endpoint, slot.wheres)
            ]
        if not refusing or not all(refusing):
            continue
        sets = {frozenset(some) for some in product(*dict.fromkeys(refusing))} if _few(refusing) else set()
        for guards in sorted(sets, key=lambda some: (len(some), sorted(some))):
            if guards <= always or any(other < guards for other in sets):
                continue
            order = [guard.name for guard in plans.program.guards if guard.name in guards]
            unions = [plans.regions.guard(name) for name in order] + ([away] if away else [])
            yield order, plans.left(way, plans.boxes(way, *unions))


def _few(refusing: list[tuple[str, ...]]) -> bool:
    count = 1
    for names in dict.fromkeys(refusing):
        count *= len(names)
    return count <= _MOST_SETS
