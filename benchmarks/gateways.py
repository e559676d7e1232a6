"""How each gateway, proxy or control of the gateway benchmark is started in front of its upstream."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
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

LIMITS = """
limit calls: 100M requests per minute by key.id
limit words: 1000M tokens per hour by tenant
limit spend: $1000000 per day by tenant
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
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; client_body_buffer_size 1m; client_max_body_size 64m;
  keepalive_requests 1000000;
  upstream up {{ {servers} keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_next_upstream error timeout http_500 http_503 http_429 non_idempotent; proxy_read_timeout {patience_s}s;
    }}
  }}
}}
"""

TENSORZERO = """\
[gateway]
observability.enabled = false
[models.m]
routing = [{routing}]
"""

TENSORZERO_PROVIDER = """\
[models.m.providers.p{number}]
type = "openai"
model_name = "bench"
api_base = "http://127.0.0.1:{upstream}/v1/"
api_key_location = "env::BENCH_KEY"
timeouts = {{ non_streaming.total_ms = {patience_ms} }}
"""

# Its gateway comes from PyPI as part of its Python client, which picks the port.
TENSORZERO_START = """\
import sys, time
import tensorzero
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
with open(sys.argv[2], "w") as told:
    told.write(gateway.base_url.split(":")[2].split("/")[0])
while True:
    time.sleep(3600)
