"""Plans from web servers, S3 and Cloud Storage: asked by ETag, bounded, from nowhere but where they were said to be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import boto3
import pytest
from moto.server import ThreadedMotoServer

from runtime.serve import remote as room
from runtime.serve.remote import AddressError, remote
from runtime.serve.source import Fetched, Source, SourceError
from tests.artefact.fakes import Wall
from tests.providers.scripted import Provider, Script, Talk

ETAG = ("etag", '"one"')


def whole(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Script:
    async def script(talk: Talk) -> None:
        await talk.whole(status, body, *headers)

    return script


def play(scenario: Callable[[Provider], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20), Provider() as provider:
            await scenario(provider)

    asyncio.run(bounded())


def web(provider: Provider, query: str = "") -> Source:
    return remote(f"http://127.0.0.1:{provider.port}/plans/chat.plan{query}", {})


# --- what every place has in common ---------------------------------------------------------------


def test_it_is_fetched_once_and_asked_for_by_its_etag_from_then_on() -> None:
    async def scenario(provider: Provider) -> None:
        provider.then(whole(200, b"plan 1", ETAG), whole(304), whole(200, b"plan 2", ("etag", 'W/"two"')))
        source = web(provider, "?signature=s3cr3t")
        first = await source.fetch(None)
        assert first == Fetched(b"plan 1", '"one"')
        assert await source.fetch('"one"') is None
        assert await source.fetch('"one"') == Fetched(b"plan 2", 'W/"two"')
        asked = provider.received
        assert [request.headers.get("if-none-match") for request in asked] == [None, '"one"', '"one"']
        assert {request.path for request in asked} == {"/plans/chat.plan?signature=s3cr3t"}
        assert "s3cr3t" not in source.name
        await provider.until_all_closed()  # nothing lies idle between looks

    play(scenario)


def test_without_an_etag_the_content_is_the_mark() -> None:
    async def scenario(provider: Provider) -> None:
        provider.then(whole(200, b"same"), whole(200, b"same"), whole(200, b"other"))
        source = web(provider)
        first = await source.fetch(None)
        assert first is not None
        assert await source.fetch(first.tag) is None
        assert (await source.fetch(first.tag) or first).data == b"other"
        assert all("if-none-match" not in request.headers for request in provider.received)

    play(scenario)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (whole(302, b"", ("location", "http://127.0.0.1:1/")), "redirects are not followed"),
        (whole(404), "there is no such plan"),
        (whole(403), "may not read it"),
        (whole(500), "it answers 500"),
        (whole(200, b"x" * 2000), "longer than 1,000 bytes"),
    ],
)
def test_what_is_no_plan_says_so_and_nobody_else_is_asked(
    script: Script, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST_BYTES", 1000)

    async def scenario(provider: Provider) -> None:
        provider.then(script)
        with pytest.raises(SourceError, match=why):
            await web(provider).fetch(None)
        assert len(provider.received) == 1

    play(scenario)


def test_a_body_that_never_ends_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_BYTES", 1000)

    async def endless(talk: Talk) -> None:
        await talk.head()
        while not talk.writer.is_closing():
            await talk.chunk(b"x" * 100)

    async def scenario(provider: Provider) -> None:
        provider.then(endless)
        with pytest.raises(SourceError, match="longer than"):
            await web(provider).fetch(None)

    play(scenario)


def test_a_server_that_says_nothing_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FETCH_S", 0.05)

    async def silent(talk: Talk) -> None:
        await talk.until_closed()

    async def scenario(provider: Provider) -> None:
        provider.then(silent)
        with pytest.raises(SourceError, match="no answer within"):
            await web(provider).fetch(None)

    play(scenario)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    async def scenario(provider: Provider) -> None:
        source = web(provider)
        await provider.stop()
        with pytest.raises(SourceError):
            await source.fetch(None)

    play(scenario)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("http://example.com/x.plan", "use https"),
        ("https://user:pass@example.com/x.plan", "has a user"),
        ("https://example.com/", "lacks"),
        ("s3://bucket", "lacks"),
        ("s3:///key", "lacks"),
        ("ftp://example.com/x.plan", "neither a file nor an address of https, s3, gs"),
        ("https://example.com/x.plan#1", "fragment"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_and_its_secrets_are_not_told(where: str, why: str) -> None:
    with pytest.raises(AddressError, match=why) as refused:
        remote(where, {})
    assert "pass" not in str(refused.value)


# --- S3 -------------------------------------------------------------------------------------------

KEYS = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_REGION": "eu-west-1"}


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, Any]]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="AK", aws_secret_access_key="SK", region_name="eu-west-1"
    )
    client.create_bucket(Bucket="plans", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield url, client
    server.stop()


@pytest.mark.slow
def test_s3_gives_the_object_once_and_again_when_it_has_changed(s3: tuple[str, Any]) -> None:
    url, client = s3
    client.put_object(Bucket="plans", Key="a b/chat.plan", Body=b"plan 1")
    source = remote("s3://plans/a b/chat.plan", {**KEYS, "AWS_ENDPOINT_URL_S3": url})

    async def scenario() -> None:
        first = await source.fetch(None)
        assert first is not None
        assert first.data == b"plan 1"
        assert await source.fetch(first.tag) is None
        client.put_object(Bucket="plans", Key="a b/chat.plan", Body=b"plan 2")
        second = await source.fetch(first.tag)
        assert second is not None
        assert (second.data, second.tag == first.tag) == (b"plan 2", False)
        with pytest.raises(SourceError, match="there is no such plan"):
            await remote("s3://plans/none", {**KEYS, "AWS_ENDPOINT_URL_S3": url}).fetch(None)

    asyncio.run(scenario())


def test_a_bucket_of_another_region_is_asked_there() -> None:
    async def scenario(provider: Provider) -> None:
        moved = whole(301, b"", ("x-amz-bucket-region", "ap-south-1"))
        provider.then(moved, whole(200, b"plan", ETAG), whole(304))
        source = remote("s3://plans/k", {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{provider.port}"})
        assert await source.fetch(None) == Fetched(b"plan", '"one"')
        assert await source.fetch('"one"') is None
        scopes = [request.headers["authorization"].split("/")[2] for request in provider.received]
        assert scopes == ["eu-west-1", "ap-south-1", "ap-south-1"]
        assert "if-none-match" in provider.received[2].headers["authorization"]

    play(scenario)


@pytest.mark.parametrize(
    ("bucket", "url"),
    [
        ("plans", "https://plans.s3.eu-west-1.amazonaws.com/a%20b/c.plan"),
        ("my.plans", "https://s3.eu-west-1.amazonaws.com/my.plans/a%20b/c.plan"),
    ],
)
def test_a_bucket_is_a_host_of_its_own_unless_it_has_a_dot(bucket: str, url: str) -> None:
    source = cast("room.RemoteSource", remote(f"s3://{bucket}/a b/c.plan", KEYS))
    assert cast("room.S3", source._place)._url() == url


def test_who_is_nobody_at_aws_is_told_so() -> None:
    source = remote("s3://plans/k", {"AWS_EC2_METADATA_DISABLED": "true"})
    with pytest.raises(SourceError, match="AWS_ACCESS_KEY_ID"):
        asyncio.run(source.fetch(None))


# --- Cloud Storage --------------------------------------------------------------------------------


def test_cloud_storage_is_asked_with_the_token_of_the_service_account_until_it_expires() -> None:
    token = json.dumps({"access_token": "tok", "expires_in": 3600, "token_type": "Bearer"}).encode()

    async def scenario(provider: Provider) -> None:
        at, wall = f"127.0.0.1:{provider.port}", Wall()
        provider.then(whole(200, token), whole(200, b"plan", ETAG), whole(304), whole(200, token), whole(304))
        environ = {"GCE_METADATA_HOST": at, "STORAGE_EMULATOR_HOST": at}
        source = remote("gs://plans/prod/chat.plan", environ, wall)
        assert await source.fetch(None) == Fetched(b"plan", '"one"')
        assert await source.fetch('"one"') is None
        wall.now_s += 3550
        assert await source.fetch('"one"') is None
        paths = [request.path for request in provider.received]
        token_path, plan_path = room.GOOGLE_TOKEN_PATH, "/plans/prod/chat.plan"
        assert paths == [token_path, plan_path, plan_path, token_path, plan_path]
        assert provider.received[0].headers["metadata-flavor"] == "Google"
        assert provider.received[1].headers["authorization"] == "Bearer tok"

    play(scenario)


def test_where_there_is_no_metadata_service_a_public_object_is_read_by_anybody() -> None:
    async def scenario(provider: Provider) -> None:
        provider.then(whole(200, b"plan", ETAG))
        at = f"http://127.0.0.1:{provider.port}"
        source = remote("gs://plans/k", {"GCE_METADATA_HOST": "127.0.0.1:1", "STORAGE_EMULATOR_HOST": at})
        assert await source.fetch(None) == Fetched(b"plan", '"one"')
        assert "authorization" not in provider.received[0].headers

    play(scenario)
