"""What a policy's tests reach: its rules, and each question of its conditions both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from router_dsl.interpret import holds
from router_dsl.plan import Atom, Cond, Named, Not, Policy, Program, Rule
from runtime.decision.facts import Facts
from runtime.decision.route import Route


def atoms(cond: Cond | None) -> Iterator[Atom]:
    """Yield the questions of a condition, in the order written."""
    match cond:
        case None:
            return
        case Atom():
            yield cond
        case Not() | Named():
            yield from atoms(cond.item)
        case _:
            for item in cond.items:
                yield from atoms(item)


@dataclass(slots=True)
class Coverage:
    """Rules that decided a test, and the answers that each question got while a test ran."""

    program: Program
    decided: set[tuple[str, str]] = field(default_factory=set)
    answers: set[tuple[str, str, str, bool]] = field(default_factory=set)

    def add(self, route: Route, facts: Facts) -> None:
        """Take in one decision."""
        for step in route.steps:
            self.decided.add((step.policy.name, step.rule.label))
            for rule in step.policy.rules[: step.index + 1]:
                for atom in atoms(rule.when):
                    self.answers.add((step.policy.name, rule.label, atom.text, holds(atom, facts)))

    def missed_rules(self) -> list[tuple[str, str, str, int]]:
        """Return (policy, rule, file, line) of the rules that decided no test."""
        return [
            (policy.name, rule.label, rule.file, rule.line)
            for policy in self.program.policies
            for rule in policy.rules
            if (policy.name, rule.label) not in self.decided
        ]

    def missed_answers(self) -> list[tuple[str, str, str, int, str, bool]]:
        """Return (policy, rule, file, line, question, answer) for each answer that no test gave."""
        return [
            (policy.name, rule.label, rule.file, rule.line, text, answer)
            for policy, rule, text in self._questions()
            for answer in (True, False)
            if (policy.name, rule.label, text, answer) not in self.answers
        ]

    def totals(self) -> dict[str, int]:
        """Return how many rules and answers there are, and how many were reached."""
        rules = sum(len(policy.rules) for policy in self.program.policies)
        answers = 2 * sum(1 for _ in self._questions())
        return {
            "rules": rules,
            "rules_reached": rules - len(self.missed_rules()),
            "answers": answers,
            "answers_reached": answers - len(self.missed_answers()),
        }

    def _questions(self) -> Iterator[tuple[Policy, Rule, str]]:
        for policy in self.program.policies:
            for rule in policy.rules:
                for text in dict.fromkeys(atom.text for atom in atoms(rule.when)):
                    yield policy, rule, text
