"""AWS's own Runtime Interface Emulator in front of our runtime, in both its modes.

The emulator starts `/var/task/bootstrap`, in its newer mode as another user, who may not read this user's home. It gets
a `/var` of its own, in a mount namespace that ends with it: nothing outside is touched. That takes root.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import socket
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path

import pytest

from tests.serverless.events import QUEUE, Event, function_url, http_api
from tests.serverless.process import ROOT, plan

pytestmark = pytest.mark.slow

ARCH = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "none")
EMULATOR = ROOT / "build" / "rie" / f"aws-lambda-rie-{ARCH}"

INTERPRETER = Path(sys.executable).resolve()
INVOKE = "/2015-03-31/functions/function/invocations"
CHAT: dict[str, object] = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}
NULS = "\0" * 8

ROOM = """
set -e
mount -t tmpfs -o mode=755 room /var
mkdir -p /var/python /var/repo /var/packages /var/task
mount --bind "$PREFIX" /var/python
mount --bind "$REPO" /var/repo
mount --bind "$PACKAGES" /var/packages
cp "$PLAN" /var/task/policy.plan
cp "$EMULATOR" /var/rie
cat > /var/task/bootstrap <<'END'
#!/bin/sh
export LD_LIBRARY_PATH=/var/python/lib PYTHONPATH=/var/repo:/var/packages PYTHONDONTWRITEBYTECODE=1
export POINTSMAN_ANONYMOUS=1 POINTSMAN_POLICY=policy.plan
exec $RUN
END
sed -i -e "s#[$]RUN#$RUN#" -e "s/[$]NAME/$NAME/" /var/task/bootstrap
chmod 755 /var/task/bootstrap
cd /var/task
exec /var/rie --runtime-interface-emulator-address "$FRONT" --runtime-api-address "$API" --log-level info
"""


def why_not() -> str | None:
    """Return why the emulator cannot be run here."""
    if not EMULATOR.exists():
        return "AWS's Runtime Interface Emulator is not here: `make rie` fetches it"
    tried = (
        subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False) if os.geteuid() == 0 else None
    )
    if tried is None or tried.returncode:
        return "AWS's Runtime Interface Emulator needs root and mount namespaces"
    return None


@pytest.fixture(scope="module", autouse=True)
def emulator() -> None:
    reason = why_not()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@contextlib.asynccontextmanager
async def emulated(plan: Path, **environ: str) -> AsyncIterator[str]:
    """Run the emulator; give its address."""
    front, api = free_address(), free_address()
    interpreter = INTERPRETER
    env = {
        "PATH": os.environ["PATH"], "PREFIX": str(interpreter.parent.parent), "NAME": interpreter.name,
        "REPO": str(ROOT), "PACKAGES": sysconfig.get_path("purelib"), "PLAN": str(plan), "EMULATOR": str(EMULATOR),
        "FRONT": front, "API": api, "RUN": "/var/repo/deploy/lambda/bootstrap /var/python/bin/$NAME", **environ,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ROOM, env=env,
    )  # fmt: skip
    try:
        yield front
    finally:
        process.kill()
        await process.wait()


async def invoke(address: str, event: Event) -> tuple[int, dict[str, str], bytes]:
    """Call the function; waits until the emulator listens."""
    host, _, port = address.partition(":")
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
    body = json.dumps(event).encode()
    writer.write(
        f"POST {INVOKE} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    )
    writer.write(body)
    raw = await reader.read()
    writer.close()
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        rest = _unchunked(rest)
    return int(first.split(" ")[1]), headers, rest


def _unchunked(data: bytes) -> bytes:
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return found
        found, data = found + data[:length], data[length + 2 :]
    return found


def run(scenario: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def test_one_at_a_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with emulated(plan(tmp_path)) as address:
            _, _, raw = await invoke(address, function_url(body={**CHAT, "stream": True}))
            prelude, _, body = raw.decode().partition(NULS)
            assert json.loads(prelude)["statusCode"] == 200
            assert body.endswith("data: [DONE]\n\n")
            _, _, raw = await invoke(address, http_api(body=CHAT))
            assert json.loads(json.loads(raw)["body"])["object"] == "chat.completion"
            _, _, raw = await invoke(address, QUEUE)
            assert json.loads(raw)["errorType"] == "Function.NotHttp"
            _, _, raw = await invoke(address, function_url(body=CHAT))
            assert json.loads(raw.decode().partition(NULS)[2])["object"] == "chat.completion"

    run(scenario())


SLOW = """
provider slow { url "sim://slow?ttft=300ms&speed=10000" protocol sim }
model small { context 8k  serve slow "up"  price $0.10 in $0.20 out }
policy chat { otherwise -> requested else small }
"""


def test_many_at_once_in_one_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with emulated(plan(tmp_path, SLOW), AWS_LAMBDA_MAX_CONCURRENCY="8") as address:
            status, headers, _ = await invoke(address, function_url(body={**CHAT, "stream": True}))
            assert (status, headers["lambda-runtime-function-response-mode"]) == (200, "streaming")
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            answers = await asyncio.gather(*(invoke(address, function_url(body=CHAT)) for _ in range(4)))
            assert loop.time() - began_s < 4 * 0.3, "one after the other would take longer"
            ids = {json.loads(raw.decode().partition(NULS)[2])["id"] for _, _, raw in answers}
            # The provider, simulated inside the process, has counted all five.
            assert [answer[-1] for answer in ids] == ["5"]

    run(scenario())


def test_an_answer_that_breaks_off_ends_in_trailers_that_lambda_reads(tmp_path: Path) -> None:
    async def scenario() -> None:
        environ = {"AWS_LAMBDA_MAX_CONCURRENCY": "2", "RUN": "/var/python/bin/$NAME -m tests.serverless.breaking"}
        async with emulated(plan(tmp_path), **environ) as address:
            _, headers, raw = await invoke(address, function_url(body=CHAT))
            # The emulator sends its client the error instead of what came before it.
            assert headers["error-type"] == "Function.InternalError"
            assert json.loads(raw)["errorMessage"] == "ValueError while answering"

    run(scenario())
