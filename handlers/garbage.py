"""The garbage collector of a process that serves: it has next to nothing to find."""

from __future__ import annotations

import gc

# Of allocations that outlive others, then of collections: the default of 700 has the collector run at every tenth
# request (benchmarks/gateway.md).
GC_THRESHOLDS = (50_000, 20, 50)


def settle_garbage() -> None:
    """Have the garbage collector leave alone what is there by now, and look at the rest less often.

    Requests leave next to no cycles behind, and the plan and the code are never garbage.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()
