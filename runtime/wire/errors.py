"""One error value for all that can go wrong, written as every client reads it; providers' errors read into it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import msgspec

from runtime.wire.retry_after import Headers
from runtime.wire.retry_after import retry_after_s as retry_after_s

Dialect = Literal["openai", "openrouter", "anthropic"]

ERROR_TYPES = frozenset(
    (
        "context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long", "authentication",
        "permission_denied", "payment_required", "rate_limit_exceeded", "provider_overloaded", "provider_unavailable",
        "invalid_request", "invalid_prompt", "not_found", "precondition_failed", "payload_too_large", "unprocessable",
        "content_policy_violation", "refusal", "invalid_image", "image_too_large", "image_too_small",
        "unsupported_image_format", "image_not_found", "image_download_failed", "server", "timeout", "unmapped",
    )
)  # fmt: skip
"""OpenRouter's `metadata.error_type` vocabulary."""


class _Words(NamedTuple):
    """What a status is called in each vocabulary."""

    code: str
    error_type: str
    openai: str
    anthropic: str


_BAD, _FAILED = "invalid_request_error", "server_error"
_WORDS = {
    400: _Words("invalid_request", "invalid_request", _BAD, _BAD),
    401: _Words("invalid_api_key", "authentication", "authentication_error", "authentication_error"),
    402: _Words("payment_required", "payment_required", "insufficient_quota", "billing_error"),
    403: _Words("permission_denied", "permission_denied", "permission_error", "permission_error"),
    404: _Words("not_found", "not_found", _BAD, "not_found_error"),
    405: _Words("method_not_allowed", "invalid_request", _BAD, _BAD),
    408: _Words("timeout", "timeout", _BAD, "timeout_error"),
    412: _Words("precondition_failed", "precondition_failed", _BAD, _BAD),
    413: _Words("payload_too_large", "payload_too_large", _BAD, "request_too_large"),
    422: _Words("unprocessable", "unprocessable", _BAD, _BAD),
    429: _Words("rate_limit_exceeded", "rate_limit_exceeded", "rate_limit_error", "rate_limit_error"),
    500: _Words("server_error", "server", _FAILED, "api_error"),
    502: _Words("provider_unavailable", "provider_unavailable", _FAILED, "api_error"),
    503: _Words("temporarily_unavailable", "provider_unavailable", _FAILED, "overloaded_error"),
    504: _Words("timeout", "timeout", _FAILED, "timeout_error"),
    524: _Words("timeout", "timeout", _FAILED, "timeout_error"),
    529: _Words("provider_overloaded", "provider_overloaded", _FAILED, "overloaded_error"),
}
_ERROR_TYPE_OF_CODE = {
    "no_endpoints": "not_found",
    "model_not_found": "not_found",
    "constraint_filtered": "not_found",
    "privacy_restricted": "not_found",
    "free_variant_ended": "not_found",
    "model_unavailable_upstream": "not_found",
    "capacity_exhausted": "rate_limit_exceeded",
    "content_filter": "content_policy_violation",
    "string_above_max_length": "string_too_long",
}


def _words(status: int) -> _Words:
    return _WORDS.get(status) or _WORDS[500 if status >= 500 else 400]


