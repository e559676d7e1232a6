"""What instances tell each other of endpoints: changes only, believed when two of the others say the same.

One instance with a bad way out must not take a provider out of everybody's service, so one voice is none. A warning
lasts seconds, ends with the first answer that an endpoint gives here, and like every belief about health only puts
the endpoint behind the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from runtime.health.health import Health
from runtime.serve.stores.store import Store

# With requests, at most so often.
EVERY_S = 2.0

# Of other instances, for a warning to be believed.
QUORUM = 2

# An end that moved by less is no change.
SAME_S = 1.0


class Hints:
    """This instance's part in it; owned by one `Router` and its successors.

    Args:
        store: Where they are left.
        key: Under what: instances that serve the same policy share.
        health: Where warnings go, and where this instance's own findings come from.
        now_s: The time that health is told in.

    Attributes:
        health: That of the plan that is served now.
    """

    def __init__(self, store: Store, key: str, health: Health, now_s: Callable[[], float]) -> None:
        self._store = store
        self._key = key
        self._now_s = now_s
        self._shared_unix_s = 0.0
        self._said: dict[str, float] = {}
        self.health = health

    def is_due(self, now_unix_s: float) -> bool:
        """Whether it is time to tell and to listen; a clock that was set back makes it so."""
        return not 0 <= now_unix_s - self._shared_unix_s < EVERY_S

    async def share(self, instance: str) -> None:
        """Tell what has changed here, and take warnings from the others.

        Raises:
            runtime.serve.stores.store.StoreError: The store did not answer; it will be told the next time.
        """
        now_unix_s = self._shared_unix_s = time.time()
        found = {name: now_unix_s + left_s for name, left_s in self.health.found(self._now_s()).items()}
        changed = {name: until for name, until in found.items() if abs(until - self._said.get(name, 0.0)) > SAME_S}
        changed |= {name: 0.0 for name, until in self._said.items() if name not in found and until > now_unix_s}
        told = await self._store.hints(self._key, instance, changed)
        self._said = found
        for endpoint, voices in told.items():
            others = sorted((until for name, until in voices.items() if name != instance), reverse=True)
            # For as long as enough of them say so.
            if len(others) >= QUORUM and (for_s := others[QUORUM - 1] - now_unix_s) > 0:
                self.health.warn(endpoint, for_s, self._now_s())
