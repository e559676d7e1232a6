"""The ASGI application: inference first and by hand, every other page behind a lazily loaded Starlette."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import cast

from runtime.serve import asking, chat
from runtime.serve.client import CODE, AsgiClient, Message, Receive, Scope, Send
from runtime.serve.paths import API_OF_PATH, DIALECT_OF_PATH, dialect_of
from runtime.serve.router import Router
from runtime.serve.story import request_ended
from runtime.serve.visit import Visit, generation_id, policy_name, request_id
from runtime.wire import errors

PROBES = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds by platforms; they are not logged."""

Page = Callable[[Scope, Receive, Send], Awaitable[None]]


class RefusedError(Exception):
    """There is nothing to serve: the policy or a setting is at fault, and its author has been told."""


class App:
    """What an ASGI server calls.

    Args:
        load: Makes the router; called once, at start-up or with the first request.
    """

    def __init__(self, load: Callable[[], Router]) -> None:
        self._load = load
        self._loaded = False
        self._router: Router | None = None
        self._pages: Page | None = None
        self._is_leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's event stream, as ASGI 3 has it."""
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1000})

    def router(self) -> Router | None:
        """Return the router, made when this is first asked; None when there is nothing to serve."""
        if not self._loaded:
            self._loaded = True
            try:
                self._router = self._load()
            except RefusedError:
                self._router = None
            if self._router is not None and self._router.renewal is not None:
                self._router.renewal.serve(self._router, self._take)
        return self._router

    def _take(self, router: Router) -> None:
        """Answer the requests that begin from now on with another router."""
        self._router = router

    def leave(self) -> None:
        """Say on the readiness page that this instance is about to end; requests are answered as before."""
        self._is_leaving = True

    def stop(self) -> None:
        """End every request in flight in order: streams by the error event, what has no answer yet by a 503."""
        if self._router is not None:
            self._router.stop()

    # --- requests ---------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = _path(scope), str(scope["method"])
        headers = asking.headers_of(scope)
        router = self.router()
        renewal = None if router is None else router.renewal
        if renewal is not None and renewal.is_overdue():
            router = await renewal.before()
        policy = policy_name(router.book.default, router.book.plan.digest) if router else ""
        visit = Visit(request_id(headers), policy, method, path)
        client = AsgiClient(visit, scope, receive, send)
        metrics = None if router is None or path not in API_OF_PATH else router.metrics
        if metrics is not None:
            metrics.in_flight += 1
        tracing = None if router is None or metrics is None else router.tracing
        span = None if tracing is None else tracing.begin(visit, headers)
        try:
            if path in API_OF_PATH and method == "POST":
                await self._chat(router, visit, scope, headers, receive, client)
            else:
                await self._page(visit, {**scope, "path": path, "root_path": ""}, receive, send)
        except asking.ClientLeftError:
            pass
        except Exception as error:  # noqa: BLE001 — the outermost frame
            await self._failed(router, visit, client, error)
        finally:
            if metrics is not None:
                metrics.in_flight -= 1
                metrics.count(visit)
            if router is not None and tracing is not None and span is not None:
                tracing.end(span, visit, router)
            if router is not None and path not in PROBES:
                event = request_ended(visit)
                router.log(event)
                if visit.record is not None:
                    router.generations.keep(visit.key.digest, event)
        if renewal is not None and renewal.is_due():
            await renewal.after()

    async def _chat(
        self,
        router: Router | None,
        visit: Visit,
        scope: Scope,
        headers: dict[str, str],
        receive: Receive,
        client: AsgiClient,
    ) -> None:
        visit.api, visit.generation = API_OF_PATH[visit.path], generation_id(visit.began_unix_s)
        dialect = DIALECT_OF_PATH[visit.path]
        if router is None:
            await chat.refuse(client, visit, errors.problem(503, "no policy is loaded"), dialect)
        else:
            await chat.serve(router, visit, scope, headers, receive, client, dialect)

    async def _page(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        if self._pages is None:
            from runtime.serve.pages import pages

            self._pages = cast("Page", pages(self.router, lambda: self._is_leaving))

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = cast("int", message["status"])
                visit.end = "complete" if status < 400 else "error"
                headers = [*cast("list[tuple[bytes, bytes]]", message["headers"]), *visit.head(status)]
                if dialect_of(visit.path) == "anthropic":
                    headers.append((b"request-id", visit.request_id.encode("ascii")))
                message["headers"] = headers
            else:
                visit.is_answered = not message.get("more_body", False)
                if visit.method == "HEAD":
                    message["body"] = b""
            await send(message)

        await self._pages(scope, receive, told)
        visit.code = cast("str | None", scope.get(CODE))

    async def _failed(self, router: Router | None, visit: Visit, client: AsgiClient, error: Exception) -> None:
        """Answer 500 for a bug of ours, or break off an answer that has begun; the trace goes to the log."""
        if router is not None:
            router.log(
                {
                    "event": "internal_error",
                    "request_id": visit.request_id,
                    # Without its message, which may quote what the client sent.
                    "error": type(error).__name__,
                    "trace": "".join(traceback.format_tb(error.__traceback__)),
                }
            )
        if visit.head_s is None:
            await chat.refuse(client, visit, errors.internal(), dialect_of(visit.path))
        elif not visit.is_answered:
            raise error  # the server breaks the connection off: an answer must not look whole

    # --- the server's life ------------------------------------------------------------------------

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if self.router() is None:
                    await send({"type": "lifespan.startup.failed", "message": "there is no policy to serve"})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                if self._router is not None:
                    await self._router.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _path(scope: Scope) -> str:
    """Return the path asked for, below where this application is mounted; a slash at its end makes no difference."""
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
    return path.rstrip("/") or "/"
