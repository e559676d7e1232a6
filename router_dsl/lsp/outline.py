"""The declarations of a file as a tree, for an editor's outline and its breadcrumbs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from router_dsl import ast
from router_dsl.check.report import squeezed
from router_dsl.source import Span

Sort = Literal[
    "provider", "model", "endpoint", "pool", "fact", "let", "guard", "limit", "policy", "rule", "test", "assert",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an outline.

    Attributes:
        whole: All of it; `name_span`: what to put the cursor on, inside of it.
    """

    sort: Sort
    name: str
    detail: str
    whole: Span
    name_span: Span
    inside: tuple[Entry, ...] = ()


def outline(file: ast.File) -> list[Entry]:
    """Return a file's declarations in the order written."""
    return [entry for item in file.items for entry in _entry(item)]


def _entry(item: ast.Declaration) -> Iterator[Entry]:
    match item:
        case ast.Import():
            return
        case ast.Defaults():
            return
        case ast.Model():
            yield Entry("model", item.name.text, "", item.span, item.name.span, tuple(map(_served, item.serves)))
        case ast.Policy():
            yield Entry("policy", item.name.text, "", item.span, item.name.span, tuple(map(_rule, item.rules)))
        case ast.Test():
            yield Entry("test", item.name.value, "", item.span, item.name.span)
        case ast.Provider():
            yield Entry("provider", item.name.text, "", item.span, item.name.span)
        case ast.Pool():
            members = ", ".join(squeezed(member.span) for member in item.members)
            yield Entry("pool", item.name.text, members, item.span, item.name.span)
        case ast.Fact():
            yield Entry("fact", item.name.text, squeezed(item.source.span), item.span, item.name.span)
        case ast.Let():
            yield Entry("let", item.name.text, squeezed(item.value.span), item.span, item.name.span)
        case ast.Guard():
            yield Entry("guard", item.name.text, squeezed(item.require.span), item.span, item.name.span)
        case ast.Limit():
            yield Entry("limit", item.name.text, "", item.span, item.name.span)
        case _:
            yield Entry("assert", squeezed(item.span), "", item.span, item.span)


def _served(serve: ast.Serve) -> Entry:
    label = f"/{serve.label.text}" if serve.label is not None else ""
    return Entry("endpoint", f"@ {serve.provider.text}{label}", serve.upstream.value, serve.span, serve.provider.span)


def _rule(rule: ast.Rule) -> Entry:
    detail = "" if rule.when is None else squeezed(rule.when.span)
    return Entry("rule", rule.label.text, detail, rule.span, rule.label.span)