@dataclass(frozen=True, slots=True)
class Problem:
    """An error for a client.

    Attributes:
        status: HTTP status, 400 to 599.
        type: OpenAI's `error.type`.
        code: Stable code, as text in every dialect but OpenRouter's, which has the status there.
        message: For people; one line.
        param: The body field at fault, or None.
        retry_after_s: When asking again makes sense, in seconds from now, or None.
        metadata: Joins `error.metadata`; `error_type` is there without being said.
        availability: OpenRouter's `error.availability`, why no endpoint could answer, or None.
    """

    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None
    metadata: Mapping[str, object] | None = None
    availability: Mapping[str, object] | None = None

    @property
    def error_type(self) -> str:
        """The word of `ERROR_TYPES` for it."""
        if self.code in ERROR_TYPES:
            return self.code
        if self.code in _ERROR_TYPE_OF_CODE:
            return _ERROR_TYPE_OF_CODE[self.code]
        return _WORDS[self.status].error_type if self.status in _WORDS else "unmapped"

    def by(self, provider: str) -> Problem:
        """Return it with the name of the provider that it comes from, where OpenRouter's clients look for that."""
        return replace(self, metadata={**(self.metadata or {}), "provider_name": provider})

    def status_in(self, dialect: Dialect) -> int:
        """Return the HTTP status to send.

        Overload is 529 for Anthropic's clients and 503 for all others; a model that there is not is 404 and, for
        OpenRouter's clients, 400.
        """
        if dialect == "anthropic":
            return 529 if self.status == 503 else self.status
        if dialect == "openrouter" and self.code == "model_not_found":
            return 400
        return 503 if self.status == 529 else self.status

    def error(self, dialect: Dialect) -> dict[str, object]:
        """Return the `error` object, which satisfies the OpenAI SDK and OpenRouter's clients at once."""
        if dialect == "anthropic":
            return {"type": _words(self.status).anthropic, "message": self.message, "error_type": self.error_type}
        found: dict[str, object] = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.status_in(dialect) if dialect == "openrouter" else self.code,
            "metadata": {"error_type": self.error_type, **(self.metadata or {})},
        }
        if self.availability is not None:
            found["availability"] = self.availability
        return found

    def to_bytes(self, dialect: Dialect, request_id: str | None = None) -> bytes:
        """Return the answer's JSON body.

        Args:
            dialect: Whose clients will read it.
            request_id: For Anthropic's envelope.
        """
        envelope: dict[str, object] = {"error": self.error(dialect)}
        if dialect == "anthropic":
            envelope = {"type": "error", **envelope, "request_id": request_id}
        elif dialect == "openrouter":
            envelope["user_id"] = None
        return msgspec.json.encode(envelope)

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that belong to it.

        Both SDKs obey `retry-after-ms` and, failing any hint, repeat a 408, 409, 429 or 5xx twice; after our own
        attempts that only triples the load, hence `x-should-retry: false`.
        """
        found = [(b"content-type", b"application/json")]
        if self.retry_after_s is not None:
            wait_s = max(0.0, self.retry_after_s)
            found.append((b"retry-after", str(max(1, math.ceil(wait_s))).encode()))
            found.append((b"retry-after-ms", str(max(1, math.ceil(wait_s * 1000))).encode()))
        elif self.status >= 500 or self.status in (408, 409, 429):
            found.append((b"x-should-retry", b"false"))
        return tuple(found)


def problem(status: int, message: str, *, code: str | None = None, param: str | None = None) -> Problem:
    """Return the error of that status with the type, and unless said the code, that belong to it."""
    words = _words(status)
    return Problem(status, words.openai, code or words.code, message, param)


def bad_request(message: str, param: str | None = None, code: str = "invalid_request") -> Problem:
    """Return a 400 about one field of the body, or about all of it."""
    return problem(400, message, code=code, param=param)


def too_large(limit_bytes: int) -> Problem:
    """Return the 413 for a body over the limit."""
    return problem(413, f"the request body is larger than {limit_bytes} bytes")


def unauthorized(message: str = "the api key is missing or not known") -> Problem:
    """Return the 401."""
    return problem(401, message)


def forbidden(message: str) -> Problem:
    """Return the 403 for a key that may do other things."""
    return problem(403, message)


def unknown_path(path: str) -> Problem:
    """Return the 404 for a path that is not served."""
    return problem(404, f"there is nothing at `{printable(path)}`")


def method_not_allowed(method: str, path: str) -> Problem:
    """Return the 405."""
    return problem(405, f"`{printable(path)}` does not answer to {printable(method)}")


def rejected(status: int, message: str | None) -> Problem:
    """Return the answer of a policy's `reject STATUS ["message"]`."""
    return problem(status, message or "the policy rejects this request", code="rejected_by_policy")


def rate_limited(limit: str, retry_after_s: float) -> Problem:
    """Return the 429 of one of our own limits; infinity: this request alone is more than the limit allows."""
    if math.isinf(retry_after_s):
        return problem(429, f"this request alone needs more than the limit `{limit}` allows", code="request_over_limit")
    found = problem(429, f"the limit `{limit}` is reached; try again in {math.ceil(max(0.0, retry_after_s))} s")
    return replace(found, retry_after_s=retry_after_s)


def stopping(retry_after_s: float | None) -> Problem:
    """Return the error for a request that has no answer yet when the router ends; another instance may have one."""
    return replace(problem(503, "the router is stopping"), retry_after_s=retry_after_s)


def internal() -> Problem:
    """Return the 500 of our own bugs; says nothing else."""
    return problem(500, "the router failed to handle this request")


def printable(text: str) -> str:
    """Return user text fit for a message: printable, encodable and not endless."""
    clean = "".join(char if char.isprintable() else "?" for char in text[:200])
    return clean + "…" if len(text) > 200 else clean


