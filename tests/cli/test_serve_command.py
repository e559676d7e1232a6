"""`pointsman serve` as an operator meets it: a process, its address, its words, its end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from handlers.cli.build import write
from handlers.cli.main import main
from router_dsl.plan import encode
from tests.serve.desk import POLICY, compiled

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60


@contextmanager
def serving(
    *arguments: str, environ: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Run `pointsman serve` on a free port; gives the process, the port and what it said before it began."""
    process = subprocess.Popen(
        [sys.executable, "-m", "handlers.cli.main", "serve", "--port", "0", *arguments],
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = ""
        # The greeting ends with the body of the curl.
        for line in process.stderr:
            said += line
            if "-d '" in line:
                break
        found = re.search(r"http://[^ ]*:(\d+)/v1", said)
        assert found, said
        yield process, int(found[1]), said
    finally:
        process.kill()
        process.communicate(timeout=TIMEOUT_S)


def post(port: int, body: object, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


HELLO = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.slow
def test_it_serves_says_so_logs_and_ends_in_order(tmp_path: Path) -> None:
    path = tmp_path / "chat.route"
    path.write_text(POLICY)
    with serving(str(path)) as (process, port, said):
        assert "chat@" in said
        assert "one, two, dead" in said
        assert "keyed (NEVER_SET_KEY)" in said
        assert "small (gpt-4o-mini, vendor/small)" in said
        assert f"curl -i http://127.0.0.1:{port}/v1/chat/completions" in said
        status, headers, body = post(port, HELLO)
        assert status == 200
        assert headers["x-pointsman-rule"] == "otherwise"
        assert "server" not in headers
        assert json.loads(body)["object"] == "chat.completion"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert err.strip() == ""
    begun, request = (json.loads(line) for line in out.splitlines())
    assert begun["event"] == "serving"
    assert (request["event"], request["status"], request["endpoint"]) == ("request", 200, "small@one")


@pytest.mark.slow
def test_the_pasted_curl_works(tmp_path: Path) -> None:
    plan = tmp_path / "chat.plan"
    plan.write_bytes(encode(compiled(POLICY)))
    with serving(str(plan)) as (_, _, said):
        command = said[said.index("curl -i") :]
        done = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    if done.returncode == 127:
        pytest.skip("there is no curl here")
    assert "HTTP/1.1 200 OK" in done.stdout
    assert "x-pointsman-endpoint: small@one" in done.stdout


@pytest.mark.slow
def test_without_a_file_the_environment_or_the_package_says_what_is_served(tmp_path: Path) -> None:
    path = tmp_path / "mine.route"
    path.write_text(POLICY)
    with serving(environ={"POINTSMAN_POLICY": str(path)}) as (_, _, said):
        assert "mine.route" in said
    with serving(environ={"POINTSMAN_POLICY": ""}) as (_, port, said):
        assert "default.route" in said
        status, _, _ = post(port, {**HELLO, "model": "small"})
        assert status == 200


@pytest.mark.slow
def test_clients_need_one_of_the_keys_when_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "chat.route"
    path.write_text(POLICY)
    environ = {"POINTSMAN_API_KEYS": "sk-1"}
    with serving(str(path), "--host", "0.0.0.0", environ=environ) as (_, port, said):
        assert "1 api key" in said
        assert "authorization: Bearer $" in said
        assert post(port, HELLO)[0] == 401
        assert post(port, HELLO, authorization="Bearer sk-1")[0] == 200


AT_ONCE = {"POINTSMAN_POLICY_REFRESH": "0.02"}


def until_rule(port: int, rule: str) -> None:
    """Ask until this rule decides; every request that finds a check due makes it."""
    for _ in range(600):
        _, headers, _ = post(port, HELLO, **{"x-pointsman-explain": "only"})
        if headers.get("x-pointsman-rule") == rule:
            return
        time.sleep(0.03)
    raise AssertionError(f"`{rule}` never decided")


@pytest.mark.slow
def test_a_plan_that_changes_on_disk_takes_over_and_a_bad_one_does_not(tmp_path: Path) -> None:
    plan = tmp_path / "chat.plan"
    plan.write_bytes(encode(compiled(POLICY)))
    with serving(str(plan), environ=AT_ONCE) as (_, port, _):
        until_rule(port, "otherwise")
        changed = POLICY.replace("cheap:  when model == economy ", "cheap:  when model == small ")
        write(plan, encode(compiled(changed)))
        until_rule(port, "cheap")
        write(plan, b"rubbish")
        for _ in range(200):
            renewal = readyz(port)["renewal"]
            assert isinstance(renewal, dict)
            if renewal["refused"]:
                break
            time.sleep(0.03)
        assert "not a plan" in str(renewal["trouble"])
        until_rule(port, "cheap")


@pytest.mark.slow
def test_a_policy_whose_import_is_edited_is_compiled_and_takes_over(tmp_path: Path) -> None:
    path, models = tmp_path / "chat.route", tmp_path / "models.route"
    declared, rules = POLICY.split("policy chat", 1)
    models.write_text(declared)
    path.write_text('import "models.route"\npolicy chat' + rules)
    with serving(str(path), environ=AT_ONCE) as (_, port, _):
        until_rule(port, "otherwise")
        models.write_text(declared + "let cheaper = model == small\n")
        path.write_text(path.read_text().replace("model == economy ", "cheaper "))
        until_rule(port, "cheap")
        renewal = readyz(port)["renewal"]
        assert isinstance(renewal, dict)
        assert renewal["refused"] == 0
        models.write_text(declared + "let cheaper = modell == small\n")
        for _ in range(400):
            renewal = readyz(port)["renewal"]
            assert isinstance(renewal, dict)
            if renewal["refused"]:
                break
            time.sleep(0.03)
        assert "models.route:" in str(renewal["trouble"])
        assert "E204 unknown fact `modell`" in str(renewal["trouble"])
        models.write_text(declared + "let cheaper = model == large\n")
        until_rule(port, "otherwise")


@pytest.mark.slow
def test_the_fallback_is_served_until_the_policy_is_usable(tmp_path: Path) -> None:
    path, fallback = tmp_path / "chat.plan", tmp_path / "floor.plan"
    fallback.write_bytes(encode(compiled(POLICY)))
    environ = {"POINTSMAN_POLICY": str(path), "POINTSMAN_POLICY_FALLBACK": str(fallback), **AT_ONCE}
    with serving(environ=environ) as (_, port, said):
        assert "serving the fallback" in said
        until_rule(port, "otherwise")
        changed = POLICY.replace("cheap:  when model == economy ", "cheap:  when model == small ")
        write(path, encode(compiled(changed)))
        until_rule(port, "cheap")


@pytest.mark.slow
def test_a_plan_from_a_web_server_is_served_followed_and_outlives_it(tmp_path: Path) -> None:
    (tmp_path / "chat.plan").write_bytes(encode(compiled(POLICY)))
    with (
        web_server(tmp_path) as (url, web),
        serving(f"{url}/chat.plan?signature=s3cr3t", environ=AT_ONCE) as (process, port, said),
    ):
        assert f"serves {url}/chat.plan" in said
        assert "s3cr3t" not in said
        until_rule(port, "otherwise")
        changed = POLICY.replace("cheap:  when model == economy ", "cheap:  when model == small ")
        write(tmp_path / "chat.plan", encode(compiled(changed)))
        until_rule(port, "cheap")
        web.shutdown()
        web.server_close()
        for _ in range(200):
            renewal = readyz(port)["renewal"]
            assert isinstance(renewal, dict)
            if renewal["unreachable"]:
                break
            time.sleep(0.03)
        assert renewal["trouble"]
        until_rule(port, "cheap")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
        assert "s3cr3t" not in out + err


def test_a_plan_that_cannot_be_fetched_is_not_served(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "http://127.0.0.1:1/chat.plan"]) == 1
    assert "`http://127.0.0.1:1/chat.plan`: " in capsys.readouterr().err
    assert main(["serve", "ftp://127.0.0.1/chat.plan"]) == 1
    assert "neither a file nor an address" in capsys.readouterr().err


@contextmanager
def web_server(folder: Path) -> Iterator[tuple[str, ThreadingHTTPServer]]:
    """Serve a folder the way any web server does: no ETag, the content as it is."""

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", server
        server.shutdown()


def readyz(port: int) -> dict[str, object]:
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        found = json.loads(connection.getresponse().read())
        assert isinstance(found, dict)
        return found
    finally:
        connection.close()


def test_a_port_in_use_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "chat.route"
    path.write_text(POLICY)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(path), "--port", str(port)]) == 1
    assert f"port {port} on `127.0.0.1` is in use" in capsys.readouterr().err


