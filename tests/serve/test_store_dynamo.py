"""Limits shared through DynamoDB (moto's): never overspent, each exchange once, and leases given back."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from urllib.request import Request, urlopen

import msgspec
import pytest
from moto.server import ThreadedMotoServer

from router_dsl.plan import Limit
from runtime.dispatch.aws import Aws
from runtime.dispatch.pool import Http1Transport
from runtime.limits.lease import Exchange
from runtime.serve.leases import Leases
from runtime.serve.settings import SettingError, Settings
from runtime.serve.stores.dynamo import DynamoStore
from runtime.serve.stores.opening import open_store
from runtime.serve.stores.store import StoreError
from runtime.sim.transport import SimTransport
from tests.serve.desk import PATH, Answer, Desk, Events, ask

DAY = 86400.0
KEYS = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_REGION": "eu-west-1"}
TABLE = {
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {**KEYS, "AWS_ENDPOINT_URL_DYNAMODB": f"http://{host}:{port}"}
    # moto keeps its tables for the whole process, and other tests count theirs.
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    server.stop()


class Table:
    """One table, and the transport to it."""

    def __init__(self, environ: dict[str, str], name: str) -> None:
        self.transport = Http1Transport()
        self.aws = Aws(environ, self.transport)
        self.name = name

    async def call(self, what: str, **said: object) -> dict[str, object]:
        body = {"TableName": self.name, **said}
        answer = await self.aws.json("dynamodb", f"DynamoDB_20120810.{what}", body, within_s=10, version="1.0")
        return msgspec.json.decode(answer, type=dict[str, object])

    async def spent(self) -> int:
        found = await self.call("Scan")
        return sum(int(item["spent"]["N"]) for item in found["Items"])  # type: ignore[attr-defined]

    def store(self) -> DynamoStore:
        return DynamoStore(self.aws, self.name, "pointsman:")


@pytest.mark.slow
def test_whatever_instances_ask_the_table_never_grants_more_than_there_is(environ: dict[str, str]) -> None:
    draw, amount = random.Random(3), 500
    slot = int(time.time() / (DAY / 60))

    async def run() -> None:
        table = Table(environ, "exchanges")
        await table.call("CreateTable", **TABLE)
        stores = {name: table.store() for name in "abc"}
        numbers, left, spent = dict.fromkeys("abc", 0), dict.fromkeys("abc", 0), 0
        last: dict[str, Exchange] = {}
        for _ in range(120):
            name = draw.choice("abc")
            if name in last and draw.random() < 0.2:  # an answer that was lost, and is asked for again
                (again,) = await stores[name].exchange([last[name]])
                assert again.granted == left[name]
                continue
            numbers[name] += 1
            used = draw.randint(0, left[name])
            keep = left[name] - used
            most = max(draw.choice([0, 1, 40, 200]), keep)
            last[name] = Exchange(
                "k", name, numbers[name], ((slot, used),), draw.randint(0, most), most, keep, amount, DAY, 30.0, 0.0
            )
            (answer,) = await stores[name].exchange([last[name]])
            assert answer.granted >= keep
            assert answer.used == spent + used + sum(left.values()) - left[name]
            left[name], spent = answer.granted, spent + used
            assert spent + sum(left.values()) <= amount
            assert await table.spent() == spent + sum(left.values())
        await table.transport.aclose()

    asyncio.run(run())


@pytest.mark.slow
def test_instances_that_hammer_one_budget_do_not_overspend_it_and_give_back_what_they_held(
    environ: dict[str, str],
) -> None:
    async def run() -> tuple[int, int]:
        table = Table(environ, "hammered")
        await table.call("CreateTable", **TABLE)
        taken = 0

        async def instance() -> None:
            nonlocal taken
            leases = Leases(table.store(), "p", 20.0, Events(), closed=True)
            lease = leases.open(Limit("l", None, 300, "tokens", int(DAY), ("user",), False), ("anna",))
            for _ in range(25):
                await leases.renew([(lease, 7)])
                if lease.wait_s(7, time.time()) == 0:
                    at = lease.take(7, time.time())
                    lease.correct(at, -2)
                    taken += 5
                    leases.tell_soon()
            await leases.aclose()

        await asyncio.gather(*(instance() for _ in range(4)))
        spent = await table.spent()
        await table.transport.aclose()
        return taken, spent

    taken, spent = asyncio.run(run())
    assert 200 < taken <= 300
    assert spent == taken  # nothing is held any more


POLICY = """
provider one { url "sim://one?ttft=1ms"  protocol sim }
model small { serve one "up-small"  price $1 in $2 out }
limit calls: when user == anna  3 requests per day by user
policy p { otherwise -> small }
"""


@pytest.mark.slow
def test_two_routers_share_a_limit(environ: dict[str, str]) -> None:
    async def run() -> list[Answer]:
        table = Table(environ, "routers")
        await table.call("CreateTable", **TABLE)
        desks = [
            Desk(
                POLICY,
                settings=Settings(store="dynamodb://routers?region=eu-west-1", store_timeout_s=10.0),
                environ=environ,
                transports={"sim": SimTransport(), "openai": Http1Transport()},
            )
            for _ in range(2)
        ]
        body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "x"}], "user": "anna"}).encode()
        answers = [await ask(at.app, "POST", PATH, {}, [body]) for _ in range(3) for at in desks]
        for at in desks:
            await at.router.aclose()
        await table.transport.aclose()
        return answers

    assert sorted(answer.status for answer in asyncio.run(run())) == [200] * 3 + [429] * 3


def test_a_table_that_is_not_there_is_a_store_that_failed(environ: dict[str, str]) -> None:
    async def run() -> None:
        table = Table(environ, "nowhere")
        asked = Exchange("k", "a", 1, (), 1, 1, 0, 10, DAY, 30.0, 0.0)
        with pytest.raises(StoreError, match="ResourceNotFoundException"):
            await table.store().exchange([asked])
        await table.transport.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("url", ["dynamodb://", "dynamodb://t/x", "dynamodb://t?zone=eu"])
def test_an_address_that_names_no_table_refuses_to_start(url: str) -> None:
    with pytest.raises(SettingError, match="dynamodb://TABLE"):
        open_store(url, KEYS, {"openai": Http1Transport()})
