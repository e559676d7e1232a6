r"""The Runtime API in its own words: the next invocation, its answer, what went wrong.

Source: AWS, "Using the Lambda runtime API for custom runtimes"; the emulator's source for what is checked there: error
types match `(Runtime|Function)\.[A-Z][A-Za-z]+`, and the trailer with the error's body is base64 of JSON.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import msgspec

from handlers.lambda_runtime.connection import Connection, Reply, RuntimeApiError

ROOT = "/2018-06-01/runtime"

ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"
MODE = "Lambda-Runtime-Function-Response-Mode"
INVOCATION_ID = "Lambda-Runtime-Invocation-Id"

HTTP_STREAM = "application/vnd.awslambda.http-integration-response"

PRELUDE_END = b"\0" * 8
"""Stands between the JSON head of a streamed HTTP answer and its body."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong, as Lambda counts and shows it; `kind` such as `Runtime.TimeoutError`."""

    kind: str
    message: str

    def to_json(self) -> bytes:
        """Return the error object that Lambda shows."""
        return msgspec.json.encode({"errorType": self.kind, "errorMessage": self.message, "stackTrace": []})


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of the function.

    Attributes:
        id: The request id.
        deadline_unix_s: When the function's time is up, by the wall clock.
        event: What it was called with: JSON.
        echo: Headers that its answer has to repeat.
    """

    id: str
    deadline_unix_s: float
    event: bytes
    echo: dict[str, str]


class RuntimeApi:
    """One slot's side of the Runtime API: an invocation at a time.

    Args:
        address: `AWS_LAMBDA_RUNTIME_API`.
    """

    def __init__(self, address: str) -> None:
        self._connection = Connection(address)

    async def next(self) -> Invocation:
        """Return the next invocation, whenever it comes; between two the process may be frozen.

        Raises:
            RuntimeApiError: There will be none.
        """
        reply = await self._connection.request("GET", f"{ROOT}/invocation/next")
        try:
            headers = reply.headers
            name = INVOCATION_ID.lower()
            return Invocation(
                headers["lambda-runtime-aws-request-id"],
                int(headers["lambda-runtime-deadline-ms"]) / 1000.0,
                reply.body,
                {INVOCATION_ID: headers[name]} if name in headers else {},
            )
        except (KeyError, ValueError) as error:
            raise RuntimeApiError(f"the runtime api answered {reply.status} instead of an invocation") from error

    async def respond(self, invocation: Invocation, body: bytes) -> Reply:
        """Answer with a JSON document.

        Raises:
            RuntimeApiError: The Runtime API did not take it.
        """
        headers = {**invocation.echo, "content-type": "application/json"}
        return await self._connection.request("POST", _path(invocation, "response"), headers, body)

    async def stream(self, invocation: Invocation, data: bytes) -> Connection:
        """Begin a streamed answer with its first bytes, the prelude among them; return where the rest goes.

        Raises:
            RuntimeApiError: The Runtime API cannot be reached.
        """
        headers = {
            **invocation.echo,
            "content-type": HTTP_STREAM,
            MODE: "streaming",
            "trailer": f"{ERROR_TYPE}, {ERROR_BODY}",
        }
        await self._connection.upload(_path(invocation, "response"), headers, data)
        return self._connection

    async def fail(self, invocation: Invocation, fault: Fault) -> Reply:
        """Report that there is no answer.

        Raises:
            RuntimeApiError: The Runtime API did not take it.
        """
        headers = {**invocation.echo, **_error_headers(fault)}
        return await self._connection.request("POST", _path(invocation, "error"), headers, fault.to_json())

    async def init_failed(self, fault: Fault) -> None:
        """Report that the function cannot start.

        Raises:
            RuntimeApiError: The Runtime API did not take it.
        """
        await self._connection.request("POST", f"{ROOT}/init/error", _error_headers(fault), fault.to_json())

    async def restored(self) -> None:
        """Wait for the snapshot to be taken and restored: returns in the restored process.

        Raises:
            RuntimeApiError: The Runtime API says no.
        """
        reply = await self._connection.request("GET", f"{ROOT}/restore/next")
        if reply.status != 200:
            raise RuntimeApiError(f"the runtime api answered {reply.status} instead of a restore")

    async def restore_failed(self, fault: Fault) -> None:
        """Report that the restored process cannot serve.

        Raises:
            RuntimeApiError: The Runtime API did not take it.
        """
        await self._connection.request("POST", f"{ROOT}/restore/error", _error_headers(fault), fault.to_json())

    def close(self) -> None:
        """Drop the connection."""
        self._connection.close()


def trailers(fault: Fault) -> dict[str, str]:
    """Return what ends a streamed answer that broke after it began."""
    return {ERROR_TYPE: fault.kind, ERROR_BODY: base64.b64encode(fault.to_json()).decode("ascii")}


def _error_headers(fault: Fault) -> dict[str, str]:
    return {"content-type": "application/json", ERROR_TYPE: fault.kind}


def _path(invocation: Invocation, what: str) -> str:
    return f"{ROOT}/invocation/{invocation.id}/{what}"
