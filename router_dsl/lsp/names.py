"""Every place of a policy where a name stands: what it names, and whether it is declared there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import singledispatchmethod
from typing import Literal

from router_dsl import ast
from router_dsl.fields import ENDPOINT, FAMILIES, REQUEST
from router_dsl.source import Span

Kind = Literal[
    "provider", "model", "pool", "let", "fact", "guard", "limit", "policy", "rule", "label", "test", "file",
    "request fact", "endpoint fact",
]  # fmt: skip
"""`label` is that of an endpoint; the last two are facts of the scheme, declared nowhere in a policy."""

Side = Literal["request", "endpoint"]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A name in its place.

    Attributes:
        owner: Of a rule, its policy; of an endpoint's label, `MODEL@PROVIDER`; else empty.
        declares: The name is declared here.
        span: The name, quotation marks included.
    """

    kind: Kind
    name: str
    span: Span
    owner: str = ""
    declares: bool = False

    @property
    def identity(self) -> tuple[str, str, str]:
        """What the name means: equal for every place that means the same."""
        return self.kind, self.name, self.owner


@dataclass(slots=True)
class Names:
    """The declarations of a policy by kind and name, all files taken together.

    Attributes:
        lets_of_endpoints: Lets that some `where`, `require` or `never` asks, one inside the other.
    """

    files: Sequence[ast.File]
    providers: dict[str, ast.Provider] = field(default_factory=dict)
    models: dict[str, ast.Model] = field(default_factory=dict)
    pools: dict[str, ast.Pool] = field(default_factory=dict)
    lets: dict[str, ast.Let] = field(default_factory=dict)
    facts: dict[str, ast.Fact] = field(default_factory=dict)
    guards: dict[str, ast.Guard] = field(default_factory=dict)
    limits: dict[str, ast.Limit] = field(default_factory=dict)
    policies: dict[str, ast.Policy] = field(default_factory=dict)
    lets_of_endpoints: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Collect the declarations; of one that is there twice the first counts, as in a check."""
        for file in self.files:
            for item in file.items:
                match item:
                    case ast.Provider():
                        self.providers.setdefault(item.name.text, item)
                    case ast.Model():
                        self.models.setdefault(item.name.text, item)
                    case ast.Pool():
                        self.pools.setdefault(item.name.text, item)
                    case ast.Let():
                        self.lets.setdefault(item.name.text, item)
                    case ast.Fact():
                        self.facts.setdefault(item.name.text, item)
                    case ast.Guard():
                        self.guards.setdefault(item.name.text, item)
                    case ast.Limit():
                        self.limits.setdefault(item.name.text, item)
                    case ast.Policy():
                        self.policies.setdefault(item.name.text, item)
                    case _:
                        pass

    def occurrences(self) -> list[Occurrence]:
        """Return every name of every file, in the order written."""
        for name in self._asked_of_endpoints():
            self._mark(name)
        return [found for file in self.files for found in _Walk(self).file(file)]

    def _asked_of_endpoints(self) -> Iterator[str]:
        for file in self.files:
            for item in file.items:
                for condition in _endpoint_conditions(item):
                    yield from lets_in(condition)

    def _mark(self, name: str) -> None:
        if name in self.lets and name not in self.lets_of_endpoints:
            self.lets_of_endpoints.add(name)
            for inner in lets_in(self.lets[name].value):
                self._mark(inner)

    def called(self, policy: str) -> list[str]:
        """Return the policy and those that it calls, one through the other, each once."""
        found = {policy: None}
        queue = [policy]
        while queue:
            node = self.policies.get(queue.pop(0))
            for target in _targets(node) if node is not None else ():
                if isinstance(target, ast.Call) and target.policy.text not in found:
                    found[target.policy.text] = None
                    queue.append(target.policy.text)
        return list(found)


def nodes(node: object) -> Iterator[ast.Node]:
    """Yield a node and all below it, in the order of their fields."""
    if isinstance(node, tuple):
        for item in node:
            yield from nodes(item)
    elif isinstance(node, ast.Node):
        yield node
        for part in fields(node):
            if part.name != "span":
                yield from nodes(getattr(node, part.name))


def _targets(policy: ast.Policy) -> Iterator[ast.Target]:
    for rule in policy.rules:
        if isinstance(rule.action, ast.Use):
            yield from rule.action.targets


def _endpoint_conditions(item: ast.Declaration) -> Iterator[ast.Condition]:
    match item:
        case ast.Guard():
            yield item.require
        case ast.AssertNever():
            yield item.never
        case ast.Policy() | ast.Defaults():
            yield from (node.condition for node in nodes(item) if isinstance(node, ast.Where))
        case _:
            pass


def lets_in(condition: ast.Condition | ast.ListOf) -> Iterator[str]:
    """Yield the names by which a condition may ask lets, in the order written."""
    for node in nodes(condition):
        if isinstance(node, ast.Alone):
            yield node.fact.text
        elif isinstance(node, ast.In) and isinstance(node.among, ast.Name):
            yield node.among.text


class _Walk:
    """One walk over a file; knows on which side of a policy it is."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._side: Side = "request"
        self._policy = ""

    def file(self, file: ast.File) -> Iterator[Occurrence]:
        for item in file.items:
            yield from self.of(item)

    @singledispatchmethod
    def of(self, node: object) -> Iterator[Occurrence]:
        """Yield the names in a node: by default, those of its parts."""
        if isinstance(node, tuple):
            for item in node:
                yield from self.of(item)
        elif isinstance(node, ast.Node):
            for part in fields(node):
                if part.name != "span":
                    yield from self.of(getattr(node, part.name))

    def _on(self, side: Side, node: object) -> Iterator[Occurrence]:
        before, self._side = self._side, side
        yield from self.of(node)
        self._side = before

    # --- declarations

    @of.register
    def _(self, node: ast.Import) -> Iterator[Occurrence]:
        yield Occurrence("file", node.path.value, node.path.span)

    @of.register
    def _(self, node: ast.Provider) -> Iterator[Occurrence]:
        yield Occurrence("provider", node.name.text, node.name.span, declares=True)

    @of.register
    def _(self, node: ast.Model) -> Iterator[Occurrence]:
        yield Occurrence("model", node.name.text, node.name.span, declares=True)
        for serve in node.serves:
            yield Occurrence("provider", serve.provider.text, serve.provider.span)
            if serve.label is not None:
                owner = f"{node.name.text}@{serve.provider.text}"
                yield Occurrence("label", serve.label.text, serve.label.span, owner, declares=True)

    @of.register
    def _(self, node: ast.Pool) -> Iterator[Occurrence]:
        yield Occurrence("pool", node.name.text, node.name.span, declares=True)
        yield from self.of(node.members)

    @of.register
    def _(self, node: ast.Fact) -> Iterator[Occurrence]:
        yield Occurrence("fact", node.name.text, node.name.span, declares=True)
        yield from self.of(node.source)

    @of.register
    def _(self, node: ast.Let) -> Iterator[Occurrence]:
        yield Occurrence("let", node.name.text, node.name.span, declares=True)
        yield from self._on("endpoint" if node.name.text in self._names.lets_of_endpoints else "request", node.value)

    @of.register
    def _(self, node: ast.Guard) -> Iterator[Occurrence]:
        yield Occurrence("guard", node.name.text, node.name.span, declares=True)
        yield from self.of(node.when)
        yield from self._on("endpoint", node.require)

    @of.register
    def _(self, node: ast.Limit) -> Iterator[Occurrence]:
        yield Occurrence("limit", node.name.text, node.name.span, declares=True)
        yield from self.of(node.when)
        yield from self.of(node.by)

    @of.register
    def _(self, node: ast.Policy) -> Iterator[Occurrence]:
        yield Occurrence("policy", node.name.text, node.name.span, declares=True)
        for rule in node.rules:
            yield Occurrence("rule", rule.label.text, rule.label.span, node.name.text, declares=True)
            yield from self.of(rule.when)
            yield from self.of(rule.action)

    @of.register
    def _(self, node: ast.Where) -> Iterator[Occurrence]:
        yield from self._on("endpoint", node.condition)

    @of.register
    def _(self, node: ast.AssertNever) -> Iterator[Occurrence]:
        yield from self._on("endpoint", node.never)
        yield from self.of(node.when)

    @of.register
    def _(self, node: ast.AssertReachable) -> Iterator[Occurrence]:
        label = node.label
        for policy in self._names.policies.values():
            if any(rule.label.text == label.text for rule in policy.rules):
                yield Occurrence("rule", label.text, label.span, policy.name.text)

    # --- targets and conditions

    @of.register
    def _(self, node: ast.Ref) -> Iterator[Occurrence]:
        name, names = node.name.text, self._names
        is_pool = node.provider is None and name in names.pools and name not in names.models
        yield Occurrence("pool" if is_pool else "model", name, node.name.span)
        if node.provider is not None:
            yield Occurrence("provider", node.provider.text, node.provider.span)
        if node.label is not None and node.provider is not None:
            yield Occurrence("label", node.label.text, node.label.span, f"{name}@{node.provider.text}")

    @of.register
    def _(self, node: ast.Call) -> Iterator[Occurrence]:
        yield Occurrence("policy", node.policy.text, node.policy.span)

    @of.register
    def _(self, node: ast.Path) -> Iterator[Occurrence]:
        yield self._fact(node)
        if node.argument is not None:
            name, names = node.argument.text, self._names
            kind: Kind = "pool" if name in names.pools else "model" if name in names.models else "provider"
            yield Occurrence(kind, name, node.argument.span)

    def _fact(self, path: ast.Path) -> Occurrence:
        name, names = path.text, self._names
        span = path.parts[0].span.to(path.parts[-1].span)
        if path.parts[0].text in FAMILIES:
            return Occurrence("request fact", name, span)
        if self._side == "endpoint" and name in ENDPOINT:
            return Occurrence("endpoint fact", name, span)
        if name in names.facts:
            return Occurrence("fact", name, span)
        if name in names.lets:
            return Occurrence("let", name, span)
        return Occurrence("request fact" if name in REQUEST or name not in ENDPOINT else "endpoint fact", name, span)

    @of.register
    def _(self, node: ast.Compare) -> Iterator[Occurrence]:
        yield from self.of(node.fact)
        if not isinstance(node.value, ast.Regex):
            yield from self._value(node.fact, node.value)

    @of.register
    def _(self, node: ast.In) -> Iterator[Occurrence]:
        yield from self.of(node.fact)
        if isinstance(node.among, ast.Name):
            yield Occurrence("let", node.among.text, node.among.span)
        elif isinstance(node.among, ast.ListOf):
            for item in node.among.items:
                if not isinstance(item, ast.Range):
                    yield from self._value(node.fact, item)

    def _value(self, fact: ast.Path, value: ast.LiteralValue) -> Iterator[Occurrence]:
        """Yield the provider or model that an endpoint is asked for; what a client has sent is only text."""
        kind: Kind = "provider" if fact.text == "provider" else "model"
        if self._side == "endpoint" and fact.text in ("provider", "model") and not isinstance(value, ast.Number):
            yield Occurrence(kind, value.text if isinstance(value, ast.Name) else value.value, value.span)

    @of.register
    def _(self, node: ast.Over) -> Iterator[Occurrence]:
        yield Occurrence("limit", node.limit.text, node.limit.span)

    # --- tests

    @of.register
    def _(self, node: ast.Test) -> Iterator[Occurrence]:
        yield Occurrence("test", node.name.value, node.name.span, declares=True)
        self._policy = policy_of(node, self._names)
        yield from self.of(node.steps)

    @of.register
    def _(self, node: ast.Given) -> Iterator[Occurrence]:
        for path, value in node.facts:
            yield from self.of(path)
            if path.text == "model" and isinstance(value, ast.Text) and value.value.startswith("@"):
                inside = Span(value.span.source, value.span.start + 2, value.span.end - 1)
                yield Occurrence("policy", value.value[1:], inside)

    @of.register
    def _(self, node: ast.Fault) -> Iterator[Occurrence]:
        name = node.subject.name
        if node.subject.provider is None and name.text in self._names.providers:
            yield Occurrence("provider", name.text, name.span)
        else:
            yield from self.of(node.subject)

    @of.register
    def _(self, node: ast.GivenOver) -> Iterator[Occurrence]:
        yield Occurrence("limit", node.limit.text, node.limit.span)

    @of.register
    def _(self, node: ast.UsePolicy) -> Iterator[Occurrence]:
        yield Occurrence("policy", node.policy.text, node.policy.span)

    @of.register
    def _(self, node: ast.ExpectRule) -> Iterator[Occurrence]:
        label = node.label
        for name in self._names.called(self._policy):
            policy = self._names.policies.get(name)
            if policy is not None and any(rule.label.text == label.text for rule in policy.rules):
                yield Occurrence("rule", label.text, label.span, name)


def policy_of(test: ast.Test, names: Names) -> str:
    """Return the name of the policy that a test asks: the one it says, or selects by `model "@NAME"`, or the first."""
    for step in test.steps:
        if isinstance(step, ast.UsePolicy):
            return step.policy.text
    for step in test.steps:
        for path, value in step.facts if isinstance(step, ast.Given) else ():
            if path.text == "model" and isinstance(value, ast.Text) and value.value.startswith("@"):
                return value.value[1:]
    return next(iter(names.policies), "")
