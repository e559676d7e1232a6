"""Every name a policy declares, over all its files, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from router_dsl import ast
from router_dsl.check.report import Report
from router_dsl.fields import ENDPOINT, FAMILIES, REQUEST

Kind = Literal["provider", "model", "pool", "let", "fact", "guard", "limit", "policy"]

Assertion = ast.AssertNever | ast.AssertBound | ast.AssertReachable
T = TypeVar("T", bound=ast.Node)


@dataclass(slots=True)
class Scope:
    """The declarations by kind and name, in the order written, root file first.

    Attributes:
        aka: Other names of models, to the model's name.
        used: What something refers to, tests left out.
        root: The file the policy starts from.
    """

    root: ast.File
    report: Report
    providers: dict[str, ast.Provider] = field(default_factory=dict)
    models: dict[str, ast.Model] = field(default_factory=dict)
    pools: dict[str, ast.Pool] = field(default_factory=dict)
    lets: dict[str, ast.Let] = field(default_factory=dict)
    facts: dict[str, ast.Fact] = field(default_factory=dict)
    guards: dict[str, ast.Guard] = field(default_factory=dict)
    limits: dict[str, ast.Limit] = field(default_factory=dict)
    policies: dict[str, ast.Policy] = field(default_factory=dict)
    tests: dict[str, ast.Test] = field(default_factory=dict)
    assertions: list[Assertion] = field(default_factory=list)
    defaults: ast.Defaults | None = None
    aka: dict[str, str] = field(default_factory=dict)
    used: set[tuple[Kind, str]] = field(default_factory=set)

    def use(self, kind: Kind, name: str) -> None:
        """Note that something refers to a declaration."""
        self.used.add((kind, name))

    def words(self) -> list[str]:
        """Return every name a condition may use for a fact of a request."""
        scheme = [name for name in REQUEST if not name.endswith(".*")]
        return [*scheme, *self.facts, *self.lets]


def collect(files: Sequence[ast.File], report: Report) -> Scope:
    """Return the names of all files; duplicates, clashes and names that cannot be used are reported."""
    scope = Scope(files[0], report)
    for file in files:
        for item in file.items:
            _declare(item, scope)
    _clashes(scope)
    return scope


def _declare(item: ast.Declaration, scope: Scope) -> None:
    match item:
        case ast.Provider():
            _enter("provider", item.name, item, scope.providers, scope.report)
        case ast.Model():
            _enter("model", item.name, item, scope.models, scope.report)
        case ast.Pool():
            _enter("pool", item.name, item, scope.pools, scope.report)
        case ast.Let():
            _enter("let", item.name, item, scope.lets, scope.report)
            _not_built_in("let", item.name, scope.report)
        case ast.Fact():
            _enter("fact", item.name, item, scope.facts, scope.report)
            _not_built_in("fact", item.name, scope.report)
        case ast.Guard():
            _enter("guard", item.name, item, scope.guards, scope.report)
        case ast.Limit():
            _enter("limit", item.name, item, scope.limits, scope.report)
        case ast.Policy():
            _enter("policy", item.name, item, scope.policies, scope.report)
        case ast.Test():
            _enter("test", item.name, item, scope.tests, scope.report)
        case ast.Defaults():
            if scope.defaults is None:
                scope.defaults = item
            else:
                _again("`defaults` is written twice", item, scope.defaults, scope.report)
        case ast.Import():
            pass
        case _:
            scope.assertions.append(item)


def _enter(kind: str, name: ast.Name | ast.Text, item: T, table: dict[str, T], report: Report) -> None:
    text = name.text if isinstance(name, ast.Name) else name.value
    usable_name(text, name, report)
    if text in table:
        first = table[text]
        _again(f"{kind} `{text}` is declared twice", name, first, report)
    else:
        table[text] = item


def _again(message: str, node: ast.Node, first: ast.Node, report: Report) -> None:
    report.add("E201", message, node.span, f"the first is in {first.span.source.name}, line {first.span.line}")


def usable_name(text: str, node: ast.Node, report: Report) -> None:
    """Report a declared name that is empty or cannot stand on one line; names travel in headers and logs."""
    if not text or text != text.strip() or not text.isprintable():
        report.add(
            "E212", "a name is empty, padded or not printable", node.span, "use letters, digits, `-`, `_` and the like"
        )


def _not_built_in(kind: str, name: ast.Name, report: Report) -> None:
    if name.text in REQUEST or name.text in ENDPOINT or name.text in FAMILIES:
        report.add("E203", f"{kind} `{name.text}` has the name of a built-in fact", name.span, "choose another name")


def _clashes(scope: Scope) -> None:
    report = scope.report
    for name, pool in scope.pools.items():
        if name in scope.models:
            report.add(
                "E202", f"`{name}` is a model and a pool", pool.name.span, "a target could mean either: rename one"
            )
    for name, let in scope.lets.items():
        if name in scope.facts:
            report.add(
                "E202", f"`{name}` is a fact and a let", let.name.span, "a condition could mean either: rename one"
            )
    for model in scope.models.values():
        for prop in model.props:
            if prop.keyword.text == "aka":
                for value in prop.values:
                    _alias(value, model.name.text, scope)


def _alias(value: ast.Name | ast.Text | ast.Number, model: str, scope: Scope) -> None:
    alias = text_of(value)
    if alias is None:
        return  # the catalogue reports it
    usable_name(alias, value, scope.report)
    other = alias if alias in scope.models else scope.aka.get(alias)
    if other == model:
        scope.report.add("W512", f"`{alias}` already names this model", value.span, "leave it out")
    elif other is not None:
        message = f"`{alias}` already names the model `{other}`"
        scope.report.add("E202", message, value.span, "a client that asks for it could mean either")
    else:
        scope.aka[alias] = model


def text_of(value: ast.LiteralValue) -> str | None:
    """Return the text of a name or string, None for a number."""
    match value:
        case ast.Name():
            return value.text
        case ast.Text():
            return value.value
        case _:
            return None
