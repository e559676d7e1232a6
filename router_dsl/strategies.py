"""Hypothesis strategies for property tests: facts and requests that find a policy's edges, and whole policies.

`facts(program)` and `requests(program)` are for authors: what they draw leans towards the constants that the
policy itself asks about, one below, at and above each bound, and towards facts that are missing, empty or of
another kind. `conditions()`, `policies()` and `programs()` draw meanings, for tests of tools that read them.

The generators below take any `random.Random`: the strategies give them Hypothesis's, which shrinks; tests that
want volume give them a seeded one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random

from hypothesis import strategies as st

from router_dsl.plan import (
    DEFAULT_OPTIONS,
    And,
    Atom,
    Cond,
    Endpoint,
    Endpoints,
    Model,
    Named,
    Not,
    Op,
    Or,
    Policy,
    Program,
    Provider,
    Range,
    Reject,
    Rule,
    Scalar,
    Use,
)  # fmt: skip

Facts = dict[str, Scalar | None]

# --- strategies -------------------------------------------------------------------------------------


def facts(program: Program) -> st.SearchStrategy[Facts]:
    """Return a strategy for the facts that the program's conditions ask about, by canonical name."""
    pools = pools_of(conditions_of(program))
    return st.randoms(use_true_random=False).map(lambda random: random_facts(random, pools))


def requests(program: Program) -> st.SearchStrategy[dict[str, object]]:
    """Return a strategy for requests as `explain --request` takes them: `path`, `headers`, `body`, `key`, …."""
    pools = pools_of(conditions_of(program))
    names = [name for model in program.models for name in (model.name, *model.aka)]
    names += [f"@{policy.name}" for policy in program.policies]
    sources = {fact.name: fact.source for fact in program.facts}
    return st.randoms(use_true_random=False).map(lambda random: random_request(random, pools, names, sources))


def conditions(depth: int = 3) -> st.SearchStrategy[Cond]:
    """Return a strategy for conditions over facts of every type, nested up to `depth`."""
    return st.randoms(use_true_random=False).map(lambda random: random_condition(random, depth))


def policies(most_rules: int = 8, depth: int = 2) -> st.SearchStrategy[Policy]:
    """Return a strategy for policies of one to `most_rules` rules and `otherwise`."""
    return st.builds(
        lambda random, count: random_policy(random, count, depth),
        st.randoms(use_true_random=False),
        st.integers(1, most_rules),
    )


def programs(most_rules: int = 8, depth: int = 2) -> st.SearchStrategy[Program]:
    """Return a strategy for programs of one policy over one provider and two models."""
    return policies(most_rules, depth).map(lambda policy: program_of(policy))


# --- facts ------------------------------------------------------------------------------------------

Pools = Mapping[str, Sequence[Scalar | None]]
"""The values worth trying, by fact."""

_ANY_KIND: tuple[Scalar | None, ...] = (None, None, "", "x", 0, 1, -1.5, math.nan, False, True)


def conditions_of(program: Program) -> Iterator[Cond]:
    """Give every condition that a request's facts answer: of rules, guards, limits and assertions."""
    rules = [rule.when for policy in program.policies for rule in policy.rules]
    guards, limits = [guard.when for guard in program.guards], [limit.when for limit in program.limits]
    for cond in (*rules, *guards, *limits, *(claim.when for claim in program.assertions)):
        if cond is not None:
            yield cond


def pools_of(conds: Iterable[Cond]) -> dict[str, list[Scalar | None]]:
    """Return, for each fact the conditions ask about, the values around everything they compare it with."""
    pools: dict[str, list[Scalar | None]] = {}
    for cond in conds:
        for atom in _atoms(cond):
            pool = pools.setdefault(atom.fact, list(_ANY_KIND))
            pool += [value for item in _compared(atom) for value in _around(item)]
    return pools


def random_facts(random: Random, pools: Pools) -> Facts:
    """Return one value for each fact."""
    return {fact: random.choice(pool) for fact, pool in pools.items()}


def _atoms(cond: Cond) -> Iterator[Atom]:
    match cond:
        case Atom():
            yield cond
        case Not(item) | Named(_, item):
            yield from _atoms(item)
        case And(items) | Or(items):
            for item in items:
                yield from _atoms(item)


def _compared(atom: Atom) -> Iterator[Scalar]:
    if atom.value is not None:
        yield atom.value
    for item in atom.items:
        if isinstance(item, Range):
            yield item.low
            yield item.high
        else:
            yield item


