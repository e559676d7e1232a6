"""Targets: which endpoints a model, an endpoint, a pool or a split stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from router_dsl import ast
from router_dsl.check.asked import Paths
from router_dsl.check.models import Catalog
from router_dsl.check.quantity import number
from router_dsl.check.report import squeezed
from router_dsl.check.scope import Scope
from router_dsl.plan import Call, Endpoints, Requested, Split, Target

Arm = TypeVar("Arm")


@dataclass(slots=True)
class Targets:
    """Resolves targets to endpoints.

    Attributes:
        requested: Some target is the model the client names, so every model can be reached.
    """

    scope: Scope
    paths: Paths
    catalog: Catalog
    requested: bool = False

    def pools(self) -> None:
        """Resolve the members of every pool into the catalogue."""
        for name, pool in self.scope.pools.items():
            found: dict[int, None] = {}
            for member in pool.members:
                name_only = member.name.text if member.provider is None else None
                if name_only in self.scope.pools and name_only not in self.scope.models:
                    self.scope.report.add(
                        "E408",
                        f"`{member.name.text}` is a pool: pools hold models and endpoints",
                        member.span,
                        "list its members",
                    )
                    continue
                target = self.ref(member)
                if target is None:
                    continue
                if any(endpoint in found for endpoint in target.endpoints):
                    self.scope.report.add(
                        "W507", f"pool `{name}` holds `{target.text}` already", member.span, "leave it out"
                    )
                found |= dict.fromkeys(target.endpoints)
            self.catalog.by_pool[name] = tuple(found)

    def ref(self, ref: ast.Ref) -> Endpoints | None:
        """Return the endpoints of a model, endpoint or pool, or None after reporting."""
        return self._model_or_pool(ref) if ref.provider is None else self._endpoint(ref, ref.provider)

    def _model_or_pool(self, ref: ast.Ref) -> Endpoints | None:
        name, text = ref.name.text, squeezed(ref.span)
        if name in self.catalog.by_model:
            self.scope.use("model", name)
            return Endpoints(text, self.catalog.by_model[name])
        if name in self.scope.pools:
            self.scope.use("pool", name)
            return Endpoints(text, self.catalog.by_pool.get(name, ()))
        self._unknown(name, ref.name)
        return None

    def _unknown(self, name: str, node: ast.Name) -> None:
        scope, report = self.scope, self.scope.report
        if name in scope.aka:
            help = f"`{name}` is another name of the model `{scope.aka[name]}`: write `{scope.aka[name]}`"
            report.add("E206", f"unknown model or pool `{name}`", node.span, help)
        elif name in scope.policies:
            report.add(
                "E206", f"unknown model or pool `{name}`", node.span, f"`{name}` is a policy: write `policy {name}`"
            )
        elif name in scope.providers:
            report.add(
                "E206", f"unknown model or pool `{name}`", node.span, f"`{name}` is a provider: write `MODEL @ {name}`"
            )
        else:
            help = f"declare it with `model {name} {{ … }}` or `pool {name} = …`"
            report.unknown("E206", "model or pool", name, node.span, [*scope.models, *scope.pools, *scope.aka], help)

    def _endpoint(self, ref: ast.Ref, provider: ast.Name) -> Endpoints | None:
        model, at, report = ref.name.text, provider.text, self.scope.report
        if model not in self.catalog.by_model:
            if model in self.scope.pools:
                help = "name the endpoint's model, or choose with `where provider == " + at + "`"
                report.add("E206", f"`{model}` is a pool, not a model", ref.name.span, help)
            else:
                self._unknown(model, ref.name)
            return None
        if at not in self.catalog.by_provider:
            report.unknown("E205", "provider", at, provider.span, self.catalog.by_provider)
            return None
        self.scope.use("model", model)
        label = ref.label.text if ref.label else None
        found = self._labelled(model, at, label)
        if not found:
            self._no_endpoint(ref, model)
            return None
        return Endpoints(squeezed(ref.span), found)

    def _labelled(self, model: str, provider: str, label: str | None) -> tuple[int, ...]:
        """Return the endpoint; without a label, and when only labelled ones are there, all of them."""
        exact = self.catalog.by_id.get((model, provider, label))
        if exact is not None:
            return (exact,)
        if label is not None:
            return ()
        here = set(self.catalog.by_provider[provider])
        return tuple(endpoint for endpoint in self.catalog.by_model[model] if endpoint in here)

    def _no_endpoint(self, ref: ast.Ref, model: str) -> None:
        report = self.scope.report
        node = self.scope.models[model]
        misnamed = any(serve.provider.text not in self.catalog.by_provider for serve in node.serves)
        if misnamed or report.lost(node, "serve") or report.imports_lost:
            report.has_errors = True
            return
        served = [self.catalog.endpoints[e].id.replace("@", " @ ") for e in self.catalog.by_model[model]]
        help = "it is served as " + ", ".join(f"`{id}`" for id in served) if served else None
        report.add("E207", f"unknown endpoint `{squeezed(ref.span)}`", ref.span, help)

    def subject(self, ref: ast.Ref) -> tuple[int, ...]:
        """Return the endpoints of what a test breaks: a provider, a model, a pool or an endpoint."""
        if ref.provider is None and ref.name.text in self.catalog.by_provider:
            return tuple(self.catalog.by_provider[ref.name.text])
        found = self.ref(ref)
        return () if found is None else found.endpoints

    def target(self, target: ast.Target) -> Target | None:
        """Return a link of a chain resolved, or None after reporting."""
        match target:
            case ast.Ref():
                return self.ref(target)
            case ast.Requested():
                self.requested = True
                return Requested()
            case ast.Split():
                return self._split(target)
            case ast.Call():
                name = target.policy.text
                if name not in self.scope.policies:
                    self.scope.report.unknown("E208", "policy", name, target.policy.span, self.scope.policies)
                    return None
                return Call(name)

    def _split(self, split: ast.Split) -> Split | None:
        by = self.paths.request(split.by)
        arms = [(self._percent(share.percent), self._arm(share.target)) for share in split.shares]
        kept = [(share, arm) for share, arm in arms if share is not None and arm is not None]
        if by is None or len(kept) < len(arms) or not kept:
            return None
        return Split(normalised(kept, "`split`", split, self.scope), by.name)

    def _arm(self, target: ast.Ref | ast.Requested) -> Endpoints | Requested | None:
        if isinstance(target, ast.Requested):
            self.requested = True
            return Requested()
        return self.ref(target)

    def _percent(self, percent: ast.Number) -> float | None:
        return share(percent, "`split`", self.scope)


def share(percent: ast.Number, of: str, scope: Scope) -> float | None:
    """Return a percentage above 0% and up to 100% as a share, or None after reporting."""
    found = number(percent, "share", of, scope.report, low=0, high=1)
    if found == 0:
        scope.report.add(
            "E307", f"`{percent.span.text}` of nothing: {of} takes more than 0%", percent.span, "leave it out"
        )
        return None
    return None if found is None else float(found)


def normalised(
    shares: Sequence[tuple[float, Arm]], of: str, node: ast.Node, scope: Scope
) -> tuple[tuple[float, Arm], ...]:
    """Return the shares scaled to sum to 1, with a warning when they did not."""
    total = sum(share for share, _ in shares)
    # Percentages are exact to many decimals; what is off by less is the author's thirds.
    if abs(total - 1) <= 0.001:
        return tuple(shares) if total == 1 else tuple((share / total, arm) for share, arm in shares)
    scope.report.add(
        "W502",
        f"the shares of {of} sum to {total * 100:g}%",
        node.span,
        "they are taken in proportion; make them sum to 100%",
    )
    return tuple((share / total, arm) for share, arm in shares)
