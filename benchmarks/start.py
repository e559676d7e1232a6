"""From exec to the first proxied answer: this router, and a bare proxy of uvicorn, Starlette and httpx, in one run.

    python -m benchmarks.start [--rounds 9] [--peers DIR] [--only NAME,…] [--json FILE]

The upstream is a thread of this process and answers from memory. Each round starts every contender once, in turn, so
that a slow minute of the machine hits all of them; a contender is asked every millisecond from its start until it
answers 200 with the upstream's words. `--peers` is as in `benchmarks.gateway`. CPU is what its process has used by then
(user and system, `/proc`), which other programs on the machine change less than the time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.gateways import KEY, Peer, Shelf

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 60.0
BARE_NAME = "uvicorn + Starlette + httpx"

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()  # fmt: skip

BARE = """
import os
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

client = httpx.AsyncClient()

async def chat(request):
    answer = await client.post(os.environ["UPSTREAM"] + "/chat/completions", content=await request.body())
    return Response(answer.content, answer.status_code, media_type="application/json")

app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning", access_log=False)
"""


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@dataclass
class Contender:
    """Something to start.

    Attributes:
        cache: Folder for its plans, or None.
    """

    peer: Peer
    cache: Path | None = None
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.peer.name

    @property
    def request(self) -> bytes:
        body = json.dumps({"model": self.peer.model, "messages": [{"role": "user", "content": "Hello"}]}).encode()
        more = "".join(f"{line}\r\n" for line in (f"authorization: Bearer {KEY}", *self.peer.headers))
        return (
            f"POST {self.peer.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"{more}content-length: {len(body)}\r\n\r\n"
        ).encode() + body

    def port(self, given: int) -> int | None:
        """Return where it listens; of one that picks its port itself, None until it says so."""
        told = self.peer.port_file
        if told is None:
            return given
        try:
            return int(told.read_text())
        except (OSError, ValueError):
            return None


def policies(folder: Path, upstream: str) -> tuple[Path, Path]:
    """The shipped policy, its simulated providers replaced by the upstream, and its plan; gives (route, plan)."""
    text = (ROOT / "rules" / "default.route").read_text("utf-8")
    lines = []
    for line in text.splitlines():
        if line.startswith("provider sim-"):
            name = line.split()[1]
            line = f'provider {name} {{ url "{upstream}"  region {"eu" if name == "sim-cheap" else "us"} }}'
        lines.append(line)
    route = folder / "default.route"
    route.write_text("\n".join(lines) + "\n", "utf-8")
    subprocess.run([BIN / "pointsman", "build", route, "-o", folder / "default.plan"], check=True, capture_output=True)
    return route, folder / "default.plan"


def first_answer(contender: Contender, upstream: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        given = free.getsockname()[1]
    # As on any machine: what is imported was compiled the first time.
    environ = {**os.environ, "PORT": str(given), "UPSTREAM": upstream, "PYTHONDONTWRITEBYTECODE": "", "BENCH_KEY": "k"}
    environ |= contender.peer.environ
    if contender.cache is not None:
        environ["XDG_CACHE_HOME"] = str(contender.cache)
    command = contender.peer.command(given)
    began_s = time.perf_counter()
    process = subprocess.Popen(
        command, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while (port := contender.port(given)) is None or not answers(port, contender.request):
            if process.poll() is not None or time.perf_counter() - began_s > LIMIT_S:
                raise RuntimeError(f"{contender.name} does not answer")
            time.sleep(0.001)
        contender.wall_s.append(time.perf_counter() - began_s)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        contender.cpu_s.append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as wire:
            wire.sendall(request)
            got = b""
            while data := wire.recv(65536):
                got += data
    except OSError:
        return False
    return got.startswith(b"HTTP/1.1 200") and b"hello" in got


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", type=Path, help="folder with other gateways")
    parser.add_argument("--only", default="tensorzero,portkey", help="of those, which")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        upstream = f"http://127.0.0.1:{server.server_address[1]}/v1"
        route, plan = policies(folder, upstream)
        (folder / "bare.py").write_text(BARE)
        pointsman = str(BIN / "pointsman")
        warm, cold = folder / "warm", folder / "cold"

        def ours(name: str, policy: Path) -> Peer:
            return Peer(name, lambda port: [pointsman, "serve", str(policy), "--port", str(port)], model="small")

        contenders = [
            Contender(ours("pointsman serve X.plan", plan)),
            Contender(ours("pointsman serve X.route", route), warm),
            Contender(ours("the same, for the first time", route), cold),
            Contender(Peer(BARE_NAME, lambda _port: [sys.executable, str(folder / "bare.py")])),
        ]
        if options.peers:
            found, missing = Shelf(folder, [server.server_address[1]], options.peers).found()
            contenders += [Contender(peer) for peer in found[1:] if peer.name in options.only.split(",")]
            print("\n".join(missing))
        for round_number in range(options.rounds + 1):
            for contender in contenders:
                shutil.rmtree(cold, ignore_errors=True)
                first_answer(contender, upstream)
                if not round_number:  # files into the page cache, plans into the router's own
                    contender.wall_s.clear()
                    contender.cpu_s.clear()
        server.shutdown()
    bare = statistics.median(next(each.wall_s for each in contenders if each.name == BARE_NAME))
    print(f"{'exec to first proxied answer, ms':34} {'median':>7} {'least':>7} {'cpu':>7} {'ratio':>7}")
    for each in contenders:
        wall, cpu = statistics.median(each.wall_s), statistics.median(each.cpu_s)
        print(f"{each.name:34} {wall * 1e3:7.0f} {min(each.wall_s) * 1e3:7.0f} {cpu * 1e3:7.0f} {wall / bare:7.2f}")
    if options.json:
        told = {each.name: {"wall_s": each.wall_s, "cpu_s": each.cpu_s} for each in contenders}
        options.json.write_text(json.dumps(told, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
