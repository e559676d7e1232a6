"""Limits counted in Redis or Valkey: one script a call, run by the server in one piece."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from runtime.limits.lease import REMEMBERED_S, Answer, Exchange
from runtime.limits.window import SLOTS
from runtime.serve.stores.lease_script import SCRIPT
from runtime.serve.stores.store import StoreError

# The store holds a lease for so much longer than the instance that spends it, for what was spent last to be told.
GRACE_S = 2.0

# Longer than any provider is left alone for.
HINTS_KEPT_S = 900


class RedisStore:
    """A store at a Redis or Valkey server; implements `Store`.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as redis-py reads it.
        prefix: Of its keys there.
    """

    forgets = True

    def __init__(self, url: str, prefix: str) -> None:
        # Repeating is the lease's business, which knows what may be done twice.
        self._client = Redis.from_url(url.replace("valkey", "redis", 1), retry=Retry(NoBackoff(), 0))
        self._prefix = prefix
        self._script = self._client.register_script(SCRIPT)
        self._is_stale = False

    async def exchange(self, exchanges: Sequence[Exchange]) -> Sequence[Answer]:
        """Carry out exchanges, each for itself and each number once, and return the answers in their order.

        Raises:
            StoreError: The server did not answer, or not as it should.
        """
        try:
            if self._is_stale:
                self._is_stale = False
                await self._client.connection_pool.disconnect(inuse_connections=False)
            try:
                replies = await self._run(exchanges)
            except NoScriptError:
                await self._client.script_load(SCRIPT)
                replies = await self._run(exchanges)
            return [_answer(reply) for reply in replies]
        except (RedisError, OSError, msgspec.MsgspecError, asyncio.IncompleteReadError) as error:
            raise StoreError(f"{type(error).__name__}: {error}") from error

    async def hints(self, key: str, instance: str, changed: Mapping[str, float]) -> Mapping[str, Mapping[str, float]]:
        """Note until when an instance found endpoints failing, in Unix seconds; return what all say.

        Raises:
            StoreError: The server did not answer, or not as it should.
        """
        name = f"{self._prefix}{key}"
        pipeline = self._client.pipeline(transaction=False)
        for endpoint, until_s in changed.items():
            pipeline.hset(name, f"{instance} {endpoint}", round(until_s * 1000))
        if changed:
            pipeline.expire(name, HINTS_KEPT_S)
        pipeline.hgetall(name)
        try:
            *_, said = await pipeline.execute()
            found: dict[str, dict[str, float]] = {}
            gone: list[bytes] = []
            for field, until_ms in said.items():
                who, _, endpoint = field.decode("utf-8").partition(" ")
                until_s = int(until_ms) / 1000
                if until_s > time.time():
                    found.setdefault(endpoint, {})[who] = until_s
                else:
                    gone.append(field)
            if gone:
                await self._client.hdel(name, *gone)
        except (RedisError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise StoreError(f"{type(error).__name__}: {error}") from error
        return found

    async def _run(self, exchanges: Sequence[Exchange]) -> list[bytes]:
        if len(exchanges) == 1:
            return [cast("bytes", await self._client.evalsha(self._script.sha, 1, *self._call(exchanges[0])))]
        pipeline = self._client.pipeline(transaction=False)
        for exchange in exchanges:
            pipeline.evalsha(self._script.sha, 1, *self._call(exchange))
        return cast("list[bytes]", await pipeline.execute())

    def _call(self, asked: Exchange) -> tuple[str, bytes]:
        slot_us = round(asked.per_s / SLOTS * 1e6)
        lease_ms = round((asked.lease_s + GRACE_S) * 1000)
        said = (
            asked.instance, asked.number, asked.amount, slot_us, asked.least, asked.most, asked.keep, lease_ms,
            round(REMEMBERED_S * 1000), [each for pair in asked.deltas for each in pair],
        )  # fmt: skip
        return f"{self._prefix}{asked.key}", msgspec.msgpack.encode(said)

    def drop(self) -> None:
        """Forget the connections: they may be gone without a word."""
        self._is_stale = True

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _answer(reply: bytes) -> Answer:
    granted, used, wait_ms, reset_ms = msgspec.msgpack.decode(reply, type=tuple[int, int, int, int])
    return Answer(granted, used, wait_ms / 1000, reset_ms / 1000)
