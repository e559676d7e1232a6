"""What `make package` makes: a zip that holds enough and no more, and stacks that CloudFormation takes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.serverless.events import function_url
from tests.serverless.process import ROOT, plan
from tests.serverless.runtime_api import RuntimeApi

pytestmark = pytest.mark.slow

POLICY = """
provider one { url "sim://one?ttft=1ms&speed=10000"  protocol sim }
provider far { url "https://provider.invalid/v1"  key env.NEVER_SET_KEY }
model small { context 8k  serve one "up-small"  price $0.10 in $0.20 out }
model away { context 8k  serve far "up" }
limit some: 1000 requests per minute by tenant
policy chat {
  odd:   when user matches /^odd[0-9]+$/               -> small
  night: when time.hour@"Europe/Berlin" in 25..26      -> small
  kept:  when temperature == 0                         -> small  cache 1h
  otherwise -> requested else small
}
""".replace("25..26", "22..23")

AUTHORING = re.compile(
    r"router_dsl/(syntax|grammar|load|check|compile|format|lsp|analyse|suite)|handlers/(checked|oracle|pictures)|^lark|^uvicorn|^httpx|^uvloop|^tests|^rules"
)


def built(arguments: list[str], output: Path) -> zipfile.ZipFile:
    """Return the zip; without a registry that can be reached there is none."""
    done = subprocess.run(
        [sys.executable, ROOT / "deploy" / "lambda" / "package.py", *arguments, "-o", output],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        is_ours = done.stderr.startswith("package:")
        (pytest.fail if is_ours or os.environ.get("CI") else pytest.skip)(
            f"no package could be built: {done.stderr[-300:]}"
        )
    return zipfile.ZipFile(output)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("package")


@pytest.fixture(scope="module")
def policy(folder: Path) -> str:
    return str(plan(folder, POLICY))


def test_the_zip_for_lambda_is_small_and_holds_nothing_of_an_author(folder: Path, policy: str) -> None:
    packed = built([policy], folder / "arm" / "pointsman.zip")
    assert os.path.getsize(folder / "arm" / "pointsman.zip") <= 3_000_000
    names = packed.namelist()
    assert {"bootstrap", "policy.plan", "LICENSE"} <= set(names)
    assert not [name for name in names if AUTHORING.search(name)]
    assert packed.getinfo("bootstrap").external_attr >> 16 == 0o100755
    libraries = [name for name in names if name.endswith(".so")]
    assert libraries
    for name in libraries:
        assert "cpython-313-aarch64" in name
        assert struct.unpack_from("<H", packed.read(name), 18)[0] == 183, "AArch64"
    compiled = {Path(name).suffix for name in names if name.startswith("runtime/")}
    assert compiled in ({".pyc"}, {".py"}), "either all of it is compiled, or there is no Python 3.13 here"
    if compiled == {".pyc"}:
        # Magic of 3.13, and: nobody checks the source (PEP 552).
        assert packed.read("runtime/serve/app.pyc")[:8] == b"\xf3\x0d\x0d\x0a\x01\x00\x00\x00"


def test_what_the_zip_holds_is_enough_to_serve_every_page(folder: Path, policy: str) -> None:
    built([policy, "--here"], folder / "here" / "pointsman.zip")
    task = folder / "here" / "task"
    assert not list(task.rglob("*.py"))

    async def scenario() -> None:
        environ = {
            "PATH": "/usr/bin:/bin", "LAMBDA_TASK_ROOT": str(task), "POINTSMAN_POLICY": "policy.plan",
            "POINTSMAN_API_KEYS": "k", "NEVER_SET_KEY": "so that the transport is opened",
        }  # fmt: skip
        async with RuntimeApi() as api:
            process = await asyncio.create_subprocess_exec(
                task / "bootstrap", sys.executable, env={**environ, "AWS_LAMBDA_RUNTIME_API": api.address},
                stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            try:
                mine = {"authorization": "Bearer k"}
                chat = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
                for body in (chat, {**chat, "stream": True}, {**chat, "user": "odd1"}, {**chat, "temperature": 0}):
                    call = api.invoke(function_url(body=body, headers=mine))
                    await call.over.wait()
                    assert call.prelude["statusCode"] == 200, call.raw
                explained = api.invoke(function_url(body=chat, headers={**mine, "x-pointsman-explain": "only"}))
                await explained.over.wait()
                assert json.loads(explained.body)["rule"] == "otherwise"
                for path in ("/v1/models", "/healthz", "/readyz", "/metrics"):
                    call = api.invoke(function_url("GET", path, headers=mine))
                    await call.over.wait()
                    assert call.prelude["statusCode"] == 200, call.raw
            finally:
                process.kill()
                await process.wait()

    asyncio.run(asyncio.wait_for(scenario(), 60))


# --- the stack ------------------------------------------------------------------------------------

Template = Mapping[str, Any]
STAGES: dict[str, list[str]] = {
    "dev": [],
    "prod": [],
    "steady": ["--param", "table=on"],
    "public": ["--param", "apiKeys=sha256:" + "ab" * 32],
    "rest": [],
}


@pytest.fixture(scope="module")
def stacks(folder: Path) -> Iterator[dict[str, Template]]:
    osls = ROOT / "deploy" / "node_modules" / "osls" / "bin" / "serverless.js"
    node = shutil.which("node")
    if node is None or not osls.exists():
        reason = "osls is not here: `make package` fetches it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    # It reads the zip for its digest; any will do.
    artefact = ROOT / "build" / "lambda" / "pointsman.zip"
    made = not artefact.exists()
    if made:
        artefact.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(artefact, "w") as empty:
            empty.writestr("bootstrap", "")
    found: dict[str, Template] = {}
    for stage, more in STAGES.items():
        target = folder / "stacks" / stage
        subprocess.run(
            [node, osls, "package", "--stage", stage, "--package", target, *more],
            cwd=ROOT, env={"PATH": os.environ["PATH"], "HOME": str(folder)}, check=True, capture_output=True,
        )  # fmt: skip
        found[stage] = json.loads((target / "cloudformation-template-update-stack.json").read_text())
    yield found
    if made:
        artefact.unlink()


def of_type(stack: Template, kind: str) -> list[dict[str, Any]]:
    return [each["Properties"] for each in stack["Resources"].values() if each["Type"] == kind]


def test_cloudformation_takes_every_stage(stacks: dict[str, Template], folder: Path) -> None:
    templates = sorted((folder / "stacks").glob("*/cloudformation-template-update-stack.json"))
    assert len(templates) == len(stacks)
    # W3005: a dependency that is said twice, by the framework itself.
    command = [Path(sys.executable).parent / "cfn-lint", "-i", "W3005", "--", *templates]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("stage", STAGES)
def test_the_function_is_ours_on_arm_and_started_by_the_wrapper(stacks: dict[str, Template], stage: str) -> None:
    (function,) = of_type(stacks[stage], "AWS::Lambda::Function")
    assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
    environment = function["Environment"]["Variables"]
    assert environment["AWS_LAMBDA_EXEC_WRAPPER"] == "/var/task/bootstrap"
    assert environment["POINTSMAN_SECRETS"] == {"Ref": "ProviderKeys"}, "the ARN, and no secret"
    assert function["ReservedConcurrentExecutions"] > 0
    assert {alarm["MetricName"] for alarm in of_type(stacks[stage], "AWS::CloudWatch::Alarm")} == {
        "Errors", "Throttles", "Duration",
    }  # fmt: skip


@pytest.mark.parametrize("stage", ["dev", "prod", "steady"])
def test_only_signed_calls_get_in_unless_a_stage_says_otherwise(stacks: dict[str, Template], stage: str) -> None:
    (url,) = of_type(stacks[stage], "AWS::Lambda::Url")
    assert (url["AuthType"], url["InvokeMode"]) == ("AWS_IAM", "RESPONSE_STREAM")
    assert not of_type(stacks[stage], "AWS::Lambda::Permission")


def test_the_public_stage_is_open_to_all_and_has_the_routers_keys(stacks: dict[str, Template]) -> None:
    stack = stacks["public"]
    (url,) = of_type(stack, "AWS::Lambda::Url")
    assert (url["AuthType"], url["InvokeMode"]) == ("NONE", "RESPONSE_STREAM")
    # Both, as new URLs want it since October 2025.
    actions = {permission["Action"] for permission in of_type(stack, "AWS::Lambda::Permission")}
    assert actions == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
    (function,) = of_type(stack, "AWS::Lambda::Function")
    environment = function["Environment"]["Variables"]
    assert environment["POINTSMAN_ANONYMOUS"] == "0"
    assert environment["POINTSMAN_API_KEYS"].startswith("sha256:")


def test_the_rest_stage_streams(stacks: dict[str, Template]) -> None:
    stack = stacks["rest"]
    assert not of_type(stack, "AWS::Lambda::Url")
    streams = [method["Integration"] for method in of_type(stack, "AWS::ApiGateway::Method")]
    assert [each["ResponseTransferMode"] for each in streams if each["Type"] == "AWS_PROXY"] == ["STREAM"]
    assert "response-streaming-invocations" in json.dumps(streams)


def test_snapshots_and_environments_kept_ready_are_by_stage(stacks: dict[str, Template]) -> None:
    snapshots = {stage: "SnapStart" in of_type(stack, "AWS::Lambda::Function")[0] for stage, stack in stacks.items()}
    assert {stage for stage, has in snapshots.items() if has} == {"prod", "public", "rest"}
    kept = {stage for stage, stack in stacks.items() if "ProvisionedConcurrencyConfig" in json.dumps(stack)}
    assert kept == {"steady"}


def test_the_table_is_there_when_it_is_asked_for(stacks: dict[str, Template]) -> None:
    with_table = {stage for stage, stack in stacks.items() if of_type(stack, "AWS::DynamoDB::Table")}
    assert with_table == {"steady"}
    (table,) = of_type(stacks["steady"], "AWS::DynamoDB::Table")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"]["Enabled"]
    (function,) = of_type(stacks["steady"], "AWS::Lambda::Function")
    assert function["Environment"]["Variables"]["POINTSMAN_STORE"] == {
        "Fn::Join": ["", ["dynamodb://", {"Ref": "Table"}]]
    }


def test_the_lock_names_no_host() -> None:
    lock = json.loads((ROOT / "deploy" / "package-lock.json").read_text())
    assert not [name for name, entry in lock["packages"].items() if "resolved" in entry]
