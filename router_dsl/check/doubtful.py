"""Rules and targets that are allowed but cannot do what they seem to: warnings each proved of all requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from router_dsl import ast
from router_dsl.analyse.plans import never_required, plans_of
from router_dsl.analyse.regions import UNKNOWN_HELP, Regions, regions_of
from router_dsl.analyse.rules import never_deciding
from router_dsl.analyse.space import Space, TooWideError
from router_dsl.analyse.witness import Oracle
from router_dsl.check import claimed, reach
from router_dsl.check.models import Catalog
from router_dsl.check.report import Report
from router_dsl.check.scope import Scope
from router_dsl.check.values import enumerated
from router_dsl.plan import And, Atom, Cond, Endpoints, Named, Policy, Program, Range, Rule, Split, Target, Use
from router_dsl.source import Span

UNBOUNDED = float("inf")

# A fallback of half the size is everyday (256k, else 128k); one far smaller was probably not meant.
MUCH_SMALLER = 0.5

TOKENS = ("prompt.tokens", "request.tokens")


def warn(program: Program, scope: Scope, catalog: Catalog, oracle: Oracle | None) -> None:
    """Report doubtful rules of a program without errors, and assertions that are false.

    Args:
        program: Its policies stand in the order of the scope's.
        scope: The names it was made from.
        catalog: Its models.
        oracle: Makes and confirms requests; without it nothing is reported that needs one.
    """
    regions = regions_of(program)
    dead: set[tuple[str, int]] = set()
    for policy, node in zip(program.policies, scope.policies.values(), strict=True):
        dead |= {(policy.name, index) for index in _never_deciding(regions, policy, node, scope.report)}
        for rule, rule_node in zip(policy.rules, node.rules, strict=True):
            if isinstance(rule.action, Use) and isinstance(rule_node.action, ast.Use):
                _repeated(rule.action, rule_node.action, scope.report)
                _small_fallbacks(rule, rule.action, rule_node.action, catalog, scope.report)
    _pointless(program, scope, regions)
    plans = plans_of(regions)
    reach.warn(plans, scope, dead)
    if oracle is not None:
        claimed.warn(plans, scope, dead, oracle)
    _unpriced(program, scope, catalog)


# --- rules that never decide ------------------------------------------------------------------------


SEARCHED = "the rules before it overlap too much to be searched"
WIDE = "a condition has too many alternatives"


def _never_deciding(regions: Regions, policy: Policy, node: ast.Policy, report: Report) -> Iterator[int]:
    """Report them, and give their indices."""
    for dead in never_deciding(regions, policy):
        rule, label = policy.rules[dead.rule], node.rules[dead.rule].label.span
        by = [policy.rules[index].label for index in dead.by]
        if dead.why in ("empty", "covered"):
            yield dead.rule
        match dead.why:
            case "empty" if not _is_told(report, node.rules[dead.rule].span):
                report.add("W505", f"rule `{rule.label}` never decides: its condition cannot hold", label)
            case "covered" if any(_is_told(report, node.rules[index].span) for index in dead.by):
                pass
            case "covered" if dead.always:
                message = f"rule `{rule.label}` never decides: {_rules(by)} always"
                report.add("W504", message, label, "move it up, or leave it out" if rule.when else None)
            case "covered":
                message = f"rule `{rule.label}` never decides: {_rules(by)} whenever it does"
                report.add("W504", message, label, f"move it above `{by[0]}`, or leave it out")
            case "unknown":
                report.add(
                    "W515", f"whether rule `{rule.label}` ever decides is unknown: {SEARCHED}", label, UNKNOWN_HELP
                )
            case "wide":
                report.add("W515", f"which rules of `{policy.name}` never decide is unknown: {WIDE}", node.name.span)


def _is_told(report: Report, span: Span) -> bool:
    """Whether a comparison with a value that there is not is reported already, which says it more plainly."""
    return any(
        finding.code == "W503" and finding.span.source is span.source and span.start <= finding.span.start < span.end
        for finding in report.diagnostics
    )


def _rules(labels: Sequence[str]) -> str:
    """Return `rule `a` holds`, or `rule `a` or `b` holds`."""
    return f"rule {' or '.join(f'`{label}`' for label in labels)} holds"


def _pointless(program: Program, scope: Scope, regions: Regions) -> None:
    """Report guards and limits that never apply, and guards that nothing can satisfy."""
    places = {guard.name: scope.guards[guard.name].name.span for guard in program.guards}
    for guard in program.guards:
        if _never(regions.space, guard.when):
            scope.report.add(
                "W505", f"guard `{guard.name}` never applies: its condition cannot hold", places[guard.name]
            )
        if never_required(program, guard):
            message = f"guard `{guard.name}` refuses every endpoint: its requirement cannot hold"
            scope.report.add("W505", message, places[guard.name])
    for limit in program.limits:
        if _never(regions.space, limit.when):
            message = f"limit `{limit.name}` never applies: its condition cannot hold"
            scope.report.add("W505", message, scope.limits[limit.name].name.span)
    for claim, node in zip(program.assertions, scope.assertions, strict=True):
        if _never(regions.space, claim.when):
            scope.report.add("W505", "the assertion says nothing: its condition cannot hold", node.span)


def _never(space: Space, when: Cond | None) -> bool:
    if when is None:
        return False
    try:
        return not any(space.is_possible(box) for box in space.boxes(when))
    except TooWideError:
        return False


# --- chains -------------------------------------------------------------------------------------------


def _repeated(use: Use, node: ast.Use, report: Report) -> None:
    seen: dict[object, None] = {}
    for target, target_node in zip(use.targets, node.targets, strict=True):
        key = frozenset(target.endpoints) if isinstance(target, Endpoints) else target
        if key in seen:
            report.add("W507", f"`{target_node.span.text}` is in the chain already", target_node.span, "leave it out")
        seen[key] = None


def _small_fallbacks(rule: Rule, use: Use, node: ast.Use, catalog: Catalog, report: Report) -> None:
    low, high = _token_bounds(rule.when)
    largest: float | None = None
    for target, target_node in zip(use.targets, node.targets, strict=True):
        context = _context(target, catalog)
        if context is None:
            continue
        name = target_node.span.text
        if context < low:
            message = f"`{name}` holds {_tokens(context)}, less than any request of this rule needs"
            report.add("W506", message, target_node.span, "choose a model with a larger context")
        elif largest is not None:
            admitted = min(high, largest)
            if context < admitted and (high < UNBOUNDED or context < largest * MUCH_SMALLER < UNBOUNDED):
                message = f"fallback `{name}` holds {_tokens(context)}, the rule admits up to {_tokens(admitted)}"
                report.add("W506", message, target_node.span, "longer requests have no fallback here")
        largest = context if largest is None else max(largest, context)


def _context(target: Target, catalog: Catalog) -> float | None:
    """Return the most tokens any endpoint of the target holds; None when the target depends on the request."""
    match target:
        case Endpoints():
            sizes = [catalog.endpoints[index].context for index in target.endpoints]
            return max((UNBOUNDED if size is None else float(size) for size in sizes), default=None)
        case Split():
            arms = [_context(arm, catalog) for _, arm in target.shares]
            known = [arm for arm in arms if arm is not None]
            return max(known) if len(known) == len(arms) else None
        case _:
            return None


def _token_bounds(cond: Cond | None) -> tuple[float, float]:
    """Return between which token counts the rule decides, as far as its condition plainly says."""
    low, high = 0.0, UNBOUNDED
    for part in () if cond is None else conjuncts(cond):
        if not isinstance(part, Atom) or part.fact not in TOKENS:
            continue
        if part.op == "in" and len(part.items) == 1 and isinstance(part.items[0], Range):
            low, high = max(low, float(part.items[0].low)), min(high, float(part.items[0].high))
        elif isinstance(part.value, int | float):
            if part.op in ("gt", "ge"):
                low = max(low, part.value + (part.op == "gt"))
            elif part.op in ("lt", "le"):
                high = min(high, part.value - (part.op == "lt"))
    return low, high


def conjuncts(cond: Cond) -> Iterator[Cond]:
    """Give the parts that must all hold."""
    while isinstance(cond, Named):
        cond = cond.item
    if isinstance(cond, And):
        for item in cond.items:
            yield from conjuncts(item)
    else:
        yield cond


def _tokens(count: float) -> str:
    for size, suffix in ((1_000_000, "M"), (1024, "Ki"), (1000, "k")):
        if count % size == 0 and count and not (suffix == "Ki" and count % 1000 == 0):
            return f"{count / size:g}{suffix} tokens"
    return f"{count:g} tokens"


# --- prices -------------------------------------------------------------------------------------------


def _unpriced(program: Program, scope: Scope, catalog: Catalog) -> None:
    def report(indices: set[int], message: str, span: Span) -> None:
        ids = [catalog.endpoints[index].id.replace("@", " @ ") for index in sorted(indices)]
        if ids:
            scope.report.add("W508", f"{message} {enumerated(ids, 3)}", span, "say `price $X in $Y out` at its `serve`")

    used: set[int] = set()
    inherited: set[int] = set()
    default = next((o for o in scope.defaults.options if isinstance(o, ast.By)), None) if scope.defaults else None
    for policy, node in zip(program.policies, scope.policies.values(), strict=True):
        for rule, rule_node in zip(policy.rules, node.rules, strict=True):
            if not isinstance(rule.action, Use) or not isinstance(rule_node.action, ast.Use):
                continue
            free = {e for e in _reached(rule.action) if catalog.endpoints[e].price_out is None}
            used |= free
            by = next((option for option in rule_node.action.options if isinstance(option, ast.By)), None)
            if by is None:
                inherited |= free
            elif _asks_price(by):
                report(free, "`by price` guesses the price of", by.span)
    if default is not None and _asks_price(default):
        report(inherited, "`by price` guesses the price of", default.span)
    for assertion in scope.assertions:
        if isinstance(assertion, ast.AssertBound) and assertion.what == "cost":
            report(used, "`assert cost` cannot know the price of", assertion.span)


def _asks_price(by: ast.By) -> bool:
    return any(name.text == "price" for name, _ in by.metrics)


def _reached(use: Use) -> Iterator[int]:
    for target in use.targets:
        arms = [arm for _, arm in target.shares] if isinstance(target, Split) else [target]
        for arm in arms:
            if isinstance(arm, Endpoints):
                yield from arm.endpoints
