"""Program to plan: each policy's terms, laid out and tabulated, and the certificate that they are its rules."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from router_dsl import ast
from router_dsl.ast import File
from router_dsl.compile.certify import certify
from router_dsl.compile.columns import Factor, column, probe, turns_of
from router_dsl.compile.layout import cost_of, cost_of_probe, layout
from router_dsl.compile.terms import CompileError, Term, check_width, facts_of, terms
from router_dsl.plan import FORMAT, Block, Column, Cond, Plan, Policy, Probe, Program, Rule, Tree
from router_dsl.source import Diagnostic, Span

COMPILER = "1"
"""Raised when the same program compiles to other tables; the format number says how they are written."""


def build(program: Program, source_digest: str) -> Plan:
    """Return the plan of a program, proved to decide as its rules do.

    Args:
        program: What the checker made of the sources.
        source_digest: Of the sources, as `source_digest` gives it.

    Raises:
        CompileError: A rule has more alternatives than fit one.
    """
    body_facts = body_facts_of(program)
    trees = {policy.name: tree_of(policy, body_facts) for policy in program.policies}
    return Plan(FORMAT, COMPILER, source_digest, program, trees, certify(program, trees))


def source_digest(files: Sequence[File]) -> str:
    """Return the SHA-256, in hex, over names (relative to the root file's folder) and texts of the sources."""
    folder = os.path.dirname(files[0].span.source.name) or os.curdir
    sources = [file.span.source for file in files]
    named = sorted((os.path.relpath(source.name, folder).replace(os.sep, "/"), source.text) for source in sources)
    digest = hashlib.sha256()
    for part in (part for pair in named for part in pair):
        raw = part.encode("utf-8", "surrogatepass")
        # The length first, so that no two sets of files run together to the same bytes.
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


def refusals(program: Program, files: Sequence[File]) -> list[Diagnostic]:
    """Return a finding for each rule that `build` would refuse, at its condition."""
    found = []
    for policy in program.policies:
        for rule in policy.rules:
            try:
                check_width(rule)
            except CompileError as error:
                found.append(Diagnostic(error.code, error.message, _span_of(policy, rule, files), error.help))
    return found


def _span_of(policy: Policy, rule: Rule, files: Sequence[File]) -> Span:
    spans = (
        written.when.span
        for file in files
        for item in file.items
        if isinstance(item, ast.Policy) and item.name.text == policy.name
        for written in item.rules
        if written.when is not None and written.label.text == rule.label
    )
    return next(spans, files[0].span)


def body_facts_of(program: Program) -> frozenset[str]:
    """Return the author's facts that are read from anywhere in the body."""
    return frozenset(fact.name for fact in program.facts if fact.source.startswith("body."))


def tree_of(policy: Policy, body_facts: frozenset[str] = frozenset()) -> Tree:
    """Return the tables of a policy.

    Raises:
        CompileError: A rule has more alternatives than fit one.
    """
    plan = layout([term for index, rule in enumerate(policy.rules) for term in terms(index, rule)], body_facts)
    return Tree(
        plan.switch,
        {
            value: msgspec.msgpack.encode(tuple(block_of(own, body_facts) for own in blocks))
            for value, blocks in plan.cases.items()
        },
        tuple(block_of(shared, body_facts) for shared in plan.shared),
    )


def block_of(block: Sequence[Term], body_facts: frozenset[str]) -> Block:
    """Return the tables of one block's terms."""
    full = (1 << len(block)) - 1
    ready: list[Column] = []
    lazy: list[tuple[int, Column | Probe]] = []
    for fact, factors in _factors(block).items():
        table = column(fact, factors, full)
        cost = cost_of(fact, body_facts)
        if cost:
            lazy.append((cost, table))
        else:
            ready.append(table)
    for cond, (yes, no) in _probes(block).items():
        (fact,) = facts_of(cond)
        lazy.append((cost_of_probe(cond, fact, body_facts), probe(cond, fact, yes, no, full)))
    lazy.sort(key=lambda item: item[0])
    return Block(tuple(term.rule for term in block), tuple(ready), tuple(item for _, item in lazy))


def _factors(block: Sequence[Term]) -> dict[str, list[Factor]]:
    asked: defaultdict[str, defaultdict[Cond, int]] = defaultdict(lambda: defaultdict(int))
    for number, term in enumerate(block):
        for fact, cond in term.factors.items():
            asked[fact][cond] |= 1 << number
    return {fact: [Factor(cond, mask, turns_of(cond)) for cond, mask in conds.items()] for fact, conds in asked.items()}


def _probes(block: Sequence[Term]) -> dict[Cond, tuple[int, int]]:
    asked: dict[Cond, tuple[int, int]] = {}
    for number, term in enumerate(block):
        for cond, answer in term.probes.items():
            yes, no = asked.get(cond, (0, 0))
            bit = 1 << number
            asked[cond] = (yes | bit, no) if answer else (yes, no | bit)
    return asked
