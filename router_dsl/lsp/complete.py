"""What can be written at a place: keywords that the grammar takes there, and the names that make sense."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from router_dsl import ast
from router_dsl.check.options import FAILURES, METRICS, PERCENTILES, VERDICTS
from router_dsl.diagnose import FORMS
from router_dsl.fields import ENDPOINT, FAMILIES, FEATURES, OF_POOL, OPERATORS, REQUEST, ZONED, Field
from router_dsl.lsp.names import Names, nodes, policy_of
from router_dsl.lsp.place import Place
from router_dsl.lsp.words import MEANINGS
from router_dsl.reading import Standing
from router_dsl.source import Span
from router_dsl.syntax import tables

ItemKind = Literal["keyword", "fact", "value", "name", "operator", "rule"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be written.

    Attributes:
        label: As it is written, quotation marks included where it needs them.
        detail: What it is, in a few words.
        doc: One line more, or nothing.
        snippet: What to write instead of the label, with places to fill in (`${1:name}`), or nothing.
    """

    label: str
    kind: ItemKind
    detail: str = ""
    doc: str = ""
    snippet: str = ""


@dataclass(frozen=True, slots=True)
class Completions:
    """The things that can be written in place of a span."""

    replaced: Span
    items: tuple[Item, ...]


def completions(place: Place, names: Names) -> Completions:
    """Return what can be written at a place: names first, then keywords; each once."""
    offer = _Offer(place, names)
    items = {item.label: item for item in [*offer.names(), *offer.keywords()]}
    return Completions(place.word, tuple(items.values()))


_FACT_BEFORE = frozenset({"HAS", "MISSING", "AND", "NEVER", "WHERE", "REQUIRE"})
_TARGET_BEFORE = frozenset({"ARROW", "ELSE", "TO", "EXPECT", "ORDER"})
_LISTED = frozenset({
    "COMMA", "BAR", "OR", "ref", "name", "number", "text", "word", "value", "path", "share",
    "_names", "_metric", "_cause", "_verdict", "_items", "item",
})  # fmt: skip
_ENDPOINT_SIDE = ("WHERE", "REQUIRE", "NEVER")
_WORDS: dict[str, tuple[str, ...]] = {
    "PROTOCOL": ("openai", "responses", "anthropic", "sim"),
    "AUTH": ("bearer", "api-key"),
    "COLD": ("reject", "park"),
    "SUPPORTS": FEATURES,
    "PER": ("second", "minute", "hour", "day"),
    "AFTER": tuple(PERCENTILES),
    "CAP": ("max_tokens", "max_completion_tokens", "temperature", "top_p", "n"),
    "SET": ("temperature", "top_p", "seed", "max_tokens", "reasoning_effort", "parallel_tool_calls"),
    "DROP": ("user", "metadata", "logprobs", "seed", "store"),
    "ON": ("429", "5xx", "4xx", *FAILURES),
}
_SOURCES = ("header.", "metadata.", "key.", "body.")
_TYPES = ("text", "number", "tokens", "bool", "ip")
_QUANTIZATIONS = ("int4", "int8", "fp4", "fp6", "fp8", "fp16", "bf16", "fp32")


