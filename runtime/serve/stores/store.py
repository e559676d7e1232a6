"""What a store shared by instances must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from runtime.limits.lease import Answer, Exchange


class StoreError(Exception):
    """The store did not do what was asked, or did not say so."""


class Store(Protocol):
    """Where limits are counted together.

    Attributes:
        forgets: Whether leases end there by themselves; else what is left of them must be given back.
    """

    forgets: bool

    async def exchange(self, exchanges: Sequence[Exchange]) -> Sequence[Answer]:
        """Carry out exchanges, each for itself and each number once, and return the answers in their order.

        May be cancelled, and then may have been carried out or not.

        Raises:
            StoreError: Some may have been carried out, or none.
        """
        ...

    async def hints(self, key: str, instance: str, changed: Mapping[str, float]) -> Mapping[str, Mapping[str, float]]:
        """Note until when an instance found endpoints failing, in Unix seconds (0: not any more).

        Returns what all say under that key: for each endpoint the instances, and until when.

        Raises:
            StoreError: It may have been noted, or not.
        """
        ...

    def drop(self) -> None:
        """Forget the connections: they may be gone without a word."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
