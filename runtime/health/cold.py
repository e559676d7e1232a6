"""A deployment that scales to zero: which of its failures mean that it sleeps, and when to wake it.

`cold reject`: it says so at once (Fireworks: 503 `DEPLOYMENT_SCALING_UP`). `cold park`: it holds requests until it is
up (Baseten: for up to 600 s), so that all one sees is a first token that does not come. Neither is a defect.
"""

from __future__ import annotations

from math import inf
from typing import Literal

SCALING_UP = "scaling up"
"""The kind of failure of an endpoint that says it is on its way."""

SILENT = "timeout first token"
"""The kind of failure of an endpoint that said nothing in time."""

# Asking one that rejects costs a refused attempt of milliseconds, so it is asked often and returns soon; one that parks
# costs a client the whole wait for the first token. Scaling up was seen to take from 75 s to over ten minutes.
REJECT_PAUSE_S = 10.0
PARK_PAUSE_S = 30.0

# As long as Baseten parks a request. What is still silent then does not sleep.
PARKED_S = 600.0

# One call wakes it. Should that have got lost, the next comes after this long.
WAKE_AGAIN_S = 300.0


class Cold:
    """What is known of one endpoint's sleep; written by its health alone, which gives it a clock that never steps back.

    Args:
        habit: What it does with requests while it sleeps, or None when it never does.
    """

    __slots__ = ("_habit", "_since_s", "_woken_s")

    def __init__(self, habit: Literal["reject", "park"] | None) -> None:
        self._habit = habit
        self._since_s: float | None = None
        self._woken_s = -inf

    def pause_s(self, kind: str, now_s: float) -> float | None:
        """Return for how long to stay away after a failure that means sleep; None when it means something else."""
        if self._habit == "reject" and kind == SCALING_UP:
            pause_s = REJECT_PAUSE_S
        elif self._habit == "park" and kind == SILENT:
            if self._since_s is not None and now_s - self._since_s >= PARKED_S:
                return None
            pause_s = PARK_PAUSE_S
        else:
            return None
        if self._since_s is None:
            self._since_s = now_s
        return pause_s

    def wake_due(self, now_s: float) -> bool:
        """Whether it is to be woken now; the asker does, so the answer is True once for a long while."""
        if self._since_s is None or now_s - self._woken_s < WAKE_AGAIN_S:
            return False
        self._woken_s = now_s
        return True

    def served(self) -> None:
        """Note that it is awake."""
        self._since_s, self._woken_s = None, -inf
