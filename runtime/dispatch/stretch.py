"""Work that can be ended from outside without ending the task that does it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Stretch:
    """A stretch of the running task that others can end without ending the task.

    As `asyncio.timeout` does it: the task is cancelled, and the cancellation is taken back where the stretch began.
    """

    __slots__ = ("_is_interrupted", "_is_open", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._task = asyncio.current_task(loop)
        self._is_open = self._is_interrupted = False

    async def run(self, work: Coroutine[object, object, None]) -> None:
        """Do some work, until its end or until interrupted."""
        self._is_open = True
        cancelled: asyncio.CancelledError | None = None
        try:
            await work
        except asyncio.CancelledError as error:
            cancelled = error
        finally:
            self._is_open = False
            if self._is_interrupted:
                self._is_interrupted = False
                assert self._task is not None
                if not self._task.uncancel():
                    cancelled = None
        if cancelled is not None:
            raise cancelled

    def interrupt(self) -> None:
        """End the stretch, if there is one; not for the task itself to call."""
        if self._is_open and not self._is_interrupted:
            self._is_interrupted = True
            assert self._task is not None
            self._task.cancel()