@dataclass(slots=True)
class _Offer:
    place: Place
    policy: Names

    @property
    def _standing(self) -> Standing:
        return self.place.standing

    def keywords(self) -> Iterator[Item]:
        """Give the keywords that the grammar takes."""
        terminals = {terminal: word for word, terminal in tables().keywords.items()}
        for terminal in sorted(self._standing.accepted):
            asks_limits = terminal == "OVER" and self._side() == "endpoint"
            if (word := terminals.get(terminal)) is not None and not asks_limits:
                yield Item(word, "keyword", FORMS.get(word, ""), MEANINGS.get(word, ""))
        if "EQ" in self._standing.accepted:
            yield from self._operators()
        if "ARROW" in self._standing.accepted:
            yield Item("->", "operator", "", "what to do when the condition holds")
        if "LABEL" in self._standing.accepted:
            yield Item(
                "NAME: when … -> …",
                "rule",
                "a rule",
                "the first rule whose condition holds decides",
                "${1:name}: when ${2:condition} -> ${3:target}",
            )

    def _operators(self) -> Iterator[Item]:
        before = self.place.before
        field = None if before is None else self._field(_dotted(before.source.text[: before.end]))
        for sign in ("==", "!=", "<", "<=", ">", ">="):
            if field is None or sign in OPERATORS[field.type]:
                yield Item(sign, "operator")

    def names(self) -> Iterator[Item]:
        """Give the names that make sense."""
        symbols = self._standing.symbols
        if not {"NAME", "STRING"} & self._standing.accepted:
            return
        top = symbols[-1] if symbols else ""
        owner = self._owner()
        below = symbols[symbols.index(owner) - 1] if owner in symbols and symbols.index(owner) else ""
        if (found := self._of_conditions(top, owner)) is not None:
            yield from found
        elif top == "AT_SIGN":
            yield from self._behind_at()
        elif top == "SLASH":
            yield from self._labels()
        elif owner == "BY":
            is_metric = not {"SPLIT", "STICKY", "PER"} & set(symbols[_last(symbols, "ARROW", "COLON", "LBRACE") :])
            yield from _words(METRICS, "order") if is_metric else self._facts("request", with_lets=False)
        elif owner in _TARGET_BEFORE or owner in ("SPLIT", "SHADOW") or (owner == "NOT" and below == "EXPECT"):
            if top not in ("SPLIT", "SHADOW"):
                yield from self._targets()
        elif owner == "ASSIGN":
            yield from self._targets() if "POOL" in symbols else self._facts("both")
        elif owner in ("DOWN", "FULL", "SLOW"):
            yield from [*_words(self.policy.providers, "provider"), *self._targets()]
        else:
            yield from self._of_keyword(top, owner)

    def _owner(self) -> str:
        """Return the keyword or sign that what is being listed belongs to."""
        for symbol in reversed(self._standing.symbols):
            if symbol not in _LISTED and not symbol.startswith("__"):
                return symbol
        return ""

    # --- conditions

    def _of_conditions(self, top: str, owner: str) -> Iterable[Item] | None:
        symbols = self._standing.symbols
        at_when = _last(symbols, "WHEN")
        of_escalation = owner == "WHEN" and symbols[at_when - 2 : at_when] == ("TO", "ref")
        if of_escalation and top in ("WHEN", "BAR", "OR", "COMMA"):
            return _words((verdict for verdict in VERDICTS if " " not in verdict), "reason to escalate")
        if top in ("compare", "WITH", "IN", "LSQB") or owner == "LSQB":
            return self._values(with_lists=top == "IN")
        if owner == "GIVEN":
            return self._values(with_lists=False) if top == "path" else self._facts("request", with_lets=False)
        if top == "LPAR" and (symbols[-2] == "name" or symbols[-2].startswith("__path")):
            return [*self._targets(), *_words(self.policy.providers, "provider")]
        is_not = top == "NOT" and symbols[-2:-1] not in (("EXPECT",), ("path",))
        if top in ("WHEN", "OR", "LPAR") or top in _FACT_BEFORE or is_not:
            return self._facts(self._side())
        return None

    def _side(self) -> str:
        for symbol in reversed(self._standing.symbols):
            if symbol in _ENDPOINT_SIDE:
                return "endpoint"
            if symbol == "WHEN":
                return "request"
        return "both"

    def _facts(self, side: str, *, with_lets: bool = True) -> Iterator[Item]:
        if side != "request":
            for field in ENDPOINT.values():
                yield _fact(field.name, field)
        if side != "endpoint":
            for field in REQUEST.values():
                yield _fact(field.name.replace(".*", "."), field)
            for fact in self.policy.facts.values():
                yield Item(written(fact.name.text), "fact", f"{_type(fact)} from {fact.source.span.text}")
            yield from self._entries()
        for let in self.policy.lets.values() if with_lets else ():
            yield Item(written(let.name.text), "fact", "let", _short(let.value.span.text))

    def _entries(self) -> Iterator[Item]:
        """Give the headers, metadata and attributes of keys that the policy asks about elsewhere."""
        found = {
            node.span.text
            for file in self.policy.files
            for node in nodes(file.items)
            if isinstance(node, ast.Path) and node.parts[0].text in FAMILIES and len(node.parts) > 1
        }
        for text in sorted(found):
            yield _fact(text, REQUEST[text.partition(".")[0] + ".*"])

    def _values(self, *, with_lists: bool) -> Iterator[Item]:
        path = next((value for value in reversed(self._standing.values) if isinstance(value, ast.Path)), None)
        if with_lists:
            lists = (let for let in self.policy.lets.values() if isinstance(let.value, ast.ListOf))
            yield from (Item(written(let.name.text), "value", "let", _short(let.value.span.text)) for let in lists)
        if path is None or "WITH" in self._standing.symbols[-1:]:
            return
        if self._standing.symbols[-1:] == ("path",):
            yield Item("missing", "keyword", "", "takes the fact away")
        yield from self._values_of(path.text, self._side())

    def _values_of(self, name: str, side: str) -> Iterator[Item]:
        policy = self.policy
        own = policy.facts.get(name)
        if own is not None:
            yield from _words((value.text for value in own.values), f"value of {name}")
        elif name == "provider":
            yield from _words(policy.providers, "provider")
        elif name == "model":
            yield from _words([*policy.models, *(() if side == "endpoint" else self._aliases())], "model")
        elif name in ("region", "quantization", "tags", "supports"):
            usual = {"quantization": _QUANTIZATIONS, "supports": FEATURES}.get(name, ())
            yield from _words([*self._said(name), *usual], name)
        elif (field := self._field(name)) is not None and field.type in ("bool", "one of"):
            yield from _words(field.values or ("true", "false"), f"value of {name}")

    def _field(self, name: str) -> Field | None:
        return ENDPOINT.get(name) if self._side() == "endpoint" else REQUEST.get(name) or ENDPOINT.get(name)

    def _aliases(self) -> Iterator[str]:
        for model in self.policy.models.values():
            for prop in model.props:
                if prop.keyword.text == "aka":
                    yield from (value.value for value in prop.values if isinstance(value, ast.Text))

    def _said(self, keyword: str) -> list[str]:
        """Return what the policy says elsewhere behind a keyword of providers, models and endpoints."""
        found = {
            value.text if isinstance(value, ast.Name) else value.value: None
            for file in self.policy.files
            for node in nodes(file.items)
            if isinstance(node, ast.Prop) and node.keyword.text == keyword
            for value in node.values
            if not isinstance(value, ast.Number)
        }
        return sorted(found)

    # --- names of other places

    def _targets(self) -> Iterator[Item]:
        for model in self.policy.models.values():
            places = ", ".join(serve.provider.text for serve in model.serves)
            yield Item(written(model.name.text), "name", "model", f"served by {places}" if places else "")
        for pool in self.policy.pools.values():
            yield Item(written(pool.name.text), "name", "pool", ", ".join(m.span.text for m in pool.members))

    def _behind_at(self) -> Iterator[Item]:
        before = self.place.before
        assert before is not None
        name = _dotted(before.source.text[: before.start])
        if name in ZONED:
            return
        model = self.policy.models.get(name.strip('"'))
        serving = [serve.provider.text for serve in model.serves] if model is not None else list(self.policy.providers)
        yield from _words(dict.fromkeys(serving), "provider")

    def _labels(self) -> Iterator[Item]:
        names = [value for value in self._standing.values if isinstance(value, ast.Name)][-2:]
        model = self.policy.models.get(names[0].text) if len(names) == 2 else None
        for serve in model.serves if model is not None else ():
            if serve.label is not None and serve.provider.text == names[1].text:
                yield Item(written(serve.label.text), "name", "endpoint", serve.upstream.value)

    def _of_keyword(self, top: str, owner: str) -> Iterator[Item]:
        symbols, policy = self._standing.symbols, self.policy
        match owner:
            case "SERVE" if top == "SERVE":
                yield from _words(policy.providers, "provider")
            case "OVER":
                yield from _words((name for name, limit in policy.limits.items() if limit.soft), "soft limit")
            case "POLICY" if len(symbols) > 1:
                yield from _words(policy.policies, "policy")
            case "RULE":
                yield from self._rules(policy.called(self._policy()))
            case "REACHABLE":
                yield from self._rules(list(policy.policies))
            case "REGION" | "TAGS" | "QUANTIZATION":
                usual = _QUANTIZATIONS if owner == "QUANTIZATION" else ()
                yield from _words(dict.fromkeys([*self._said(owner.lower()), *usual]), owner.lower())
            case "COLON" if "FACT" in symbols and top == "COLON":
                yield from _words(_TYPES, "type")
            case "COLON" if "LIMIT" in symbols and top == "number":
                yield from _words(("requests", "tokens"), "unit")
            case "FROM":
                yield from (Item(source, "fact", "source of a fact") for source in _SOURCES)
            case _ if owner in _WORDS and (top == owner or top in ("COMMA", "BAR")):
                yield from (Item(word, "value", owner.lower()) for word in _WORDS[owner])
            case _:
                pass

    def _policy(self) -> str:
        """Return the policy that the test at this place asks."""
        offset = self.place.word.start
        for file in self.policy.files:
            for item in file.items:
                inside = item.span.first <= offset <= item.span.last
                if isinstance(item, ast.Test) and inside and item.span.source.name == self.place.word.source.name:
                    return policy_of(item, self.policy)
        return next(iter(self.policy.policies), "")

    def _rules(self, policies: list[str]) -> Iterator[Item]:
        for name in policies:
            policy = self.policy.policies.get(name)
            for rule in policy.rules if policy is not None else ():
                yield Item(written(rule.label.text), "name", f"rule of {name}", _short(rule.span.text))


def _last(symbols: tuple[str, ...], *wanted: str) -> int:
    """Return where one of the symbols stands last, 0 when none does."""
    return next((i for i in range(len(symbols) - 1, -1, -1) if symbols[i] in wanted), 0)


def _words(words: Iterable[str], detail: str) -> Iterator[Item]:
    return (Item(written(word), "value" if " " in detail else "name", detail) for word in words)


def _fact(label: str, field: Field) -> Item:
    shown = f"{label}(POOL)" if label in OF_POOL else label
    kind = f"one of {', '.join(field.values)}" if field.values else field.type
    return Item(label, "fact", f"{kind} · {field.origin}", f"`{shown}`: {field.doc}")


def _type(fact: ast.Fact) -> str:
    return f"one of {', '.join(value.text for value in fact.values)}" if fact.values else fact.type.text


_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")
_DOTTED = re.compile(r"[\w-]+(?:\.[\w-]+)*\Z|\"[^\"\n]*\"\Z")


def written(name: str) -> str:
    """Return a name as it can stand in a policy."""
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _dotted(text: str) -> str:
    """Return the dotted name or string that a text ends in."""
    found = _DOTTED.search(text.rstrip()[-200:])
    return found[0] if found else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else line[:99] + "…"
