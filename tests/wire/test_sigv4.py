"""Signatures for AWS are those of AWS's own examples, and those of botocore."""

from __future__ import annotations

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire.sigv4 import Credentials, signed

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
FRIDAY = 1_369_353_600  # 2013-05-24T00:00:00Z, the examples' day


@pytest.mark.parametrize(
    ("url", "headers", "signature"),
    [
        (
            "https://examplebucket.s3.amazonaws.com/test.txt",
            {"Range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "https://examplebucket.s3.amazonaws.com/?lifecycle",
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_examples_of_the_s3_reference_come_out(url: str, headers: dict[str, str], signature: str) -> None:
    sent = signed("GET", url, headers, b"", service="s3", region="us-east-1", credentials=EXAMPLE, now_unix_s=FRIDAY)
    assert sent["authorization"].endswith(f"Signature={signature}")


@pytest.mark.parametrize("service", ["s3", "dynamodb"])
@given(
    method=st.sampled_from(["GET", "PUT", "POST"]),
    path=st.text("abc/~%20-_.".replace("%20", ""), max_size=12).map(lambda text: "/" + text.lstrip("/")),
    value=st.text("abc 0~-", max_size=8).map(str.strip),
    body=st.binary(max_size=40),
    token=st.none() | st.text("abcXYZ/+=", min_size=1, max_size=20),
)
def test_botocore_signs_the_same(
    service: str, method: str, path: str, value: str, body: bytes, token: str | None
) -> None:
    url = f"https://host.example{path}"
    theirs = AWSRequest(method, url, {"x-thing": value}, data=body)
    auth = S3SigV4Auth if service == "s3" else SigV4Auth
    auth(BotoCredentials(EXAMPLE.access_key, EXAMPLE.secret_key, token), service, "eu-west-1").add_auth(theirs)
    stamp = theirs.context["timestamp"]
    when = _unix(stamp)
    who = Credentials(EXAMPLE.access_key, EXAMPLE.secret_key, token)
    ours = signed(
        method, url, {"X-Thing": value}, body, service=service, region="eu-west-1", credentials=who, now_unix_s=when
    )
    assert ours["x-amz-date"] == stamp
    if ".." in path or "/./" in path or "//" in path or path.endswith("/."):
        return  # botocore tidies such paths up where the service is not S3; nothing of ours has any
    assert ours["authorization"] == theirs.headers["Authorization"]


def _unix(stamp: str) -> float:
    from datetime import UTC, datetime

    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def test_the_secret_never_shows_itself() -> None:
    assert "wJalr" not in repr(EXAMPLE)
