"""Hypothesis strategies for syntax trees, and the words that an author would write for one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from hypothesis import strategies as st

from router_dsl import ast
from router_dsl.source import Source, Span
from router_dsl.syntax import tables

Draw = Callable[[st.SearchStrategy[ast.Node]], ast.Node]

NOWHERE = Span(Source("", ""), 0, 0)
KEYWORDS = sorted(tables().keywords)
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*")


def node(kind: Callable[..., ast.Node], *fields: st.SearchStrategy[object]) -> st.SearchStrategy[ast.Node]:
    """Return a strategy for a kind of node with these fields, in order."""
    return st.builds(partial(kind, span=NOWHERE), *fields)


def several(items: st.SearchStrategy[object], fewest: int = 0, most: int = 3) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, min_size=fewest, max_size=most).map(tuple)


def maybe(items: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | items


BARE_WORDS = st.sampled_from(["a", "llama-70b", "x1", "_", "eu-west-1", *KEYWORDS])
PRINTABLE = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
WORDS = BARE_WORDS | PRINTABLE
NAMES = node(ast.Name, WORDS)
BARE_NAMES = node(ast.Name, BARE_WORDS)
TEXTS = node(ast.Text, PRINTABLE | st.text(st.sampled_from('a"\\\n\t\x07 /#{}😀'), max_size=6))
DIGITS = st.sampled_from(["0", "1", "24", "0.90", "1.5", "-1", "413"])
NUMBERS = node(ast.Number, DIGITS, st.sampled_from(["", "k", "Ki", "ms", "s", "$", "%", "xx", "$k"]))
REGEXES = node(
    ast.Regex, st.sampled_from(["a", r"a\/b", "[/]", "a b # c", r"[^\]/]+", r"\d{2,3}", "(a|b)*"]), st.booleans()
)
VALUES = BARE_NAMES | TEXTS | NUMBERS
RANGES = node(ast.Range, VALUES, VALUES)
LISTS = node(ast.ListOf, several(VALUES | RANGES))
PATHS = node(ast.Path, several(NAMES, 1), maybe(NAMES), maybe(TEXTS))

OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "contains", "starts with", "ends with"]
ATOMS = (
    node(ast.Compare, PATHS, st.sampled_from(OPERATORS), VALUES)
    | node(ast.Compare, PATHS, st.just("matches"), REGEXES)
    | node(ast.In, PATHS, LISTS | RANGES | BARE_NAMES, st.booleans())
    | node(ast.Alone, PATHS)
    | node(ast.Has, PATHS)
    | node(ast.Missing, PATHS)
    | node(ast.Over, NAMES)
)  # fmt: skip


def _flat(kind: type[ast.And | ast.Or], items: tuple[ast.Condition, ...]) -> ast.Condition:
    flat: list[ast.Condition] = []
    for item in items:
        flat += item.items if isinstance(item, kind) else (item,)
    return kind(tuple(flat), span=NOWHERE)


def _larger(smaller: st.SearchStrategy[ast.Node]) -> st.SearchStrategy[ast.Node]:
    both = several(smaller, 2)
    return node(ast.Not, smaller) | both.map(partial(_flat, ast.And)) | both.map(partial(_flat, ast.Or))


CONDITIONS = st.recursive(ATOMS, _larger, max_leaves=6)

REFS = node(ast.Ref, NAMES) | node(ast.Ref, NAMES, NAMES) | node(ast.Ref, NAMES, NAMES, NAMES)
REQUESTED = node(ast.Requested)
SPLITS = node(ast.Split, several(node(ast.Share, NUMBERS, REFS | REQUESTED), 1), PATHS)
TARGETS = REFS | REQUESTED | SPLITS | node(ast.Call, NAMES)
METRICS = st.tuples(NAMES, maybe(NUMBERS))
VERDICTS = NAMES | st.just(ast.Name("invalid json", span=NOWHERE))
OPTIONS = st.one_of(
    node(ast.By, several(METRICS, 1)),
    node(ast.Where, CONDITIONS),
    node(ast.Sticky, PATHS),
    node(ast.PreferCache),
    node(ast.Deadline, st.sampled_from(["within", "first token", "stall"]), NUMBERS),
    node(ast.Retry, NUMBERS, maybe(several(NAMES | NUMBERS, 1))),
    node(ast.Hedge, NUMBERS | NAMES, maybe(NUMBERS)),
    node(ast.Escalate, REFS, several(VERDICTS, 1)),
    node(ast.Shadow, NUMBERS, REFS),
    node(ast.Cap, NAMES, NUMBERS),
    node(ast.Set, NAMES, VALUES),
    node(ast.Drop, NAMES),
    node(ast.Cache, NUMBERS),
    node(ast.Tag, NAMES),
)
ACTIONS = node(ast.Use, several(TARGETS, 1), several(OPTIONS)) | node(ast.Reject, NUMBERS, maybe(TEXTS))
OTHERWISE = st.just(ast.Name("otherwise", span=NOWHERE))
RULES = node(ast.Rule, NAMES, CONDITIONS, ACTIONS) | node(ast.Rule, OTHERWISE, st.none(), ACTIONS)


def prop(keyword: str, *values: st.SearchStrategy[object]) -> st.SearchStrategy[ast.Node]:
    return node(ast.Prop, st.just(ast.Name(keyword, span=NOWHERE)), st.tuples(*values))


def props(keyword: str, values: st.SearchStrategy[object]) -> st.SearchStrategy[ast.Node]:
    return node(ast.Prop, st.just(ast.Name(keyword, span=NOWHERE)), several(values, 1))


def word(text: str) -> st.SearchStrategy[ast.Node]:
    return st.just(ast.Name(text, span=NOWHERE))


PROVIDER_PROPS = st.one_of(
    prop("url", TEXTS), prop("key", word("env"), NAMES), prop("key", word("secret"), TEXTS), prop("region", NAMES),
    prop("protocol", NAMES), prop("auth", NAMES), prop("auth", word("header"), TEXTS), prop("limit", NUMBERS),
    prop("cold", NAMES), prop("wake", TEXTS), props("tags", NAMES), prop("header", TEXTS, TEXTS),
)  # fmt: skip
MODEL_PROPS = st.one_of(
    prop("context", NUMBERS), prop("output", NUMBERS), props("aka", TEXTS), props("tags", NAMES),
    props("supports", NAMES),
)  # fmt: skip
SERVE_PROPS = st.one_of(
    prop("price", NUMBERS, NUMBERS), prop("price", NUMBERS, NUMBERS, NUMBERS), prop("region", NAMES),
    prop("context", NUMBERS), prop("quantization", NAMES), prop("zdr"), props("supports", NAMES), props("tags", NAMES),
    prop("weight", NUMBERS),
)  # fmt: skip
SERVES = node(ast.Serve, NAMES, maybe(NAMES), TEXTS, several(SERVE_PROPS))
MONEY = st.builds(lambda digits: (ast.Number(digits, "$", span=NOWHERE), ast.Name("$", span=NOWHERE)), DIGITS)
AMOUNTS = MONEY | st.tuples(NUMBERS, NAMES)


def _limit(
    name: ast.Name, when: ast.Condition | None, amount: tuple[ast.Number, ast.Name], per: ast.Name,
    by: tuple[ast.Path, ...], soft: bool,
) -> ast.Node:  # fmt: skip
    return ast.Limit(name, when, *amount, per, by, soft, span=NOWHERE)


FACTS = node(ast.Fact, NAMES, BARE_NAMES.filter(lambda name: name.text != "one"), st.just(()), PATHS) | node(
    ast.Fact, NAMES, word("one of"), several(NAMES, 1), PATHS
)
STEPS = st.one_of(
    node(ast.Given, several(st.tuples(PATHS, VALUES), 1)),
    node(ast.Fault, st.sampled_from(["down", "full"]), REFS),
    node(ast.Fault, st.just("slow"), REFS, NUMBERS),
    node(ast.GivenOver, NAMES),
    node(ast.UsePolicy, NAMES),
    node(ast.ExpectRule, NAMES),
    node(ast.ExpectTarget, REFS, st.booleans()),
    node(ast.ExpectReject, NUMBERS),
    node(ast.ExpectOrder, several(REFS, 1)),
    node(ast.ExpectBound, st.sampled_from(["cost", "attempts"]), NUMBERS),
)
DECLARATIONS = st.one_of(
    node(ast.Import, TEXTS),
    node(ast.Provider, NAMES, several(PROVIDER_PROPS)),
    node(ast.Model, NAMES, several(MODEL_PROPS), several(SERVES)),
    node(ast.Pool, NAMES, several(REFS, 1)),
    FACTS,
    node(ast.Let, NAMES, CONDITIONS | LISTS),
    node(ast.Defaults, several(OPTIONS)),
    node(ast.Guard, NAMES, maybe(CONDITIONS), CONDITIONS),
    st.builds(_limit, NAMES, maybe(CONDITIONS), AMOUNTS, NAMES, several(PATHS, 1), st.booleans()),
    node(ast.Policy, NAMES, several(RULES)),
    node(ast.Test, TEXTS, several(STEPS)),
    node(ast.AssertNever, CONDITIONS, maybe(CONDITIONS)),
    node(ast.AssertBound, st.sampled_from(["attempts", "cost", "wait"]), NUMBERS, maybe(CONDITIONS)),
    node(ast.AssertReachable, NAMES),
)
FILES = node(ast.File, several(DECLARATIONS, most=5))

# --- words ----------------------------------------------------------------------------------------


def words(item: ast.Node) -> list[str]:
    """Return a tree as an author's words; any white space may stand between them."""
    match item:
        case ast.File(items):
            return [word for each in items for word in words(each)]
        case ast.Name(text):
            return [text] if _BARE.fullmatch(text) and text not in KEYWORDS else [json.dumps(text)]
        case ast.Text(said):
            return [json.dumps(said, ensure_ascii=len(said) % 2 == 0)]
        case ast.Number(digits, unit):
            dollar, suffix = ("$", unit[1:]) if unit.startswith("$") else ("", unit)
            sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
            return [sign + dollar + digits + suffix]
        case ast.Regex(pattern, ignore_case):
            return [f"/{pattern}/" + ("i" if ignore_case else "")]
        case ast.Path(parts, argument, zone):
            out = [*joined(".", parts)]
            out += ["(", *words(argument), ")"] if argument else []
            return out + (["@", *words(zone)] if zone else [])
        case ast.Range(low, high):
            return [*bare(low), "..", *bare(high)]
        case ast.ListOf(items):
            inner = [word for each in items for word in [",", *bare(each)]][1:]
            return ["[", *inner, *([","] if len(items) == 2 else []), "]"]
        case ast.Compare(fact, op, right):
            return [*words(fact), *op.split(), *bare(right)]
        case ast.In(fact, among, negated):
            return [*words(fact), *(["not"] if negated else []), "in", *bare(among)]
        case ast.Alone(fact):
            return words(fact)
        case ast.Has(fact):
            return ["has", *words(fact)]
        case ast.Missing(fact):
            return ["missing", *words(fact)]
        case ast.Over(limit):
            return ["over", *words(limit)]
        case ast.Not(inner):
            return ["not", *bracketed(inner, (ast.And, ast.Or))]
        case ast.And(items):
            return [word for each in items for word in ["and", *bracketed(each, (ast.Or,))]][1:]
        case ast.Or(items):
            return [word for each in items for word in ["or", *words(each)]][1:]
        case ast.Ref(name, provider, label):
            out = words(name) + (["@", *words(provider)] if provider else [])
            return out + (["/", *words(label)] if label else [])
        case ast.Requested():
            return ["requested"]
        case ast.Share(percent, target):
            return [*words(percent), *words(target)]
        case ast.Split(shares, by):
            return ["split", *joined(",", shares), "by", *words(by)]
        case ast.Call(policy) | ast.UsePolicy(policy):
            return ["policy", *words(policy)]
        case ast.Use(targets, options):
            return [*joined("else", targets), *every(options)]
        case ast.Reject(status, message):
            return ["reject", *words(status), *(words(message) if message else [])]
        case _:
            return option(item) or step(item) or declaration(item)


