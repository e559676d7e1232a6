"""Which fact a path asks about: the scheme's, the author's own, or none."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass, field

from router_dsl import ast
from router_dsl.check.scope import Scope
from router_dsl.fields import ENDPOINT, FAMILIES, OF_POOL, REQUEST, ZONED, Type

KEY_IDENTITY = "key.id"
"""What `key` alone asks, as in `by key`: which of the keys it is, never the key itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A fact that exists.

    Attributes:
        name: Canonical, as the plan knows it.
        written: As messages call it.
        values: Of `one of`, and of facts whose values the policy itself fixes; empty when anything goes.
    """

    name: str
    written: str
    type: Type
    values: tuple[str, ...] = ()


@dataclass(slots=True)
class Paths:
    """Resolves paths to facts; a plain one is looked up once."""

    scope: Scope
    _requests: dict[str, Asked] = field(default_factory=dict)

    def request(self, path: ast.Path) -> Asked | None:
        """Return the fact of a request, or None after reporting that there is none."""
        if path.argument is not None or path.zone is not None:
            return self._request(path)
        name = path.text
        known = self._requests.get(name)
        if known is None:
            known = self._request(path)
            if known is not None:
                self._requests[name] = known
        return known

    def _request(self, path: ast.Path) -> Asked | None:
        name, report = path.text, self.scope.report
        family = path.parts[0].text
        if family in FAMILIES:
            return self._plain(path, self._of_family(path, family))
        if (own := self.scope.facts.get(name)) is not None:
            self.scope.use("fact", name)
            return self._plain(path, own_fact(own))
        if name in OF_POOL:
            return self._of_pool(path, name)
        if (scheme := REQUEST.get(name)) is not None:
            asked = Asked(name, name, scheme.type, scheme.values)
            return self._zoned(path, asked) if name in ZONED else self._plain(path, asked)
        if name in ENDPOINT:
            report.add(
                "E214",
                f"`{name}` is a fact of endpoints, not of requests",
                path.span,
                "ask it in `where` or in a guard's `require`",
            )
        elif name in self.scope.lets:
            report.add(
                "E308",
                f"`{name}` is a let, not a fact",
                path.span,
                "a let stands alone, or after `in` when it is a list",
            )
        elif name == "over" or family == "over":
            report.add("E204", f"unknown fact `{name}`", path.span, "ask a soft limit with `over LIMIT`")
        elif path.parts[0].quoted and report.near(name, self.scope.words()) is None:
            report.add("E301", f'`"{name}"` is text, not a fact', path.span, _FACT_FIRST)
        else:
            report.unknown("E204", "fact", name, path.span, self.scope.words(), _OWN_FACT)
        return None

    def _of_family(self, path: ast.Path, family: str) -> Asked | None:
        entry = ".".join(part.text for part in path.parts[1:])
        if not entry and family == "key":
            return Asked(KEY_IDENTITY, "key", "text")
        if not entry:
            self.scope.report.add("E204", f"unknown fact `{family}`", path.span, f"say which one: `{family}.NAME`")
            return None
        written = f"{family}.{entry}"
        return Asked(written.lower() if family == "header" else written, written, "text")

    def _of_pool(self, path: ast.Path, name: str) -> Asked | None:
        report = self.scope.report
        if path.argument is None:
            report.add("E204", f"`{name}` asks about a pool", path.span, f"write `{name}(POOL)`")
            return None
        pool, scope = path.argument.text, self.scope
        if pool in scope.pools:
            scope.use("pool", pool)
        elif pool in scope.models:
            scope.use("model", pool)
        elif pool not in scope.providers:
            names = [*scope.pools, *scope.models, *scope.providers]
            report.unknown("E206", "pool", pool, path.argument.span, names, f"declare it with `pool {pool} = …`")
            return None
        asked = Asked(f"{name}({pool})", f"{name}({pool})", REQUEST[name].type)
        return asked if path.zone is None else self._plain(path, asked)

    def _zoned(self, path: ast.Path, asked: Asked) -> Asked | None:
        if path.argument is not None or path.zone is None:
            return self._plain(path, asked)
        zone = path.zone.value
        if not is_zone(zone):
            self.scope.report.unknown(
                "E211", "time zone", zone, path.zone.span, zoneinfo.available_timezones(), 'such as `"Europe/Berlin"`'
            )
            return None
        return Asked(f"{asked.name}@{zone}", f'{asked.name}@"{zone}"', asked.type, asked.values)

    def _plain(self, path: ast.Path, asked: Asked | None) -> Asked | None:
        """Return the fact, unless the path has a pool or a zone that no such fact takes."""
        if asked is None:
            return None
        if path.argument is not None:
            self.scope.report.add("E204", f"`{asked.written}` takes no pool", path.span, "only `healthy` and `load` do")
            return None
        if path.zone is not None:
            self.scope.report.add(
                "E204", f"`{asked.written}` takes no time zone", path.span, "only the `time` facts do"
            )
            return None
        return asked

    def endpoint(self, path: ast.Path) -> Asked | None:
        """Return the fact of an endpoint, or None after reporting that there is none."""
        name, report = path.text, self.scope.report
        scheme = ENDPOINT.get(name)
        if scheme is not None:
            values: tuple[str, ...] = ()
            if name in ("provider", "model") and not report.broken:
                values = tuple(self.scope.providers if name == "provider" else self.scope.models)
            return self._plain(path, Asked(name, name, scheme.type, values))
        if is_request_fact(path, self.scope):
            report.add(
                "E215",
                f"`{name}` is a fact of requests, not of endpoints",
                path.span,
                "ask it in a rule's or guard's `when`",
            )
        elif name in self.scope.lets:
            report.add(
                "E308",
                f"`{name}` is a let, not a fact",
                path.span,
                "a let stands alone, or after `in` when it is a list",
            )
        else:
            report.unknown(
                "E204",
                "fact",
                name,
                path.span,
                [*ENDPOINT, *self.scope.lets],
                "`where` and `require` ask facts of endpoints",
            )
        return None


_OWN_FACT = "declare a fact of your own with `fact NAME: text from header.NAME`"
_FACT_FIRST = "a comparison begins with its fact: `prompt.tokens > 24k`"


def own_fact(own: ast.Fact) -> Asked:
    """Return the author's own fact; its type counts as text when it is not one."""
    types: dict[str, Type] = {
        "number": "number", "tokens": "tokens", "bool": "bool", "ip": "ip", "one of": "one of",
    }  # fmt: skip
    values = tuple(value.text for value in own.values)
    return Asked(own.name.text, own.name.text, types.get(own.type.text, "text"), values)


def is_request_fact(path: ast.Path, scope: Scope) -> bool:
    """Whether the path names a fact of requests."""
    return path.text in REQUEST or path.text in scope.facts or path.parts[0].text in FAMILIES


def is_zone(name: str) -> bool:
    """Whether the time zone database knows `name`."""
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True
