"""Hints between instances: changes only, two voices, nobody's echo; through a real Redis and moto's DynamoDB."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping

import pytest

from runtime.health.health import Health
from runtime.serve.hints import EVERY_S, Hints
from runtime.serve.settings import Settings
from runtime.serve.stores.opening import open_store
from runtime.serve.stores.store import Store, StoreError
from tests.serve.desk import HELLO, PATH, Desk, ask, compiled
from tests.serve.redis_server import RedisServer, redis_server
from tests.serve.test_store_dynamo import TABLE, Table, environ  # noqa: F401 — a fixture

PROGRAM = compiled().program
NAME = PROGRAM.endpoints[0].id


class Board:
    """A store of hints in memory; keeps what it is told."""

    def __init__(self) -> None:
        self.said: dict[str, dict[str, float]] = {}
        self.told: list[Mapping[str, float]] = []

    async def hints(self, key: str, instance: str, changed: Mapping[str, float]) -> Mapping[str, Mapping[str, float]]:
        self.told.append(dict(changed))
        for endpoint, until_s in changed.items():
            self.said.setdefault(endpoint, {})[instance] = until_s
        return self.said


def instance(board: Board) -> tuple[Hints, Health]:
    health = Health(PROGRAM)
    return Hints(board, "k", health, lambda: 100.0), health  # type: ignore[arg-type]


def fail(health: Health) -> None:
    health.begin(0, 100.0).failure(100.0, "429", 30.0)


def test_one_voice_is_none_and_two_are_believed_by_the_others() -> None:
    board = Board()
    (one, sick), (two, sick_too), (three, well) = instance(board), instance(board), instance(board)

    async def run() -> None:
        fail(sick)
        await one.share("one")
        await three.share("three")
        assert well.at(100.0).in_service(0)
        fail(sick_too)
        await two.share("two")
        await three.share("three")
        assert not well.at(100.0).in_service(0)
        assert well.at(100.0).in_service(1)
        # Its own voice is not among the two.
        assert sick.snapshot(100.0)[0]["why_not"] == "cooling down"

    asyncio.run(run())


def test_only_changes_are_told_and_an_echo_is_none() -> None:
    board = Board()
    (one, sick), (two, sick_too), (three, _) = instance(board), instance(board), instance(board)

    async def run() -> None:
        fail(sick)
        fail(sick_too)
        for hints, name in ((one, "one"), (two, "two"), (three, "three")):
            for _ in range(2):
                await hints.share(name)

    asyncio.run(run())
    assert [list(changed) for changed in board.told] == [[NAME], [], [NAME], [], [], []]


def test_an_end_is_told_too() -> None:
    board, now_s = Board(), 100.0
    health = Health(PROGRAM)
    hints = Hints(board, "k", health, lambda: now_s)  # type: ignore[arg-type]

    async def run() -> None:
        nonlocal now_s
        fail(health)
        await hints.share("one")
        now_s = 140.0  # cooled down, though others were told until later by their clocks
        await hints.share("one")

    asyncio.run(run())
    assert board.told[1] == {NAME: 0.0}


def test_a_store_that_fails_is_told_the_next_time() -> None:
    board = Board()
    hints, health = instance(board)
    fail(health)

    async def run() -> None:
        good, board.hints = board.hints, refuse  # type: ignore[method-assign, assignment]
        with pytest.raises(StoreError):
            await hints.share("one")
        board.hints = good  # type: ignore[method-assign]
        await hints.share("one")

    asyncio.run(run())
    assert list(board.told[0]) == [NAME]


async def refuse(*_: object) -> Mapping[str, Mapping[str, float]]:
    raise StoreError("no")


def test_they_are_shared_every_so_often_and_when_the_clock_was_set_back() -> None:
    hints, _ = instance(Board())
    assert hints.is_due(time.time())
    asyncio.run(hints.share("one"))
    now_s = time.time()
    assert [hints.is_due(now_s + by_s) for by_s in (0.0, EVERY_S + 0.1, -60.0)] == [False, True, True]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as found:
        yield found


async def contract(store: Store) -> None:
    """What every store does with hints."""
    now_s = time.time()
    assert await store.hints("h", "a", {}) == {}
    await store.hints("h", "a", {"m@one": now_s + 60, "m@two": now_s + 60})
    said = await store.hints("h", "b", {"m@one": now_s + 30, "old@one": now_s - 5})
    assert set(said) == {"m@one", "m@two"}
    assert said["m@one"] == pytest.approx({"a": now_s + 60, "b": now_s + 30}, abs=0.01)
    assert set((await store.hints("h", "a", {"m@one": 0.0}))["m@one"]) == {"b"}
    assert await store.hints("other", "a", {}) == {}


def test_redis_keeps_hints(server: RedisServer) -> None:
    async def run() -> None:
        store = open_store(server.url, {}, {})
        await contract(store)
        await store.aclose()

    asyncio.run(run())


@pytest.mark.slow
def test_dynamodb_keeps_hints(environ: dict[str, str]) -> None:  # noqa: F811 — the fixture
    async def run() -> None:
        table = Table(environ, "hints")
        await table.call("CreateTable", **TABLE)
        await contract(table.store())
        await table.transport.aclose()

    asyncio.run(run())


POLICY = """
provider one  { url "sim://one?ttft=1ms"    protocol sim }
provider dead { url "sim://dead?down=true"  protocol sim }
model small { serve dead "x"  serve one "x" }
policy p { otherwise -> small by order }
"""


def test_routers_hear_of_a_dead_endpoint_before_they_meet_it(server: RedisServer) -> None:
    body = json.dumps({"model": "small", "messages": HELLO}).encode()

    async def run() -> list[int]:
        desks = [Desk(POLICY, settings=Settings(store=server.url)) for _ in range(3)]
        for desk in desks[:2]:
            for _ in range(8):
                await ask(desk.app, "POST", PATH, {}, [body])
        for desk in desks:
            leases = desk.router.leases
            assert leases is not None
            assert leases.hints is not None
            await leases.hints.share(leases._instance)
        answer = await ask(desks[2].app, "POST", PATH, {}, [body])
        for desk in desks:
            await desk.router.aclose()
        return [int(answer.headers["x-pointsman-attempts"]), answer.status]

    assert asyncio.run(run()) == [1, 200]
