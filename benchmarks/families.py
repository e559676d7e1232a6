"""Three families of generated policies, and the requests that are put to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from router_dsl.plan import And, Atom, Cond, Op, Program, Range, Scalar
from router_dsl.strategies import Facts, policy_of, program_of

TASKS = ("code", "math", "extract", "summarize", "translate", "write", "vision", "chat")
PLANS = ("trial", "pro", "enterprise")
MODELS = tuple(f"model-{i}" for i in range(12))
COUNTRIES = ("de", "fr", "nl", "us", "gb", "jp", "br", "in")

Family = Callable[[int], tuple[Program, list[Facts]]]
"""From a number of rules to a program and requests to it."""


def ask(fact: str, op: Op, value: Scalar | None = None) -> Atom:
    return Atom(fact, op, value, (), f"{fact} {op} {value}")


def among(fact: str, *items: Scalar | Range) -> Atom:
    return Atom(fact, "in", None, items, f"{fact} in {list(items)}")


def program(conds: Sequence[Cond]) -> Program:
    return program_of(policy_of([*conds, None]))


def tenants(rules: int) -> tuple[Program, list[Facts]]:
    """Realistic multi-tenant: ten rules a tenant; for everyone a few exceptions before them and defaults after.

    One rule in twenty is for everyone, at most 200. An exception asks four facts and applies to a request in a
    thousand, so that the tenants' own rules decide most.
    """
    random = Random(rules)
    shared = min(max(rules // 20, 4), 200)
    names = [f"tenant-{i}" for i in range(max(1, (rules - shared) // 10))]
    before = [_exception(random) for _ in range(shared // 2)]
    own: list[Cond] = []
    for index in range(rules - shared):
        tenant = names[index * len(names) // (rules - shared)]
        own.append(And((ask("tenant", "eq", tenant), *_narrow(random, random.randint(1, 2)))))
    after = [_default(random) for _ in range(shared - len(before))]
    return program([*before, *own, *after]), _requests(random, names)


def wildcards(rules: int) -> tuple[Program, list[Facts]]:
    """Wildcard-heavy: every rule asks two facts of eight, none of them the same everywhere."""
    random = Random(rules)
    conds = []
    for _ in range(rules):
        facts = random.sample(range(8), 2)
        conds.append(And(tuple(ask(f"header.x-{fact}", "eq", f"v{random.randrange(50)}") for fact in facts)))
    requests = [{f"header.x-{fact}": f"v{random.randrange(60)}" for fact in range(8)} for _ in range(_REQUESTS)]
    return program(conds), requests


def ranges(rules: int) -> tuple[Program, list[Facts]]:
    """Overlapping ranges: every rule asks three numbers of five for a narrow range each, nearly all bounds distinct."""
    random = Random(rules)
    facts = ("tools", "turns", "attempt", "metadata.a", "metadata.b")
    conds: list[Cond] = []
    for _ in range(rules):
        parts = []
        for fact in random.sample(facts, 3):
            low = random.randrange(100_000)
            parts.append(among(fact, Range(low, low + random.randrange(1, 20_000))))
        conds.append(And(tuple(parts)))
    requests: list[Facts] = [{fact: random.randrange(110_000) for fact in facts} for _ in range(_REQUESTS)]
    return program(conds), requests


FAMILIES: dict[str, Family] = {"tenants": tenants, "wildcards": wildcards, "ranges": ranges}

_REQUESTS = 500


def _narrow(random: Random, count: int) -> list[Cond]:
    choices: list[Cond] = [
        ask("task", "eq", random.choice(TASKS)),
        ask("header.x-plan", "eq", random.choice(PLANS)),
        ask("model", "eq", random.choice(MODELS)),
        ask("prompt.tokens", "gt", random.choice([2000, 8000, 24_000, 64_000])),
        ask("request.tokens", "le", random.choice([4000, 16_000, 32_000])),
        ask("tools", "has"),
        ask("stream", "is"),
        ask("json", "ne", "none"),
        among("header.x-country", *random.sample(COUNTRIES, 3)),
    ]
    return random.sample(choices, count)


def _exception(random: Random) -> Cond:
    choices: list[Cond] = [
        ask("task", "eq", random.choice(TASKS)),
        ask("header.x-plan", "eq", random.choice(PLANS)),
        ask("model", "eq", random.choice(MODELS)),
        ask("prompt.tokens", "gt", random.choice([8000, 24_000, 64_000])),
        among("header.x-country", *random.sample(COUNTRIES, 2)),
    ]
    return And(tuple(random.sample(choices, 4)))


def _default(random: Random) -> Cond:
    return And(tuple(_narrow(random, 3)))


def _requests(random: Random, names: Sequence[str]) -> list[Facts]:
    return [
        {
            "tenant": random.choice(names) if random.random() < 0.95 else random.choice([None, "nobody"]),
            "task": random.choice(TASKS),
            "header.x-plan": random.choice([*PLANS, None]),
            "model": random.choice([*MODELS, "unknown"]),
            "prompt.tokens": int(random.lognormvariate(7, 1.5)),
            "request.tokens": int(random.lognormvariate(8, 1.5)),
            "tools": random.choice([0, 0, 2]),
            "stream": random.choice([True, False]),
            "json": random.choice(["none", "none", "object"]),
            "header.x-country": random.choice([*COUNTRIES, None]),
        }
        for _ in range(_REQUESTS)
    ]
