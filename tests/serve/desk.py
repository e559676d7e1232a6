"""The application as a server drives it: a policy as text, requests as ASGI messages, no sockets and no waiting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field

from router_dsl.check.program import check
from router_dsl.compile.build import build
from router_dsl.load import load_text
from router_dsl.plan import Plan, decode, encode
from router_dsl.source import render
from runtime.dispatch.transport import Transport
from runtime.serve.app import App
from runtime.serve.router import Router
from runtime.serve.settings import Settings
from runtime.serve.story import Event, fields_of
from runtime.sim.transport import SimTransport

POLICY = """
provider one   { url "sim://one?ttft=1ms"  protocol sim  region us }
provider two   { url "sim://two?ttft=1ms"  protocol sim  region eu }
provider dead  { url "sim://dead?down=true"  protocol sim }
provider keyed { url "https://provider.invalid/v1"  key env.NEVER_SET_KEY }
model small {
  context 8k
  aka "gpt-4o-mini", "vendor/small"
  serve one "up-small"  price $0.10 in $0.20 out
  serve two "up-small"  price $0.30 in $0.60 out
}
model large { serve one "up-large"  price $1 in $2 out $0.50 cached  supports tools, vision }
model gone  { serve dead "up-gone" }
model away  { serve keyed "up-away" }
guard eu: when header.x-country == de  require region == eu
policy chat {
  banned: when user == mallory     -> reject 451 "not for you"
  code:   when task == code        -> large  tag coding
  dead:   when model == gone       -> gone
  plain:  when model == strict     -> requested
  cheap:  when model == economy    -> small  where price.in <= $0.20  by price
  otherwise                        -> requested  by order
}
policy second { otherwise -> small by order }
"""

PATH = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]


def compiled(text: str = POLICY, digest: str = "ab" * 32) -> Plan:
    files, found = load_text(text, "test.route")
    program, more = check(files)
    assert program is not None, "\n".join(render(d) for d in [*found, *more])
    return decode(encode(build(program, digest)))


@dataclass
class Events:
    """A log that keeps its events."""

    seen: list[Mapping[str, object]] = field(default_factory=list)
    closed: bool = False

    def __call__(self, event: Event) -> None:
        self.seen.append(fields_of(event))

    def close(self) -> None:
        self.closed = True

    @property
    def last(self) -> Mapping[str, object]:
        return self.seen[-1]


@dataclass
class Answer:
    """What the client got: header names in lower case; `ended` when the answer was brought to its proper end."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    heads: int = 0
    ended: bool = False

    @property
    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def error(self) -> dict[str, object]:
        error = self.json["error"]
        assert isinstance(error, dict)
        return error


async def no_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)


class Desk:
    """A router for one policy, and a client's place in front of it."""

    def __init__(
        self,
        text: str = POLICY,
        settings: Settings | None = None,
        environ: Mapping[str, str] | None = None,
        transports: Mapping[str, Transport] | None = None,
    ) -> None:
        self.log = Events()
        self.router = Router.open(
            compiled(text),
            settings or Settings(),
            environ or {},
            self.log,
            draw=lambda: 0.0,
            transports=transports or {"sim": SimTransport(sleep=no_sleep)},
        )
        self.app = App(lambda: self.router)

    def post(
        self,
        body: object = None,
        *,
        path: str = PATH,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        peer: str | None = "127.0.0.1",
        **fields: object,
    ) -> Answer:
        """Send a chat request; keyword arguments are further fields of its body."""
        if body is None:
            body = {"model": "small", "messages": HELLO, **fields}
        data = json.dumps(body).encode() if raw is None else raw
        return self.ask("POST", path, headers=headers, chunks=[data], peer=peer)

    def get(self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        return self.ask(method, path, headers=headers)

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        chunks: Iterable[bytes] = (b"",),
        leaves: bool = False,
        peer: str | None = "127.0.0.1",
    ) -> Answer:
        """Send a request in these chunks; the client `leaves` after the last one, or stays."""
        return asyncio.run(ask(self.app, method, path, headers or {}, list(chunks), leaves=leaves, peer=peer))


async def ask(
    app: App,
    method: str,
    path: str,
    headers: Mapping[str, str],
    chunks: list[bytes],
    *,
    leaves: bool = False,
    peer: str | None = "127.0.0.1",
) -> Answer:
    answer = Answer()
    path, _, query = path.partition("?")
    pending = [
        {"type": "http.request", "body": chunk, "more_body": leaves or place < len(chunks) - 1}
        for place, chunk in enumerate(chunks)
    ]
    over = asyncio.Event()

    async def receive() -> MutableMapping[str, object]:
        if pending:
            return dict(pending.pop(0))
        if not leaves:
            await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, object]) -> None:
        assert not answer.ended, "nothing may follow the end"
        if message["type"] == "http.response.start":
            answer.heads += 1
            assert answer.heads == 1
            status, pairs = message["status"], message["headers"]
            assert isinstance(status, int)
            assert isinstance(pairs, list)
            answer.status = status
            for name, value in pairs:
                assert name == name.lower()
                assert b"\n" not in value
                assert b"\r" not in value
                answer.headers[name.decode("ascii")] = value.decode("latin-1")
            return
        assert answer.heads == 1, "the head comes first"
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        answer.chunks.append(body)
        answer.body += body
        if not message.get("more_body", False):
            answer.ended = True
            over.set()

    scope: MutableMapping[str, object] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": query.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": None if peer is None else (peer, 5000),
        "server": ("127.0.0.1", 8080),
    }
    await app(scope, receive, send)
    return answer
