"""Limits shared through a real Redis: counted together, exactly once, and nobody waits for it for long."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from redis import Redis

from router_dsl.plan import Limit
from runtime.limits.lease import Exchange, Lease
from runtime.serve.leases import Leases
from runtime.serve.settings import SettingError, Settings
from runtime.serve.stores.opening import open_store
from tests.limits.ledger import Ledger
from tests.serve.desk import HELLO, PATH, Answer, Desk, Events, ask
from tests.serve.redis_server import RedisServer, redis_server

ROOT = Path(__file__).resolve().parents[2]
DAY = 86400.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    with Redis.from_url(shared.url) as client:
        client.flushall()
    return shared


def spent(server: RedisServer) -> int:
    """Return what the store has heard was spent, in all."""
    with Redis.from_url(server.url) as client:
        accounts = [msgspec.msgpack.decode(client.get(key)) for key in client.keys("pointsman:*")]  # type: ignore[union-attr, arg-type]
    return sum(sum(slots.values()) for slots, _ in accounts if slots)


def exchange(number: int, name: str = "a", *, deltas: tuple[tuple[int, int], ...] = (), **said: int) -> Exchange:
    wanted = {"least": 0, "most": 0, "keep": 0, **said}
    return Exchange("k", name, number, deltas, *wanted.values(), 1000, DAY, 30.0, time.time())


@pytest.mark.slow
def test_the_script_does_what_the_ledger_does(server: RedisServer) -> None:
    draw, ledger, slot = random.Random(7), Ledger(), int(time.time() / (DAY / 60))
    numbers = dict.fromkeys("abcd", 0)

    async def run() -> None:
        store = open_store(server.url, {}, {})
        for _ in range(400):
            name = draw.choice("abcd")
            numbers[name] += draw.random() < 0.8  # else it is repeated
            numbers[name] = max(1, numbers[name])
            most = draw.choice([0, 5, 50, 400])
            asked = exchange(
                numbers[name], name,
                deltas=tuple((slot - draw.randint(0, 70), draw.randint(-30, 60)) for _ in range(draw.randint(0, 3))),
                least=draw.randint(0, most), most=most, keep=draw.randint(0, most),
            )  # fmt: skip
            (told,) = await store.exchange([asked])
            expected = ledger.exchange(asked, time.time())
            assert (told.granted, told.used) == (expected.granted, expected.used)
            assert abs(told.wait_s - expected.wait_s) < 1
            assert abs(told.reset_s - expected.reset_s) < 1
        await store.aclose()

    asyncio.run(run())


def leases(server: RedisServer, told: Events, *, timeout_s: float = 0.25, closed: bool = False) -> Leases:
    return Leases(open_store(server.url, {}, {}), "p", timeout_s, told, closed=closed)


LIMIT = Limit("l", None, 300, "requests", int(DAY), ("user",), False)

HAMMER = """
import asyncio, sys, time
from router_dsl.plan import Limit
from runtime.serve.leases import Leases
from runtime.serve.stores.opening import open_store

async def main(url, amount):
    leases = Leases(open_store(url, {}, {}), "p", 5.0, print, closed=True)
    lease = leases.open(Limit("l", None, amount, "requests", 86400, ("user",), False), ("anna",))
    print("ready", flush=True)
    sys.stdin.readline()
    taken = 0
    async def one():
        nonlocal taken
        await leases.renew([(lease, 1)])
        if lease.wait_s(1, time.time()) == 0:
            lease.take(1, time.time())
            taken += 1
            leases.tell_soon()
    for _ in range(60):
        await asyncio.gather(*(one() for _ in range(20)))
    await leases.aclose()
    print(taken)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("amount", [300, 50_000])
def test_processes_that_hammer_one_budget_do_not_overspend_it(server: RedisServer, amount: int) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, server.url, str(amount)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    taken = [int(worker.communicate(timeout=60)[0].split()[-1]) for worker in workers]
    # A process may end while it holds a lease that nobody gets round to using.
    assert 0.9 * min(amount, 4 * 1200) <= sum(taken) <= amount
    assert spent(server) == sum(taken)


def test_a_store_that_stalls_holds_nobody_up_and_hears_of_everything_later(server: RedisServer) -> None:
    told = Events()

    async def run() -> float:
        shared = leases(server, told, timeout_s=0.1)
        lease = shared.open(LIMIT, ("anna",))

        async def one() -> None:
            await shared.renew([(lease, 1)])
            assert lease.wait_s(1, time.time()) == 0
            lease.take(1, time.time())

        await one()
        server.stall()
        began_s = time.monotonic()
        await asyncio.gather(*(one() for _ in range(20)))
        for _ in range(20):
            await one()
        waited_s = time.monotonic() - began_s
        server.go_on()
        while shared._dirty or shared._flights or lease._doubt:
            await shared.tell()
            await asyncio.sleep(0.01)
        await shared.aclose()
        return waited_s

    waited_s = asyncio.run(run())
    assert waited_s < 2  # 40 requests that each waited for the time-out would take 4 s
    assert spent(server) == 41
    assert [event["event"] for event in told.seen] == ["store_failed", "store_back"]


