"""What goes to a provider: URL, key and headers of every endpoint, worked out once; the body, rewritten for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec

from router_dsl.plan import Options, Program, Provider
from runtime.dispatch.transport import Headers, Outgoing
from runtime.wire.request import Edits, rewrite

PATH_OF_API = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "responses": "/responses",
    "messages": "/messages",
    "embeddings": "/embeddings",
}

# The only headers of a client that travel on: trace context, and the hint that keeps a conversation on the replica
# that has its prompt cached. Everything else a client sends, keys and cookies above all, stays here.
PASSED_ON = ("traceparent", "tracestate", "x-session-affinity")
# Betas change what a body may say, so they go where the body goes as it came.
BETA = "anthropic-beta"

ANTHROPIC_VERSION = b"2023-06-01"
"""Of Anthropic's interface, the one whose bodies and events we write."""

# What frames a request or negotiates its coding is ours to say; a policy's `header` lines cannot change it.
# `identity`: the answer is watched as it passes, which a compressed one would not let us do.
OURS: Headers = (
    (b"content-type", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"pointsman"),
)
FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type", "accept-encoding"})


UNSIGNED = re.compile(rb'"signature"\s*:\s*""')
"""What thoughts of other models have in place of Anthropic's signature, once we have translated them."""

LIMITS = {"messages": "max_tokens", "responses": "max_output_tokens"}
"""What an interface that knows one name alone for the output limit calls it."""


class UnusableProviderError(ValueError):
    """A provider that cannot be asked from here, whatever it answers; the message names it and what to do."""


class UnusableKeyError(UnusableProviderError):
    """A provider's key or header that no HTTP header can carry; the message names it and never shows a key."""