def option(item: ast.Node) -> list[str]:
    match item:
        case ast.By(metrics):
            parts = [[",", *words(name), *(words(share) if share else [])] for name, share in metrics]
            return ["by", *[word for part in parts for word in part][1:]]
        case ast.Where(condition):
            return ["where", *words(condition)]
        case ast.Sticky(by):
            return ["sticky", "by", *words(by)]
        case ast.PreferCache():
            return ["prefer", "cache"]
        case ast.Deadline(kind, duration):
            return [*kind.split(), *words(duration)]
        case ast.Retry(count, on):
            return ["retry", *words(count), *(["on", *joined(",", on)] if on else [])]
        case ast.Hedge(after, at_most):
            return ["hedge", "after", *words(after), *(["at", "most", *words(at_most)] if at_most else [])]
        case ast.Escalate(target, when):
            verdicts = [["|", *(["invalid", "json"] if v.text == "invalid json" else words(v))] for v in when]
            return ["escalate", "to", *words(target), "when", *[word for v in verdicts for word in v][1:]]
        case ast.Shadow(percent, target):
            return ["shadow", *words(percent), *words(target)]
        case ast.Cap(param, number):
            return ["cap", *words(param), *words(number)]
        case ast.Set(param, literal):
            return ["set", *words(param), *bare(literal)]
        case ast.Drop(param):
            return ["drop", *words(param)]
        case ast.Cache(duration):
            return ["cache", *words(duration)]
        case ast.Tag(name):
            return ["tag", *words(name)]
        case _:
            return []


