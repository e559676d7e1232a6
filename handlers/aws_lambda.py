"""The way in for AWS Lambda: the router behind function URLs, API Gateway and load balancers, streams included.

`python -m handlers.aws_lambda` is a whole Lambda runtime. docs/deploy/lambda.md says how it is packaged and deployed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from handlers.aws_secrets import Reference, SecretError, fetch, references
from handlers.cli.output import complain
from handlers.garbage import settle_garbage
from handlers.lambda_runtime.lifespan import Application, Lifespan, StartError
from handlers.lambda_runtime.loop import run, slots_of
from handlers.lambda_runtime.slot import Terms
from handlers.loading import SHIPPED, log_to, router_at, settings_of
from runtime.serve.app import App, RefusedError
from runtime.serve.lines import HeldLines, unbuffered
from runtime.serve.log import JsonLog
from runtime.serve.paths import dialect_of
from runtime.serve.router import Log, Router
from runtime.wire.errors import problem

REFUSED = "the policy or a setting cannot be used; the log says which"


class Gateway:
    """The router as the runtime loop sees it; implements `handlers.lambda_runtime.slot.Host`.

    Args:
        environ: Settings, and where secrets are kept.
        may_freeze: Whether the process stands still between requests.
    """

    def __init__(self, environ: Mapping[str, str], *, may_freeze: bool) -> None:
        self._environ = environ
        self._held = HeldLines(unbuffered(sys.stdout)) if may_freeze else None
        self._app: App | None = None
        self._lifespan: Lifespan | None = None

    async def open(self) -> Application:
        """Return the application with everything that it takes read anew: secrets, settings, policy.

        Raises:
            StartError: There is nothing to serve.
        """
        secrets = await _secrets(self._environ)
        environ = {**secrets, **self._environ}
        try:
            router = _router(environ, secrets, self._log())
        except RefusedError as error:
            raise StartError(REFUSED) from error
        app = self._app = App(lambda: router)
        self._lifespan = Lifespan(app)
        await self._lifespan.start()
        settle_garbage()
        return app

    async def after_gap(self, gap_s: float) -> None:
        """Trust no connection that lay idle so long; what is known of health has faded by itself."""
        if (router := self._router()) is not None:
            router.drop_idle()

    async def after_response(self, within_s: float) -> None:
        """Let copies and wake-up calls end, and the log out."""
        if (router := self._router()) is not None:
            await router.settle(within_s)
        if self._held is not None:
            self._held.flush()

    def stop(self) -> None:
        """End every request in flight in order: streams by the error event."""
        if self._app is not None:
            self._app.stop()

    def timed_out(self, path: str) -> tuple[int, bytes]:
        """Return the error for a request that the function had no time for."""
        return 504, problem(504, "the function's time was up before a provider answered").to_bytes(dialect_of(path))

    async def close(self) -> None:
        """Close every connection, forget every key."""
        lifespan, self._lifespan, self._app = self._lifespan, None, None
        if lifespan is not None:
            await lifespan.stop()

    def _router(self) -> Router | None:
        """Return what is in service now."""
        return None if self._app is None else self._app.router()

    def _log(self) -> Log:
        return log_to(sys.stdout, json_lines=True) if self._held is None else JsonLog(self._held)


async def _secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets that the environment refers to.

    Raises:
        StartError: One cannot be had.
    """
    try:
        wanted: tuple[Reference, ...] = references(environ.get("POINTSMAN_SECRETS", ""))
        if not wanted:
            return {}
        from runtime.dispatch.aws import Aws
        from runtime.dispatch.pool import Http1Transport

        transport = Http1Transport()
        try:
            return await fetch(Aws(environ, transport), wanted)
        finally:
            await transport.aclose()
    except SecretError as error:
        complain(f"POINTSMAN_SECRETS: {error}")
        raise StartError(str(error)) from error


def _router(environ: Mapping[str, str], secrets: Mapping[str, str], log: Log) -> Router:
    settings = settings_of(environ)
    if not (settings.needs_key or settings.anonymous):
        complain(
            "anyone who reaches this function could use your providers' keys",
            "set POINTSMAN_API_KEYS to the keys that clients must send, or POINTSMAN_ANONYMOUS=1 where IAM admits them",
        )
        raise RefusedError
    return router_at(settings.policy or str(SHIPPED), settings, log, environ=environ, secrets=secrets)


def main() -> int:
    """Serve invocations until Lambda ends the process; return the exit code."""
    environ = os.environ
    if "AWS_LAMBDA_RUNTIME_API" not in environ:
        complain("this is a Lambda runtime: it is started by Lambda, or by its emulator", "docs/deploy/lambda.md")
        return 2
    may_freeze = slots_of(environ) == 1
    terms = Terms(
        base_path=environ.get("POINTSMAN_LAMBDA_BASE_PATH", "").rstrip("/"),
        buffered=environ.get("POINTSMAN_LAMBDA_BUFFERED") == "1",
        may_freeze=may_freeze,
    )
    return run(Gateway(environ, may_freeze=may_freeze), environ, terms)


if __name__ == "__main__":
    sys.exit(main())
