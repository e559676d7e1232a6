"""`pointsman serve`: answer requests as a policy says, on one address, until told to stop."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from handlers.cli.output import FOUND, USAGE, paint, wants_color
from handlers.loading import SHIPPED, NoFileError, log_to, router_at, settings_of
from handlers.server import is_closed_to_strangers, listen, run, url_of
from runtime.serve.app import RefusedError
from runtime.serve.router import Router
from runtime.serve.settings import Settings
from runtime.serve.source import shown
from runtime.serve.visit import policy_name

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080

SHOWN = 12
"""Names of a list in the greeting; a catalogue may have hundreds."""


def main(argv: Sequence[str]) -> int:
    """Serve until stopped; 0 then, 1 when the policy or the address is unusable, 2 for wrong use."""
    options = _parser().parse_args(argv)
    try:
        settings = settings_of(os.environ)
        if not is_closed_to_strangers(settings, options.host):
            return USAGE
        file = options.file or settings.policy or str(SHIPPED)
        router = router_at(file, settings, log_to(sys.stdout, json_lines=options.json_logs), options.root)
    except NoFileError:
        return USAGE
    except RefusedError:
        return FOUND
    listener = listen(options.host, options.port)
    if listener is None:
        return FOUND
    url = url_of(options.host, listener)
    _greet(router, settings, shown(file), url)
    return run(router, listener)


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
