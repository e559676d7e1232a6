"""Whatever a client sends, it gets the OpenAI error object with the right status."""

from __future__ import annotations

import json

import pytest

from runtime.serve.keys import Keys
from runtime.serve.settings import Settings
from tests.serve.desk import HELLO, PATH, Desk


def is_an_error(body: bytes) -> bool:
    error = json.loads(body)["error"]
    return {"message", "type", "param", "code"} <= error.keys() and bool(error["message"])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"model": "small"}',
        b'{"messages": []}',
        b'{"model": 7, "messages": []}',
        b'{"model": "small", "messages": []}',
        b'{"model": "small", "messages": "hello"}',
        b'{"model": "small", "messages": [7]}',
        b'{"model": "", "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "small", "messages": [{"role": "user", "content": "x"}], "stream": "yes"}',
        b'{"model": "small", "messages": [{"role": "user", "content": "x"}], "max_tokens": "many"}',
        b'{"model": "small", "messages": [{"role": "user", "content": "x"}]',
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
)
def test_a_broken_body_is_a_400(raw: bytes) -> None:
    answer = Desk().post(raw=raw)
    assert answer.status == 400
    assert is_an_error(answer.body)
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["x-pointsman-attempts"] == "0"
    assert answer.headers["x-request-id"]


def test_openrouters_clients_get_the_status_as_their_code() -> None:
    answer = Desk().post(path="/api" + PATH, raw=b"{")
    assert answer.error["code"] == 400
    assert Desk().post(raw=b"{").error["code"] == "invalid_json"


# --- size -----------------------------------------------------------------------------------------

SMALL = Settings(body_limit_bytes=1000)


def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    desk = Desk(settings=SMALL)
    answer = desk.ask("POST", PATH, headers={"content-length": "1001"}, chunks=[], leaves=True)
    assert answer.status == 413
    assert is_an_error(answer.body)
    assert "1000 bytes" in str(answer.error["message"])


def test_a_body_that_turns_out_too_large_is_refused_where_it_does() -> None:
    answer = Desk(settings=SMALL).ask("POST", PATH, chunks=[b"x" * 600, b"x" * 600, b"never read"])
    assert answer.status == 413


def test_a_body_of_exactly_the_limit_is_read() -> None:
    body = json.dumps({"model": "small", "messages": HELLO}).encode()
    desk = Desk(settings=SMALL)
    assert desk.post(raw=body + b" " * (1000 - len(body))).status == 200
    assert desk.post(raw=body + b" " * (1001 - len(body))).status == 413


@pytest.mark.parametrize("length", ["-1", "nonsense", "", "1e3", "٣", "9" * 400])
def test_a_strange_content_length_is_survived(length: str) -> None:
    try:
        length.encode("latin-1")
    except UnicodeEncodeError:
        pytest.skip("no header can carry it")
    assert Desk().post(headers={"content-length": length}).status in (200, 413)


def test_a_body_in_pieces_is_put_together() -> None:
    body = json.dumps({"model": "small", "messages": HELLO}).encode()
    answer = Desk().ask("POST", PATH, chunks=[body[:5], b"", body[5:30], body[30:]])
    assert answer.status == 200


def test_a_compressed_body_is_refused_with_a_reason() -> None:
    answer = Desk().post(headers={"content-encoding": "gzip"}, raw=b"\x1f\x8b")
    assert answer.status == 415
    assert "content-encoding" in str(answer.error["message"])


# --- paths and methods ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chat", "/v1/completion", "/nope", "/v1/chat/completions/x", "//"])
def test_an_unknown_path_is_a_helpful_404(path: str) -> None:
    answer = Desk().post(path=path)
    assert answer.status == 404
    assert is_an_error(answer.body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-pointsman-policy"]


def test_a_mistyped_path_says_what_was_meant() -> None:
    assert "did you mean `/v1/chat/completions`?" in str(Desk().post(path="/v1/chat/completion").error["message"])
    assert "did you mean `/v1/chat/completions`?" in str(Desk().post(path="/chat/completions").error["message"])


def test_an_endless_path_is_not_repeated() -> None:
    answer = Desk().get("/" + "x" * 60_000)
    assert answer.status == 404
    assert len(answer.body) < 1000


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"])
def test_another_method_is_a_405_that_says_which_are_allowed(method: str) -> None:
    answer = Desk().ask(method, PATH)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        assert is_an_error(answer.body)


def test_pages_answer_to_get_and_head_alone() -> None:
    answer = Desk().post(path="/v1/models")
    assert answer.status == 405
    assert {word.strip() for word in answer.headers["allow"].split(",")} == {"GET", "HEAD"}


# --- keys -----------------------------------------------------------------------------------------

KEYED = Settings(keys=Keys.parse("sk-good, sha256:" + "00" * 32))


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-bad"}, {"authorization": "Basic c2s="}])
def test_without_a_known_key_it_is_a_401(headers: dict[str, str]) -> None:
    desk = Desk(settings=KEYED)
    for answer in (desk.post(headers=headers), desk.get("/v1/models", headers=headers)):
        assert answer.status == 401
        assert answer.error["code"] == "invalid_api_key"
        assert b"sk-bad" not in answer.body


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-good"},
        {"Authorization": "bearer   sk-good "},
        {"authorization": "sk-good"},
        {"x-api-key": "sk-good"},
    ],
)
def test_a_known_key_opens_the_door(headers: dict[str, str]) -> None:
    desk = Desk(settings=KEYED)
    assert desk.post(headers=headers).status == 200
    assert desk.get("/v1/models", headers=headers).status == 200


def test_probes_need_no_key() -> None:
    desk = Desk(settings=KEYED)
    assert desk.get("/healthz").status == 200
    assert desk.get("/readyz").status == 200


def test_a_policy_can_tell_keys_apart_without_seeing_them() -> None:
    import hashlib

    identity = hashlib.sha256(b"sk-good").hexdigest()[:12]
    policy = f"""
    provider one {{ url "sim://one?ttft=1ms" protocol sim }}
    model small {{ serve one "x" }}
    policy chat {{ known: when key.id == "{identity}" -> small  otherwise -> reject 403 }}
    """
    answer = Desk(policy, settings=KEYED).post(headers={"authorization": "Bearer sk-good"})
    assert answer.headers["x-pointsman-rule"] == "known"


@pytest.mark.parametrize(
    ("peer", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), (None, 200), ("10.0.0.7", 401), ("2001:db8::1", 401)],
)
def test_without_keys_only_this_machine_is_answered(peer: str | None, status: int) -> None:
    assert Desk().post(peer=peer).status == status


def test_anonymous_clients_are_answered_everywhere_when_the_operator_says_so() -> None:
    assert Desk(settings=Settings(anonymous=True)).post(peer="10.0.0.7").status == 200


def test_the_clients_address_is_the_peer_or_what_the_trusted_proxy_says() -> None:
    policy = """
    provider one { url "sim://one?ttft=1ms" protocol sim }
    model small { serve one "x" }
    policy chat { office: when client.ip in ["203.0.113.0/24"] -> small  otherwise -> reject 403 }
    """
    forwarded = {"x-forwarded-for": "198.51.100.1, 203.0.113.9"}
    trusting = Settings(client_ip_header="x-forwarded-for")
    assert Desk(policy, settings=trusting).post(headers=forwarded).status == 200
    assert Desk(policy).post(headers=forwarded).status == 403
    assert Desk(policy, settings=trusting).post(headers={"x-forwarded-for": "garbage"}).status == 403