# --- what providers send --------------------------------------------------------------------------

# The longest of a few dozen providers' error messages kept whole is about 700 characters (a schema violation).
MAX_MESSAGE_CHARS = 1000
# Error bodies beyond this are pages, not messages; they are not worth parsing on the failure path.
MAX_ERROR_BYTES = 256 * 1024

_MARKUP = re.compile(r"<\s*/?\s*(?:!doctype|html|head|body|title|h1|p|div|br|center|pre|script|span)\b", re.IGNORECASE)
_GENERIC = {
    401: "the provider refused the router's credentials",
    403: "the provider does not permit this request",
    402: "the provider asks the router's account for payment",
    404: "the provider does not know this model or path",
    408: "the provider timed out",
    413: "the provider found the request too large",
    429: "the provider's rate limit is reached",
    502: "the provider is unavailable",
    503: "the provider is overloaded or starting",
    504: "the provider timed out",
    529: "the provider is overloaded",
}


def normalise(status: int, headers: Headers, body: bytes, now_unix_s: float = 0.0) -> Problem:
    """Return a provider's error, whatever its shape, as ours.

    Messages of 4xx are the provider's own, since they tell the client what to change; those about the router's own
    account (401, 402, 403) and all of 5xx are replaced, and markup never passes.

    Args:
        status: HTTP status of the answer; a 2xx carries its error in the body.
        headers: Of the answer, names in lower case.
        body: As received.
        now_unix_s: For a retry hint given as a date.
    """
    error = _parsed(body)
    code, kind = error.get("code"), error.get("type")
    if status < 400:
        said = code if isinstance(code, int) and not isinstance(code, bool) else 0
        status = said if 400 <= said <= 599 else 502
    text = error.get("message")
    message = text if isinstance(text, str) else ""
    if status >= 500 or status in (401, 402, 403) or not message or _MARKUP.search(message):
        message = _GENERIC.get(status, "the provider failed" if status >= 500 else "the provider refused the request")
    shown = " ".join(message.split())
    if len(shown) > MAX_MESSAGE_CHARS:
        shown = shown[:MAX_MESSAGE_CHARS] + "…"
    base = problem(status, shown)
    param = error.get("param")
    word = code if isinstance(code, str) and _is_word(code) else error.get("error_type")
    provider_code = word if isinstance(word, str) and _is_word(word) else None
    passes = provider_code is not None and status < 500 and status not in (401, 402, 403)
    return Problem(
        status,
        kind if passes and isinstance(kind, str) and _is_word(kind) else base.type,
        provider_code if passes and provider_code else base.code,
        base.message,
        param if isinstance(param, str) and _is_word(param) else None,
        retry_after_s(headers, now_unix_s, status),
        {"provider_code": provider_code} if provider_code else None,
    )


_WORD = re.compile(r"[A-Za-z0-9_.\[\]:-]{1,100}")


def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


def _parsed(body: bytes) -> dict[str, object]:
    """The fields of an error body that are worth reading, under OpenAI's names."""
    if not body or len(body) > MAX_ERROR_BYTES:
        return {}
    try:
        found: object = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        text = body[: 4 * MAX_MESSAGE_CHARS].decode("utf-8", "replace")
        return {} if "\ufffd" in text or text.lstrip().startswith(("{", "[")) else {"message": text}
    if isinstance(found, list) and found:  # Google wraps its error in a list of one
        found = found[0]
    if isinstance(found, str):
        return {"message": found}
    if not isinstance(found, dict):
        return {}
    error = found.get("error")
    if isinstance(error, str):
        return {"message": found.get("message") or error, "code": error if found.get("message") else None}
    if isinstance(error, dict):
        metadata = error.get("metadata")
        return {**error, "error_type": metadata.get("error_type")} if isinstance(metadata, dict) else error
    if "detail" in found:
        return _detail(found["detail"])
    return found


def _detail(detail: object) -> dict[str, object]:
    """FastAPI's `detail`: text, or a list of validation errors."""
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        first = detail[0]
        where = first.get("loc")
        path = [str(step) for step in where if step != "body"] if isinstance(where, list) else []
        text = first.get("msg")
        said = text if isinstance(text, str) else "invalid value"
        return {"message": f"{'.'.join(path)}: {said}" if path else said, "param": ".".join(path) or None}
    return detail if isinstance(detail, dict) else {"message": detail}
