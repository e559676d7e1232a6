"""The whole function as a process: from an event to a simulated provider's stream, frozen, stopped, refused."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine, Iterator
from hashlib import sha256
from pathlib import Path

import openai
import pytest
from moto.server import ThreadedMotoServer

from handlers.aws_lambda import Gateway
from handlers.lambda_runtime import slot
from handlers.lambda_runtime.loop import serve
from handlers.lambda_runtime.slot import Terms
from runtime.dispatch.aws import Aws
from runtime.dispatch.pool import Http1Transport
from tests.providers import scripted
from tests.serve.test_light_imports import AUTHORING, FRAMEWORKS
from tests.serverless.events import balancer, function_url, http_api, rest_api
from tests.serverless.front import front
from tests.serverless.process import plan, runtime
from tests.serverless.runtime_api import RuntimeApi

pytestmark = pytest.mark.slow

OWN = ("handlers", "runtime", "router_dsl")
# What the tests' environment and the interpreter bring in themselves; msgspec takes the last one where it is there.
ENVIRONMENT = (
    "_distutils_hack",
    "distutils-precedence",
    "sitecustomize",
    "usercustomize",
    "org",
    "typing_extensions",
    "imported package",
)

CHAT: dict[str, object] = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}


def run(scenario: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def chunks(body: bytes) -> list[dict[str, object]]:
    events = [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    return [json.loads(event) for event in events[:-1]]


def test_every_front_gets_its_answer_and_a_light_process_gives_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RuntimeApi() as api, runtime(api.address, plan(tmp_path), "-X", "importtime") as process:
            stream = api.invoke(function_url(body={**CHAT, "stream": True}))
            await stream.over.wait()
            assert stream.fault is None
            assert stream.prelude["statusCode"] == 200
            headers = stream.prelude["headers"]
            assert isinstance(headers, dict)
            assert headers["content-type"].startswith("text/event-stream")
            assert headers["x-pointsman-endpoint"] == "small@one"
            assert len(chunks(stream.body)) > 2
            for event in (http_api(body=CHAT, stage="prod"), balancer(body=CHAT)):
                call = api.invoke(event)
                await call.over.wait()
                assert call.document["statusCode"] == 200
                answer = json.loads(str(call.document["body"]))
                assert answer["choices"][0]["message"]["content"]
            rest = api.invoke(rest_api(body=CHAT))
            await rest.over.wait()
            assert json.loads(rest.body)["object"] == "chat.completion"
            assert process.stdout is not None
            line = json.loads(await process.stdout.readline())
            assert (line["endpoint"], line["end"]) == ("small@one", "complete")
            process.send_signal(signal.SIGTERM)
            _, told = await process.communicate()
            assert process.returncode == 0
            loaded = {
                row.rpartition("|")[2].strip()
                for row in told.decode().splitlines()
                if "import time:" in row and "[us]" not in row
            }
            assert "runtime.dispatch.dispatcher" in loaded
            others = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - set(OWN) - set(ENVIRONMENT)
            assert others <= {"msgspec", "httptools"}, "a library that a start now pays for"
            heavy = ("email", "http.client", "urllib.request", "multiprocessing", "uvloop", "boto3")
            for unwanted in (*AUTHORING, *FRAMEWORKS, *heavy):
                found = [name for name in loaded if name == unwanted or name.startswith(unwanted + ".")]
                assert not found, found

    run(scenario())


def test_tokens_reach_lambda_as_they_are_made(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RuntimeApi() as api, runtime(api.address, plan(tmp_path)):
            call = api.invoke(function_url(body={**CHAT, "model": "drip", "stream": True, "max_tokens": 10}))
            await call.until(b'"content":"')
            assert not call.over.is_set(), "the first token came before the last one was made"
            await call.over.wait()
            assert len(call.pieces) > 5

    run(scenario())


def test_openais_sdk_streams_through_a_function_url(tmp_path: Path) -> None:
    async def scenario() -> None:
        key = "sk-of-a-client"
        environ = {"POINTSMAN_ANONYMOUS": "0", "POINTSMAN_API_KEYS": "sha256:" + sha256(key.encode()).hexdigest()}
        async with RuntimeApi() as api, runtime(api.address, plan(tmp_path), **environ), front(api) as url:
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
                texts = []
                stream = await client.chat.completions.create(
                    model="small", messages=[{"role": "user", "content": "Hello"}], stream=True
                )
                async for piece in stream:
                    texts.append(piece.choices[0].delta.content or "" if piece.choices else "")
                whole = await client.chat.completions.create(
                    model="small", messages=[{"role": "user", "content": "Hello"}]
                )
                assert "".join(texts)
                assert whole.choices[0].message.content
                assert [model.id async for model in client.models.list()] == ["small", "drip"]
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as stranger:
                with pytest.raises(openai.AuthenticationError):
                    await stranger.models.list()

    run(scenario())


def test_a_stream_whose_time_is_up_ends_in_its_own_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RuntimeApi() as api, runtime(api.address, plan(tmp_path)):
            await api.until_asked()
            body = {**CHAT, "model": "drip", "stream": True, "max_tokens": 1000}
            call = api.invoke(function_url(body=body), timeout_s=slot.MARGIN_S + slot.LAST_WORDS_S + 0.5)
            await call.over.wait()
            assert call.fault is None
            last = json.loads(call.body.rstrip().rpartition(b"data: ")[2])
            assert last["choices"][0]["finish_reason"] == "error"
            assert last["error"]["message"]
            await api.until_asked(2)
            again = api.invoke(function_url(body=CHAT))
            await again.over.wait()
            assert again.prelude["statusCode"] == 200

    run(scenario())


def test_a_function_that_was_frozen_serves_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scripted.Provider() as provider:
            policy = f"""
