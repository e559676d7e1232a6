"""Grammar rule → AST node: one method for each rule of `grammar.lark`, called as the parser reduces.

A method gets everything its rule read, keywords and signs included (as tokens), so that a node's span is that
of its first to its last child.
"""

# ruff: noqa: D102 - the grammar says what each method reads, the node what it gives

from __future__ import annotations

import re
from typing import TypeVar, cast

from router_dsl import ast
from router_dsl.lex import Token, string_value
from router_dsl.source import Source, Span

Child = Token | ast.Node
Children = list[Child]
N = TypeVar("N", bound=ast.Node)

# Words of a provider's or endpoint's option that are values, not its keyword or padding.
_VALUE_WORDS = ("ENV", "SECRET", "HEADER")
_NUMBER = re.compile(r"([-+]?)(\$?)([0-9]+(?:\.[0-9]+)?)(.*)", re.DOTALL)
_NOWHERE = Span(Source("", ""), 0, 0)


def _span(children: Children) -> Span:
    first, last = children[0], children[-1]
    if isinstance(first, Token):
        source, start = first.source, first.start
    else:
        source, start = first.span.source, first.span.start
    return Span(source, start, last.end if isinstance(last, Token) else last.span.end)


def _all(children: Children, kind: type[N]) -> tuple[N, ...]:
    return tuple(child for child in children if isinstance(child, kind))


def _nodes(children: Children) -> list[ast.Node]:
    return [child for child in children if isinstance(child, ast.Node)]


def _first(children: Children, kind: type[N]) -> N:
    return next(child for child in children if isinstance(child, kind))


def _has(children: Children, terminal: str) -> bool:
    return any(isinstance(child, Token) and child.type == terminal for child in children)


def _behind(children: Children, terminal: str) -> ast.Node | None:
    """Return what stands right behind a keyword or sign, if it is there."""
    for i, child in enumerate(children):
        if isinstance(child, Token) and child.type == terminal:
            return cast(ast.Node, children[i + 1])
    return None


def _word(child: Child) -> str:
    return cast(Token, child).text


