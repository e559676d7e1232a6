"""How each gateway, proxy or control of the gateway benchmark is started in front of its upstream."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

POLICY = """\
provider a {{ url "http://127.0.0.1:{upstream}/v1" key env.BENCH_KEY  region us }}
provider b {{ url "http://127.0.0.1:{second}/v1"   key env.BENCH_KEY  region eu }}
model m   {{ context 128k  serve a "bench" price $0.50 in $0.50 out  serve b "bench" price $0.90 in $0.90 out }}
model big {{ context 128k  serve b "bench" price $2 in $8 out }}
guard residency: when header.x-country in [de, fr] require region == eu
policy bench {{
  tools: when has tools -> big else m
  trial: when key.plan == trial and stream -> m by price
  otherwise -> requested else m by price  first token 1s  within 2m
}}
"""

HELLO = """\
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"700")]})
    await send({"type": "http.response.body", "body": b"x" * 700})
"""

STOCK = """\
import httpx
client = httpx.AsyncClient(trust_env=False, timeout=60, limits=httpx.Limits(max_connections=None))
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    request = client.build_request("POST", "http://127.0.0.1:{upstream}/v1/chat/completions", content=body,
                                   headers={{"content-type": "application/json"}})
    answer = await client.send(request, stream=True)
    await send({{"type": "http.response.start", "status": answer.status_code,
                "headers": [(b"content-type", answer.headers["content-type"].encode())]}})
    async for chunk in answer.aiter_raw():
        await send({{"type": "http.response.body", "body": chunk, "more_body": True}})
    await send({{"type": "http.response.body", "body": b""}})
"""

NGINX = """\
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; client_body_buffer_size 1m; client_max_body_size 64m;
  keepalive_requests 1000000;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}
"""

LITELLM = """\
model_list:
  - model_name: m
    litellm_params: {{model: openai/bench, api_base: "http://127.0.0.1:{upstream}/v1", api_key: k, num_retries: 0}}
general_settings: {{disable_spend_logs: true}}
"""

TENSORZERO = """\
[gateway]
bind_address = "127.0.0.1:{port}"
observability.enabled = false
[models.m]
routing = ["a"]
[models.m.providers.a]
type = "openai"
model_name = "bench"
api_base = "http://127.0.0.1:{upstream}/v1/"
api_key_location = "env::BENCH_KEY"
"""


@dataclass(frozen=True)
class Peer:
    """One thing to measure.

    Attributes:
        command: Gives its command line for the port it is to listen on.
        model: What the body asks it for.
        headers: Extra request headers it needs, as `name: value`.
    """

    name: str
    command: Callable[[int], list[str]]
    model: str = "m"
    headers: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    path: str = "/v1/chat/completions"


def _uvicorn(folder: Path, module: str, port: int) -> list[str]:
    return [
        sys.executable, "-m", "uvicorn", f"{module}:app", "--app-dir", str(folder), "--port", str(port),
        "--no-access-log", "--log-level", "error", "--loop", "uvloop", "--http", "httptools",
    ]  # fmt: skip


def found(folder: Path, upstream: int, second: int, peers: Path | None) -> tuple[list[Peer], list[str]]:
    """Return what can be started here, ours first, and a line for each that cannot.

    Args:
        folder: For their configuration files.
        upstream, second: Ports of the benchmark's upstreams.
        peers: Folder with `bin/` of a virtual environment and `node_modules/` that hold the peers, or None.
    """
    (folder / "hello.py").write_text(HELLO)
    for name, text in (("bench.route", POLICY), ("stock.py", STOCK), ("litellm.yaml", LITELLM)):
        (folder / name).write_text(text.format(upstream=upstream, second=second))

    def binary(*names: str) -> str | None:
        places = os.pathsep.join([str(peers / "bin")] if peers else []) + os.pathsep + os.environ.get("PATH", "")
        return next((at for name in names if (at := shutil.which(name, path=places))), None)

    def nginx(port: int) -> list[str]:
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, upstream=upstream, port=port))
        return [str(binary("nginx")), "-c", str(folder / "nginx.conf"), "-p", str(folder)]

    def tensorzero(port: int) -> list[str]:
        (folder / "tensorzero.toml").write_text(TENSORZERO.format(upstream=upstream, port=port))
        return [str(binary("tensorzero-gateway", "gateway")), "--config-file", str(folder / "tensorzero.toml")]

    def worker(name: str) -> Callable[[int], list[str]]:
        return lambda port: [
            str(binary(name)), "--host", "127.0.0.1", "--port", str(port),
            "--worker-urls", f"http://127.0.0.1:{upstream}", "--policy", "round_robin", "--log-level", "error",
        ]  # fmt: skip

    portkey = peers / "node_modules/@portkey-ai/gateway/build/start-server.js" if peers else None
    config = json.dumps({"provider": "openai", "custom_host": f"http://127.0.0.1:{upstream}/v1", "api_key": "k"})
    ours = [sys.executable, "-m", "handlers.cli.main", "serve", str(folder / "bench.plan"), "--json-logs"]
    everyone: list[tuple[Peer, bool]] = [
        (Peer("pointsman", lambda port: [*ours, "--port", str(port)]), True),
        (Peer("nginx proxy_pass", nginx), binary("nginx") is not None),
        (Peer("uvicorn hello", lambda port: _uvicorn(folder, "hello", port)), True),
        (Peer("uvicorn + stock httpx", lambda port: _uvicorn(folder, "stock", port)), True),
        (Peer("vllm-router", worker("vllm-router")), binary("vllm-router") is not None),
        (Peer("sglang-router", worker("sglang-router")), binary("sglang-router") is not None),
        (
            Peer("tensorzero", tensorzero, model="tensorzero::model_name::m", path="/openai/v1/chat/completions"),
            binary("tensorzero-gateway", "gateway") is not None,
        ),
        (
            Peer(
                "portkey",
                lambda port: [str(binary("node")), str(portkey), f"--port={port}", "--headless"],
                headers=(f"x-portkey-config: {config}",),
            ),
            portkey is not None and portkey.exists() and binary("node") is not None,
        ),
        (
            Peer(
                "litellm",
                lambda port: [
                    str(binary("litellm")), "--config", str(folder / "litellm.yaml"), "--port", str(port),
                    "--host", "127.0.0.1",
                ],
                environ={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
            ),
            binary("litellm") is not None,
        ),
    ]  # fmt: skip
    here = [peer for peer, is_here in everyone if is_here]
    return here, [f"{peer.name}: not installed here, left out" for peer, is_here in everyone if not is_here]
