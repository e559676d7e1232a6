"""Secrets by reference: what a reference may look like, what is asked, what is tried again."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from handlers.aws_secrets import Reference, SecretError, fetch, references
from runtime.dispatch.aws import Aws
from tests.dispatch.test_aws import KEYS, Scripted, header

SECRET = "arn:aws:secretsmanager:us-west-2:123456789012:secret:pointsman/keys-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-west-1:123456789012:parameter/pointsman/key"


def read(transport: Scripted, text: str) -> dict[str, str]:
    return asyncio.run(fetch(Aws(KEYS, transport), references(text)))


def secret(value: object) -> tuple[int, object]:
    return 200, {"SecretString": value if isinstance(value, str) else json.dumps(value)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        (f" {SECRET} ,", (Reference("", SECRET),)),
        (f"one={SECRET},two={PARAMETER}", (Reference("one", SECRET), Reference("two", PARAMETER))),
    ],
)
def test_references_are_arns_with_or_without_a_name(text: str, found: tuple[Reference, ...]) -> None:
    assert references(text) == found


@pytest.mark.parametrize("text", ["key", "one=", "arn:aws:s3:::bucket", "one=arn:aws:ssm:::parameter/x", "arn:aws:ssm"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SecretError, match="neither"):
        references(text)


def test_each_is_asked_where_it_is_kept() -> None:
    transport = Scripted(secret({"a": "1", "b": "2"}), (200, {"Parameter": {"Value": "3"}}))
    assert read(transport, f"{SECRET},c={PARAMETER}") == {"a": "1", "b": "2", "c": "3"}
    first, second = transport.asked
    assert first.url == "https://secretsmanager.us-west-2.amazonaws.com/"
    assert second.url == "https://ssm.eu-west-1.amazonaws.com/"
    assert msgspec.json.decode(second.body) == {"Name": PARAMETER, "WithDecryption": True}
    assert header(second, "x-amz-target") == "AmazonSSM.GetParameter"


def test_a_named_secret_is_taken_as_it_is() -> None:
    assert read(Scripted(secret('{"a": "1"}')), f"whole={SECRET}") == {"whole": '{"a": "1"}'}


@pytest.mark.parametrize("value", ["sk-no-json", ["a"], {"a": 1}])
def test_a_secret_without_a_name_must_hold_names_and_is_not_shown(value: object) -> None:
    with pytest.raises(SecretError, match="no json object of texts") as raised:
        read(Scripted(secret(value)), SECRET)
    assert "sk-no-json" not in str(raised.value)


def test_what_may_pass_is_tried_again_and_what_cannot_is_not() -> None:
    busy = (400, {"__type": "ThrottlingException"})
    assert read(Scripted(busy, secret({"a": "1"})), SECRET) == {"a": "1"}
    with pytest.raises(SecretError, match="ThrottlingException"):
        read(Scripted(busy, busy), SECRET)
    denied = Scripted((400, {"__type": "AccessDeniedException"}), secret({"a": "1"}))
    with pytest.raises(SecretError, match="AccessDenied"):
        read(denied, SECRET)
    assert len(denied.asked) == 1
