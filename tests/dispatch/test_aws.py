"""Calls to AWS: who we are, where they go, what may go wrong; a DynamoDB of moto's answers the real ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping

import msgspec
import pytest
from moto.server import ThreadedMotoServer

from runtime.dispatch.aws import Aws, AwsError
from runtime.dispatch.pool import Http1Transport
from runtime.dispatch.transport import Outgoing, TransportError
from tests.serve.fakes import FakeResponse

KEYS = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_REGION": "eu-west-1"}


class Scripted:
    """A transport that gives these answers in turn and keeps the requests."""

    def __init__(self, *answers: tuple[int, object] | TransportError) -> None:
        self.answers = list(answers)
        self.asked: list[Outgoing] = []

    async def send(self, request: Outgoing) -> FakeResponse:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, TransportError):
            raise answer
        status, body = answer
        return FakeResponse(status, (), json.dumps(body).encode())

    async def aclose(self) -> None:
        pass


def call(environ: Mapping[str, str], transport: Scripted, *, times: int = 1, now_unix_s: float = 0.0) -> bytes:
    aws = Aws(environ, transport, lambda: now_unix_s)

    async def go() -> bytes:
        for _ in range(times):
            answer = await aws.json("dynamodb", "DynamoDB_20120810.ListTables", {}, within_s=5)
        return answer

    return asyncio.run(go())


def header(request: Outgoing, name: str) -> str:
    return dict(request.headers)[name.encode()].decode()


def test_a_call_goes_to_the_service_of_the_region_and_is_signed() -> None:
    transport = Scripted((200, {"TableNames": []}))
    assert msgspec.json.decode(call(KEYS, transport)) == {"TableNames": []}
    asked = transport.asked[0]
    assert asked.url == "https://dynamodb.eu-west-1.amazonaws.com/"
    assert header(asked, "x-amz-target") == "DynamoDB_20120810.ListTables"
    assert "Credential=AK/19700101/eu-west-1/dynamodb/aws4_request" in header(asked, "authorization")


def test_containers_credentials_are_fetched_once_and_again_before_they_expire() -> None:
    env = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost/creds",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "tok",
        "AWS_REGION": "eu-west-1",
    }

    def issued(key: str) -> dict[str, str]:
        return {"AccessKeyId": key, "SecretAccessKey": "s", "Token": "t", "Expiration": "1970-01-01T01:00:00Z"}

    transport = Scripted((200, issued("ONE")), (200, {}), (200, {}))
    call(env, transport, times=2)
    assert [request.url for request in transport.asked].count("http://localhost/creds") == 1
    assert header(transport.asked[0], "authorization") == "tok"
    assert header(transport.asked[1], "x-amz-security-token") == "t"
    near_its_end = Scripted((200, issued("ONE")), (200, {}), (200, issued("TWO")), (200, {}))
    call(env, near_its_end, times=2, now_unix_s=3400.0)
    assert "Credential=TWO/" in header(near_its_end.asked[3], "authorization")


@pytest.mark.parametrize(
    ("answers", "environ", "code"),
    [
        ([TransportError("connect", "no route", sent=False)], {}, "no_credentials"),
        ([], {"AWS_EC2_METADATA_DISABLED": "true"}, "no_credentials"),
        ([(400, {"__type": "com.amazon#ResourceNotFoundException"})], KEYS, "ResourceNotFoundException"),
        ([(503, "busy")], KEYS, "status_503"),
        ([TransportError("connect", "refused", sent=False)], KEYS, "unreachable"),
    ],
)
def test_what_goes_wrong_has_a_code(
    answers: list[tuple[int, object] | TransportError], environ: Mapping[str, str], code: str
) -> None:
    with pytest.raises(AwsError) as raised:
        call(environ, Scripted(*answers))
    assert raised.value.code == code


def test_no_answer_in_time_is_an_error() -> None:
    class Silent(Scripted):
        async def send(self, request: Outgoing) -> FakeResponse:
            await asyncio.Event().wait()
            raise AssertionError

    aws = Aws(KEYS, Silent())
    with pytest.raises(AwsError, match="timeout"):
        asyncio.run(aws.json("ssm", "AmazonSSM.GetParameter", {}, within_s=0.01))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.slow
def test_a_table_is_made_and_found_over_our_own_transport(moto: str) -> None:
    async def go() -> object:
        transport = Http1Transport()
        aws = Aws({**KEYS, "AWS_ENDPOINT_URL_DYNAMODB": moto}, transport)
        table = {
            "TableName": "spend",
            "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        }
        await aws.json("dynamodb", "DynamoDB_20120810.CreateTable", table, within_s=10, version="1.0")
        found = await aws.json("dynamodb", "DynamoDB_20120810.ListTables", {}, within_s=10, version="1.0")
        with pytest.raises(AwsError, match="ResourceInUseException"):
            await aws.json("dynamodb", "DynamoDB_20120810.CreateTable", table, within_s=10, version="1.0")
        await transport.aclose()
        return msgspec.json.decode(found)

    assert asyncio.run(go()) == {"TableNames": ["spend"]}


def test_a_virtual_machine_s_role_is_asked_for_with_a_token() -> None:
    issued = {"AccessKeyId": "AK2", "SecretAccessKey": "SK2", "Token": "TK2", "Expiration": "2026-11-25T20:00:00Z"}
    transport = Scripted((200, "tok"), (200, "router"), (200, issued), (200, {}))
    call({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1/"}, transport)
    token, role, credentials, asked = transport.asked
    assert (token.method, token.url) == ("PUT", "http://127.0.0.1:1/latest/api/token")
    assert header(role, "x-aws-ec2-metadata-token") == header(credentials, "x-aws-ec2-metadata-token") == '"tok"'
    assert credentials.url.startswith("http://127.0.0.1:1/latest/meta-data/iam/security-credentials/")
    assert header(asked, "x-amz-security-token") == "TK2"
