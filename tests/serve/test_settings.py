"""What the environment says, and keys as digests."""

from __future__ import annotations

import hashlib

import pytest

from runtime.serve.keys import KeyFormatError, Keys, bearer
from runtime.serve.settings import DEFAULT_BODY_LIMIT_BYTES, SettingError, Settings, is_loopback
from tests.serve.desk import Desk


def test_an_empty_environment_is_the_defaults() -> None:
    assert Settings.read({}) == Settings()


def test_every_setting_is_read() -> None:
    settings = Settings.read(
        {
            "POINTSMAN_POLICY": "x.plan",
            "POINTSMAN_ROOT": "rules",
            "POINTSMAN_API_KEYS": "a,b",
            "POINTSMAN_KEYS_FILE": "keys.toml",
            "POINTSMAN_ANONYMOUS": "1",
            "POINTSMAN_BODY_LIMIT": "2Mi",
            "POINTSMAN_REGION": "eu",
            "POINTSMAN_CLIENT_IP_HEADER": "X-Real-IP",
        }
    )
    assert settings == Settings("x.plan", "rules", Keys.parse("a,b"), "keys.toml", True, 2 << 20, "eu", "x-real-ip")


def test_a_platforms_region_is_used_unless_ours_is_set() -> None:
    assert Settings.read({"AWS_REGION": "eu-central-1"}).region == "eu-central-1"
    assert Settings.read({"AWS_REGION": "eu-central-1", "POINTSMAN_REGION": "eu"}).region == "eu"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", DEFAULT_BODY_LIMIT_BYTES),
        ("500", 500),
        ("500k", 500_000),
        ("16Mi", 16 << 20),
        ("1.5M", 1_500_000),
        ("8MB", 8_000_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert Settings.read({"POINTSMAN_BODY_LIMIT": text}).body_limit_bytes == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("", None), ("off", 0.0), ("0", 0.0), ("60", 60.0), ("60s", 60.0), ("0.5s", 0.5)]
)
def test_how_often_a_changed_policy_is_looked_for(text: str, seconds: float | None) -> None:
    assert Settings.read({"POINTSMAN_POLICY_REFRESH": text}).policy_refresh_s == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POINTSMAN_BODY_LIMIT", "much"),
        ("POINTSMAN_BODY_LIMIT", "-1"),
        ("POINTSMAN_BODY_LIMIT", "0"),
        ("POINTSMAN_BODY_LIMIT", "1x"),
        ("POINTSMAN_BODY_LIMIT", "inf"),
        ("POINTSMAN_BODY_LIMIT", "nan"),
        ("POINTSMAN_BODY_LIMIT", "1ki2"),
        ("POINTSMAN_ANONYMOUS", "maybe"),
        ("POINTSMAN_API_KEYS", "good,sha256:zz"),
        ("POINTSMAN_API_KEYS", "sha256:abcd"),
        ("POINTSMAN_PLAN_KEY", "guessable"),
        ("POINTSMAN_POLICY_REFRESH", "often"),
        ("POINTSMAN_POLICY_REFRESH", "-1"),
        ("POINTSMAN_POLICY_REFRESH", "nan"),
    ],
)
def test_an_unusable_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.read({name: value})


def test_keys_are_found_by_themselves_or_by_their_digest() -> None:
    digest = hashlib.sha256(b"sk-two").hexdigest()
    keys = Keys.parse(f" sk-one , sha256:{digest.upper()},, ")
    assert [key.attributes["id"] for text in ("sk-one", "sk-two") if (key := keys.find(text))] == [
        hashlib.sha256(b"sk-one").hexdigest()[:12],
        digest[:12],
    ]
    assert keys.find("sk-three") is None
    assert keys.find("") is None
    assert keys.find("\udc80") is None


def test_no_keys_open_nothing_and_are_false() -> None:
    assert not Keys.parse(" , ")
    assert Keys.parse("x")
    assert Keys().find("x") is None


def test_a_mistyped_digest_is_not_repeated() -> None:
    with pytest.raises(KeyFormatError) as caught:
        Keys.parse("ok,sha256:secret")
    assert "secret" not in str(caught.value)
    assert "entry 2" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None), ("", None), ("Bearer", "Bearer"), ("Bearer abc", "abc"), ("bearer  abc ", "abc"),
        ("abc", "abc"), ("Basic abc", None),
    ],
)  # fmt: skip
def test_bearer(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("192.168.1.2", False), ("example.com", False), ("", False)],
)  # fmt: skip
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 401),
        ("null", 401),
        ("http://localhost.evil.example:80", 401),
        ("http://localhost:3000", 200),
        ("http://127.0.0.1", 200),
        ("http://[::1]:8080", 200),
    ],
)
def test_without_keys_only_pages_of_this_machine_may_ask(origin: str, status: int) -> None:
    assert Desk().post(headers={"origin": origin}).status == status


def test_a_page_may_ask_with_a_key() -> None:
    desk = Desk(settings=Settings.read({"POINTSMAN_API_KEYS": "sesame-1234567890"}))
    headers = {"origin": "https://app.example", "authorization": "Bearer sesame-1234567890"}
    assert desk.post(headers=headers).status == 200