def step(item: ast.Node) -> list[str]:
    match item:
        case ast.Given(facts):
            return ["given", *[word for path, v in facts for word in [",", *words(path), *bare(v)]][1:]]
        case ast.Fault(kind, subject, duration):
            return [kind, *words(subject), *(words(duration) if duration else [])]
        case ast.GivenOver(limit):
            return ["over", *words(limit)]
        case ast.ExpectRule(label):
            return ["expect", "rule", *words(label)]
        case ast.ExpectTarget(target, negated):
            return ["expect", *(["not"] if negated else []), *words(target)]
        case ast.ExpectReject(status):
            return ["expect", "reject", *words(status)]
        case ast.ExpectOrder(targets):
            return ["expect", "order", *joined(",", targets)]
        case ast.ExpectBound(what, limit):
            return ["expect", what, "<=", *words(limit)]
        case _:
            return []


def declaration(item: ast.Node) -> list[str]:
    match item:
        case ast.Import(path):
            return ["import", *words(path)]
        case ast.Provider(name, items):
            return ["provider", *words(name), "{", *every(items), "}"]
        case ast.Model(name, items, serves):
            return ["model", *words(name), "{", *every(items), *([";"] if len(items) == 1 else []), *every(serves), "}"]
        case ast.Serve(provider, label, upstream, items):
            alias = ["as", *words(label)] if label else []
            return ["serve", *words(provider), *alias, *words(upstream), *every(items)]
        case ast.Prop(keyword, values):
            return property_(keyword.text, values)
        case ast.Pool(name, members):
            return ["pool", *words(name), "=", *joined(",", members)]
        case ast.Fact(name, type_, names, source):
            of = ["one", "of", *joined(",", names)] if names else [type_.text]
            return ["fact", *words(name), ":", *of, "from", *words(source)]
        case ast.Let(name, right):
            return ["let", *words(name), "=", *words(right)]
        case ast.Defaults(options):
            return ["defaults", "{", *every(options), "}"]
        case ast.Guard(name, when, require):
            return ["guard", *words(name), ":", *if_(when), "require", *words(require)]
        case ast.Limit(name, when, amount, unit, per, by, soft):
            of = [] if unit.text == amount.unit == "$" else words(unit)
            head = ["limit", *words(name), ":", *if_(when), *words(amount), *of]
            return [*head, "per", *words(per), "by", *joined(",", by), *(["soft"] if soft else [])]
        case ast.Policy(name, rules):
            return ["policy", *words(name), "{", *every(rules), "}"]
        case ast.Rule(label, None, action):
            return ["otherwise", "->", *words(action)]
        case ast.Rule(label, when, action):
            text = label.text if _BARE.fullmatch(label.text) else json.dumps(label.text)
            return [text, ":", *if_(when), "->", *words(action)]
        case ast.Test(name, steps):
            return ["test", *words(name), "{", *every(steps), "}"]
        case ast.AssertNever(never, when):
            return ["assert", "never", *words(never), *if_(when)]
        case ast.AssertBound(what, limit, when):
            return ["assert", what, "<=", *words(limit), *if_(when)]
        case ast.AssertReachable(label):
            return ["assert", "reachable", *words(label)]
        case _:
            raise AssertionError(item)


