"""Work that no request waits for: it begins at once, is bounded in number, and ends with the dispatcher."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context


class Background:
    """Tasks on nobody's behalf; nothing of a request's context reaches them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Begin some work once the running task next waits; what goes wrong with it is the loop's to report."""
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self, within_s: float) -> None:
        """Wait until what has begun is over, for so long at most; what is not goes on."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=within_s)

    async def aclose(self) -> None:
        """Cancel what is left and wait until it is gone."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