def test_a_host_that_is_not_ours_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTSMAN_ANONYMOUS", "1")
    path = tmp_path / "chat.route"
    path.write_text(POLICY)
    assert main(["serve", str(path), "--host", "192.0.2.1"]) == 1
    assert "cannot listen on `192.0.2.1`" in capsys.readouterr().err


def test_the_open_world_is_refused_without_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POINTSMAN_API_KEYS", raising=False)
    path = tmp_path / "chat.route"
    path.write_text(POLICY)
    assert main(["serve", str(path), "--host", "0.0.0.0"]) == 2
    shown = capsys.readouterr().err
    assert "POINTSMAN_API_KEYS" in shown
    assert "POINTSMAN_ANONYMOUS=1" in shown


def test_a_policy_that_does_not_compile_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "chat.route"
    path.write_text(POLICY.replace("user == mallory", "usr == mallory"))
    assert main(["serve", str(path)]) == 1
    shown = capsys.readouterr().err
    assert "E204 unknown fact `usr`" in shown
    assert "^^^" in shown
    assert "Traceback" not in shown


def test_a_damaged_plan_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "chat.plan"
    data = bytearray(encode(compiled(POLICY)))
    data[-1] ^= 1
    plan.write_bytes(data)
    assert main(["serve", str(plan)]) == 1
    assert "does not match its digest" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["chat.plan", "chat.route"])
def test_what_is_not_signed_is_not_served_where_there_is_a_key(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTSMAN_PLAN_KEY", "k" * 32)
    (tmp_path / "chat.route").write_text(POLICY)
    (tmp_path / "chat.plan").write_bytes(encode(compiled(POLICY)))
    assert main(["serve", str(tmp_path / name)]) == 1
    assert "pointsman build --sign" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["none.route", "none.plan", "."])
def test_a_missing_file_is_wrong_use(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path / name)]) == 2
    assert "pointsman:" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "http", ""])
def test_a_strange_port_is_wrong_use(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", port]) == 2
    assert "is not a port" in capsys.readouterr().err


def test_an_unusable_setting_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTSMAN_BODY_LIMIT", "much")
    assert main(["serve"]) == 1
    assert "POINTSMAN_BODY_LIMIT" in capsys.readouterr().err


def test_an_unusable_provider_key_is_said_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEVER_SET_KEY", "sk-über")
    path = tmp_path / "chat.route"
    path.write_text(POLICY)
    assert main(["serve", str(path), "--port", "0"]) == 1
    shown = capsys.readouterr().err
    assert "NEVER_SET_KEY" in shown
    assert "über" not in shown
