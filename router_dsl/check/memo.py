"""Rules that were resolved before, taken over when a check is repeated on a text in which little has changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from router_dsl import ast
from router_dsl.check.scope import Scope
from router_dsl.plan import Rule


@dataclass(slots=True)
class Memo:
    """What an editor keeps from one check of a policy to the next.

    A rule is taken over when it is the same node of the tree, nothing was found in it, and every declaration that it
    could refer to is the same node, too. Its line may be that of then.
    """

    _basis: Sequence[object] = ()
    # With the node, so that it lives and no other can have its identity.
    _rules: dict[int, tuple[ast.Rule, Rule]] = field(default_factory=dict)

    def remembering(self, resolve: Callable[[ast.Rule], Rule], scope: Scope) -> Callable[[ast.Rule], Rule]:
        """Return what resolves a rule, or knows it from the last time."""
        basis = _basis(scope)
        if len(basis) != len(self._basis) or any(a is not b for a, b in zip(basis, self._basis, strict=True)):
            self._basis, self._rules = basis, {}
        before, report = self._rules, scope.report
        # What is no longer in the text is forgotten.
        after: dict[int, tuple[ast.Rule, Rule]] = {}
        self._rules = after

        def remembered(node: ast.Rule) -> Rule:
            known = before.get(id(node))
            if known is not None:
                after[id(node)] = known
                return known[1]
            count, had_errors = len(report.diagnostics), report.has_errors
            report.has_errors = False
            rule = resolve(node)
            # A file with errors keeps some findings quiet: what it is silent about may be wrong all the same.
            if len(report.diagnostics) == count and not report.has_errors and not report.broken:
                after[id(node)] = (node, rule)
            report.has_errors = report.has_errors or had_errors
            return rule

        return remembered


def _basis(scope: Scope) -> list[object]:
    """Return every declaration but policies, and the policies' names."""
    tables = (scope.providers, scope.models, scope.pools, scope.lets, scope.facts, scope.limits)
    nodes: list[object] = [node for table in tables for node in table.values()]
    names: list[object] = [policy.name for policy in scope.policies.values()]
    return [*nodes, *names, scope.defaults]
