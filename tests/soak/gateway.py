"""The router of a soak, in a process of its own: serves a policy, logs to standard output, tells about itself if asked.

    python -m tests.soak.gateway FILE.route

The first line on standard error is its port. For each line on standard input it answers there with one JSON object:
how many tasks live, and what health counts as in flight.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import uvicorn
import uvloop

from runtime.serve.app import App
from runtime.serve.guarded import guarded
from runtime.serve.lines import LineWriter
from runtime.serve.log import JsonLog
from runtime.serve.router import Router
from runtime.serve.settings import Settings
from tests.serve.desk import compiled


async def serve(policy: str) -> None:
    log = JsonLog(LineWriter(os.fdopen(1, "wb", 0, closefd=False)))
    router = Router.open(compiled(policy), Settings(), {}, log)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        App(lambda: router), interface="asgi3", http=guarded(log), ws="none", lifespan="on", log_config=None,
        access_log=False, timeout_graceful_shutdown=5,
    )  # fmt: skip

    def tell() -> None:
        if not sys.stdin.readline():
            server.should_exit = True
            return
        seen = router.health.snapshot(router.clock.now_s())
        told = {"tasks": len(asyncio.all_tasks()), "inflight": sum(int(str(each["inflight"])) for each in seen)}
        print(json.dumps(told), file=sys.stderr, flush=True)

    asyncio.get_running_loop().add_reader(0, tell)
    server = uvicorn.Server(config)
    print(listener.getsockname()[1], file=sys.stderr, flush=True)
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1]).read_text("utf-8")))
