"""The client's side of a request whose answer is more than the provider's bytes: OpenRouter's skin, its metadata."""

from __future__ import annotations

from collections.abc import Callable

from runtime.decision.book import Book
from runtime.decision.route import Route
from runtime.dispatch.dispatcher import cost_nusd
from runtime.dispatch.record import CACHE_MARK, Client
from runtime.dispatch.transport import Headers
from runtime.wire import skin
from runtime.wire.skin import Cost, Skin
from runtime.wire.usage import Usage


class Dressed:
    """A client that gets its answer dressed; implements `Client`.

    Args:
        client: Whom the answer is for.
        book: What decided.
        route: What it decided.
        model: What the client asked for, as sent.
        region: Where this instance runs.
        generation: Identifier of the answer.
        is_stream: Whether a stream was asked for.
        is_skinned: Whether the client speaks OpenRouter's dialect; else nothing but metadata is added.
        has_metadata: Whether it wants to know how it was routed.
    """

    def __init__(
        self, client: Client, book: Book, route: Route, model: str, region: str | None, generation: str,
        *, is_stream: bool, is_skinned: bool, has_metadata: bool,
    ) -> None:  # fmt: skip
        self._client = client
        self._book = book
        self._route = route
        self._model = model
        self._region = region
        self._generation = generation
        self._is_stream = is_stream
        self._is_skinned = is_skinned
        self._has_metadata = has_metadata
        self._stream: skin.Stream | None = None
        self._head: tuple[Headers, str, int, float] | None = None
        self._body = bytearray()

    async def start(self, status: int, headers: Headers, endpoint: str, attempts: int, waited_s: float = 0.0) -> None:
        """Send the head of a stream or of a refusal; keep that of a whole answer, whose length will be another.

        Raises:
            OSError: The client is gone.
        """
        if status == 200 and not self._is_stream:
            self._head = headers, endpoint, attempts, waited_s
            return
        if status == 200:
            self._stream = skin.Stream(*self._dress(headers, endpoint, attempts))
        await self._client.start(status, headers, endpoint, attempts, waited_s)

    async def send(self, data: bytes, *, last: bool) -> None:
        """Send more of the answer, dressed; a whole one when all of it is here.

        Raises:
            OSError: The client is gone.
        """
        if self._stream is not None:
            data = self._stream.feed(data, last=last)
        elif self._head is not None:
            self._body += data
            if not last:
                return
            headers, endpoint, attempts, waited_s = self._head
            data = skin.answer(bytes(self._body), *self._dress(headers, endpoint, attempts))
            length = (b"content-length", b"%d" % len(data))
            others = tuple(pair for pair in headers if pair[0] != b"content-length")
            await self._client.start(200, (*others, length), endpoint, attempts, waited_s)
        if data or last:
            await self._client.send(data, last=last)

    def offer(self, data: bytes) -> bool:
        """Send more of a stream if that takes no waiting; else False, and nothing is done."""
        return self._stream is not None and self._stream.is_plain and self._client.offer(data)

    def watch(self, left: Callable[[], None]) -> Callable[[], object]:
        """Watch the client itself."""
        return self._client.watch(left)

    def _dress(self, headers: Headers, endpoint: str, attempts: int) -> tuple[Skin | None, dict[str, object] | None]:
        metadata = None
        if self._has_metadata and not _is_hit(headers):  # OpenRouter's has none on a hit
            metadata = _metadata(self._book, self._route, self._model, self._region, endpoint, attempts)
        if not self._is_skinned:
            return None, metadata
        index = next((i for i, entry in enumerate(self._book.endpoints) if entry.id == endpoint), None)
        model = "" if index is None else self._book.endpoints[index].model
        provider = endpoint.rpartition("@")[2].partition("/")[0]

        def cost(usage: Usage) -> Cost | None:
            return None if index is None else _cost(self._book, index, usage)

        return Skin(self._generation, provider, model, cost, _is_hit(headers)), metadata


def _is_hit(headers: Headers) -> bool:
    return (CACHE_MARK, b"hit") in headers


def _cost(book: Book, index: int, usage: Usage) -> Cost | None:
    total = cost_nusd(book.endpoints[index], usage)
    completion = cost_nusd(book.endpoints[index], Usage(0, usage.completion))
    return None if total is None or completion is None else Cost(total - completion, completion)


def _metadata(
    book: Book, route: Route, model: str, region: str | None, endpoint: str, attempts: int
) -> dict[str, object]:
    """Return `openrouter_metadata`: what was asked, what might have answered, and what was applied."""
    available = [
        {
            "provider": book.program.providers[book.endpoints[candidate.endpoint].provider].name,
            "model": book.endpoints[candidate.endpoint].model,
            "endpoint": book.endpoints[candidate.endpoint].id,
            "selected": book.endpoints[candidate.endpoint].id == endpoint,
        }
        for candidate in route.candidates
    ]
    wishes = route.wishes
    told: dict[str, object] = {
        "requested": model,
        "strategy": "fallback" if wishes is not None and len(wishes.named.models) > 1 else "direct",
        "region": region,
        "summary": f"rule {route.rule.label} of policy {route.policy}, {endpoint} of {len(available)} answered",
        "attempt": max(1, attempts),
        "is_byok": False,
        "endpoints": {"total": len(available) + len(route.excluded), "available": available},
        "excluded": [{"endpoint": book.endpoints[e.endpoint].id, "by": e.by} for e in route.excluded],
    }
    if wishes is not None:
        told["params"] = wishes.told(book.program)
    return told