class Addresses:
    """How to reach every endpoint of a program.

    Args:
        program: The plan's meaning.
        keys: Where `key env.NAME` is looked up: the environment.
        secrets: Where `key secret NAME` is looked up.

    Raises:
        UnusableKeyError: A key is there but cannot be sent.
        UnusableProviderError: HTTP/2 is asked for and not installed.
    """

    def __init__(self, program: Program, keys: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        _check_http2(program)
        self._program = program
        found = [_key(provider, keys, secrets) for provider in program.providers]
        self._has_key = [
            key is not None or (provider.key_env is None and provider.key_secret is None)
            for provider, key in zip(program.providers, found, strict=True)
        ]
        self._headers = [_headers(provider, key) for provider, key in zip(program.providers, found, strict=True)]

    def configured(self, endpoint: int) -> bool:
        """Whether the endpoint's provider can be used here: its key is set, or it needs none."""
        return self._has_key[self._program.endpoints[endpoint].provider]

    def request(
        self, endpoint: int, api: str, spoken: str, raw: bytes, client_headers: Mapping[str, str], options: Options
    ) -> tuple[Outgoing, tuple[str, ...]]:
        """Return the request for an endpoint, and what of the client's it leaves out.

        Args:
            endpoint: Index into `Program.endpoints`.
            api: The client's interface, one of `fields.APIS`.
            spoken: The one that the endpoint is asked in.
            raw: The client's body, as `wire.request.decode` accepted it.
            client_headers: The client's headers, names in lower case.
            options: Edits of the body.
        """
        entry = self._program.endpoints[endpoint]
        provider = self._program.providers[entry.provider]
        dropped: tuple[str, ...] = ()
        drop = options.drop
        if spoken != api:
            # Imported where it is asked for: most plans need none of it.
            from runtime.wire.translate import translation

            # What the policy drops need not be expressible; what the other interface insists on is not dropped again.
            kept = rewrite(raw, Edits(entry.upstream, drop=drop))
            limit = "max_completion_tokens" if _is_openais_own(provider.url) else "max_tokens"
            raw, dropped = translation.request(api, spoken, kept, entry.output, limit)
            drop = ()
        elif api == "messages" and UNSIGNED.search(raw):
            from runtime.wire.translate import translation

            raw = translation.signed(raw)
        # Usage is always asked for: cost and health need it. The relay keeps the extra chunk from clients that did not.
        usage = spoken in ("chat", "completions")
        edits = Edits(
            entry.upstream,
            options.cap,
            options.set,
            drop,
            include_usage=usage,
            plain_effort=spoken == "chat",
            limit=LIMITS.get(spoken),
        )
        passed = [
            (name.encode("latin-1"), client_headers[name].encode("latin-1", "replace"))
            for name in (PASSED_ON if spoken != "messages" or spoken != api else (*PASSED_ON, BETA))
            if name in client_headers and not _is_for_us_alone(name, client_headers)
        ]
        headers = (*self._headers[entry.provider], *passed)
        return Outgoing("POST", join(provider, PATH_OF_API[spoken]), headers, rewrite(raw, edits)), dropped

    def wake(self, provider: int) -> Outgoing:
        """Return the call that wakes a provider (index) which has an address for that."""
        url = self._program.providers[provider].wake
        assert url is not None
        return Outgoing("POST", url, self._headers[provider], b"")


def _is_openais_own(url: str) -> bool:
    """Whether a provider is OpenAI itself, whose newer models refuse the older name of the limit that others know."""
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    return host.endswith(("api.openai.com", ".openai.azure.com"))


def _is_for_us_alone(name: str, headers: Mapping[str, str]) -> bool:
    """Whether a client says of a header that it is about its own connection (RFC 9110 §7.6.1)."""
    return name in (token.strip().lower() for token in headers.get("connection", "").split(","))


HTTP2 = "+h2://"
"""In a provider's URL, where `://` stands: `https+h2://…`, or `http+h2://…` without TLS, asks it over HTTP/2."""


def carrier(provider: Provider) -> str:
    """Return the key of the transport that reaches a provider: `h2`, or its protocol."""
    return "h2" if HTTP2 in provider.url[: len("https" + HTTP2)] else provider.protocol


LOAD_HEADER = "endpoint-load-metrics-format"
LOAD_TAG = "load-from-metrics"


def reports_load(provider: Provider) -> bool:
    """Whether a policy declares that a provider says how busy it is: in its answers, or on its page of metrics."""
    return LOAD_TAG in provider.tags or any(name.lower() == LOAD_HEADER for name, _ in provider.headers)


def _check_http2(program: Program) -> None:
    asked = next((provider.name for provider in program.providers if carrier(provider) == "h2"), None)
    if asked is not None and find_spec("h2") is None:
        raise UnusableProviderError(
            f"provider `{asked}`: HTTP/2 needs more than is installed: `pip install pointsman[http2]`"
        )


def join(provider: Provider, path: str) -> str:
    """Return the provider's base URL with a path behind it; its query string stays at the end."""
    if provider.protocol == "sim":
        return provider.url
    base, question, query = provider.url.replace(HTTP2, "://", 1).partition("?")
    return base.rstrip("/") + path + question + query


def _key(provider: Provider, keys: Mapping[str, str], secrets: Mapping[str, str]) -> str | None:
    if provider.key_env is not None:
        source, key = f"environment variable `{provider.key_env}`", keys.get(provider.key_env)
    elif provider.key_secret is not None:
        source, key = f"secret `{provider.key_secret}`", secrets.get(provider.key_secret)
    else:
        return None
    # Keys pasted into files and consoles end in line ends.
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UnusableKeyError(f"the {source} holds characters that no http header can carry")
    return key or None


def _headers(provider: Provider, key: str | None) -> Headers:
    """Return the fixed headers of a provider: its own lines win over ours, its key over both."""
    found: dict[bytes, bytes] = dict(OURS)
    if provider.protocol == "anthropic":
        found[b"anthropic-version"] = ANTHROPIC_VERSION
    for name, value in provider.headers:
        if name.lower() not in FRAMING:
            found[_sendable(provider, name).lower()] = _sendable(provider, value)
    if key is not None:
        match provider.auth:
            case "bearer":
                found[b"authorization"] = f"Bearer {key}".encode("ascii")
            case "api-key":
                found[b"authorization"] = f"Api-Key {key}".encode("ascii")
            case header:
                found[_sendable(provider, header).lower()] = key.encode("ascii")
    return tuple(found.items())


def _sendable(provider: Provider, text: str) -> bytes:
    if not text.isprintable():
        raise UnusableKeyError(f"a header of provider `{provider.name}` holds characters that http cannot carry")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise UnusableKeyError(
            f"a header of provider `{provider.name}` holds characters that http cannot carry"
        ) from error
