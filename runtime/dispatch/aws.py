"""Signed calls to AWS over our own transport: who we are there, and one request with one answer."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from runtime.dispatch.transport import Transport, TransportError
from runtime.dispatch.whole import exchange
from runtime.wire.sigv4 import Credentials, signed

# Of credentials that expire: renewed so long before, by the wall clock (a frozen process has no other).
RENEW_BEFORE_S = 300.0

# The container's own credentials service, where `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` is relative to.
CONTAINER_HOST = "http://169.254.170.2"

# A virtual machine's metadata service. It answers in a millisecond, or it is not there.
MACHINE_HOST = "http://169.254.169.254"
MACHINE_S = 1.0

MOST_ANSWER_BYTES = 4 * 1024 * 1024


class AwsError(Exception):
    """A call that gave no usable answer.

    Attributes:
        code: The service's own (`ResourceNotFoundException`), or `unreachable`, `timeout`, `no_credentials`.
        status: HTTP status, 0 when there was no answer.
        answer: The body of the answer, if there was one.
    """

    def __init__(self, code: str, detail: str, status: int = 0, answer: bytes = b"") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.answer = answer


class _Issued(msgspec.Struct, rename="pascal"):
    access_key_id: str
    secret_access_key: str
    token: str | None = None
    expiration: str | None = None


class _Failure(msgspec.Struct):
    type: str = msgspec.field(default="", name="__type")
    message: str = ""
    capital_message: str = msgspec.field(default="", name="Message")


class Aws:
    """Calls AWS as the role that this process runs under.

    Args:
        environ: Credentials and region, by the names that every AWS SDK reads; `AWS_ENDPOINT_URL_SERVICE` and
            `AWS_ENDPOINT_URL` move a service elsewhere.
        transport: Carries the calls.
        now_unix_s: The wall clock.
    """

    def __init__(
        self, environ: Mapping[str, str], transport: Transport, now_unix_s: Callable[[], float] = time.time
    ) -> None:
        self._environ = environ
        self._transport = transport
        self._now_unix_s = now_unix_s
        self._credentials: Credentials | None = None

    @property
    def region(self) -> str:
        """The region calls go to unless they say another."""
        return self._environ.get("AWS_REGION") or self._environ.get("AWS_DEFAULT_REGION") or "us-east-1"

    def endpoint(self, service: str, region: str) -> str:
        """Return where a service is reached; `AWS_ENDPOINT_URL_DYNAMODB` and the like say otherwise."""
        named = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
        said = self._environ.get(named) or self._environ.get("AWS_ENDPOINT_URL")
        if said:
            return said.rstrip("/")
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return f"https://{service}.{region}.{suffix}"

    async def json(
        self, service: str, target: str, body: object, *, within_s: float, region: str = "", version: str = "1.1"
    ) -> bytes:
        """Return the answer of a service that speaks JSON.

        Args:
            service: Such as `dynamodb`.
            target: `x-amz-target`, such as `DynamoDB_20120810.UpdateItem`.
            body: What is asked, JSON by msgspec.
            within_s: How long it may take in all.
            region: Another than this process's own.
            version: Of the protocol: `1.0` for DynamoDB, `1.1` for most.

        Raises:
            AwsError: There is no such answer.
        """
        region = region or self.region
        headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": target}
        data = msgspec.json.encode(body)
        status, _, answer = await self.send(
            "POST", self.endpoint(service, region) + "/", headers, data, service=service, region=region,
            within_s=within_s,
        )  # fmt: skip
        if status != 200:
            raise _failure(status, answer)
        return answer

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, service: str, region: str,
        within_s: float, most_bytes: int = MOST_ANSWER_BYTES,
    ) -> tuple[int, Mapping[str, str], bytes]:  # fmt: skip
        """Sign a request, send it, and return status, headers (lower case) and body of the answer, whatever it is.

        An answer of more than `most_bytes` is none.

        Raises:
            AwsError: `unreachable`, `timeout` or `no_credentials`.
        """
        try:
            async with asyncio.timeout(within_s):
                credentials = await self._own()
                told = signed(
                    method, url, headers, body, credentials=credentials, service=service, region=region,
                    now_unix_s=self._now_unix_s(),
                )  # fmt: skip
                return await self._exchange(method, url, told, body, most_bytes)
        except TimeoutError as error:
            raise AwsError("timeout", f"no answer of {service} within {within_s:g} s") from error

    def forget(self) -> None:
        """Forget who we are: credentials are read anew, as they must be after a snapshot was restored."""
        self._credentials = None

    async def _own(self) -> Credentials:
        held = self._credentials
        if held is None or self._now_unix_s() > held.expires_unix_s - RENEW_BEFORE_S:
            held = self._credentials = await self._read()
        return held

    async def _read(self) -> Credentials:
        env = self._environ
        if env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY"):
            return Credentials(
                env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env.get("AWS_SESSION_TOKEN") or None
            )
        relative = env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        url = env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") or (CONTAINER_HOST + relative if relative else None)
        if url is None:
            return await self._of_the_machine()
        token = self._token()
        return _issued(*await self._exchange("GET", url, {"authorization": token} if token else {}, b""))

    async def _of_the_machine(self) -> Credentials:
        """Return what a virtual machine's metadata service gives, by its second version, which needs a token."""
        host = self._environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or MACHINE_HOST
        if self._environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
            path = host.rstrip("/") + "/latest/meta-data/iam/security-credentials/"
            try:
                async with asyncio.timeout(MACHINE_S):
                    status, _, token = await self._exchange(
                        "PUT",
                        host.rstrip("/") + "/latest/api/token",
                        {"x-aws-ec2-metadata-token-ttl-seconds": "60"},
                        b"",
                    )
                    told = {"x-aws-ec2-metadata-token": token.decode("latin-1")}
                    if status == 200:
                        status, _, role = await self._exchange("GET", path, told, b"")
                    if status == 200:
                        return _issued(*await self._exchange("GET", path + role.decode("latin-1").strip(), told, b""))
            except (AwsError, TimeoutError):
                pass
        raise AwsError(
            "no_credentials", "neither AWS_ACCESS_KEY_ID, nor a container's credentials, nor a role of the machine"
        )

    def _token(self) -> str:
        """Return what opens the container's credentials service; the file is in memory there."""
        if file := self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            return Path(file).read_text("ascii").strip()
        return self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, most_bytes: int = MOST_ANSWER_BYTES
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            whole = await exchange(self._transport, method, url, headers, body, most_bytes=most_bytes)
        except TransportError as error:
            raise AwsError("unreachable", error.detail) from error
        return whole.status, whole.headers, whole.body


def _issued(status: int, _headers: Mapping[str, str], answer: bytes) -> Credentials:
    """Return credentials as every service that issues them writes them."""
    try:
        issued = msgspec.json.decode(answer, type=_Issued)
    except msgspec.MsgspecError as error:
        raise AwsError("no_credentials", f"the credentials service answered {status}", status) from error
    until = datetime.fromisoformat(issued.expiration).timestamp() if issued.expiration else math.inf
    return Credentials(issued.access_key_id, issued.secret_access_key, issued.token, until)


def _failure(status: int, answer: bytes) -> AwsError:
    """Return what a service says is wrong: its code without the namespace in front."""
    try:
        said = msgspec.json.decode(answer, type=_Failure)
    except msgspec.MsgspecError:
        said = _Failure()
    code = said.type.rpartition("#")[2] or f"status_{status}"
    return AwsError(code, said.message or said.capital_message or f"status {status}", status, answer)
