"""Which endpoints cannot be asked what the client asks, because they speak another interface."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.decision.book import Book
from runtime.decision.facts import Facts
from runtime.wire.errors import Problem
from runtime.wire.request import Edits, rewrite


class Foreign:
    """The endpoints that one request must be translated for; only those that a rule uses are looked into.

    Args:
        book: Knows what each endpoint speaks.
        facts: Of the request.

    Attributes:
        speaks: By endpoint; empty where nobody speaks another interface, None for one that cannot be asked at all.
    """

    __slots__ = ("_api", "_book", "_call", "_obstacles", "speaks")

    def __init__(self, book: Book, facts: Facts) -> None:
        self._book = book
        self._call = facts.call
        # A test may take the fact away, or property tests make it anything; the call itself came by an interface.
        asked = facts.look("api")
        self._api = asked if isinstance(asked, str) and asked in book.foreign else facts.call.api
        self._obstacles: dict[tuple[str, tuple[str, ...]], Problem | None] = {}
        self.speaks = book.foreign[self._api]

    def reason(self, endpoint: int, drop: tuple[str, ...]) -> str | None:
        """Return why an endpoint cannot be asked, None when it can.

        Args:
            endpoint: One of `speaks`.
            drop: What the rule takes out of the body before.
        """
        speaks = self.speaks[endpoint]
        if speaks is None:
            protocol = self._book.program.providers[self._book.endpoints[endpoint].provider].protocol
            return f"protocol {protocol} has no {self._api}"
        key = (speaks, drop)
        if key not in self._obstacles:
            # Imported where it is asked for: most plans need none of it.
            from runtime.wire.translate.translation import obstacle

            self._obstacles[key] = obstacle(self._api, speaks, rewrite(self._call.raw, Edits("", drop=drop)))
        found = self._obstacles[key]
        return None if found is None else found.message

    def lost(self, endpoint: int, drop: tuple[str, ...]) -> tuple[str, ...]:
        """Return what of the request an endpoint that can be asked would not be told."""
        from runtime.wire.translate.translation import losses

        speaks = self.speaks[endpoint]
        return () if speaks is None else losses(self._api, speaks, rewrite(self._call.raw, Edits("", drop=drop)))

    def problem(self, reasons: Iterable[str]) -> Problem | None:
        """Return what is wrong with a request for which nothing is left, if it is only what it asks for."""
        problems = {found.message: found for found in self._obstacles.values() if found is not None}
        return next(iter(problems.values())) if problems and problems.keys() >= set(reasons) else None
