"""AWS Signature Version 4 with the standard library: what a request to AWS carries to show who sends it.

Source: AWS, "Create a signed AWS API request" (IAM user guide); checked against the examples of the S3 reference.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks AWS.

    Attributes:
        token: Session token of temporary credentials, else None.
        expires_unix_s: From when on they are worth nothing; infinity for those that last.
    """

    access_key: str
    secret_key: str
    token: str | None = None
    expires_unix_s: float = float("inf")

    def __repr__(self) -> str:
        return f"Credentials({self.access_key})"


def signed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    service: str,
    region: str,
    credentials: Credentials,
    now_unix_s: float,
) -> dict[str, str]:
    """Return the headers to send, names in lower case: those given, `x-amz-…`, `authorization`; `host` is signed too.

    Args:
        method: In capitals.
        url: Absolute, its path and query already percent-encoded.
        headers: Signed all of them.
        body: All of it.
        service: As in the credential scope: `s3`, `dynamodb`, `secretsmanager`.
        region: As there.
        credentials: Whose signature.
        now_unix_s: The time of the signature; AWS takes none that is off by more than 15 minutes.
    """
    parts = urlsplit(url)
    stamp = datetime.fromtimestamp(int(now_unix_s), UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    sent = {name.lower(): value for name, value in headers.items()}
    sent["x-amz-date"] = stamp
    if service == "s3":
        sent["x-amz-content-sha256"] = digest
    if credentials.token is not None:
        sent["x-amz-security-token"] = credentials.token
    all_of_them = sorted({**sent, "host": parts.netloc}.items())
    names = ";".join(name for name, _ in all_of_them)
    # S3 signs the path as it is sent; every other service signs it encoded once more.
    path = parts.path or "/"
    canonical = "\n".join(
        (
            method,
            path if service == "s3" else quote(path, safe="/-_.~"),
            _query(parts.query),
            *(f"{name}:{' '.join(value.split())}" for name, value in all_of_them),
            "",
            names,
            digest,
        )
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    sent["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return sent


def _query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)
