"""Everything but inference: the models, health, and what to say at an unknown address. Loaded on first use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.serve import asking, counting, models, openrouter, paths
from runtime.serve.client import CODE
from runtime.serve.keys import ANYONE, Key
from runtime.serve.paths import COUNT_TOKENS, INFERENCE, PREFIXES
from runtime.serve.router import Router
from runtime.wire import errors, unavailable
from runtime.wire.errors import Problem

OTHERS = ("/v1/models", "/v1/providers", "/v1/key", "/v1/credits", "/v1/generation", "/healthz", "/readyz", "/metrics")


def pages(router: Callable[[], Router | None], is_leaving: Callable[[], bool]) -> Starlette:
    """Return the application behind the hot path.

    Args:
        router: Gives the router, or None while there is none.
        is_leaving: Whether this instance is about to end.
    """

    async def healthz(_request: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        told = readiness(router())
        if is_leaving():
            told = {**told, "ready": False, "reason": "this instance is about to end"}
        return _json(told, 200 if told["ready"] else 503)

    async def listing(request: Request) -> Response:
        return await _answer(request, router(), lambda served, _key: models.listing(served))

    async def one(request: Request) -> Response:
        name = request.path_params["name"]
        return await _answer(request, router(), lambda served, _key: _found(served, name))

    async def endpoints(request: Request) -> Response:
        name = request.path_params["name"]
        return await _answer(request, router(), lambda served, _key: openrouter.endpoints(served, name))

    async def providers(request: Request) -> Response:
        return await _answer(request, router(), lambda served, _key: openrouter.providers(served))

    async def key(request: Request) -> Response:
        headers = asking.headers_of(request.scope)
        return await _answer(request, router(), lambda served, key: openrouter.key(served, key, headers, time.time()))

    async def credit(request: Request) -> Response:
        headers = asking.headers_of(request.scope)
        return await _answer(
            request, router(), lambda served, key: openrouter.credits(served, key, headers, time.time())
        )

    async def generation(request: Request) -> Response:
        name = request.query_params.get("id", "")
        return await _answer(request, router(), lambda served, key: openrouter.generation(served, key, name))

    async def metrics(request: Request) -> Response:
        return await _metrics(request, router())

    async def counted(request: Request) -> Response:
        served = router()
        if served is None:
            return _problem(request, errors.problem(503, "no policy is loaded"))
        headers = asking.headers_of(request.scope)
        found = await counting.count(served, request.scope, headers, request.receive)
        return _problem(request, found) if isinstance(found, Problem) else _json(found)

    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    for prefix, _ in PREFIXES:
        routes += [
            Route(f"{prefix}/v1/models", listing),
            Route(f"{prefix}/v1/models/{{name:path}}/endpoints", endpoints),
            Route(f"{prefix}/v1/models/{{name:path}}", one),
            Route(f"{prefix}/v1/providers", providers),
            Route(f"{prefix}/v1/key", key),
            Route(f"{prefix}/v1/auth/key", key),
            Route(f"{prefix}/v1/credits", credit),
            Route(f"{prefix}/v1/generation", generation),
        ]
        routes += [Route(f"{prefix}{COUNT_TOKENS}", counted, methods=["POST"])]
        # Only what is not a POST comes here.
        routes += [Route(f"{prefix}{path}", _never, methods=["POST"]) for path in INFERENCE]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})
    app.router.redirect_slashes = False
    return app


def _found(router: Router, name: str) -> dict[str, object] | Problem:
    return models.find(router, name) or unavailable.unknown_model(name)


def readiness(router: Router | None) -> dict[str, object]:
    """Return whether requests can be answered: a plan is loaded, and of one endpoint at least nothing bad is known."""
    if router is None:
        return {"ready": False, "reason": "no policy is loaded"}
    book, state = router.book, router.health.at(router.clock.now_s())
    configured = [index for index in range(len(book.endpoints)) if router.is_configured(index)]
    in_service = sum(state.in_service(index) for index in configured)
    told: dict[str, object] = {
        "ready": any(state.is_well(index) for index in configured),
        "policy": book.default,
        "digest": book.plan.digest,
        "endpoints": {"total": len(book.endpoints), "configured": len(configured), "in_service": in_service},
    }
    if router.renewal is not None:
        told["renewal"] = router.renewal.told()
    if not told["ready"]:
        told["reason"] = "no endpoint is in service" if configured else "no provider has its key set"
    return told


async def _answer(
    request: Request, router: Router | None, make: Callable[[Router, Key], dict[str, object] | Problem]
) -> Response:
    if router is None:
        return _problem(request, errors.problem(503, "no policy is loaded"))
    admitted = await asking.admit(router, request.scope, asking.headers_of(request.scope), time.time())
    made = admitted if isinstance(admitted, Problem) else make(router, admitted)
    return _problem(request, made) if isinstance(made, Problem) else _json(made)


async def _metrics(request: Request, router: Router | None) -> Response:
    """Return the counters, for whoever may see what everybody has used."""
    if router is None:
        return _problem(request, errors.problem(503, "no policy is loaded"))
    headers = asking.headers_of(request.scope)
    key = await asking.admit(router, request.scope, headers, time.time())
    if isinstance(key, Problem):
        return _problem(request, key)
    # Where everyone may ask, not everyone may see what the others have used.
    if not (key.sees_metrics or (key is ANYONE and asking.is_own_machine(request.scope, headers))):
        return _problem(request, errors.forbidden("this caller may not read what all clients have used"))
    # Beside the loop: the first scrape loads Prometheus' library, and a large page takes a while to write.
    body, content_type = await asyncio.to_thread(_exposed, router, request.headers.get("accept", ""))
    return Response(body, media_type=content_type)


def _exposed(router: Router, accept: str) -> tuple[bytes, str]:
    from runtime.serve.exposition import render

    return render(router, accept)


async def _never(_request: Request) -> Response:
    raise AssertionError("inference is answered before this application is asked")


async def _failed(request: Request, _error: Exception) -> Response:
    """Answer for a bug of ours; Starlette raises it again, for the outermost frame to log."""
    return _problem(request, errors.internal())


async def _refused(request: Request, error: Exception) -> Response:
    """Answer an unknown address or a wrong method as the SDKs expect it."""
    assert isinstance(error, HTTPException)
    path = str(request.scope["path"])
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        response = _problem(request, errors.method_not_allowed(request.method, path))
        response.headers["allow"] = allow
        return response
    return _problem(request, unknown_path(path))


def unknown_path(path: str) -> Problem:
    """Return the 404 of an address, with the address that was probably meant."""
    known = [prefix + each for prefix, _ in PREFIXES for each in (*INFERENCE, *OTHERS)]
    near = get_close_matches(path[:100], known, n=1, cutoff=0.7) or [
        each for each in known if path.rstrip("/") and each.endswith(path.rstrip("/"))
    ]
    found = errors.unknown_path(path)
    hint = f"did you mean `{near[0]}`?" if near else f"this router answers {', '.join(known[:4])}"
    return replace(found, message=f"{found.message}; {hint}")


def _json(value: dict[str, object], status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _problem(request: Request, problem: Problem) -> Response:
    request.scope[CODE] = problem.code
    dialect = paths.dialect_of(str(request.scope["path"]))
    response = Response(problem.to_bytes(dialect), problem.status_in(dialect))
    for name, value in problem.headers():
        response.headers[name.decode("ascii")] = value.decode("ascii")
    return response
