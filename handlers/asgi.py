"""The way in for any ASGI server: `handlers.asgi:app`, serving the policy that `POINTSMAN_POLICY` names."""

from __future__ import annotations

import os
import sys

from handlers.loading import SHIPPED, log_to, router_at, settings_of
from runtime.serve.app import App
from runtime.serve.router import Router


def load() -> Router:
    """Return the router that the environment asks for.

    Raises:
        runtime.serve.app.RefusedError: There is nothing to serve; stderr says why.
    """
    settings = settings_of(os.environ)
    return router_at(settings.policy or str(SHIPPED), settings, log_to(sys.stdout, json_lines=False))


app = App(load)
