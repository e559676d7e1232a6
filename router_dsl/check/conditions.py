"""Conditions with every name resolved, every value typed, every `let` expanded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from router_dsl import ast
from router_dsl.check import values
from router_dsl.check.asked import Asked, Paths, is_request_fact
from router_dsl.check.report import squeezed
from router_dsl.check.scope import Scope
from router_dsl.fields import ENDPOINT, OPERATORS, ORDER, Type
from router_dsl.plan import And, Atom, Cond, Named, Not, Op, Or, Range, Scalar

Side = Literal["request", "endpoint"]

OPS: dict[str, Op] = {
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge",
    "contains": "contains", "starts with": "starts", "ends with": "ends", "matches": "matches",
}  # fmt: skip

REFUSED = Atom("", "missing", None, (), "")
"""Stands for a condition with an error in it; no program is made of it."""

# Deeper nesting and larger expansions come from machines or mistakes; every later pass may recurse this deep.
DEEPEST = 100
MOST_QUESTIONS = 10_000

_BOTH: frozenset[Side] = frozenset({"request", "endpoint"})

Items = tuple[Range | str | int | float | bool, ...]


@dataclass(slots=True)
class Conditions:
    """Resolves conditions of both kinds: on requests (`when`) and on endpoints (`where`, `require`)."""

    scope: Scope
    paths: Paths
    _lets: dict[tuple[str, Side], Cond] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _measures: dict[int, tuple[int, int]] = field(default_factory=dict)
    _lists: dict[tuple[str, Type, tuple[str, ...]], Items] = field(default_factory=dict)
    _sides: dict[str, frozenset[Side]] = field(default_factory=dict)

    def resolve(self, cond: ast.Condition, side: Side) -> Cond:
        """Return the condition resolved; when anything in it was reported the result only fills a place."""
        found = self._cond(cond, side, 0)
        self._measure(found, cond)
        return found

    def _cond(self, cond: ast.Condition, side: Side, depth: int) -> Cond:
        if depth > DEEPEST:
            return REFUSED  # `_measure` reports it
        match cond:
            case ast.Compare():
                return self._compare(cond, side)
            case ast.In():
                return self._among(cond, side)
            case ast.And():
                return And(tuple(self._cond(item, side, depth + 1) for item in cond.items))
            case ast.Or():
                return Or(tuple(self._cond(item, side, depth + 1) for item in cond.items))
            case ast.Not():
                return Not(self._cond(cond.item, side, depth + 1))
            case ast.Alone():
                return self._alone(cond, side)
            case ast.Has() | ast.Missing():
                asked = self._asked(cond.fact, side)
                op: Op = "has" if isinstance(cond, ast.Has) else "missing"
                return REFUSED if asked is None else Atom(asked.name, op, None, (), squeezed(cond.span))
            case ast.Over():
                return self._over(cond, side)

    def _asked(self, path: ast.Path, side: Side) -> Asked | None:
        return self.paths.request(path) if side == "request" else self.paths.endpoint(path)

    # --- comparisons ------------------------------------------------------------------------------

    def _compare(self, cond: ast.Compare, side: Side) -> Cond:
        asked = self._asked(cond.fact, side)
        if asked is None:
            return REFUSED
        if cond.op not in OPERATORS[asked.type]:
            self._refuse_operator(cond.op, asked, cond)
            return REFUSED
        right = self._right(cond, asked)
        return REFUSED if right is None else Atom(asked.name, OPS[cond.op], right, (), squeezed(cond.span))

    def _right(self, cond: ast.Compare, asked: Asked) -> Scalar | None:
        report, literal = self.scope.report, cond.value
        if isinstance(literal, ast.Regex):
            if cond.op == "matches":
                return values.regex(literal, report)
            report.add(
                "E301",
                f"`{cond.op}` takes no regex",
                literal.span,
                f"write `{asked.written} matches {literal.span.text}`",
            )
            return None
        if cond.op == "matches":
            report.add("E301", "`matches` takes a regex", literal.span, "write it between slashes: `/…/`, or `/…/i`")
            return None
        if cond.op in ("contains", "starts with", "ends with"):
            # A part of a value need not be one of the values; an element of a set is whole.
            asked = Asked(
                asked.name,
                asked.written,
                "set" if asked.type == "set" else "text",
                asked.values if asked.type == "set" else (),
            )
            right = values.value(literal, asked, self.scope)
            if isinstance(right, str) and cond.fact.parts[-1].text == "date" and asked.name.startswith("time.date"):
                values.prefix_of_date(right, literal, report)
            return right
        return values.value(literal, asked, self.scope)

    def _refuse_operator(self, op: str, asked: Asked, node: ast.Node) -> None:
        kind = values.NAMES[asked.type]
        help: str | None = f"it takes {values.enumerated(OPERATORS[asked.type])}"
        if asked.type == "text" and op in ORDER and asked.name.partition(".")[0] in ("header", "key", "metadata"):
            help = f"declare it as a number: `fact NAME: number from {asked.written}`"
        elif asked.type == "bool":
            help = f"it stands alone: `{asked.written}` or `not {asked.written}`"
        elif asked.type == "ip":
            help = f'write `{asked.written} in ["10.0.0.0/8"]`'
        elif asked.type == "one of" and op in ORDER:
            help = f"its values have no order: list them with `{asked.written} in […]`"
        elif asked.type == "set":
            help = f"write `{asked.written} contains NAME`"
        self.scope.report.add("E303", f"`{asked.written}` is {kind}: `{op}` does not apply", node.span, help)

    def _among(self, cond: ast.In, side: Side) -> Cond:
        asked = self._asked(cond.fact, side)
        if asked is None:
            return REFUSED
        op: Op = "not in" if cond.negated else "in"
        if "in" not in OPERATORS[asked.type]:
            self._refuse_operator(op, asked, cond)
            return REFUSED
        items = self._items(cond.among, asked)
        return REFUSED if items is None else Atom(asked.name, op, None, items, squeezed(cond.span))

    def _items(self, among: ast.ListOf | ast.Range | ast.Name, asked: Asked) -> Items | None:
        match among:
            case ast.ListOf():
                return self._list(among, asked)
            case ast.Range():
                found = values.between(among, asked, self.scope)
                return None if found is None else (found,)
            case _:
                return self._named_list(among, asked)

    def _list(self, among: ast.ListOf, asked: Asked) -> Items | None:
        found = [values.item(literal, asked, self.scope) for literal in among.items]
        kept = tuple(item for item in found if item is not None)
        return kept if len(kept) == len(found) else None

    def _named_list(self, name: ast.Name, asked: Asked) -> Items | None:
        report, let = self.scope.report, self.scope.lets.get(name.text)
        if let is None:
            if asked.type == "ip" and name.quoted:
                only = values.item(name, asked, self.scope)
                return None if only is None else (only,)
            lists = [n for n, one in self.scope.lets.items() if isinstance(one.value, ast.ListOf)]
            report.unknown(
                "E210",
                "list",
                name.text,
                name.span,
                lists,
                f"write `[{name.span.text}]`, or declare `let {name.text} = […]`",
            )
            return None
        self.scope.use("let", name.text)
        if not isinstance(let.value, ast.ListOf):
            report.add(
                "E310",
                f"`{name.text}` is a condition, not a list",
                name.span,
                "`in` takes a list, a range or a `let` list",
            )
            return None
        key = (name.text, asked.type, asked.values)
        if key not in self._lists:
            found = self._list(let.value, asked)
            if found is None:
                return None
            self._lists[key] = found
        return self._lists[key]

    # --- names standing alone -----------------------------------------------------------------------

    def _over(self, cond: ast.Over, side: Side) -> Cond:
        name, report = cond.limit.text, self.scope.report
        if side == "endpoint":
            report.add(
                "E215", "`over` asks about requests, not endpoints", cond.span, "ask it in a rule's or guard's `when`"
            )
            return REFUSED
        limit = self.scope.limits.get(name)
        if limit is None:
            report.unknown(
                "E209", "limit", name, cond.limit.span, self.scope.limits, f"declare it with `limit {name}: … soft`"
            )
            return REFUSED
        self.scope.use("limit", name)
        if not limit.soft:
            message = f"limit `{name}` is not soft: a request past it is refused before any rule is asked"
            report.add("W511", message, cond.limit.span, "write `soft` at the end of the limit")
        return Atom(f"over {name}", "is", None, (), squeezed(cond.span))

    def _alone(self, cond: ast.Alone, side: Side) -> Cond:
        path, report = cond.fact, self.scope.report
        name = path.text
        if name in self.scope.lets and path.argument is None and path.zone is None:
            return self._let(self.scope.lets[name], cond, side)
        if name in self.scope.limits and not is_request_fact(path, self.scope):
            report.add("E308", f"`{name}` is a limit, not a condition", cond.span, f"write `over {name}`")
            return REFUSED
        asked = self._asked(path, side)
        if asked is None:
            return REFUSED
        if asked.type != "bool":
            help = f"write `has {asked.written}`, or compare it"
            report.add("E308", f"`{asked.written}` is {values.NAMES[asked.type]}, not a condition", cond.span, help)
            return REFUSED
        return Atom(asked.name, "is", None, (), squeezed(cond.span))

    def _let(self, let: ast.Let, use: ast.Alone, side: Side) -> Cond:
        name, report = let.name.text, self.scope.report
        self.scope.use("let", name)
        if isinstance(let.value, ast.ListOf):
            report.add("E308", f"`{name}` is a list, not a condition", use.span, f"write `FACT in {name}`")
            return REFUSED
        other: Side = "endpoint" if side == "request" else "request"
        sides = self.sides(let)
        if side not in sides and other in sides:
            code = "E214" if side == "request" else "E215"
            where = "in `where` or `require`" if side == "request" else "in a `when`"
            report.add(code, f"`{name}` asks about {other}s, not {side}s", use.span, f"use it {where}")
            return REFUSED
        if name in self._open:
            around = [*self._open[self._open.index(name) :], name]
            shown = " → ".join(f"`{step}`" for step in around)
            report.add("E216", f"`{name}` is defined by itself: {shown}", use.span, "write one of them out")
            return REFUSED
        key = (name, side)
        if key not in self._lets:
            self._open.append(name)
            self._lets[key] = self._expanded(let.value, side)
            self._open.pop()
        return Named(name, self._lets[key])

    def _expanded(self, cond: ast.Condition, side: Side) -> Cond:
        found = self._cond(cond, side, len(self._open))
        return found if self._measure(found, cond) else REFUSED

    def _measure(self, cond: Cond, node: ast.Node) -> bool:
        """Report a condition that is too large once its lets are expanded; say whether it is not."""
        questions, depth = self._size(cond)
        if questions > MOST_QUESTIONS or depth > DEEPEST:
            what = (
                f"asks more than {MOST_QUESTIONS} questions"
                if depth <= DEEPEST
                else f"is nested more than {DEEPEST} deep"
            )
            self.scope.report.add(
                "E312", f"a condition {what} once its lets are written out", node.span, "split the rule"
            )
            return False
        return True

    def _size(self, cond: Cond) -> tuple[int, int]:
        """Return how many questions a condition asks and how deep it is nested."""
        match cond:
            case Atom():
                return 1, 1
            case Not():
                questions, depth = self._size(cond.item)
                return questions, depth + 1
            case Named():
                # Shared between its uses, hence counted once and remembered by identity; `_lets` keeps it alive.
                known = self._measures.get(id(cond.item))
                if known is None:
                    known = self._measures[id(cond.item)] = self._size(cond.item)
                return known[0], known[1] + 1
            case _:
                sizes = [self._size(item) for item in cond.items]
                return sum(size[0] for size in sizes), 1 + max(size[1] for size in sizes)

    def sides(self, let: ast.Let) -> frozenset[Side]:
        """Return where a let condition makes sense: on requests, on endpoints, on both or (mixed up) on neither."""
        # Depth first without recursion: the lets it uses are settled before it, so each is looked at once.
        stack = [] if let.name.text in self._sides else [let]
        while stack:
            name = stack[-1].name.text
            facts, inner = self._parts(stack[-1])
            pending = [other for other in inner if other.name.text not in self._sides]
            if name in self._sides or not pending:
                stack.pop()
                found = frozenset.intersection(
                    _BOTH,
                    *(self._sides_of(fact) for fact in facts),
                    *(self._sides[other.name.text] for other in inner),
                )
                self._sides[name] = found
            else:
                # In a circle, which is reported elsewhere, it counts as fitting anywhere until it is settled.
                self._sides[name] = _BOTH
                stack += pending
        return self._sides[let.name.text]

    def _sides_of(self, asked: ast.Path | ast.Over) -> frozenset[Side]:
        if isinstance(asked, ast.Over):
            return frozenset({"request"})
        found: set[Side] = set()
        if is_request_fact(asked, self.scope):
            found.add("request")
        if asked.text in ENDPOINT:
            found.add("endpoint")
        # A name that is neither is reported elsewhere and says nothing about its let.
        return frozenset(found) or _BOTH

    def _parts(self, let: ast.Let) -> tuple[list[ast.Path | ast.Over], list[ast.Let]]:
        """Return the facts and limits that a let asks itself, and the lets it uses."""
        asked: list[ast.Path | ast.Over] = []
        inner: list[ast.Let] = []
        stack = [let.value]
        while stack:
            node = stack.pop()
            match node:
                case ast.And() | ast.Or():
                    stack.extend(node.items)
                case ast.Not():
                    stack.append(node.item)
                case ast.Over():
                    asked.append(node)
                case ast.ListOf():
                    pass
                case _:
                    used = self.scope.lets.get(node.fact.text) if isinstance(node, ast.Alone) else None
                    if used is None:
                        asked.append(node.fact)
                    else:
                        inner.append(used)
        return asked, inner
