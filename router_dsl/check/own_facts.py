"""The author's own facts: type, values and where they come from."""

from __future__ import annotations

from typing import Literal, cast

from router_dsl import ast
from router_dsl.check.scope import Scope
from router_dsl.check.values import enumerated
from router_dsl.plan import FactDecl

TYPES = ("text", "number", "tokens", "bool", "ip", "one of")
SOURCES = ("header", "metadata", "key", "body")


def resolve(scope: Scope) -> tuple[FactDecl, ...]:
    """Return the facts in the order written."""
    return tuple(_fact(fact, scope) for fact in scope.facts.values())


def _fact(fact: ast.Fact, scope: Scope) -> FactDecl:
    report, kind = scope.report, fact.type.text
    if kind not in TYPES:
        near = report.near(kind, TYPES)
        report.add(
            "E213",
            f"unknown type `{kind}`",
            fact.type.span,
            f"did you mean `{near}`?" if near else f"it is one of {enumerated(TYPES)}",
        )
    if kind == "one of" and not fact.values:
        report.add("E405", f"fact `{fact.name.text}` has no values", fact.type.span, "write `one of a, b, c`")
    seen: set[str] = set()
    for value in fact.values:
        if value.text in seen:
            report.add("W512", f"`{value.text}` is listed twice", value.span, "leave one out")
        seen.add(value.text)
    return FactDecl(
        name=fact.name.text,
        type=cast("Literal['text', 'number', 'tokens', 'bool', 'ip', 'one of']", kind),
        values=tuple(dict.fromkeys(value.text for value in fact.values)),
        source=_source(fact.source, scope),
    )


def _source(path: ast.Path, scope: Scope) -> str:
    family, entry = path.parts[0].text, ".".join(part.text for part in path.parts[1:])
    known = family in SOURCES
    if not known or not entry or path.argument is not None or path.zone is not None:
        near = None if known else scope.report.near(family, SOURCES)
        help = (
            f"did you mean `{near}.{entry or 'NAME'}`?"
            if near
            else "it is `header.NAME`, `metadata.NAME`, `key.NAME` or `body.PATH`"
        )
        scope.report.add("E217", f"`{path.span.text}` is no source of facts", path.span, help)
    return f"{family}.{entry.lower() if family == 'header' else entry}"
