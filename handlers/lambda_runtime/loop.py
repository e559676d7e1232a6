"""The process: INIT, the snapshot if there is to be one, slots until it is told to stop."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import traceback
from collections.abc import Mapping

from handlers.lambda_runtime.api import Fault, RuntimeApi
from handlers.lambda_runtime.connection import RuntimeApiError
from handlers.lambda_runtime.lifespan import Application, StartError
from handlers.lambda_runtime.slot import Host, Pace, Slot, Terms

# Between SIGTERM and SIGKILL Lambda grants 2 s at most; the lifespan's end needs some of it.
GRACE_S = 1.5

OK, FAILED = 0, 1


def slots_of(environ: Mapping[str, str]) -> int:
    """Return how many invocations are served at once: what Lambda says, else one."""
    said = environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "")
    return max(1, int(said)) if said.isascii() and said.isdigit() else 1


def run(host: Host, environ: Mapping[str, str], terms: Terms) -> int:
    """Serve until SIGTERM; return the exit code."""

    async def whole() -> int:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        return await serve(host, environ, terms, stop)

    return asyncio.run(whole())


async def serve(host: Host, environ: Mapping[str, str], terms: Terms, stop: asyncio.Event) -> int:
    """Serve until `stop` is set; return the exit code.

    Args:
        host: What is served.
        environ: Where the Runtime API is, how many slots there are, whether a snapshot is taken.
        terms: How requests are answered.
        stop: Ends it all.
    """
    address = environ["AWS_LAMBDA_RUNTIME_API"]
    api = RuntimeApi(address)
    app = await _started(host, api, is_snapshot=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start")
    if app is None:
        return FAILED
    count = slots_of(environ)
    pace = Pace()
    apis = [api, *(RuntimeApi(address) for _ in range(count - 1))]
    slots = [Slot(each, host, app, terms, pace) for each in apis]
    try:
        return await _until_stopped(host, slots, stop)
    finally:
        await host.close()


async def _started(host: Host, api: RuntimeApi, *, is_snapshot: bool) -> Application | None:
    """Return the application, or None when Lambda has been told why there is none."""
    try:
        app = await host.open()
        if not is_snapshot:
            return app
        # What is bound to this moment must not be in the snapshot; that it can be had is known by now.
        await host.close()
        await api.restored()
    except Exception as error:  # noqa: BLE001 — the outermost frame of INIT
        await api.init_failed(_fault(error))
        return None
    # Every copy of the snapshot would draw the same numbers.
    random.seed()
    try:
        return await host.open()
    except Exception as error:  # noqa: BLE001 — the outermost frame of a restore
        await api.restore_failed(_fault(error))
        return None


def _fault(error: Exception) -> Fault:
    if isinstance(error, StartError):
        return Fault("Function.StartFailed", str(error))
    traceback.print_exc()
    return Fault("Function.StartFailed", f"{type(error).__name__}: {error}")


async def _until_stopped(host: Host, slots: list[Slot], stop: asyncio.Event) -> int:
    tasks = [asyncio.create_task(slot.run()) for slot in slots]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    broken = [task for task in tasks if task.done()]
    for slot, task in zip(slots, tasks, strict=True):
        slot.is_last = True
        if slot.is_idle:
            task.cancel()
    _, late = await asyncio.wait(tasks, timeout=GRACE_S * 0.6)
    if late:
        host.stop()
        _, late = await asyncio.wait(late, timeout=GRACE_S * 0.4)
    for task in late:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    stopping.cancel()
    for end in ends:
        if isinstance(end, Exception):
            if not isinstance(end, RuntimeApiError):
                raise end
            print(f"pointsman: {end}", file=sys.stderr, flush=True)
    return FAILED if broken and not stop.is_set() else OK
