"""`pointsman serve`: answer requests as a policy says, on one address, until told to stop."""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from handlers.cli.output import FOUND, OK, USAGE, complain, paint, wants_color
from handlers.loading import SHIPPED, NoFileError, log_to, router_at, settings_of
from runtime.serve.app import App, RefusedError
from runtime.serve.router import Router
from runtime.serve.settings import Settings, is_loopback
from runtime.serve.visit import policy_name

if TYPE_CHECKING:
    from uvicorn import Server

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080

# How long answers in flight may take to end after a first Ctrl-C or SIGTERM; a second one ends them at once.
# 10 s is what container platforms grant between SIGTERM and SIGKILL.
GRACE_S = 10

BACKLOG = 2048

# Of allocations that outlive others, then of collections: the default of 700 has the collector run at every tenth
# request (benchmarks/gateway.md).
GC_THRESHOLDS = (50_000, 20, 50)

SHOWN = 12
"""Names of a list in the greeting; a catalogue may have hundreds."""


def main(argv: Sequence[str]) -> int:
    """Serve until stopped; 0 then, 1 when the policy or the address is unusable, 2 for wrong use."""
    options = _parser().parse_args(argv)
    try:
        settings = settings_of(os.environ)
        if not (settings.needs_key or settings.anonymous or is_loopback(options.host)):
            complain(
                f"anyone who reaches `{options.host}` could use your providers' keys",
                "set POINTSMAN_KEYS_FILE or POINTSMAN_API_KEYS: clients must send a key; or POINTSMAN_ANONYMOUS=1",
            )
            return USAGE
        file = options.file or settings.policy or str(SHIPPED)
        router = router_at(file, settings, log_to(sys.stdout, json_lines=options.json_logs), options.root)
    except NoFileError:
        return USAGE
    except RefusedError:
        return FOUND
    listener = _listen(options.host, options.port)
    if listener is None:
        return FOUND
    url = _url(options.host, listener)
    _greet(router, settings, file, url)
    return _run(router, listener)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pointsman serve",
        description="Answer requests as a policy says. Settings come from the environment: docs/operating.md.",
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="a .route or .plan file (default: $POINTSMAN_POLICY, else the policy that ships with pointsman)",
    )
    parser.add_argument("--host", default=DEFAULT_HOST, help=f"address to listen on (default: {DEFAULT_HOST})")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help=f"0 picks one (default: {DEFAULT_PORT})")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder imports may not leave (default: the file's)")
    parser.add_argument("--json-logs", action="store_true", help="log JSON lines on a terminal too")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"`{text}` is not a port (0 to 65535)")
    return int(text)


def _listen(host: str, port: int) -> socket.socket | None:
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


def _url(host: str, listener: socket.socket) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host.strip("[]"), host)  # noqa: S104
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    return f"http://{shown}:{listener.getsockname()[1]}"


def _run(router: Router, listener: socket.socket) -> int:
    server = _server(router)
    _settle_garbage()
    # uvicorn raises a Ctrl-C again once everything has ended in order.
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return OK if server.started else FOUND


def _settle_garbage() -> None:
    """Have the garbage collector leave alone what is there by now, and look at the rest less often.

    Requests leave next to no cycles behind, and the plan and the code are never garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _server(router: Router) -> Server:
    from uvicorn import Config, Server

    from runtime.serve.guarded import Limits, guarded

    try:
        import uvloop  # noqa: F401 — only to know whether it is there; Windows has none

        loop = "uvloop"
    except ImportError:
        loop = "asyncio"
    config = Config(
        App(lambda: router),
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
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(config)


# --- what it says at the start --------------------------------------------------------------------


def _greet(router: Router, settings: Settings, file: str, url: str) -> None:
    """Tell a person what is served and how to try it, and the log that serving begins."""
    # Standard output carries the log; only where a person reads it, the greeting joins it there.
    stream = sys.stdout if sys.stdout.isatty() else sys.stderr
    color = wants_color(stream)
    book = router.book
    name = policy_name(book.default, book.plan.digest)
    ready, lacking = _providers(router)
    models = [
        model.name + (f" ({', '.join(model.aka)})" if model.aka else "")
        for model in book.program.models
        if any(router.is_configured(index) for index in model.endpoints)
    ]
    rows = [("policy", f"{name}  {_count(len(book.policies[book.default].rules), 'rule')}")]
    if len(book.policies) > 1:
        rows.append(("also", _some([f"@{other}" for other in book.policies if other != book.default])))
    rows.append(("providers", _some(ready) if ready else paint("none is configured", "red", on=color)))
    if lacking:
        rows.append(("", paint(f"without a key: {_some(lacking)}", "dim", on=color)))
    rows.append(("models", _some(models) if models else paint("none can be asked for", "red", on=color)))
    rows.append(("clients", _clients(router)))
    rows.append(("address", paint(f"{url}/v1", "cyan", on=color)))
    print(f"{paint('pointsman', 'bold', on=color)} serves {file}", file=stream)
    for label, text in rows:
        print(f"  {paint(f'{label:<10}', 'dim', on=color)} {text}", file=stream)
    print(f"\ntry it:\n{_curl(router, settings, url)}\n", file=stream, flush=True)
    if stream is sys.stderr:
        router.log({"event": "serving", "url": url, "policy": book.default, "digest": book.plan.digest, "file": file})


def _providers(router: Router) -> tuple[list[str], list[str]]:
    """Return the providers that can be used, and those whose key is not set, with what would set it."""
    program = router.book.program
    used = {program.endpoints[i].provider: router.is_configured(i) for i in range(len(program.endpoints))}
    ready = [program.providers[i].name for i, usable in used.items() if usable]
    lacking = [
        f"{provider.name} ({provider.key_env or f'secret {provider.key_secret}'})"
        for provider in (program.providers[i] for i, usable in used.items() if not usable)
    ]
    return ready, lacking


def _clients(router: Router) -> str:
    if router.settings.needs_key:
        return f"must send one of {_count(len(router.keyring.keys), 'api key')}"
    return "anyone who reaches this address" if router.settings.anonymous else "this machine only, without a key"


def _curl(router: Router, settings: Settings, url: str) -> str:
    models = router.book.program.models
    usable = (m.name for m in models if any(router.is_configured(index) for index in m.endpoints))
    model = next(usable, models[0].name if models else "any")
    key = ' -H "authorization: Bearer $YOUR_KEY"' if settings.needs_key else ""
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    return f"  curl -i {url}/v1/chat/completions -H 'content-type: application/json'{key} \\\n    -d '{body}'"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