def property_(keyword: str, values: Sequence[ast.Node]) -> list[str]:
    said = [words(each) for each in values]
    match keyword:
        case "key" if isinstance(values[1], ast.Name):
            return ["key", "env", ".", *said[1]]
        case "key":
            return ["key", "secret", *said[1]]
        case "auth" if len(values) == 2:
            return ["auth", "header", *said[1]]
        case "limit":
            return ["limit", *said[0], "concurrent"]
        case "price":
            cached = [*said[2], "cached"] if len(said) > 2 else []
            return ["price", *said[0], "in", *said[1], "out", *cached]
        case "aka" | "tags" | "supports":
            return [keyword, *joined(",", values)]
        case _:
            return [keyword, *[word for each in said for word in each]]


def bare(item: ast.Node) -> list[str]:
    """Return a value's words: a name there is always bare."""
    return [item.text] if isinstance(item, ast.Name) else words(item)


def if_(when: ast.Condition | None) -> list[str]:
    return ["when", *words(when)] if when is not None else []


def bracketed(item: ast.Condition, kinds: tuple[type[ast.Node], ...]) -> list[str]:
    return ["(", *words(item), ")"] if isinstance(item, kinds) else words(item)


def every(items: Iterable[ast.Node]) -> list[str]:
    return [word for each in items for word in words(each)]


def joined(sign: str, items: Iterable[ast.Node]) -> list[str]:
    return [word for each in items for word in [sign, *words(each)]][1:]


# --- white space ----------------------------------------------------------------------------------

GAPS = st.sampled_from(
    [" ", " ", " ", "  ", "\n", "\n\n", "\r\n\t", "\n\n\n", " # c\n", "\n# c\n", "\n\n # c\n\n", "#\n"]
)


@st.composite
def files_and_texts(draw: st.DrawFn) -> tuple[ast.File, str]:
    """Return a tree, and a text that says it, with white space and comments anywhere."""
    file = draw(FILES)
    assert isinstance(file, ast.File)
    gaps = draw(st.lists(GAPS, min_size=1, max_size=40))
    text = draw(GAPS)
    for i, word in enumerate(words(file)):
        text += word + gaps[i * i % len(gaps)]
    for i in range(text.count("# c\n")):
        text = text.replace("# c\n", f"# {i}\n", 1)
    return file, text
