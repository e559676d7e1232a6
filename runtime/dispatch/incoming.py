"""What of a provider's answer head reaches the client."""

from __future__ import annotations

from runtime.dispatch.transport import Headers

# Hop by hop (RFC 9110 §7.6.1), what we frame ourselves, what is about the provider's own site (cookies, caching,
# cross-origin, certificates), and what the router says in its own name.
KEPT_BACK = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"content-length", b"content-encoding", b"content-type",
        b"date", b"server", b"via", b"x-powered-by", b"set-cookie", b"set-cookie2", b"alt-svc", b"etag", b"age",
        b"cache-control", b"expires", b"vary", b"strict-transport-security", b"www-authenticate", b"location",
        b"nel", b"report-to", b"reporting-endpoints", b"x-request-id", b"request-id", b"x-should-retry",
        b"retry-after", b"retry-after-ms", b"x-accel-buffering", b"endpoint-load-metrics",
    )
)  # fmt: skip
KEPT_BACK_PREFIXES = (
    b"access-control-", b"x-pointsman-", b"content-security-policy", b"cross-origin-", b"sec-",
    # The limits of our account are not the client's, who may have others with us.
    b"x-ratelimit-", b"ratelimit", b"anthropic-ratelimit-", b"openai-organization", b"openai-project",
)  # fmt: skip

STREAM_HEADERS: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
UNARY_CONTENT_TYPE = (b"content-type", b"application/json")


def passed_on(headers: Headers) -> Headers:
    """Return the headers that travel on to the client, in order."""
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    return tuple(
        (name, value)
        for name, value in headers
        if name not in KEPT_BACK and name not in named and not name.startswith(KEPT_BACK_PREFIXES)
    )


def media_type(headers: Headers) -> str:
    """Return the answer's media type in lower case without parameters; empty when it says none."""
    for name, value in headers:
        if name == b"content-type":
            return value.split(b";", 1)[0].strip().lower().decode("latin-1")
    return ""
