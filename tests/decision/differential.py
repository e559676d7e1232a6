"""The compiled engine against the interpreter: what both say of the same policy and the same facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from router_dsl import interpret
from router_dsl.compile.build import build
from router_dsl.plan import And, Atom, Plan, Policy, Program, decode, encode
from router_dsl.strategies import (
    FACTS,
    Facts,
    conditions_of,
    policy_of,
    pools_of,
    program_of,
    random_condition,
    random_facts,
    random_policy,
)
from runtime.decision import engine


class Asked(dict[str, object]):
    """Facts that note what was asked of them, computed late as those of a request are."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        self.facts = facts

    def __missing__(self, name: str) -> object:
        value = self[name] = self.facts[name]
        return value


def shipped(program: Program) -> Plan:
    """Return the program's plan as another process would read it."""
    return decode(encode(build(program, "0" * 64)))


def engines(program: Program) -> list[engine.Decide]:
    """Return every form of the default policy that can serve: what `load` chooses, and its tables."""
    plan, name = shipped(program), program.policies[0].name
    return [engine.load(plan)[name], engine.of_tree(plan.trees[name])]


def disagreements(policy: Policy, requests: list[Facts]) -> Iterator[tuple[Facts, int, int]]:
    """Give the facts on which they differ, what the interpreter says and what an engine says."""
    forms = engines(program_of(policy))
    for facts in requests:
        meant = interpret.decide(policy, facts)
        for decide in forms:
            decided = decide(Asked(facts))
            if meant != decided:
                yield facts, meant, decided


def some_facts(random: Random, policy: Policy, count: int) -> list[Facts]:
    """Return requests that lean towards the constants of the policy; half differ from the one before in one fact."""
    pools = pools_of(conditions_of(program_of(policy)))
    found: list[Facts] = []
    for number in range(count):
        fresh = random_facts(random, pools)
        if number % 2 and fresh:
            changed = random.choice(list(fresh))
            fresh = {**found[-1], changed: fresh[changed]}
        found.append(fresh)
    return found


def sampled(seed: int, *, requests: int = 100) -> tuple[Policy, list[Facts]]:
    """Return a policy and requests to it.

    Of eight, one has enough rules for wide masks, one asks a single rule, two are mostly about one tenant each.
    """
    random = Random(seed)
    shape = seed % 8
    if shape in (2, 3):
        policy = tenants(random, random.randint(10, 120))
    else:
        count = {0: random.randint(65, 300), 1: 1}.get(shape, random.randint(2, 20))
        policy = random_policy(random, count, depth=random.randint(0, 3))
    return policy, some_facts(random, policy, requests)


def tenants(random: Random, count: int) -> Policy:
    """Return a policy that a switch on `tenant` suits, with rules for all tenants among the others."""
    facts = ["tenant", *random.sample(list(FACTS), 5)]
    conds = []
    for _ in range(count):
        cond = random_condition(random, random.randint(0, 2), facts)
        if random.random() < 0.8:
            name = f"t{random.randrange(12)}"
            cond = And((Atom("tenant", "eq", name, (), f"tenant == {name}"), cond))
        conds.append(cond)
    return policy_of([*conds, None])
