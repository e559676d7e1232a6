"""What changes between two policies: each region in words, with a request and what becomes of it before and after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from handlers.oracle import Requests, smaller
from router_dsl.analyse.claims import dollars
from router_dsl.analyse.compare import Change, Comparison, compared
from router_dsl.analyse.search import Search
from router_dsl.analyse.space import Box
from router_dsl.analyse.witness import MOST_TRIED, Facts, Request, samples
from router_dsl.analyse.words import merged, said
from router_dsl.plan import Program

Told = dict[str, object]
"""A decision, as `explain --json` has it, without what it passed over."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A change with a request that shows it.

    Attributes:
        region: Which requests, in words.
        since: What is different about endpoints that both plans may use.
        before, after: What becomes of the request.
        dearer: Whether its answer may cost more than before.
    """

    change: Change
    region: str
    since: tuple[str, ...]
    witness: Request
    before: Told
    after: Told
    dearer: bool

    @property
    def refused(self) -> bool:
        """Whether a request that had a plan has none any more."""
        return self.before["action"] == "use" and self.after["action"] == "reject"

    def to_json(self) -> dict[str, object]:
        """Return the change as `diff --json` prints it."""
        told: Told = {"region": self.region, "witness": self.witness, "before": self.before, "after": self.after}
        return told | ({"since": list(self.since)} if self.since else {})


class Difference:
    """Two programs, their changes and what could not be compared.

    Attributes:
        unknown: Why some regions could not be compared, or shown.
    """

    def __init__(self, before: Program, after: Program) -> None:
        self.comparison: Comparison = compared(before, after)
        self.before, self.after = Requests(before), Requests(after)
        self._making = Requests(self.comparison.merged)
        self.unknown: list[str] = []

    def changes(self) -> Iterator[Shown]:
        """Give the changes, each confirmed by the code that serves; those of the same rules together."""
        for change in together(self.comparison.changes()):
            found, tried = self._shown(change)
            if found is not None:
                yield found
            elif tried:
                older, newer = change.before.way.rule.label, change.after.way.rule.label
                self.unknown.append(f"what rule `{older}` decided and rule `{newer}` decides: no request could be made")
        self.unknown += self.comparison.unknown

    def _shown(self, change: Change) -> tuple[Shown | None, bool]:
        """Return a change with a request that shows it, and whether any could be tried."""
        tried = False
        for facts in self._samples(change):
            tried = True
            for parts in self._making.candidates(change.policy, facts):
                if self._shows(change, parts):
                    return self._told(change, smaller(parts, partial(self._shows, change))), True
        return None, tried

    def _samples(self, change: Change) -> Iterator[Facts]:
        space, count = self.comparison.space, 0
        for box in self._parts(change):
            real = space.realistic(box)
            for facts in () if real is None else samples(space, real):
                yield facts
                count += 1
                if count >= MOST_TRIED:
                    return

    def _parts(self, change: Change) -> Iterator[Box]:
        yield change.found
        search = Search(self.comparison.space, self.comparison.after.regions.budget)
        for box in change.boxes:
            yield from search.left(box, change.taken)

    def _shows(self, change: Change, parts: Request) -> bool:
        before, after = self.before.seen(parts), self.after.seen(parts)
        if before is None or after is None:
            return False
        if before.rules != change.before.steps or after.rules != change.after.steps:
            return False
        if change.endpoint is None:
            return True
        older, newer = (
            {program.endpoints[index].id for index in seen.endpoints}
            for program, seen in ((self.before.program, before), (self.after.program, after))
        )
        return (change.endpoint in older) != (change.endpoint in newer)

    def _told(self, change: Change, parts: Request) -> Shown:
        before, after = self.before.told(parts), self.after.told(parts)
        costs = self.before.cost_nusd(parts), self.after.cost_nusd(parts)
        dearer = costs[0] is not None and costs[1] is not None and costs[1] > costs[0]
        return Shown(change, self._words(change), self._since(change), parts, before, after, dearer)

    def _words(self, change: Change) -> str:
        space = self.comparison.space
        search = Search(space, self.comparison.after.regions.budget)
        boxes = merged([left for box in change.boxes if (left := search.narrowed(box, change.taken)) is not None])
        told = list(dict.fromkeys(said(space, box) for box in boxes))
        more = f"; or {len(told) - _MOST_TOLD} other regions" if len(told) > _MOST_TOLD else ""
        return "; or ".join(told[:_MOST_TOLD]) + more

    def _since(self, change: Change) -> tuple[str, ...]:
        older = {endpoint.id: endpoint for endpoint in self.before.program.endpoints}
        newer = {endpoint.id: endpoint for endpoint in self.after.program.endpoints}
        both = sorted(change.before.endpoints & change.after.endpoints)
        return tuple(
            f"{name}: {field.replace('_', ' ')} {_value(field, was)} → {_value(field, now)}"
            for name in both
            for field in older[name].__struct_fields__
            if field != "provider" and (was := getattr(older[name], field)) != (now := getattr(newer[name], field))
        )


def together(changes: Iterable[Change]) -> list[Change]:
    """Return the changes with those between the same rules as one."""
    found: dict[object, Change] = {}
    for change in changes:
        key = change.policy, change.before.steps, change.after.steps, change.endpoint
        first = found.get(key)
        if first is None:
            found[key] = change
        else:
            found[key] = replace(
                first,
                boxes=(*first.boxes, *change.boxes),
                before=replace(first.before, endpoints=first.before.endpoints | change.before.endpoints),
                after=replace(first.after, endpoints=first.after.endpoints | change.after.endpoints),
            )
    return list(found.values())


def _value(field: str, value: object) -> str:
    if value is None:
        return "unsaid"
    return dollars(value) if field.startswith("price") and isinstance(value, int) else str(value)


_MOST_TOLD = 3
