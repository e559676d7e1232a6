"""Serving a plan loads no author's tools, and answering a request loads no framework."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from router_dsl.plan import encode
from tests.serve.desk import POLICY, compiled

ROOT = Path(__file__).resolve().parents[2]

AUTHORING = (
    "lark", "router_dsl.ast", "router_dsl.syntax", "router_dsl.load", "router_dsl.check", "router_dsl.compile",
    "router_dsl.format", "router_dsl.testing", "router_dsl.lsp", "router_dsl.suite",
    "handlers.editor", "handlers.language_server", "handlers.pictures", "pygls",
)  # fmt: skip
ELSEWHERE = ("runtime.serve.remote", "runtime.dispatch.aws", "runtime.decision.rehearsal", "cryptography", "botocore")
"""What only plans from elsewhere, and signed ones, need."""

FRAMEWORKS = (
    "starlette", "httpx", "httpcore", "uvicorn", "anyio", "click", "pydantic", "prometheus_client", "tomllib",
    "opentelemetry", "redis",
)  # fmt: skip

ASKED_FOR = ("runtime.wire.translate", "runtime.wire.named")
"""Our own, but only for requests whose client and provider speak differently."""

SERVE = """
import asyncio, json, sys
from handlers.asgi import app

async def request(path, method="POST"):
    body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "hi"}]}).encode()
    pending, status, over = [{"type": "http.request", "body": body}], [], asyncio.Event()
    async def receive():
        if pending:
            return pending.pop()
        await over.wait()
        return {"type": "http.disconnect"}
    async def send(message):
        if message["type"] == "http.response.start":
            status.append(message["status"])
        elif not message.get("more_body"):
            over.set()
    scope = {"type": "http", "method": method, "path": path, "headers": [], "client": ("127.0.0.1", 1),
             "query_string": b"", "raw_path": path.encode()}
    await app(scope, receive, send)
    return status[0]

async def main():
    answered = await request("/v1/chat/completions")
    loaded = sorted(sys.modules)
    page = await request("/v1/models", "GET")
    print(json.dumps({"statuses": [answered, page], "loaded": loaded}), file=sys.stderr)

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_plan_is_served_without_the_tools_that_made_it(tmp_path: Path) -> None:
    plan = tmp_path / "chat.plan"
    plan.write_bytes(encode(compiled(POLICY)))
    done = subprocess.run(
        [sys.executable, "-c", SERVE],
        cwd=ROOT,
        env={**os.environ, "POINTSMAN_POLICY": str(plan), "NEVER_SET_KEY": "so that an HTTP client is opened"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told = json.loads(done.stderr.splitlines()[-1])
    assert told["statuses"] == [200, 200]
    loaded = told["loaded"]
    for unwanted in (*AUTHORING, *ELSEWHERE, *FRAMEWORKS, *ASKED_FOR):
        assert not [module for module in loaded if module == unwanted or module.startswith(unwanted + ".")]
    # What was served is on standard output: one JSON line for each request.
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["path"] for line in lines] == ["/v1/chat/completions", "/v1/models"]


@pytest.mark.slow
def test_a_policy_that_does_not_compile_refuses_to_start(tmp_path: Path) -> None:
    path = tmp_path / "broken.route"
    path.write_text(POLICY.replace("user == mallory", "usr == mallory"))
    program = """
import asyncio
from handlers.asgi import app
sent = []
async def receive():
    return {"type": "lifespan.startup"}
async def send(message):
    sent.append(message["type"])
asyncio.run(app({"type": "lifespan"}, receive, send))
assert sent == ["lifespan.startup.failed"], sent
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "POINTSMAN_POLICY": str(path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "E204 unknown fact `usr`" in done.stderr
    assert "Traceback" not in done.stderr
