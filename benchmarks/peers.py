"""The same rules in other engines that Python can call, each in the fastest form it takes them in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from router_dsl.plan import And, Atom, Cond, Program, Scalar
from router_dsl.strategies import Facts

Decide = Callable[[Facts], int]

CPP_CHUNK, RUST_CHUNK = 28, 50
"""Rules in one CEL expression: about what each binding nests (C++ 32 levels, Rust fewer than 100). One rule an
expression, asked in order, took 5 and 15 times longer (1,000 rules).
"""


def peers(program: Program) -> dict[str, tuple[str, Callable[[], Decide]]]:
    """Return, by package, what it is and how to load the program's first policy into it."""
    conds = [rule.when for rule in program.policies[0].rules[:-1] if rule.when is not None]
    return {
        "cel-expr-python": ("CEL, C++", lambda: _cel_cpp(conds)),
        "common-expression-language": ("CEL, Rust", lambda: _cel_rust(conds)),
        "cedarpy": ("Cedar, Rust", lambda: _cedar(conds)),
        "rule-engine": ("rule-engine, Python", lambda: _rule_engine(conds)),
    }


def _name(fact: str) -> str:
    return re.sub(r"\W", "_", fact)


def _named(facts: Facts) -> dict[str, Scalar | None]:
    return {_name(fact): value for fact, value in facts.items()}


def _names(conds: Sequence[Cond]) -> list[str]:
    return sorted({_name(atom.fact) for cond in conds for atom in _atoms(cond)})


def _atoms(cond: Cond) -> list[Atom]:
    if isinstance(cond, Atom):
        return [cond]
    assert isinstance(cond, And)
    return [atom for item in cond.items for atom in _atoms(item)]


_SYMBOLS = {"eq": "==", "ne": "!=", "gt": ">", "le": "<="}


def _written(cond: Cond, joiner: str, name: Callable[[str], str]) -> str:
    """Return the condition in the syntax that CEL and rule-engine share."""
    parts = []
    for atom in _atoms(cond):
        fact = name(atom.fact)
        if atom.op in _SYMBOLS:
            parts.append(f"{fact} {_SYMBOLS[atom.op]} {json.dumps(atom.value)}")
        elif atom.op == "in":
            parts.append(f"{fact} in {json.dumps(list(atom.items))}")
        elif atom.op == "has":
            parts.append(f"{fact} > 0")
        else:
            assert atom.op == "is", atom.op
            parts.append(f"{fact} == true")
    return joiner.join(parts)


def _chunks(conds: Sequence[Cond], size: int) -> list[str]:
    """Return the rules as CEL expressions that give a rule's index, or -1 for none of theirs."""
    written = [_written(cond, " && ", _name) for cond in conds]
    return [
        " : ".join(f"{text} ? {start + number}" for number, text in enumerate(written[start : start + size])) + " : -1"
        for start in range(0, len(written), size)
    ]


def _cel_cpp(conds: Sequence[Cond]) -> Decide:
    from cel_expr_python import cel

    env = cel.NewEnv(variables=dict.fromkeys(_names(conds), cel.Type.DYN))
    programs = [env.compile(text) for text in _chunks(conds, CPP_CHUNK)]
    last = len(conds)

    def decide(facts: Facts) -> int:
        activation = env.Activation(_named(facts))
        for program in programs:
            rule = program.eval(activation).value()
            if rule >= 0:
                return int(rule)
        return last

    return decide


def _cel_rust(conds: Sequence[Cond]) -> Decide:
    import cel

    programs = [cel.compile(text) for text in _chunks(conds, RUST_CHUNK)]
    last = len(conds)

    def decide(facts: Facts) -> int:
        named = _named(facts)
        for program in programs:
            rule = program.execute(named)
            if rule >= 0:
                return int(rule)
        return last

    return decide


def _cedar(conds: Sequence[Cond]) -> Decide:
    """Cedar has no order: the reasons of its answer are all the policies that hold, and the lowest is ours."""
    import cedarpy

    policies = cedarpy.PolicySet.from_str(
        "\n".join(f"permit(principal, action, resource) when {{ {_cedar_text(cond)} }};" for cond in conds)
    )
    entities = cedarpy.Entities.from_json_str("[]")
    last = len(conds)

    def decide(facts: Facts) -> int:
        context = {name: value for name, value in _named(facts).items() if value is not None}
        request = {"principal": 'U::"u"', "action": 'A::"a"', "resource": 'R::"r"', "context": context}
        reasons = cedarpy.is_authorized(request, policies, entities).diagnostics.reasons
        return min((int(reason.removeprefix("policy")) for reason in reasons), default=last)

    return decide


def _cedar_text(cond: Cond) -> str:
    parts = []
    for atom in _atoms(cond):
        fact = f"context.{_name(atom.fact)}"
        if atom.op == "in":
            test = f"{json.dumps(list(atom.items))}.contains({fact})"
        elif atom.op == "has":
            test = f"{fact} > 0"
        elif atom.op == "is":
            test = f"{fact} == true"
        else:
            test = f"{fact} {_SYMBOLS[atom.op]} {json.dumps(atom.value)}"
        parts.append(f"context has {_name(atom.fact)} && {test}")
    return " && ".join(parts)


def _rule_engine(conds: Sequence[Cond]) -> Decide:
    import rule_engine

    rules = [rule_engine.Rule(_written(cond, " and ", _name)) for cond in conds]
    last = len(conds)

    def decide(facts: Facts) -> int:
        named = _named(facts)
        return next((index for index, rule in enumerate(rules) if rule.matches(named)), last)

    return decide
