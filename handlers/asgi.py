"""The way in for any ASGI server: `handlers.asgi:app`, serving the policy that `POINTSMAN_POLICY` names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from handlers.loading import SHIPPED, log_to, plan_of, router_of, settings_of
from runtime.serve.app import App
from runtime.serve.router import Router


def load() -> Router:
    """Return the router that the environment asks for.

    Raises:
        runtime.serve.app.RefusedError: There is nothing to serve; stderr says why.
    """
    settings = settings_of(os.environ)
    plan = plan_of(
        Path(settings.policy) if settings.policy else SHIPPED,
        Path(settings.root) if settings.root else None,
        settings.plan_keys,
    )
    return router_of(plan, settings, log_to(sys.stdout, json_lines=False))


app = App(load)
