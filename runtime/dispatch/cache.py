"""`cache D`: whole answers to deterministic requests, kept in memory for a while; equal ones in flight are one.

Exact: the key is a digest of the policy, the model, the caller and the body as it goes out. A body counts as the same
whatever the order of its fields. Kept are complete unary answers alone; `docs/flow.md` has the rules.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from hashlib import sha256

import cachetools

from router_dsl.plan import Options
from runtime.decision.facts import Call, Facts
from runtime.dispatch.clock import Clock
from runtime.dispatch.held import Held
from runtime.dispatch.record import CACHE_MARK, Client, Record
from runtime.dispatch.transport import Headers
from runtime.wire import interface, unary
from runtime.wire.request import Edits, rewrite
from runtime.wire.said import of_answer
from runtime.wire.usage import Usage

# 64 MiB is what a function of 512 MB can spare. A chat answer has 1 to 10 KB; one that weighs more than a thousand of
# those would push the rest out.
MOST_BYTES = 64 * 1024 * 1024
MOST_ENTRIES = 16_384
LARGEST_BYTES = 1024 * 1024

FINISHED = ("stop", "tool_calls")


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer in store; `kept_s` is when it came, `lasts_s` for how long it may be given."""

    endpoint: str
    headers: Headers
    body: bytes
    finish_reason: str | None
    kept_s: float
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which an answer may be given to a request and kept for its likes.

    Attributes:
        key: What the request and its likes have in common.
        lasts_s: For how long, by the request's rule.
        endpoints: Whose answers (identifiers): those that this request may be sent to, of the model that it is for.
        is_whole: Whether the bytes of an answer are all that was asked for.
        api: The interface that they are in.
    """

    key: bytes
    lasts_s: float
    endpoints: Collection[str]
    is_whole: Callable[[bytes], bool]
    api: str = "chat"


class Cache:
    """Answers in store and questions in flight; one owner.

    Args:
        digest: Of the policy.
        clock: Ages are told by it.
    """

    def __init__(self, digest: str, clock: Clock) -> None:
        self._digest = digest
        self._clock = clock
        # An entry counts as its share of the most there may be at least, so that one bound holds for both.
        self._store: MutableMapping[bytes, Kept] = cachetools.TLRUCache(
            MOST_BYTES, ttu=_until_s, timer=clock.now_s, getsizeof=_weight
        )
        self._in_flight: dict[bytes, asyncio.Future[None]] = {}

    def key(self, call: Call, model: str, options: Options, facts: Facts) -> bytes | None:
        """Return what the request's answer is kept under; None for a request that two answers could be right for.

        Deterministic is what says `temperature: 0` or a `seed` once the rule's edits are made, and every embedding.
        """
        if call.body.stream:
            return None
        try:
            body = json.loads(rewrite(call.raw, Edits(model, options.cap, options.set, options.drop)))
        except (ValueError, RecursionError):  # numbers of thousands of digits, or nested beyond reason
            return None
        if call.api != "embeddings" and body.get("seed") is None and body.get("temperature") != 0:
            return None
        body.pop("stream", None)
        # Whose answer it is: nobody is ever given what another caller was told.
        caller = [facts["tenant"], facts["user"], sorted(call.key.items())]
        said = json.dumps([self._digest, call.api, model, caller, body], sort_keys=True, separators=(",", ":"))
        return sha256(said.encode("utf-8", "surrogatepass")).digest()

    async def answer(self, terms: Terms, client: Client, fresh: Callable[[Client], Awaitable[Record]]) -> Record:
        """Answer from the store, or with what an equal request in flight is told, or freshly.

        Requests that waited for an equal one in vain go on by themselves, all at once: had they to take turns, the
        last would wait for all the others' deadlines.

        Args:
            terms: The request's.
            client: Who waits.
            fresh: Asks the providers for a client.
        """
        kept, flight = self._find(terms), self._in_flight.get(terms.key)
        if kept is None and flight is not None:
            if not await _landed(flight, client):
                return Record("client gone", 499)
            kept = self._find(terms)
        if kept is not None:
            return await self._give(kept, client)
        own = asyncio.get_running_loop().create_future() if flight is None else None
        if own is not None:
            self._in_flight[terms.key] = own
        try:
            record = await fresh(_Listener(client, self, terms))
        finally:
            if own is not None:
                self.land(terms.key, own)
        record.cache = "miss"
        return record

    def keep(self, terms: Terms, endpoint: str, headers: Headers, body: bytes) -> None:
        """Take an answer into the store, unless it is too large, and let those go on who wait for it."""
        if len(body) <= LARGEST_BYTES:
            framing = tuple(field for field in headers if field[0] in (b"content-type", b"content-length"))
            reason = interface.read(terms.api, body).finish_reason
            self._store[terms.key] = Kept(endpoint, framing, body, reason, self._clock.now_s(), terms.lasts_s)
        self.land(terms.key, self._in_flight.get(terms.key))

    def land(self, key: bytes, flight: asyncio.Future[None] | None) -> None:
        """End a flight: nobody need wait for it any more."""
        if flight is not None and not flight.done():
            flight.set_result(None)
            del self._in_flight[key]

    def _find(self, terms: Terms) -> Kept | None:
        kept = self._store.get(terms.key)
        if kept is None or kept.endpoint not in terms.endpoints:
            return None
        return kept if self._clock.now_s() - kept.kept_s < terms.lasts_s else None

    async def _give(self, kept: Kept, client: Client) -> Record:
        age_s = max(0, int(self._clock.now_s() - kept.kept_s))
        held = Held(client)
        await held.start(200, (*kept.headers, (CACHE_MARK, b"hit"), (b"age", b"%d" % age_s)), kept.endpoint, 0)
        await held.send(kept.body, last=True)
        is_given = await held.give(0, 0.0)
        return Record(
            "complete" if is_given else "client gone",
            200,
            kept.endpoint,
            usage=Usage(0, 0),
            cost_nusd=0,
            finish_reason=kept.finish_reason,
            cache="hit",
        )


class _Listener:
    """A client whose answer is kept as it passes; implements `Client`."""

    def __init__(self, client: Client, cache: Cache, terms: Terms) -> None:
        self._client = client
        self._cache = cache
        self._terms = terms
        self._head: tuple[int, Headers, str] = (0, (), "")

    async def start(self, status: int, headers: Headers, endpoint: str, attempts: int, waited_s: float = 0.0) -> None:
        self._head = (status, headers, endpoint)
        await self._client.start(status, (*headers, (CACHE_MARK, b"miss")), endpoint, attempts, waited_s)

    async def send(self, data: bytes, *, last: bool) -> None:
        status, headers, endpoint = self._head
        # A unary answer is sent in one piece. Kept before the client takes it, who may be slow, while others wait.
        if last and status == 200 and endpoint in self._terms.endpoints and self._terms.is_whole(data):
            self._cache.keep(self._terms, endpoint, headers, data)
        await self._client.send(data, last=last)

    def offer(self, data: bytes) -> bool:
        return False

    def watch(self, left: Callable[[], None]) -> Callable[[], object]:
        return self._client.watch(left)


def is_finished(raw: bytes, api: str) -> bool:
    """Whether every choice of an answer has come to its end."""
    said = of_answer(raw, api)
    return bool(said) and all(choice.finish_reason in FINISHED for choice in said)


def is_something(raw: bytes) -> bool:
    """Whether an answer of embeddings holds any."""
    return not unary.read(raw).is_empty


def _until_s(_key: bytes, kept: Kept, now_s: float) -> float:
    return now_s + kept.lasts_s


def _weight(kept: Kept) -> int:
    return max(len(kept.body), MOST_BYTES // MOST_ENTRIES)


async def _landed(flight: asyncio.Future[None], client: Client) -> bool:
    """Wait until an equal request is over; False when the client leaves before."""
    left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leave() -> None:
        if not left.done():
            left.set_result(None)

    end_watch = client.watch(leave)
    try:
        await asyncio.wait((flight, left), return_when=asyncio.FIRST_COMPLETED)
    finally:
        end_watch()
    return not left.done()
