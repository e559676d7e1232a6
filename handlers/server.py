"""The server that `pointsman serve` and `handlers.cloud_run` share: one address, one process, an end in order."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
from types import FrameType
from typing import TYPE_CHECKING

from handlers.cli.output import FOUND, OK, complain
from handlers.garbage import settle_garbage
from runtime.serve.app import App
from runtime.serve.router import Router
from runtime.serve.settings import Settings, is_loopback

if TYPE_CHECKING:
    from uvicorn import Config

BACKLOG = 2048


def is_closed_to_strangers(settings: Settings, host: str) -> bool:
    """Whether nobody uses the providers' keys whom the operator has not allowed to; says what is wrong when not."""
    if settings.needs_key or settings.anonymous or is_loopback(host):
        return True
    complain(
        f"anyone who reaches `{host}` could use your providers' keys",
        "set POINTSMAN_KEYS_FILE or POINTSMAN_API_KEYS: clients must send a key; or POINTSMAN_ANONYMOUS=1",
    )
    return False


def listen(host: str, port: int) -> socket.socket | None:
    """Return a socket that takes connections from now on, or None after saying why there is none."""
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        _say_why_not(host, port, error)
        return None
    return listener


def _say_why_not(host: str, port: int, error: OSError) -> None:
    if error.errno == errno.EADDRINUSE:
        complain(f"port {port} on `{host}` is in use", "another server has it; choose one with `--port N`")
    elif error.errno == errno.EACCES:
        complain(f"port {port} is not yours to take", "ports below 1024 need privileges; try `--port 8080`")
    else:
        complain(f"cannot listen on `{host}`, port {port}: {(error.strerror or str(error)).lower()}")


def url_of(host: str, listener: socket.socket) -> str:
    """Return where this machine reaches the listener."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host.strip("[]"), host)  # noqa: S104
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    return f"http://{shown}:{listener.getsockname()[1]}"


def run(router: Router, listener: socket.socket) -> int:
    """Answer who connects until told to stop; 0 then, 1 when it could not begin."""
    from handlers.graceful import GracefulServer

    app = App(lambda: router)
    server = GracefulServer(_config(app, router), app, router.settings.grace_s)
    settle_garbage()
    # uvicorn raises the signal that ended it once more, when everything has ended in order: that is no failure.
    signal.signal(signal.SIGTERM, _ended)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return OK if server.started else FOUND


def _ended(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing."""


def _config(app: App, router: Router) -> Config:
    from uvicorn import Config

    from runtime.serve.guarded import Limits, guarded

    try:
        import uvloop  # noqa: F401 — only to know whether it is there; Windows has none

        loop = "uvloop"
    except ImportError:
        loop = "asyncio"
    return Config(
        app,
        interface="asgi3",
        loop=loop,
        http=guarded(router.log, Limits(idle_s=router.settings.keep_alive_s)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # The peer is the peer; a proxy that is to be believed is named by POINTSMAN_CLIENT_IP_HEADER.
        proxy_headers=False,
    )
