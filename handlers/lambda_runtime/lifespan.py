"""ASGI's lifespan, driven from outside: started in INIT, ended when the process is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping

Message = MutableMapping[str, object]
Scope = MutableMapping[str, object]
Application = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class StartError(Exception):
    """The application cannot start; the message says why."""


class Lifespan:
    """One application's life.

    Args:
        app: Speaks ASGI; one without a lifespan protocol is fine.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the application.

        Raises:
            StartError: It cannot.
        """
        self._task = asyncio.create_task(self._run())
        answer = await self._ask("lifespan.startup")
        if answer.get("type") == "lifespan.startup.failed":
            raise StartError(str(answer.get("message", "")) or "the application refuses to start")

    async def stop(self) -> None:
        """Let the application put things in order."""
        if self._task is not None and not self._task.done():
            await self._ask("lifespan.shutdown")
            await self._task
            self._task = None

    async def _run(self) -> None:
        try:
            await self._app({"type": "lifespan", "asgi": {"version": "3.0"}}, self._to_app.get, self._from_app.put)
        except Exception as error:  # noqa: BLE001 — the outermost frame of the application's life
            await self._from_app.put({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
        else:
            await self._from_app.put({"type": "lifespan.over"})

    async def _ask(self, what: str) -> Message:
        await self._to_app.put({"type": what})
        return await self._from_app.get()
