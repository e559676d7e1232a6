"""Reads what providers say of their load, where the policy declares that they do; nothing polls.

Two declarations, either or both, on a `provider`:

- the line `header "endpoint-load-metrics-format" "TEXT"`, which asks for reports: they are read off every answer;
- `tags load-from-metrics`: after an answer, `/metrics` of the same host is read, at most once in `EVERY_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from router_dsl.plan import Program
from runtime.dispatch.background import Background
from runtime.dispatch.clock import Clock
from runtime.dispatch.outgoing import HTTP2, LOAD_HEADER, LOAD_TAG, carrier
from runtime.dispatch.transport import Outgoing, Response, Transport, TransportError
from runtime.health.health import Health
from runtime.wire import load_report
from runtime.wire.load_report import HEADER, Load

# Queues turn over in seconds. A page is 50 to 200 KB to the server, which makes it anew each time.
EVERY_S = 5.0
WITHIN_S = 2.0
MOST_BYTES = 1024 * 1024


class LoadReports:
    """The reports of the providers of a program.

    Args:
        program: Says who reports.
        health: Is told.
        transports: Carriers, by `outgoing.carrier`.
        clock: The time that health is told in.
        background: Where pages are fetched.
    """

    def __init__(
        self,
        program: Program,
        health: Health,
        transports: Mapping[str, Transport],
        clock: Clock,
        background: Background,
    ) -> None:
        self._health = health
        self._clock = clock
        self._transports = transports
        self._background = background
        providers = program.providers
        self._provider_of = [endpoint.provider for endpoint in program.endpoints]
        self._in_headers = [any(name.lower() == LOAD_HEADER for name, _ in p.headers) for p in providers]
        self._pages = [_page(p.url) if LOAD_TAG in p.tags and p.protocol != "sim" else None for p in providers]
        self._carriers = [carrier(provider) for provider in providers]
        self._endpoints: list[list[int]] = [[] for _ in providers]
        for endpoint, provider in enumerate(self._provider_of):
            self._endpoints[provider].append(endpoint)
        self._fetched_s: dict[int, float] = {}

    def around(self, endpoint: int, transport: Transport) -> Transport:
        """Return the transport for one attempt at an endpoint, which looks for a report as the answer comes."""
        provider = self._provider_of[endpoint]
        if not self._in_headers[provider] and self._pages[provider] is None:
            return transport
        return _Listening(transport, lambda response: self._heard(endpoint, provider, response))

    def _heard(self, endpoint: int, provider: int, response: Response) -> None:
        if self._in_headers[provider]:
            for name, value in response.headers:
                if name == HEADER and (load := load_report.of_header(value)) is not None:
                    self._tell([endpoint], load)
        if self._pages[provider] is not None:
            now_s = self._clock.now_s()
            if now_s - self._fetched_s.get(provider, -EVERY_S) >= EVERY_S:
                self._fetched_s[provider] = now_s
                self._background.start(self._fetch(provider))

    def _tell(self, endpoints: list[int], load: Load) -> None:
        now_s = self._clock.now_s()
        for endpoint in endpoints:
            self._health.report(endpoint, load.waiting, load.running, now_s)

    async def _fetch(self, provider: int) -> None:
        url = self._pages[provider]
        assert url is not None
        # Without the key: the page is for who watches the server.
        request = Outgoing("GET", url, ((b"accept-encoding", b"identity"), (b"user-agent", b"pointsman")), b"")
        try:
            async with asyncio.timeout(WITHIN_S):
                page = await _read(await self._transports[self._carriers[provider]].send(request))
        except (TransportError, TimeoutError):
            return
        if page is not None and (load := load_report.of_page(page)) is not None:
            self._tell(self._endpoints[provider], load)


class _Listening:
    """A transport that shows answers to somebody before they are read."""

    def __init__(self, transport: Transport, heard: Callable[[Response], None]) -> None:
        self._transport = transport
        self._heard = heard

    async def send(self, request: Outgoing) -> Response:
        """Send a request and return when the head of the answer has arrived.

        Raises:
            TransportError: No head came.
        """
        response = await self._transport.send(request)
        self._heard(response)
        return response

    async def aclose(self) -> None:
        """Close nothing: the connections are not this one's."""


async def _read(response: Response) -> bytes | None:
    """Return a page, None when it is none or too long."""
    body = bytearray()
    try:
        if response.status != 200:
            return None
        while chunk := await response.read():
            body += chunk
            if len(body) > MOST_BYTES:
                return None
        return bytes(body)
    finally:
        await response.aclose()


def _page(url: str) -> str:
    """Return the address of a server's metrics: at the root of its host."""
    parts = urlsplit(url.replace(HTTP2, "://", 1))
    return f"{parts.scheme}://{parts.netloc}/metrics"