"""

KEY = "sk-bench"
"""What the load generator sends as its bearer token."""


@dataclass(frozen=True)
class Peer:
    """One thing to measure.

    Attributes:
        command: Gives its command line for the port it is to listen on.
        model: What the body asks it for.
        headers: Extra request headers it needs, as `name: value`.
        port_file: Where it writes its port once it listens, for one that picks it itself.
        streams: Whether it can answer with a stream.
    """

    name: str
    command: Callable[[int], list[str]]
    model: str = "m"
    headers: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    path: str = "/v1/chat/completions"
    port_file: Path | None = None
    streams: bool = True


class Shelf:
    """What can be started here, and how, in front of some upstreams.

    Args:
        folder: For configuration files.
        upstreams: Their ports; further ones are asked when the first fails, where a peer can be told so.
        peers: Folder with a virtual environment for each peer (`NAME/bin`) and `node_modules/`, or None.
        patience_s: How long a peer waits for an answer before it counts as failed.
    """

    def __init__(self, folder: Path, upstreams: Sequence[int], peers: Path | None, patience_s: int = 60) -> None:
        self._folder = folder
        self._upstreams = tuple(upstreams)
        self._peers = peers
        self._patience_s = patience_s

    def found(self) -> tuple[list[Peer], list[str]]:
        """Return what can be started here, ours first, and a line for each that cannot."""
        here, missing = [], []
        for peer, is_here in self._everyone():
            if is_here:
                here.append(peer)
            else:
                missing.append(f"{peer.name}: not installed here, left out")
        return here, missing

    def _everyone(self) -> list[tuple[Peer, bool]]:
        return [
            (self._ours(), True),
            (Peer("nginx proxy_pass", self._nginx), self._binary("nginx") is not None),
            (Peer("uvicorn hello", lambda port: self._uvicorn("hello", HELLO, port), streams=False), True),
            (Peer("uvicorn + stock httpx", lambda port: self._uvicorn("stock", self._stock(), port)), True),
            *(self._worker_router(name) for name in ("vllm-router", "sglang-router")),
            self._tensorzero(),
            self._portkey(),
            self._litellm(),
        ]

    def _binary(self, name: str) -> str | None:
        folders = [str(found) for found in sorted(self._peers.glob("*/bin"))] if self._peers else []
        return shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", "")]))

    def _written(self, name: str, text: str) -> str:
        path = self._folder / name
        path.write_text(text)
        return str(path)

    def _ours(self, name: str = "pointsman", more: str = "", environ: Mapping[str, str] | None = None) -> Peer:
        first, second = self._upstreams[0], self._upstreams[-1]
        file = name.replace(" ", "-")
        source = self._written(f"{file}.route", POLICY.format(upstream=first, second=second) + more)
        command = [sys.executable, "-m", "handlers.cli.main"]
        plan = str(self._folder / f"{file}.plan")
        subprocess.run([*command, "build", source, "-o", plan], check=True, stdout=subprocess.DEVNULL)
        serve = [*command, "serve", plan, "--json-logs", "--port"]
        return Peer(name, lambda port: [*serve, str(port)], environ=environ or {})

    def keyed(self) -> Peer:
        """Return ours with a thousand keys, of which the load sends one, and limits in requests, tokens and dollars."""
        names = ("sk-bench", *(f"key-{number}" for number in range(1000)))
        tables = (
            f'[k{place}]\nsha256 = "{sha256(name.encode()).hexdigest()}"\ntenant = "acme"\n'
            for place, name in enumerate(names)
        )
        keys = self._written("keys.toml", "".join(tables))
        return self._ours("pointsman with keys and limits", LIMITS, {"POINTSMAN_KEYS_FILE": keys})

    def _uvicorn(self, module: str, text: str, port: int) -> list[str]:
        self._written(f"{module}.py", text)
        return [
            sys.executable, "-m", "uvicorn", f"{module}:app", "--app-dir", str(self._folder), "--port", str(port),
            "--no-access-log", "--log-level", "error", "--loop", "uvloop", "--http", "httptools",
        ]  # fmt: skip

    def _stock(self) -> str:
        return STOCK.format(upstream=self._upstreams[0])

    def _nginx(self, port: int) -> list[str]:
        servers = " ".join(f"server 127.0.0.1:{upstream};" for upstream in self._upstreams)
        text = NGINX.format(folder=self._folder, servers=servers, port=port, patience_s=self._patience_s)
        return [str(self._binary("nginx")), "-c", self._written("nginx.conf", text), "-p", str(self._folder)]

    def _worker_router(self, name: str) -> tuple[Peer, bool]:
        """vLLM's and SGLang's routers, which are of one family."""
        binary = self._binary(name)
        subcommand = ["launch"] if name == "sglang-router" else []

        def command(port: int) -> list[str]:
            return [
                str(binary), *subcommand, "--host", "127.0.0.1", "--port", str(port),
                "--worker-urls", *(f"http://127.0.0.1:{upstream}" for upstream in self._upstreams),
                "--policy", "round_robin", "--log-level", "error",
                # Both want 29000 for their metrics.
                "--prometheus-port", str(port + 1), "--request-timeout-secs", str(self._patience_s),
            ]  # fmt: skip

        return Peer(name, command), binary is not None

    def _tensorzero(self) -> tuple[Peer, bool]:
        found = list(self._peers.glob("*/lib/python3*/site-packages/tensorzero")) if self._peers else []
        told = self._folder / "tensorzero.port"

        def command(port: int) -> list[str]:
            told.unlink(missing_ok=True)
            routing = ", ".join(f'"p{number}"' for number in range(len(self._upstreams)))
            providers = "".join(
                TENSORZERO_PROVIDER.format(number=number, upstream=upstream, patience_ms=self._patience_s * 1000)
                for number, upstream in enumerate(self._upstreams)
            )
            config = self._written("tensorzero.toml", TENSORZERO.format(routing=routing) + providers)
            python = found[0].parents[3] / "bin/python"
            return [str(python), self._written("tensorzero.py.txt", TENSORZERO_START), config, str(told)]

        model, path = "tensorzero::model_name::m", "/openai/v1/chat/completions"
        return Peer("tensorzero", command, model=model, path=path, port_file=told), bool(found)

    def _portkey(self) -> tuple[Peer, bool]:
        script = self._peers / "node_modules/@portkey-ai/gateway/build/start-server.js" if self._peers else None
        targets: list[dict[str, object]] = [
            {"provider": "openai", "custom_host": f"http://127.0.0.1:{upstream}/v1", "api_key": "k"}
            for upstream in self._upstreams
        ]
        config: dict[str, object] = targets[0]
        if len(targets) > 1:
            config = {"strategy": {"mode": "fallback"}, "targets": targets}
        config["request_timeout"] = self._patience_s * 1000
        node = self._binary("node")
        peer = Peer(
            "portkey",
            lambda port: [str(node), str(script), f"--port={port}", "--headless"],
            headers=(f"x-portkey-config: {json.dumps(config)}",),
        )
        return peer, script is not None and script.exists() and node is not None

    def _litellm(self) -> tuple[Peer, bool]:
        binary = self._binary("litellm")

        def command(port: int) -> list[str]:
            names = ["m", *(f"m{number}" for number in range(1, len(self._upstreams)))]
            config = {
                "model_list": [
                    {
                        "model_name": name,
                        "litellm_params": {
                            "model": "openai/bench", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "k",
                            "max_retries": 0, "timeout": self._patience_s,
                        },
                    }
                    for name, upstream in zip(names, self._upstreams, strict=True)
                ],
                "router_settings": {"num_retries": 0, **({"fallbacks": [{"m": names[1:]}]} if names[1:] else {})},
                "general_settings": {"disable_spend_logs": True, "master_key": KEY},
            }  # fmt: skip
            # JSON is YAML.
            path = self._written("litellm.yaml", json.dumps(config))
            return [str(binary), "--config", path, "--port", str(port), "--host", "127.0.0.1"]

        environ = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        }
        return Peer("litellm", command, environ=environ), binary is not None