def test_a_store_that_is_gone_leaves_each_instance_to_itself_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_server(tmp_path) as own:
        told = Events()

        async def run() -> int:
            shared = leases(own, told)
            lease = shared.open(LIMIT, ("anna",))
            own.stop()
            taken = 0
            for _ in range(400):
                await shared.renew([(lease, 1)])
                if lease.wait_s(1, time.time()) == 0:
                    lease.take(1, time.time())
                    taken += 1
            own.start()
            while shared._dirty or shared._flights or lease._doubt:
                await shared.tell()
                await asyncio.sleep(0.01)
            await shared.aclose()
            return taken

        assert asyncio.run(run()) == 300  # the whole limit, by itself
        assert spent(own) == 300


POLICY = """
provider one { url "sim://one?ttft=1ms"  protocol sim }
model small { serve one "up-small"  price $1 in $2 out }
model cheap { serve one "up-cheap"  price $0.10 in $0.10 out }
limit calls: when user == anna  5 requests per day by user
limit words: when user == otto  3k tokens per day by user
limit spend: when user == emil  $0.0003 per day by user soft
policy p { broke: when over spend -> cheap  otherwise -> small }
"""


def desk(server: RedisServer, **more: object) -> Desk:
    return Desk(POLICY, settings=Settings(store=server.url, **more))  # type: ignore[arg-type]


async def post(at: Desk, user: str) -> Answer:
    body = json.dumps({"model": "small", "messages": HELLO, "user": user}).encode()
    return await ask(at.app, "POST", PATH, {}, [body])


def test_two_routers_share_a_limit(server: RedisServer) -> None:
    async def run() -> list[Answer]:
        one, two = desk(server), desk(server)
        answers = [await post(at, "anna") for _ in range(4) for at in (one, two)]
        await asyncio.gather(one.router.aclose(), two.router.aclose())
        return answers

    answers = asyncio.run(run())
    assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 3
    refused = answers[-1]
    assert "limit `calls` is reached" in str(refused.error["message"])
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


def test_many_at_once_share_a_limit_and_what_they_did_not_use_is_free_again(server: RedisServer) -> None:
    async def run() -> tuple[list[Answer], list[Answer], list[object]]:
        one, two = desk(server), desk(server)
        answers = await asyncio.gather(*(post(at, "otto") for _ in range(6) for at in (one, two)))
        assert one.router.leases is not None
        assert two.router.leases is not None
        await asyncio.gather(one.router.leases.tell(), two.router.leases.tell())
        # Whoever was refused everything believes that for a second.
        again = [await post(at, "otto") for at in (one, two)]
        seen = [event["prompt_tokens"] for at in (one, two) for event in at.log.seen if event["status"] == 200]
        seen += [event["completion_tokens"] for at in (one, two) for event in at.log.seen if event["status"] == 200]
        await asyncio.gather(one.router.aclose(), two.router.aclose())
        return answers, again, seen

    answers, again, tokens = asyncio.run(run())
    # Each reserves about 1,030 tokens, so two fit at once; each uses under a hundred.
    assert sorted(answer.status for answer in answers) == [200] * 2 + [429] * 10
    assert 200 in {answer.status for answer in again}
    assert spent(server) == sum(tokens)  # type: ignore[arg-type]


def test_a_soft_limit_is_over_for_all_of_them(server: RedisServer) -> None:
    async def run() -> list[str]:
        one, two = desk(server), desk(server)
        rules = []
        for _ in range(6):
            rules.append((await post(one, "emil")).headers["x-pointsman-rule"])
            assert one.router.leases is not None
            await one.router.leases.tell()
        await post(two, "emil")  # after one request it knows
        assert two.router.leases is not None
        await two.router.leases.tell()
        rules.append((await post(two, "emil")).headers["x-pointsman-rule"])
        await asyncio.gather(one.router.aclose(), two.router.aclose())
        return rules

    rules = asyncio.run(run())
    assert rules[0] == "otherwise"
    assert rules[-2:] == ["broke", "broke"]


def test_closed_means_refused_while_the_store_does_not_answer(tmp_path: Path) -> None:
    with redis_server(tmp_path) as own:
        own.stop()

        async def run() -> tuple[Answer, Answer]:
            at = desk(own, store_closed=True)
            answers = await post(at, "anna"), await post(at, "bert")
            await at.router.aclose()
            return answers

        refused, other = asyncio.run(run())
    assert (refused.status, refused.error["code"]) == (503, "limits_unavailable")
    assert "retry-after" in refused.headers
    assert other.status == 200  # no limit covers it


@pytest.mark.parametrize("url", ["http://x", "redis", "redis://127.0.0.1:0x/0", "memcached://x"])
def test_an_address_that_names_no_store_refuses_to_start(url: str) -> None:
    with pytest.raises(SettingError, match="POINTSMAN_STORE"):
        open_store(url, {}, {})


def test_a_store_without_its_package_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.delitem(sys.modules, "runtime.serve.stores.redis_store", raising=False)
    with pytest.raises(SettingError, match=r"pip install pointsman\[redis\]"):
        open_store("redis://127.0.0.1", {}, {})


def test_names_in_the_store_give_nobody_away(server: RedisServer) -> None:
    lease = leases(server, Events()).open(LIMIT, ("anna@example.com",))
    assert isinstance(lease, Lease)
    assert "anna" not in lease.key
    assert lease.key.startswith("p:l:")
    assert os.environ.get("POINTSMAN_STORE") is None
