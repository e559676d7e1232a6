"""uvicorn's server with an end in order: no new clients, answers brought to their end, the rest told in band."""

from __future__ import annotations

import asyncio
import socket
from types import FrameType

from uvicorn import Config, Server

from runtime.serve.app import App

# Before the end of the grace: when answers in flight are told that it is over, and when what is still there is dropped.
TELL_S = 2.0
DROP_S = 1.0


class GracefulServer(Server):
    """A server that ends within its grace, told by SIGINT or SIGTERM.

    Args:
        config: Of the server; its own grace is overruled.
        app: What is served.
        grace_s: From the signal to the end; platforms kill what takes longer.
    """

    def __init__(self, config: Config, app: App, grace_s: float) -> None:
        # A float does as well, and so does what is below a second: uvicorn hands it to `wait_for`.
        config.timeout_graceful_shutdown = max(grace_s - DROP_S, 0.0)  # type: ignore[assignment]
        super().__init__(config)
        self._app = app
        self._tell_after_s = max(grace_s - TELL_S, 0.0)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        self._app.leave()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more clients and wait until those there are have their answers, however they end."""
        telling = asyncio.get_running_loop().call_later(self._tell_after_s, self._app.stop)
        try:
            await super().shutdown(sockets)
        finally:
            telling.cancel()
