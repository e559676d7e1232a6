"""Assertions are judged as every request, decided by the code that serves, would have them."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from handlers.oracle import Requests
from router_dsl.analyse import worst
from router_dsl.analyse.claims import Judged, judge
from router_dsl.analyse.plans import plans_of
from router_dsl.analyse.regions import regions_of
from router_dsl.analyse.witness import Seen
from router_dsl.check.program import check
from router_dsl.interpret import holds
from router_dsl.load import load_text
from router_dsl.plan import Assertion, Program

CATALOG = """
provider us { url "https://us.example/v1"  region us }
provider eu { url "https://eu.example/v1"  region eu }
model one   { context 8k   serve us "one" price $1 in $2 out  serve eu "one" price $2 in $4 out }
model two   { context 16k  serve us "two" price $4 in $8 out }
model three { context 8k   supports json  serve eu "three" price $1 in $1 out }
"""
CONDITIONS = ("header.x-c == de", "header.x-c in [de, fr]", "stream", "has tools", "model == two", "missing header.x-c")
TARGETS = (
    "one", "two", "three", "one @ us", "requested", "split 70% one, 30% two by user",
    "split 50% three, 50% requested by user",
)  # fmt: skip
REQUIREMENTS = ("region == eu", "region == us", "price.out <= $4", "model != two")
CLAIMS = (
    "never region == us when header.x-c == de", "never region == us", "never price.out > $4 when stream",
    "never model == two when model == one", "attempts <= 2", "attempts <= 3 when stream", "attempts <= 5",
    "wait <= 9s when header.x-c == de", "wait <= 25s", "reachable r1", "reachable otherwise",
    "cost <= $0.02", "cost <= $0.05 when has tools", "cost <= $0.13",
)  # fmt: skip


def condition(random: Random) -> str:
    parts = random.sample(CONDITIONS, random.choice((1, 1, 2)))
    return random.choice((" and ", " or ", " and not ")).join(parts)


def action(random: Random) -> str:
    if random.random() < 0.15:
        return "reject 403"
    told = " else ".join(random.sample(TARGETS, random.randint(1, 3)))
    told += random.choice(("", "  by price", "  by order"))
    if random.random() < 0.2:
        told += f"  where {random.choice(REQUIREMENTS)}"
    told += f"  first token {random.choice((2, 4))}s"
    if random.random() < 0.3:
        told += f"  retry {random.randint(0, 2)}"
    if random.random() < 0.15:
        told += f"  escalate to {random.choice(('two', 'three'))} when empty  within 9s"
    if random.random() < 0.15:
        told += f"  shadow 5% {random.choice(('two', 'one @ us'))}"
    return told


def text_of(seed: int) -> str:
    random = Random(seed)
    lines = [CATALOG]
    for number in range(random.randint(0, 2)):
        when = f"when {condition(random)} " if random.random() < 0.8 else ""
        lines.append(f"guard g{number}: {when}require {random.choice(REQUIREMENTS)}")
    lines.append("policy p {")
    lines += [f"  r{number}: when {condition(random)} -> {action(random)}" for number in range(random.randint(2, 3))]
    lines += [f"  otherwise -> {action(random)}", "}"]
    return "\n".join([*lines, *(f"assert {claim}" for claim in CLAIMS)])


def requests() -> list[dict[str, object]]:
    """Return requests of every kind that the conditions tell apart, short and long, with several random numbers."""
    found: list[dict[str, object]] = []
    for country, stream, tools, model in product(
        (None, "de", "fr", "zz"), (False, True), (False, True), ("one", "two", "three", "auto")
    ):
        body: dict[str, object] = {"model": model, "stream": stream}
        if tools:
            body["tools"] = [{"type": "function", "function": {"name": "f"}}]
        headers = {} if country is None else {"x-c": country}
        for draw in (0.0, 0.6, 0.999):
            found.append({"body": body, "headers": headers, "random": draw})
        found.append({"body": {**body, "max_tokens": 15_900}, "headers": headers})
        found.append({"body": {**body, "max_tokens": 7_900}, "headers": headers})
    return found


REQUESTS = requests()


def is_broken(claim: Assertion, program: Program, seen: Seen) -> bool:
    if not holds(claim.when, seen.facts):
        return False
    table, limit = program.endpoints, claim.limit or 0.0
    match claim.kind:
        case "never":
            fixed = plans_of(regions_of(program))
            assert claim.never is not None
            return any(fixed.verdict(claim.never, index) for index in seen.endpoints)
        case "attempts":
            return len(seen.attempts) > limit
        case "wait" if seen.options is not None:
            counts = [len(seen.attempts), len(set(seen.attempts)), len(seen.escalation), len(set(seen.escalation))]
            return worst.wait_s(seen.options, *counts) > limit
        case "cost" if seen.options is not None:
            prompt, output = seen.facts["prompt.tokens"], seen.facts["output.tokens"]
            assert isinstance(prompt, int)
            aside = [some for some in (seen.escalation, seen.shadow) if some]
            limited = output if isinstance(output, int) else None
            cost = worst.request_nusd(table, seen.options, seen.candidates, aside, prompt, limited)
            return cost is not None and cost > limit
        case _:
            return False


def compiled(text: str) -> Program:
    files, reported = load_text(text, "x.route")
    program, found = check(files, reported, doubts=False)
    assert program is not None, [finding.message for finding in found]
    return program


def judged(program: Program) -> list[Judged]:
    plans, oracle = plans_of(regions_of(program)), Requests(program)
    return [judge(plans, claim, oracle) for claim in program.assertions]


def check_seed(seed: int) -> int:
    """Hold the verdicts on one policy against its requests; return how many are unknown."""
    program = compiled(text_of(seed))
    oracle = Requests(program)
    everything = [seen for parts in REQUESTS if (seen := oracle.seen(parts)) is not None]
    unknown = 0
    for found in judged(program):
        claim = found.claim
        if claim.kind == "reachable":
            index = next((i for i, rule in enumerate(program.policies[0].rules) if rule.label == claim.label), None)
            reached = any(("p", index) in seen.rules for seen in everything)
            assert found.verdict == ("proved" if reached else "false"), (seed, claim.text)
            continue
        broken = any(is_broken(claim, program, seen) for seen in everything)
        assert not (broken and found.verdict == "proved"), (seed, claim.text)
        if found.verdict == "false":
            assert found.request is not None
            seen = oracle.seen(found.request)
            assert seen is not None
            assert is_broken(claim, program, seen), (seed, claim.text)
        if found.verdict == "unknown":
            unknown += 1
    return unknown


@pytest.mark.slow
def test_no_assertion_is_proved_that_a_request_breaks_nor_refuted_by_one_that_does_not() -> None:
    unknown = sum(check_seed(seed) for seed in range(80))
    assert unknown <= 80 * len(CLAIMS) * 0.02


@pytest.mark.long
def test_no_assertion_is_proved_that_a_request_breaks_at_length() -> None:
    unknown = sum(check_seed(seed) for seed in range(1_000, 4_000))
    assert unknown <= 3_000 * len(CLAIMS) * 0.02