class Transform:
    """The methods, by rule name."""

    # --- leaves

    def name(self, children: Children) -> ast.Name:
        token = cast(Token, children[0])
        if token.kind == "STRING":
            return ast.Name(string_value(token.text), True, span=token.span)
        return ast.Name(token.text, span=token.span)

    label = name

    def text(self, children: Children) -> ast.Text:
        token = cast(Token, children[0])
        return ast.Text(string_value(token.text), span=token.span)

    def word(self, children: Children) -> ast.Text:
        token = cast(Token, children[0])
        return ast.Text(string_value(token.text) if token.kind == "STRING" else token.text, span=token.span)

    def number(self, children: Children) -> ast.Number:
        token = cast(Token, children[0])
        found = _NUMBER.match(token.text)
        assert found is not None
        sign, dollar, digits, suffix = found.groups()
        return ast.Number(("-" if sign == "-" else "") + digits, dollar + suffix, span=token.span)

    def regex(self, children: Children) -> ast.Regex:
        token = cast(Token, children[0])
        end = token.text.rindex("/")
        return ast.Regex(token.text[1:end], "i" in token.text[end:], span=token.span)

    def list(self, children: Children) -> ast.ListOf:
        items = tuple(cast(ast.LiteralValue | ast.Range, node) for node in _nodes(children))
        return ast.ListOf(items, span=_span(children))

    def range(self, children: Children) -> ast.Range:
        low, high = (cast(ast.LiteralValue, node) for node in _nodes(children))
        return ast.Range(low, high, span=_span(children))

    def path(self, children: Children) -> ast.Path:
        span = _span(children)
        sign = children[-2] if len(children) > 1 else None
        if sign is None or (isinstance(sign, Token) and sign.type == "DOT"):
            return ast.Path(tuple(cast(list[ast.Name], children[::2])), span=span)
        argument, zone = _behind(children, "LPAR"), _behind(children, "AT_SIGN")
        parts = tuple(name for name in _all(children, ast.Name) if name is not argument)
        return ast.Path(parts, cast(ast.Name | None, argument), cast(ast.Text | None, zone), span=span)

    # --- conditions

    def condition(self, children: Children) -> ast.Or:
        items: list[ast.Condition] = []
        for node in _nodes(children):
            items += node.items if isinstance(node, ast.Or) else (cast(ast.Condition, node),)
        return ast.Or(tuple(items), span=_span(children))

    def conjunction(self, children: Children) -> ast.And:
        items: list[ast.Condition] = []
        for node in _nodes(children):
            items += node.items if isinstance(node, ast.And) else (cast(ast.Condition, node),)
        return ast.And(tuple(items), span=_span(children))

    def negation(self, children: Children) -> ast.Not:
        return ast.Not(cast(ast.Condition, children[1]), span=_span(children))

    def parenthesis(self, children: Children) -> ast.Condition:
        return cast(ast.Condition, children[1])

    def compare(self, children: Children) -> Token:
        return cast(Token, children[0])

    def comparison(self, children: Children) -> ast.Compare:
        op = " ".join(_word(child) for child in children[1:-1])
        fact, value = cast(ast.Path, children[0]), cast(ast.LiteralValue | ast.Regex, children[-1])
        return ast.Compare(fact, cast(ast.CompareOp, op), value, span=_span(children))

    def membership(self, children: Children) -> ast.In:
        among = cast(ast.ListOf | ast.Range | ast.Name | ast.Text, children[-1])
        if isinstance(among, ast.Text):
            among = ast.ListOf((among,), span=among.span)
        return ast.In(cast(ast.Path, children[0]), among, _has(children, "NOT"), span=_span(children))

    def has(self, children: Children) -> ast.Has:
        return ast.Has(cast(ast.Path, children[1]), span=_span(children))

    def missing(self, children: Children) -> ast.Missing:
        return ast.Missing(cast(ast.Path, children[1]), span=_span(children))

    def over(self, children: Children) -> ast.Over:
        return ast.Over(cast(ast.Name, children[1]), span=_span(children))

    def alone(self, children: Children) -> ast.Alone:
        return ast.Alone(cast(ast.Path, children[0]), span=_span(children))

    # --- targets and actions

    def ref(self, children: Children) -> ast.Ref:
        name = cast(ast.Name, children[0])
        if len(children) == 1:
            return ast.Ref(name, span=name.span)
        provider, label = _behind(children, "AT_SIGN"), _behind(children, "SLASH")
        return ast.Ref(name, cast(ast.Name | None, provider), cast(ast.Name | None, label), span=_span(children))

    def requested(self, children: Children) -> ast.Requested:
        return ast.Requested(span=_span(children))

    def share(self, children: Children) -> ast.Share:
        percent, target = children
        return ast.Share(cast(ast.Number, percent), cast(ast.Ref | ast.Requested, target), span=_span(children))

    def split(self, children: Children) -> ast.Split:
        return ast.Split(_all(children, ast.Share), cast(ast.Path, children[-1]), span=_span(children))

    def call(self, children: Children) -> ast.Call:
        return ast.Call(cast(ast.Name, children[1]), span=_span(children))

    def use(self, children: Children) -> ast.Use:
        targets: list[ast.Target] = []
        options: list[ast.Option] = []
        for node in _nodes(children):
            if isinstance(node, ast.Target):
                targets.append(node)
            else:
                options.append(cast(ast.Option, node))
        return ast.Use(tuple(targets), tuple(options), span=_span(children))

    def reject(self, children: Children) -> ast.Reject:
        message = children[2] if len(children) > 2 else None
        return ast.Reject(cast(ast.Number, children[1]), cast(ast.Text | None, message), span=_span(children))

    # --- options

    def by(self, children: Children) -> ast.By:
        metrics: list[tuple[ast.Name, ast.Number | None]] = []
        for node in _nodes(children):
            if isinstance(node, ast.Number):
                metrics[-1] = (metrics[-1][0], node)
            else:
                metrics.append((cast(ast.Name, node), None))
        return ast.By(tuple(metrics), span=_span(children))

    def where(self, children: Children) -> ast.Where:
        return ast.Where(cast(ast.Condition, children[1]), span=_span(children))

    def sticky(self, children: Children) -> ast.Sticky:
        return ast.Sticky(cast(ast.Path, children[-1]), span=_span(children))

    def prefer_cache(self, children: Children) -> ast.PreferCache:
        return ast.PreferCache(span=_span(children))

    def deadline(self, children: Children) -> ast.Deadline:
        kind = " ".join(_word(child) for child in children[:-1])
        duration = cast(ast.Number, children[-1])
        if kind == "within":
            return ast.Deadline("within", duration, span=_span(children))
        return ast.Deadline("stall" if kind == "stall" else "first token", duration, span=_span(children))

    def retry(self, children: Children) -> ast.Retry:
        count, *causes = _nodes(children)
        on = tuple(cast(ast.Name | ast.Number, cause) for cause in causes) if causes else None
        return ast.Retry(cast(ast.Number, count), on, span=_span(children))

    def hedge(self, children: Children) -> ast.Hedge:
        after, at_most = cast(ast.Number | ast.Name, children[2]), _behind(children, "MOST")
        return ast.Hedge(after, cast(ast.Number | None, at_most), span=_span(children))

    def escalate(self, children: Children) -> ast.Escalate:
        return ast.Escalate(_first(children, ast.Ref), _all(children, ast.Name), span=_span(children))

    def invalid_json(self, children: Children) -> ast.Name:
        return ast.Name("invalid json", span=_span(children))

    def shadow(self, children: Children) -> ast.Shadow:
        _, percent, target = children
        return ast.Shadow(cast(ast.Number, percent), cast(ast.Ref, target), span=_span(children))

    def cap(self, children: Children) -> ast.Cap:
        _, param, value = children
        return ast.Cap(cast(ast.Name, param), cast(ast.Number, value), span=_span(children))

    def set(self, children: Children) -> ast.Set:
        _, param, value = children
        return ast.Set(cast(ast.Name, param), cast(ast.LiteralValue, value), span=_span(children))

    def drop(self, children: Children) -> ast.Drop:
        return ast.Drop(cast(ast.Name, children[1]), span=_span(children))

    def cache(self, children: Children) -> ast.Cache:
        return ast.Cache(cast(ast.Number, children[1]), span=_span(children))

    def tag(self, children: Children) -> ast.Tag:
        return ast.Tag(cast(ast.Name, children[1]), span=_span(children))

    # --- declarations

    def file(self, children: Children) -> ast.File:
        # The parser, which knows the text, gives the file its span.
        return ast.File(tuple(cast(ast.Declaration, node) for node in _nodes(children)), span=_NOWHERE)

    def import_(self, children: Children) -> ast.Import:
        return ast.Import(cast(ast.Text, children[1]), span=_span(children))

    def prop(self, children: Children) -> ast.Prop:
        keyword = cast(Token, children[0])
        values: list[ast.Name | ast.Text | ast.Number] = []
        for child in children[1:]:
            if not isinstance(child, Token):
                values.append(cast(ast.Name | ast.Text | ast.Number, child))
            elif child.type in _VALUE_WORDS:
                values.append(ast.Name(child.text, span=child.span))
        return ast.Prop(ast.Name(keyword.text, span=keyword.span), tuple(values), span=_span(children))

    def provider(self, children: Children) -> ast.Provider:
        return ast.Provider(cast(ast.Name, children[1]), _all(children, ast.Prop), span=_span(children))

    def serve(self, children: Children) -> ast.Serve:
        label = cast(ast.Name | None, _behind(children, "AS"))
        upstream = _first(children, ast.Text)
        props = _all(children, ast.Prop)
        return ast.Serve(cast(ast.Name, children[1]), label, upstream, props, span=_span(children))

    def model(self, children: Children) -> ast.Model:
        name = cast(ast.Name, children[1])
        return ast.Model(name, _all(children, ast.Prop), _all(children, ast.Serve), span=_span(children))

    def pool(self, children: Children) -> ast.Pool:
        return ast.Pool(cast(ast.Name, children[1]), _all(children, ast.Ref), span=_span(children))

    def fact(self, children: Children) -> ast.Fact:
        name, *names = _all(children, ast.Name)
        source = cast(ast.Path, children[-1])
        if not _has(children, "ONE"):
            return ast.Fact(name, names[0], (), source, span=_span(children))
        one_of = ast.Name("one of", span=_span(children[3:5]))
        return ast.Fact(name, one_of, tuple(names), source, span=_span(children))

    def let(self, children: Children) -> ast.Let:
        value = cast(ast.Condition | ast.ListOf, children[-1])
        return ast.Let(cast(ast.Name, children[1]), value, span=_span(children))

    def defaults(self, children: Children) -> ast.Defaults:
        options = tuple(cast(ast.Option, node) for node in _nodes(children))
        return ast.Defaults(options, span=_span(children))

    def when(self, children: Children) -> ast.Condition:
        return cast(ast.Condition, children[1])

    def guard(self, children: Children) -> ast.Guard:
        name, *conditions = _nodes(children)
        require = cast(ast.Condition, conditions.pop())
        when = cast(ast.Condition, conditions[0]) if conditions else None
        return ast.Guard(cast(ast.Name, name), when, require, span=_span(children))

    def limit(self, children: Children) -> ast.Limit:
        amount = _first(children, ast.Number)
        at = children.index(amount)
        before, behind = _nodes(children[:at]), _nodes(children[at + 1 :])
        unit = cast(ast.Name, behind[0]) if isinstance(children[at + 1], ast.Name) else _dollars(amount)
        return ast.Limit(
            name=cast(ast.Name, before[0]),
            when=cast(ast.Condition, before[1]) if len(before) > 1 else None,
            amount=amount,
            unit=unit,
            per=cast(ast.Name, _behind(children, "PER")),
            by=tuple(node for node in behind if isinstance(node, ast.Path)),
            soft=_has(children[-1:], "SOFT"),
            span=_span(children),
        )

    def rule(self, children: Children) -> ast.Rule:
        action = cast(ast.Action, children[-1])
        label = children[0]
        if isinstance(label, Token):
            return ast.Rule(ast.Name(label.text, span=label.span), None, action, span=_span(children))
        when = cast(ast.Condition, children[3])
        return ast.Rule(cast(ast.Name, label), when, action, span=_span(children))

    def policy(self, children: Children) -> ast.Policy:
        return ast.Policy(cast(ast.Name, children[1]), _all(children, ast.Rule), span=_span(children))

    # --- tests and assertions

    def test(self, children: Children) -> ast.Test:
        name, *steps = _nodes(children)
        return ast.Test(cast(ast.Text, name), tuple(cast(ast.Step, step) for step in steps), span=_span(children))

    def given(self, children: Children) -> ast.Given:
        nodes = _nodes(children)
        paths = (cast(ast.Path, node) for node in nodes[::2])
        values = (cast(ast.LiteralValue, node) for node in nodes[1::2])
        return ast.Given(tuple(zip(paths, values, strict=True)), span=_span(children))

    def fault(self, children: Children) -> ast.Fault:
        subject, span = cast(ast.Ref, children[1]), _span(children)
        match _word(children[0]):
            case "down":
                return ast.Fault("down", subject, span=span)
            case "full":
                return ast.Fault("full", subject, span=span)
            case _:
                return ast.Fault("slow", subject, cast(ast.Number, children[2]), span=span)

    def given_over(self, children: Children) -> ast.GivenOver:
        return ast.GivenOver(cast(ast.Name, children[1]), span=_span(children))

    def use_policy(self, children: Children) -> ast.UsePolicy:
        return ast.UsePolicy(cast(ast.Name, children[1]), span=_span(children))

    def expect_rule(self, children: Children) -> ast.ExpectRule:
        return ast.ExpectRule(cast(ast.Name, children[2]), span=_span(children))

    def expect_target(self, children: Children) -> ast.ExpectTarget:
        return ast.ExpectTarget(cast(ast.Ref, children[-1]), len(children) == 3, span=_span(children))

    def expect_reject(self, children: Children) -> ast.ExpectReject:
        return ast.ExpectReject(cast(ast.Number, children[2]), span=_span(children))

    def expect_order(self, children: Children) -> ast.ExpectOrder:
        return ast.ExpectOrder(_all(children, ast.Ref), span=_span(children))

    def expect_bound(self, children: Children) -> ast.ExpectBound:
        what, limit = _word(children[1]), cast(ast.Number, children[3])
        return ast.ExpectBound("cost" if what == "cost" else "attempts", limit, span=_span(children))

    def assert_never(self, children: Children) -> ast.AssertNever:
        when = children[3] if len(children) > 3 else None
        never = cast(ast.Condition, children[2])
        return ast.AssertNever(never, cast(ast.Condition | None, when), span=_span(children))

    def assert_bound(self, children: Children) -> ast.AssertBound:
        what, limit = _word(children[1]), cast(ast.Number, children[3])
        when = cast(ast.Condition | None, children[4] if len(children) > 4 else None)
        if what == "attempts":
            return ast.AssertBound("attempts", limit, when, span=_span(children))
        return ast.AssertBound("cost" if what == "cost" else "wait", limit, when, span=_span(children))

    def assert_reachable(self, children: Children) -> ast.AssertReachable:
        return ast.AssertReachable(cast(ast.Name, children[2]), span=_span(children))


def _dollars(amount: ast.Number) -> ast.Name:
    """Return the unit of a limit that names none: `$200 per day`."""
    return ast.Name(amount.unit, span=amount.span)