def _around(value: Scalar) -> tuple[Scalar, ...]:
    if isinstance(value, bool):
        return value, not value, int(value)
    if isinstance(value, int | float):
        near = math.nextafter(value, -math.inf), math.nextafter(value, math.inf)
        return value, float(value), value - 1, value + 1, *near
    return value, value[:-1], value + "\0", value + "a", f"b {value} b", value.upper()


# --- requests ---------------------------------------------------------------------------------------

_TEXTS = ("hi", "write a function that sorts a list", "переведи это", "", "今日は", "```py\nprint(1)\n```", "2 + 2 = ?")


def random_request(
    random: Random, pools: Pools, models: Sequence[str], sources: Mapping[str, str]
) -> dict[str, object]:
    """Return a request with the facts that a client sets.

    Args:
        pools: Values worth trying.
        models: Names worth asking for.
        sources: Of the author's own facts.
    """
    asked = {sources.get(fact, fact): value for fact, value in random_facts(random, pools).items()}
    headers: dict[str, str] = {}
    key: dict[str, str] = {}
    metadata: dict[str, str] = {}
    body: dict[str, object] = {
        "model": random.choice([*models, "unknown-model"]),
        "messages": [{"role": "user", "content": _text(random, asked.get("prompt.last", asked.get("prompt.text")))}],
    }
    families: dict[str, Callable[[str, str], None]] = {
        "header": headers.__setitem__,
        "key": key.__setitem__,
        "metadata": metadata.__setitem__,
        "body": body.__setitem__,
    }
    for fact, value in asked.items():
        family, _, name = fact.partition(".")
        if family in families and value is not None:
            families[family](name, value if isinstance(value, str) else json.dumps(value))
    if random.random() < 0.5:
        body["max_tokens"] = random.choice([1, 256, 4096, 100_000])
    if random.random() < 0.3:
        body["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    if random.random() < 0.3:
        body["stream"] = True
    if random.random() < 0.2:
        body["response_format"] = {"type": "json_object"}
    if random.random() < 0.2:
        body["temperature"] = random.choice([0, 0.7, 2])
    if metadata:
        body["metadata"] = metadata
    return {
        "path": "/v1/chat/completions",
        "headers": headers,
        "body": body,
        "key": key,
        "client_ip": random.choice(["127.0.0.1", "10.1.2.3", "8.8.8.8", "2001:db8::1"]),
        "now": random.choice([1767614400, 1774746000, 1792893600, 1798761599]),
        "random": random.random(),
    }


def _text(random: Random, wanted: Scalar | None) -> str:
    text = wanted if isinstance(wanted, str) and random.random() < 0.5 else random.choice(_TEXTS)
    return text * random.choice([1, 1, 1, 1000])


# --- meanings ---------------------------------------------------------------------------------------

_WORDS = ("a", "b", "ab", "ba", "a b", "é", "", "AB")
_PATTERNS = ("a", "^a", "b$", "(?i)ab", "a.*b", "[^a]", "^$")
_NUMBERS = (0, 1, 2, 3, 7, 100, 8000, 24_000, 0.5, 1.5, 2**53, -1)
_SHARES = (0.0, 0.25, 0.5, 1.0)
_DATES = ("2026-01-05", "2026-02-28", "2026-12-24", "2027-01-01")
_ADDRESSES = tuple("0" * 20 + "ffff" + tail for tail in ("0a000000", "0a0000ff", "0a00ffff", "7f000001"))

_EQUALITY: tuple[Op, ...] = ("eq", "ne", "in", "not in")
_ORDER: tuple[Op, ...] = ("lt", "le", "gt", "ge")
_TEXT: tuple[Op, ...] = ("contains", "starts", "ends", "matches")
_PRESENCE: tuple[Op, ...] = ("has", "missing")

Kind = tuple[tuple[Op, ...], Sequence[Scalar], bool]
"""Operators a fact of this kind is asked with, constants it is compared with, whether ranges of them are asked."""

_KINDS: dict[str, Kind] = {
    "text": ((*_EQUALITY, *_EQUALITY, *_TEXT, *_PRESENCE), _WORDS, False),
    "one of": ((*_EQUALITY, *_PRESENCE), ("trial", "pro", "enterprise"), False),
    "number": ((*_EQUALITY, *_ORDER, *_ORDER, *_PRESENCE), _NUMBERS, True),
    "share": ((*_ORDER, "eq"), _SHARES, True),
    "bool": (("is", "is", "eq", "ne", *_PRESENCE), (True, False), False),
    "date": ((*_EQUALITY, *_ORDER, "starts", *_PRESENCE), _DATES, True),
    "ip": ((*_EQUALITY, *_PRESENCE), _ADDRESSES, True),
}

FACTS: dict[str, str] = {
    "tenant": "text", "header.x-a": "text", "plan": "one of", "model": "text", "user": "text", "tools": "number",
    "attempt": "number", "temperature": "number", "stream": "bool", "client.ip": "ip", "time.date": "date",
    "time.hour@Europe/Berlin": "number", "healthy(fast)": "share", "load(fast)": "number", "over spend": "bool",
    "prompt.tokens": "number", "request.tokens": "number", "prompt.text": "text", "task": "one of", "language": "text",
}  # fmt: skip
"""Facts that generated conditions ask about, and their kind: cheap, dynamic and derived ones of every type."""


def random_atom(random: Random, fact: str | None = None) -> Atom:
    """Return a question about a fact."""
    name = fact if fact is not None else random.choice(list(FACTS))
    ops, constants, ranges = _KINDS[FACTS[name]]
    op = random.choice(ops)
    if op in ("has", "missing", "is"):
        return Atom(name, op, None, (), name if op == "is" else f"{op} {name}")
    if op in ("in", "not in"):
        items = tuple(
            _range(random, constants) if ranges and random.random() < 0.4 else random.choice(constants)
            for _ in range(random.randint(1, 4))
        )
        return Atom(name, op, None, items, f"{name} {op} {list(items)}")
    value = random.choice(_PATTERNS if op == "matches" else constants)
    if op == "starts" and isinstance(value, str):
        value = value[: random.randint(0, len(value))]
    return Atom(name, op, value, (), f"{name} {op} {value!r}")


def _range(random: Random, constants: Sequence[Scalar]) -> Range:
    low, high = random.choice(constants), random.choice(constants)
    if random.random() < 0.9 and low > high:  # type: ignore[operator]
        low, high = high, low
    return Range(low, high)


def random_condition(random: Random, depth: int, facts: Sequence[str] = tuple(FACTS)) -> Cond:
    """Return a condition over these facts with `and`, `or`, `not` and `let` nested up to `depth`."""
    if depth == 0 or random.random() < 0.3:
        return random_atom(random, random.choice(facts))
    shape = random.choice(("and", "and", "or", "not", "let"))
    if shape == "not":
        return Not(random_condition(random, depth - 1, facts))
    if shape == "let":
        return Named("named", random_condition(random, depth - 1, facts))
    items = tuple(random_condition(random, depth - 1, facts) for _ in range(random.randint(2, 3)))
    return And(items) if shape == "and" else Or(items)


def random_policy(random: Random, count: int, depth: int = 2) -> Policy:
    """Return a policy of `count` rules and `otherwise`; its rules share a few facts, so that they overlap."""
    facts = random.sample(list(FACTS), random.randint(2, 8))
    conds: list[Cond | None] = [random_condition(random, random.randint(0, depth), facts) for _ in range(count)]
    return policy_of([*conds, None])


def policy_of(conds: Sequence[Cond | None]) -> Policy:
    """Return a policy that rejects with a status of its own for each condition."""
    return Policy(
        "main",
        tuple(
            Rule(
                label="otherwise" if cond is None else f"r{index}",
                when=cond,
                action=Reject(400 + index % 200, None) if index % 3 else _USE,
                file="main.route",
                line=index + 1,
                text="",
            )
            for index, cond in enumerate(conds)
        ),
    )


_USE = Use((Endpoints("large", (0,)), Endpoints("small", (1,))), DEFAULT_OPTIONS)


def program_of(*of: Policy) -> Program:
    """Return a program of these policies over one provider and two models."""
    provider = Provider(
        "here", "http://127.0.0.1:8000/v1", None, None, "eu", "openai", "bearer", None, None, None, (), ()
    )
    models = tuple(Model(name, (), 128_000, None, (index,)) for index, name in enumerate(("large", "small")))
    endpoints = tuple(
        Endpoint(
            id=f"{model.name}@here", model=model.name, provider=0, label=None, upstream=model.name,
            price_in=900_000_000, price_out=900_000_000, price_cached=None, region="eu", context=128_000, output=None,
            quantization=None, zdr=False, supports=None, tags=(), weight=1.0,
        )
        for model in models
    )  # fmt: skip
    pools = (("fast", (0, 1)),)
    return Program("main", (provider,), models, endpoints, pools, (), (), (), tuple(of), (), ())
