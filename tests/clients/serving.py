"""The application behind a real server on a free port of 127.0.0.1, in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import uvicorn

from runtime.serve.app import App
from runtime.serve.guarded import Limits, guarded
from runtime.serve.renewal import Renewal
from runtime.serve.router import Router
from runtime.serve.settings import Settings
from runtime.serve.story import Event
from tests.serve.desk import Events, compiled


class Awaited(Events):
    """A log whose next event can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        self._more.set()

    async def until(self, count: int) -> None:
        """Wait until so many requests are over."""
        while len(self.seen) < count:
            self._more.clear()
            await self._more.wait()


@dataclass
class Served:
    """A running router: its address, itself, what it logged."""

    url: str
    router: Router
    log: Awaited


@contextlib.asynccontextmanager
async def serving(
    policy: str,
    environ: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    limits: Limits | None = None,
    renewal: Renewal | None = None,
) -> AsyncIterator[Served]:
    """Serve a policy until the block ends; the server has ended then, too."""
    log = Awaited()
    router = Router.open(compiled(policy), settings or Settings(), environ or {}, log, draw=lambda: 0.5)
    router.renewal = renewal
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        App(lambda: router), interface="asgi3", http=guarded(log, limits), ws="none", lifespan="on", log_config=None,
        access_log=False, timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = uvicorn.Server(config)
    # As `server.serve` does, without the signals and without its clock of 0.1 s.
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", router, log)
    finally:
        await server.shutdown(sockets=[listener])
        listener.close()
