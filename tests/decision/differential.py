"""The compiled engine against the interpreter: what both say of the same policy and the same facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from router_dsl import interpret
from router_dsl.compile.build import build
from router_dsl.plan import Plan, Policy, Program, decode, encode
from router_dsl.strategies import Facts, conditions_of, pools_of, program_of, random_facts, random_policy
from runtime.decision import engine


class Asked(dict[str, object]):
    """Facts that note what was asked of them, computed late as those of a request are."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        self.facts = facts

    def __missing__(self, name: str) -> object:
        value = self[name] = self.facts[name]
        return value


def shipped(program: Program) -> Plan:
    return decode(encode(build(program, "0" * 64)))


def some_facts(random: Random, policy: Policy, count: int) -> list[Facts]:
    pools = pools_of(conditions_of(program_of(policy)))
    return [random_facts(random, pools) for _ in range(count)]


def disagreements(policy: Policy, requests: list[Facts]) -> Iterator[tuple[Facts, int, int]]:
    """Give the facts on which the two differ, what the interpreter says and what the engine says."""
    decide = engine.load(shipped(program_of(policy)))[policy.name]
    for facts in requests:
        meant, decided = interpret.decide(policy, facts), decide(Asked(facts))
        if meant != decided:
            yield facts, meant, decided


def sampled(seed: int, *, requests: int = 100) -> tuple[Policy, list[Facts]]:
    """Return a policy and requests to it; one in eight has enough rules for wide masks, one in eight has one."""
    random = Random(seed)
    count = {0: random.randint(65, 300), 1: 1}.get(seed % 8, random.randint(2, 20))
    policy = random_policy(random, count, depth=random.randint(0, 3))
    return policy, some_facts(random, policy, requests)
