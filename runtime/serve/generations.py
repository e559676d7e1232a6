"""The latest answers of this instance, for `/generation?id=`: what the log says of each, and whose it is."""

from __future__ import annotations

from runtime.serve.story import RequestTold

# About 2 MB of events. Clients ask seconds after their answer, if at all; what is older is in the log.
MOST = 2048


class Generations:
    """The latest answers by their identifiers; the oldest leaves when there are too many."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: dict[str, tuple[bytes, RequestTold]] = {}

    def keep(self, owner: bytes, event: RequestTold) -> None:
        """Remember an answer; `owner` is the digest of the key that asked for it."""
        if event.generation_id is None:
            return
        if len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[event.generation_id] = (owner, event)

    def find(self, name: str, owner: bytes) -> RequestTold | None:
        """Return an answer that this owner asked for, None when it is gone, or another's."""
        found = self._kept.get(name)
        return found[1] if found is not None and found[0] == owner else None
