"""A key file: what it says, what is wrong with it and where, and that a change of it counts without a restart."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.serve import keyring
from runtime.serve.keyfile import parse, read
from runtime.serve.keyring import Keyring
from runtime.serve.keys import KeyFileError, Keys
from runtime.serve.settings import Settings
from tests.serve.desk import HELLO, Answer, Desk, Events

NOW = 1_700_000_000.0


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def write(path: Path, **keys: str) -> Path:
    """Write a key for each of these, called and sent as its name says; the values are more lines of its table."""
    beside = path.with_suffix(".new")
    beside.write_text("".join(f'[{name}]\nsha256 = "{digest(name)}"\n{more}\n' for name, more in keys.items()))
    os.replace(beside, path)
    return path


def served(path: Path) -> Desk:
    return Desk(settings=Settings(keys_file=str(path)))


def ask(desk: Desk, key: str, **more: object) -> Answer:
    return desk.post(headers={"authorization": f"Bearer {key}"}, **more)


def test_a_key_has_its_name_and_attributes_as_text() -> None:
    (key,) = parse(
        f'[anna]\nsha256 = "{digest("k").upper()}"\ntenant = "acme"\nseats = 3\nvip = true\nshare = 0.5\n', "keys.toml"
    )
    assert key.attributes == {"id": "anna", "tenant": "acme", "seats": "3", "vip": "true", "share": "0.5"}
    assert Keys.of([key]).find("k") is key
    assert (key.policies, key.models, key.expires_unix_s, key.revoked) == (None, None, None, False)


@pytest.mark.parametrize(
    ("said", "unix_s"),
    [
        ("2027-01-01", 1798761600.0),
        ("2027-01-01T01:00:00+01:00", 1798761600.0),
        ("2027-01-01T00:00:00", 1798761600.0),
        ("2027-01-01T00:00:00Z", 1798761600.0),
    ],
)
def test_a_key_expires_at_an_instant_and_dates_are_utc(said: str, unix_s: float) -> None:
    (key,) = parse(f'[anna]\nsha256 = "{digest("k")}"\nexpires = {said}\n', "keys.toml")
    assert key.expires_unix_s == unix_s
    assert [key.is_expired(at) for at in (unix_s - 1, unix_s, unix_s + 1)] == [False, True, True]


SOUND = f'[a]\nsha256 = "{digest("a")}"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nsha256 = ", ":2: this is not TOML"),
        (f"{SOUND}\n[a]\n", ":4: this is not TOML"),
        ("\n\n[b]\n", ":3: `b` needs its `sha256`"),
        ('[b]\n\nsha256 = "abcd"\n', ":3: `b` needs its `sha256`"),
        (f'{SOUND}\n[b]\ntenant = "x"\nsha256 = "{digest("a")}"\n', ":6: `b` is the same key as `a`"),
        (f"{SOUND}tenant = [1]\n", ":3: `a` `tenant` must be text, a number or a bool"),
        (f"{SOUND}tenant = nan\n", ":3: `a` `tenant` must be"),
        (f'{SOUND}"ten ant" = 1\n', ":3: `a` `ten ant` is no name"),
        (f'{SOUND}expires = "2027-01-01"\n', ":3: `a` `expires` must be a date"),
        (f"{SOUND}revoked = 1\n", ":3: `a` `revoked` must be"),
        (f'{SOUND}policies = "chat"\n', ":3: `a` `policies` must be a list"),
        (f"{SOUND}models = [1]\n", ":3: `a` `models` must be a list"),
        ("x = 1\n", ":1: `x` is not a table"),
        ('["a b"]\n', ":1: `a b` is no name for a key"),
        ("a = " + "[" * 5000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        parse(text, "keys.toml")
    assert str(caught.value).startswith("keys.toml:")
    assert message in str(caught.value)
    assert digest("a") not in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=200) | st.text(alphabet="[]{}\"=\n\\#.x1'", max_size=80))
def test_any_text_gives_keys_or_an_error(text: str) -> None:
    with suppress(KeyFileError):
        assert isinstance(parse(text, "f"), tuple)


def test_what_is_no_text_file_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"[a]\n# \xff\n")
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("binary", "binary:2: it is not UTF-8"),
        ("pipe", "no file"),
        (".", "directory"),
        ("x", "no"),
    ):
        with pytest.raises(KeyFileError, match=message):
            read(str(tmp_path / name))


def test_attributes_of_the_key_are_facts_and_the_tenant_is_logged(tmp_path: Path) -> None:
    policy = """
    provider one { url "sim://one?ttft=1ms" protocol sim }
    model small { serve one "x" }
    policy chat { pro: when key.plan == pro and tenant == acme -> small  otherwise -> reject 402 }
    """
    path = write(tmp_path / "keys.toml", anna='tenant = "acme"\nplan = "pro"', bert='plan = "trial"')
    desk = Desk(policy, settings=Settings(keys_file=str(path)))
    assert ask(desk, "anna").headers["x-pointsman-rule"] == "pro"
    assert desk.log.last["tenant"] == "acme"
    assert ask(desk, "bert").status == 402


@pytest.mark.parametrize(
    ("key", "word"),
    [("old", "expired"), ("lost", "revoked"), ("gone", "revoked"), ("none", "not known")],
)
def test_a_key_that_opens_nothing_is_a_401(tmp_path: Path, key: str, word: str) -> None:
    path = write(
        tmp_path / "k", old="expires = 2020-01-01", lost="revoked = true", gone="revoked = 2025-01-01T00:00:00Z"
    )
    answer = ask(served(path), key)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert word in str(answer.error["message"])


def test_a_key_may_ask_only_its_policies_and_models(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.toml", anna='policies = ["second"]', bert='models = ["small"]', carl="models = []")
    desk = served(path)
    assert ask(desk, "anna", body={"model": "@second", "messages": HELLO}).status == 200
    refused = ask(desk, "anna")
    assert (refused.status, refused.error["code"]) == (403, "permission_denied")
    assert "`chat`" in str(refused.error["message"])
    # By its name, by another of its names, and through a policy that picks the model itself.
    for model in ("small", "gpt-4o-mini", "vendor/small", "@second"):
        assert ask(desk, "bert", body={"model": model, "messages": HELLO}).status == 200
    for model in ("large", "nothing"):
        refused = ask(desk, "bert", body={"model": model, "messages": HELLO})
        assert (refused.status, refused.error["param"]) == (403, "model")
    assert ask(desk, "carl").status == 403


def test_openrouters_clients_get_the_status_as_code(tmp_path: Path) -> None:
    desk = served(write(tmp_path / "keys.toml", anna="models = []"))
    assert ask(desk, "anna", path="/api/v1/chat/completions").error["code"] == 403
    assert ask(desk, "x", path="/api/v1/chat/completions").error["code"] == 401


def test_anthropics_clients_get_its_own_errors(tmp_path: Path) -> None:
    desk = served(write(tmp_path / "keys.toml", anna="models = []"))
    body = {"model": "small", "max_tokens": 5, "messages": HELLO}
    for key, status, kind in (("anna", 403, "permission_error"), ("x", 401, "authentication_error")):
        answer = desk.post(body, path="/v1/messages", headers={"x-api-key": key})
        assert (answer.status, answer.json["type"], answer.error["type"]) == (status, "error", kind)


def test_a_file_without_keys_opens_nothing_to_anybody(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.toml")
    assert served(path).post().status == 401
    assert served(path).get("/v1/models").status == 401


def test_keys_of_the_environment_count_too_and_the_file_overrules_them(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.toml", two="revoked = true")
    desk = Desk(settings=Settings(keys=Keys.parse("one,two"), keys_file=str(path)))
    assert [ask(desk, key).status for key in ("one", "two")] == [200, 401]


def test_a_change_of_the_file_counts_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "LOOK_EVERY_S", 0.0)
    path = write(tmp_path / "keys.toml", anna="")
    desk = served(path)
    assert [ask(desk, key).status for key in ("anna", "bert")] == [200, 401]
    write(path, anna="revoked = true", bert="")
    assert [ask(desk, key).status for key in ("anna", "bert")] == [401, 200]
    assert [event["keys"] for event in desk.log.seen if event["event"] == "keys_loaded"] == [2]


def test_a_broken_file_changes_nothing_and_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "LOOK_EVERY_S", 0.0)
    path = write(tmp_path / "keys.toml", anna="")
    desk = served(path)
    path.write_text("[anna]\nsha256 = 1\n")
    assert [ask(desk, "anna").status for _ in range(3)] == [200] * 3
    (told,) = [event for event in desk.log.seen if event["event"] == "keys_refused"]
    assert ":2: `anna` needs its `sha256`" in str(told["error"])
    path.unlink()
    assert ask(desk, "anna").status == 200


def test_the_file_is_looked_at_once_a_second_and_whenever_the_clock_was_set_back(tmp_path: Path) -> None:
    ring = Keyring(Keys(), str(write(tmp_path / "keys.toml", anna="")), Events())
    assert ring.is_due(NOW)
    asyncio.run(ring.look(NOW))
    assert [ring.is_due(NOW + s) for s in (0.0, 0.5, 1.0, -1.0)] == [False, False, True, True]


def test_an_older_reading_never_replaces_a_newer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "keys.toml", anna="")
    ring = Keyring(Keys(), str(path), Events())
    slow, begun = asyncio.Event(), asyncio.Event()

    async def reading(read: object, *args: object) -> object:
        found = read(*args)  # type: ignore[operator]
        if not begun.is_set():
            begun.set()
            await slow.wait()
        return found

    async def both() -> None:
        monkeypatch.setattr(keyring.asyncio, "to_thread", reading)
        write(path, bert="")
        first = asyncio.create_task(ring.look(NOW))
        await begun.wait()
        write(path, carl="", dora="")
        await ring.look(NOW + 2)
        slow.set()
        await first

    asyncio.run(both())
    assert {key.attributes["id"] for key in ring.keys.by_digest.values()} == {"carl", "dora"}
