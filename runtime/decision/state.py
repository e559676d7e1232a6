"""What a decision may know about the world: the health snapshot, as a protocol."""

from __future__ import annotations

from typing import Protocol


class State(Protocol):
    """A health snapshot at one instant; endpoints are indices into `Program.endpoints`."""

    def in_service(self, endpoint: int) -> bool:
        """Whether it should be tried in its regular place (breaker not open, not cooling down, not full)."""
        ...

    def measured(self, endpoint: int, name: str) -> float | None:
        """Return a measured endpoint fact of `fields.ENDPOINT` in its unit, or None while there is no data."""
        ...

    def load(self, endpoint: int) -> float:
        """Return attempts in flight over capacity; 0 when nothing is in flight."""
        ...

    def is_stale(self, endpoint: int) -> bool:
        """Whether what is known of it is old, or nothing is: one request may find out."""
        ...

    def is_over(self, limit: str) -> bool:
        """Whether the soft limit of that name is exceeded for the request at hand."""
        ...


class Calm:
    """The state of a world without news: everything in service, nothing measured."""

    def in_service(self, endpoint: int) -> bool:
        """Always."""
        return True

    def measured(self, endpoint: int, name: str) -> float | None:
        """Nothing is known."""
        return None

    def load(self, endpoint: int) -> float:
        """Nothing is in flight."""
        return 0.0

    def is_stale(self, endpoint: int) -> bool:
        """Never: nobody is curious."""
        return False

    def is_over(self, limit: str) -> bool:
        """Never."""
        return False
