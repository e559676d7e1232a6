"""The way in for Cloud Run and other container platforms: `python -m handlers.cloud_run`.

Listens on `PORT` at every address, logs JSON lines, and ends in order within the grace that the platform gives after
SIGTERM. What is served, and how, is in the environment: docs/operating.md, docs/deploy/cloudrun.md.
"""

from __future__ import annotations

import os
import sys

from handlers.cli.output import FOUND, USAGE, complain
from handlers.loading import SHIPPED, NoFileError, log_to, router_at, settings_of
from handlers.server import is_closed_to_strangers, listen, run
from runtime.serve.app import RefusedError
from runtime.serve.source import shown

ANYWHERE = "0.0.0.0"  # noqa: S104 — the platform's front is the only one who reaches a container
DEFAULT_PORT = 8080


def main() -> int:
    """Serve until stopped; 0 then, 1 when the policy or the address is unusable, 2 for wrong use."""
    text = os.environ.get("PORT", "") or str(DEFAULT_PORT)
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        complain(f"PORT: `{text}` is not a port (0 to 65535)")
        return USAGE
    try:
        settings = settings_of(os.environ)
        if not is_closed_to_strangers(settings, ANYWHERE):
            return USAGE
        where = settings.policy or str(SHIPPED)
        router = router_at(where, settings, log_to(sys.stdout, json_lines=True))
    except NoFileError:
        return USAGE
    except RefusedError:
        return FOUND
    listener = listen(ANYWHERE, int(text))
    if listener is None:
        return FOUND
    book, url = router.book, f"http://{ANYWHERE}:{listener.getsockname()[1]}"
    told = {"policy": book.default, "digest": book.plan.digest, "file": shown(where)}
    router.log({"event": "serving", "url": url, **told})
    return run(router, listener)


if __name__ == "__main__":
    sys.exit(main())
