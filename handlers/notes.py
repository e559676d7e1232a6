"""What is worth knowing of a policy and no fault: rules that earlier ones take a part of, where the order matters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from router_dsl.analyse.regions import regions_of
from router_dsl.analyse.shares import Share, shares
from router_dsl.plan import Policy, Program


@dataclass(frozen=True, slots=True)
class Note:
    """A rule that is partly shadowed by rules that do something else."""

    policy: Policy
    share: Share

    @property
    def text(self) -> str:
        """The note on one line."""
        rule = self.policy.rules[self.share.rule]
        named = [
            f"`{self.policy.rules[index].label}` (line {self.policy.rules[index].line})" for index in self.share.to
        ]
        shown = ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
        left = "a part" if self.share.left is None else f"{self.share.left:.0%}"
        return f"{rule.file}:{rule.line}: rule `{rule.label}` keeps {left} of its cases; before it stand {shown}"

    def to_json(self) -> dict[str, object]:
        """Return the note as `check --notes --json` prints it."""
        rule = self.policy.rules[self.share.rule]
        return {
            "file": rule.file,
            "line": rule.line,
            "policy": self.policy.name,
            "rule": rule.label,
            "share_left": self.share.left,
            "taken_by": [self.policy.rules[index].label for index in self.share.to],
        }


def notes_on(program: Program) -> Iterator[Note]:
    """Give the notes on a program, policy by policy."""
    regions = regions_of(program)
    for policy in program.policies:
        for share in shares(regions, policy):
            yield Note(policy, share)
