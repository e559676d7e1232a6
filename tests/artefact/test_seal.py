"""A signed plan is taken from who holds the key, and from nobody else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_dsl.plan import PlanError, encode
from router_dsl.seal import Key, KeyTextError, open_plan, read_keys, seal, unseal
from tests.serve.desk import compiled

PLAN = encode(compiled('provider p { url "sim://p" }\nmodel m { serve p "m" }\npolicy chat { otherwise -> m }'))
SECRET, OTHER = Key("hmac", "s" * 32), Key("hmac", "o" * 32)


def pair(folder: Path, name: str) -> tuple[Key, Key]:
    """Make an Ed25519 pair the way the docs tell to; gives (private, public)."""
    if shutil.which("openssl") is None:
        pytest.skip("Ed25519 keys are made here the way the docs say, by openssl, which this machine has not")
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    (made,), (shown,) = read_keys(private.read_text()), read_keys(public.read_text())
    return made, shown


@pytest.fixture(scope="module")
def ed25519(tmp_path_factory: pytest.TempPathFactory) -> tuple[Key, Key]:
    return pair(tmp_path_factory.mktemp("keys"), "one")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Key, Key]:
    return pair(tmp_path_factory.mktemp("keys"), "other")


def test_what_was_signed_is_opened_with_the_key_and_without_any() -> None:
    sealed = seal(PLAN, SECRET)
    assert unseal(sealed, [SECRET]) == unseal(sealed, [OTHER, SECRET]) == unseal(sealed, ()) == PLAN
    assert open_plan(sealed, [SECRET]) == open_plan(PLAN)


def test_ed25519_is_checked_with_the_public_half(ed25519: tuple[Key, Key]) -> None:
    private, public = ed25519
    assert unseal(seal(PLAN, private), [SECRET, public]) == PLAN


def test_an_unsigned_plan_is_refused_where_there_is_a_key() -> None:
    with pytest.raises(PlanError, match=r"not signed.*pointsman build --sign"):
        unseal(PLAN, [SECRET])


def test_a_stranger_s_signature_is_refused(ed25519: tuple[Key, Key], stranger: tuple[Key, Key]) -> None:
    for signer, trusted in ((OTHER, SECRET), (SECRET, ed25519[1]), (ed25519[0], SECRET), (stranger[0], ed25519[1])):
        with pytest.raises(PlanError, match="not by a key of POINTSMAN_PLAN_KEY"):
            unseal(seal(PLAN, signer), [trusted])


@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    sealed = bytearray(seal(PLAN, SECRET))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(PlanError):
        unseal(bytes(sealed), [SECRET])


@pytest.mark.parametrize("size", [0, 5, 12, 13, 76])
def test_a_plan_cut_within_its_signature_is_refused(size: int) -> None:
    for keys in ((), (SECRET,)):
        with pytest.raises(PlanError):
            open_plan(seal(PLAN, SECRET)[:size], keys)


@pytest.mark.parametrize("text", ["short", "a" * 31, f"{'a' * 32},short"])
def test_a_secret_that_can_be_guessed_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(KeyTextError, match="openssl rand -hex 32") as refused:
        read_keys(text)
    assert "short" not in str(refused.value)


def test_several_keys_stand_in_one_setting(ed25519: tuple[Key, Key]) -> None:
    pem = ed25519[1].text
    assert read_keys(f"{SECRET.text}, {pem}") == (SECRET, ed25519[1])
    assert read_keys(pem.replace("\n", "\\n")) == (ed25519[1],)
    assert read_keys(" ") == ()


def test_a_key_never_shows_itself(ed25519: tuple[Key, Key]) -> None:
    assert "s" * 32 not in repr(SECRET)
    assert "PRIVATE" not in repr(ed25519[0])


def test_the_wrong_half_says_what_to_do(ed25519: tuple[Key, Key]) -> None:
    private, public = ed25519
    with pytest.raises(KeyTextError, match="no private key"):
        seal(PLAN, public)
    with pytest.raises(KeyTextError, match="openssl pkey -pubout"):
        unseal(seal(PLAN, private), [private])
