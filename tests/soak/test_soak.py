"""Half an hour under mixed faults (`SOAK_MINUTES` for another time): nothing grows, nothing leaks, nothing is lost."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.soak.soak import Soak


@pytest.mark.long
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to see memory and sockets")
def test_nothing_grows_leaks_or_is_lost() -> None:
    minutes = float(os.environ.get("SOAK_MINUTES", "30"))
    assert asyncio.run(Soak(seed=1).run(minutes, clients=16))["wrong"] == []
