"""The options of an action, merged over `defaults` and over the language's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from msgspec import structs

from router_dsl import ast
from router_dsl.check import body_edits
from router_dsl.check.conditions import Conditions
from router_dsl.check.quantity import number
from router_dsl.check.report import squeezed
from router_dsl.check.scope import Scope
from router_dsl.check.targets import Targets, normalised, share
from router_dsl.check.values import enumerated
from router_dsl.plan import DEFAULT_OPTIONS, DEFAULT_RETRY_ON, Cond, Escalate, Hedge, Metric, Options, Scalar, Shadow

METRICS: tuple[Metric, ...] = ("price", "latency", "speed", "load", "weight", "order", "random", "balance")
# These two draw instead of ranking, so they have no score that a share could weigh.
DRAWN = ("random", "balance")
FAILURES = ("timeout", "connect", "empty")
VERDICTS = ("truncated", "refused", "invalid json", "empty")
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
MOST_RETRIES = 10
SHORTEST_S = 0.001


class Said(TypedDict, total=False):
    """The fields of `plan.Options` that a list of options says something about."""

    by: tuple[tuple[Metric, float], ...]
    where: Cond | None
    where_text: str | None
    sticky: str | None
    prefer_cache: bool
    within_s: float | None
    first_token_s: float | None
    stall_s: float | None
    retry: int
    retry_on: tuple[str, ...]
    hedge: Hedge | None
    escalate: Escalate | None
    shadow: Shadow | None
    cap: tuple[tuple[str, int | float], ...]
    set: tuple[tuple[str, Scalar], ...]
    drop: tuple[str, ...]
    cache_s: float | None
    tag: str | None


@dataclass(slots=True)
class ActionOptions:
    """Resolves the options of actions; `defaults` are resolved once, when the first action asks."""

    scope: Scope
    conditions: Conditions
    targets: Targets
    _defaults: Options | None = field(default=None)

    def defaults(self) -> Options:
        """Return what every action starts from."""
        if self._defaults is None:
            node = self.scope.defaults
            self._defaults = DEFAULT_OPTIONS if node is None else self._merged(DEFAULT_OPTIONS, node.options)
        return self._defaults

    def resolve(self, options: Sequence[ast.Option]) -> Options:
        """Return the options of an action, total."""
        return self._merged(self.defaults(), options) if options else self.defaults()

    def _merged(self, base: Options, options: Sequence[ast.Option]) -> Options:
        first: dict[str, ast.Option] = {}
        said: Said = {}
        for option in options:
            what = written(option)
            if what in first:
                self.scope.report.add(
                    "E404", f"`{what}` is said twice", option.span, f"the first is in line {first[what].span.line}"
                )
            else:
                first[what] = option
                self._read(option, said)
        edits = body_edits.merged(base, options, self.scope.report)
        return structs.replace(base, **said, cap=edits.cap, set=edits.set, drop=edits.drop)

    def _read(self, option: ast.Option, said: Said) -> None:
        match option:
            case ast.By():
                self._by(option, said)
            case ast.Where():
                said["where"] = self.conditions.resolve(option.condition, "endpoint")
                said["where_text"] = squeezed(option.condition.span)
            case ast.Sticky():
                asked = self.conditions.paths.request(option.by)
                said["sticky"] = None if asked is None else asked.name
            case ast.PreferCache():
                said["prefer_cache"] = True
            case ast.Deadline():
                self._deadline(option, said)
            case ast.Retry():
                self._retry(option, said)
            case ast.Hedge():
                said["hedge"] = self._hedge(option)
            case ast.Escalate():
                said["escalate"] = self._escalate(option)
            case ast.Shadow():
                said["shadow"] = self._shadow(option)
            case ast.Cache():
                said["cache_s"] = self._seconds(option.duration, "`cache`")
            case ast.Tag():
                said["tag"] = option.name.text
            case ast.Cap() | ast.Set() | ast.Drop():
                pass  # `body_edits` reads them together

    def _seconds(self, duration: ast.Number, of: str) -> float | None:
        found = number(duration, "duration", of, self.scope.report, low=SHORTEST_S)
        return None if found is None else float(found)

    def _deadline(self, option: ast.Deadline, said: Said) -> None:
        seconds = self._seconds(option.duration, f"`{option.kind}`")
        match option.kind:
            case "within":
                said["within_s"] = seconds
            case "first token":
                said["first_token_s"] = seconds
            case "stall":
                said["stall_s"] = seconds

    def _by(self, option: ast.By, said: Said) -> None:
        report, found, seen = self.scope.report, [], set()
        for name, percent in option.metrics:
            if name.text not in METRICS:
                near = report.near(name.text, METRICS)
                help = f"did you mean `{near}`?" if near else f"it is one of {enumerated(METRICS)}"
                report.add("E213", f"unknown order `by {name.text}`", name.span, help)
            elif name.text in seen:
                report.add("E404", f"`{name.text}` is said twice in `by`", name.span)
            elif len(option.metrics) > 1 and name.text in DRAWN:
                report.add("E410", f"`{name.text}` cannot be mixed with other orders", name.span, "write it alone")
            elif len(option.metrics) > 1 and percent is None:
                report.add("E410", f"`{name.text}` has no share", name.span, "such as `by price 70%, latency 30%`")
            else:
                weight = 1.0 if percent is None else share(percent, "`by`", self.scope)
                if weight is not None:
                    found.append((weight, name.text))
            seen.add(name.text)
        if found and len(found) == len(option.metrics):
            shares = normalised(found, "`by`", option, self.scope)
            said["by"] = tuple((metric, weight) for weight, metric in shares)

    def _retry(self, option: ast.Retry, said: Said) -> None:
        count = number(option.count, "count", "`retry`", self.scope.report, low=0, high=MOST_RETRIES)
        said["retry"] = int(count or 0)
        on = DEFAULT_RETRY_ON if option.on is None else [self._failure(word) for word in option.on]
        said["retry_on"] = tuple(dict.fromkeys(word for word in on if word))

    def _failure(self, word: ast.Name | ast.Number) -> str | None:
        """Return what `retry … on` names: a status, a class of them, or a way to fail without one."""
        text = word.text if isinstance(word, ast.Name) else word.value + word.unit
        is_status = text.isascii() and text.isdigit() and 400 <= int(text[:4]) <= 599 and len(text) == 3
        if is_status or text in ("4xx", "5xx", *FAILURES):
            return text
        near = self.scope.report.near(text, FAILURES)
        help = (
            f"did you mean `{near}`?"
            if near
            else "it takes statuses such as `429`, `4xx`, `5xx`, `timeout`, `connect`, `empty`"
        )
        self.scope.report.add("E213", f"`retry` has no failure `{text}`", word.span, help)
        return None

    def _hedge(self, option: ast.Hedge) -> Hedge | None:
        most = 1.0 if option.at_most is None else share(option.at_most, "`hedge`", self.scope)
        if isinstance(option.after, ast.Number):
            after = self._seconds(option.after, "`hedge`")
            return None if after is None or most is None else Hedge(after, None, most)
        percentile = PERCENTILES.get(option.after.text)
        if percentile is None:
            self.scope.report.add(
                "E213",
                f"unknown percentile `{option.after.text}`",
                option.after.span,
                f"it is one of {enumerated(tuple(PERCENTILES))}",
            )
        return None if percentile is None or most is None else Hedge(None, percentile, most)

    def _escalate(self, option: ast.Escalate) -> Escalate | None:
        report, found = self.scope.report, []
        for word in option.when:
            if word.text not in VERDICTS:
                near = report.near(word.text, VERDICTS)
                help = f"did you mean `{near}`?" if near else f"it is one of {enumerated(VERDICTS)}"
                report.add("E213", f"`escalate` has no reason `{word.text}`", word.span, help)
            else:
                found.append(word.text)
        target = self.targets.ref(option.target)
        return None if target is None else Escalate(target, tuple(dict.fromkeys(found)))  # type: ignore[arg-type]

    def _shadow(self, option: ast.Shadow) -> Shadow | None:
        part, target = share(option.percent, "`shadow`", self.scope), self.targets.ref(option.target)
        return None if part is None or target is None else Shadow(part, target)


def written(option: ast.Option) -> str:
    """Return the option's keyword, with its parameter where that is what may not be said twice."""
    match option:
        case ast.By():
            return "by"
        case ast.Where():
            return "where"
        case ast.Sticky():
            return "sticky by"
        case ast.PreferCache():
            return "prefer cache"
        case ast.Deadline():
            return option.kind
        case ast.Retry():
            return "retry"
        case ast.Hedge():
            return "hedge"
        case ast.Escalate():
            return "escalate"
        case ast.Shadow():
            return "shadow"
        case ast.Cap():
            return f"cap {option.param.text}"
        case ast.Set():
            return f"set {option.param.text}"
        case ast.Drop():
            return f"drop {option.param.text}"
        case ast.Cache():
            return "cache"
        case ast.Tag():
            return "tag"