provider far {{ url "{provider.url}" }}
model small {{ context 8k  serve far "up" }}
policy chat {{ otherwise -> requested else small }}
"""
            provider.then(scripted.unary("one"), scripted.unary("two"), scripted.unary("three"))
            async with RuntimeApi() as api, runtime(api.address, plan(tmp_path, policy)) as process:
                await api.until_asked()
                await api.invoke(function_url(body=CHAT)).over.wait()
                await api.until_asked(2)
                process.send_signal(signal.SIGSTOP)
                # Frozen, it hears nothing of a provider that closes the connection.
                provider.talks[-1].writer.close()
                await provider.until(lambda: provider.open == 0)
                call = api.invoke(function_url(body=CHAT))
                process.send_signal(signal.SIGCONT)
                await call.over.wait()
                assert call.prelude["statusCode"] == 200
                assert b"two" in call.body

    run(scenario())


def test_after_a_long_gap_no_connection_of_before_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with scripted.Provider() as provider, RuntimeApi() as api:
            policy = f"""
provider far {{ url "{provider.url}" }}
model small {{ context 8k  serve far "up" }}
policy chat {{ otherwise -> requested else small }}
"""
            environ = {"POINTSMAN_POLICY": str(plan(tmp_path, policy)), "POINTSMAN_ANONYMOUS": "1"}
            stop = asyncio.Event()
            host = Gateway(environ, may_freeze=True)
            serving = asyncio.create_task(serve(host, {"AWS_LAMBDA_RUNTIME_API": api.address}, Terms(), stop))
            for connections, gap_s in ((1, 20.0), (1, 20.0), (2, 0.0)):
                monkeypatch.setattr(slot, "LONG_GAP_S", gap_s)
                call = api.invoke(function_url(body=CHAT))
                await call.over.wait()
                assert call.prelude["statusCode"] == 200
                assert provider.connections == connections
                await api.until_asked(len(provider.received) + 1)
            stop.set()
            assert await serving == 0

    run(scenario())


def test_a_function_open_to_everyone_by_mistake_does_not_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RuntimeApi() as api, runtime(api.address, plan(tmp_path), POINTSMAN_ANONYMOUS="0") as process:
            _, told = await process.communicate()
            assert process.returncode == 1
            assert b"POINTSMAN_API_KEYS" in told
            assert api.init_error is not None
            assert api.init_error["errorType"] == "Function.StartFailed"

    run(scenario())


def test_a_broken_plan_does_not_start(tmp_path: Path) -> None:
    path = plan(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])

    async def scenario() -> None:
        async with RuntimeApi() as api, runtime(api.address, path) as process:
            _, told = await process.communicate()
            assert process.returncode == 1
            assert b"policy.plan" in told
            assert api.init_error is not None

    run(scenario())


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_secrets_named_by_their_arn_open_the_providers(tmp_path: Path, moto: str) -> None:
    secrets = {"far": "key-far", "NEAR_KEY": "key-near", "POINTSMAN_API_KEYS": "k"}
    environ = {
        "AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": moto,
    }  # fmt: skip
    parameter = "arn:aws:ssm:eu-west-1:123456789012:parameter/p/third"

    async def scenario() -> None:
        transport = Http1Transport()
        aws = Aws(environ, transport)
        secret = {"Name": "pointsman", "ClientRequestToken": "t" * 32, "SecretString": json.dumps(secrets)}
        told = await aws.json("secretsmanager", "secretsmanager.CreateSecret", secret, within_s=10)
        third = {"Name": "/p/third", "Value": "key-third", "Type": "SecureString"}
        await aws.json("ssm", "AmazonSSM.PutParameter", third, within_s=10)
        await transport.aclose()
        kept = json.loads(told)["ARN"]
        async with scripted.Provider() as provider:
            policy = f"""
provider far   {{ url "{provider.url}"  key secret "far" }}
provider near  {{ url "{provider.url}"  key env.NEAR_KEY }}
provider third {{ url "{provider.url}"  key secret "third" }}
model far {{ context 8k  serve far "up" }}
model near {{ context 8k  serve near "up" }}
model third {{ context 8k  serve third "up" }}
policy chat {{ otherwise -> requested }}
"""
            provider.then(*(scripted.unary("hi") for _ in range(3)))
            wanted = {"POINTSMAN_SECRETS": f"{kept}, third={parameter}", "POINTSMAN_ANONYMOUS": "0"}
            async with RuntimeApi() as api, runtime(api.address, plan(tmp_path, policy), **environ, **wanted):
                for model in ("far", "near", "third"):
                    body = {**CHAT, "model": model}
                    call = api.invoke(function_url(body=body, headers={"authorization": "Bearer k"}))
                    await call.over.wait()
                    assert call.prelude["statusCode"] == 200, call.raw
                    assert provider.received[-1].headers["authorization"] == f"Bearer key-{model}"

    run(scenario())


def test_a_secret_that_cannot_be_had_does_not_start_and_is_named(tmp_path: Path, moto: str) -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:missing-AbCdEf"
    environ = {
        "AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_ENDPOINT_URL": moto, "POINTSMAN_SECRETS": arn,
    }  # fmt: skip

    async def scenario() -> None:
        async with RuntimeApi() as api, runtime(api.address, plan(tmp_path), **environ) as process:
            await process.wait()
            assert process.returncode == 1
            assert api.init_error is not None
            assert arn in str(api.init_error["errorMessage"])

    run(scenario())
