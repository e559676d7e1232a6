"""Providers: somewhere requests can be sent."""

from __future__ import annotations

import re
from typing import Literal, cast
from urllib.parse import urlsplit

from router_dsl import ast, sim_url
from router_dsl.check.props import Props, read
from router_dsl.check.report import Report
from router_dsl.check.scope import Scope, text_of
from router_dsl.plan import Provider

KEYWORDS = ("url", "key", "region", "protocol", "auth", "limit", "cold", "wake", "tags", "header")
PROTOCOLS = ("openai", "responses", "anthropic", "sim")
COLD = ("reject", "park")

Protocol = Literal["openai", "responses", "anthropic", "sim"]
Cold = Literal["reject", "park"]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""A header's name, RFC 9110 §5.6.2."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def resolve(scope: Scope) -> tuple[Provider, ...]:
    """Return the providers in the order written."""
    return tuple(_provider(provider, scope.report) for provider in scope.providers.values())


def _provider(node: ast.Provider, report: Report) -> Provider:
    props = read(f"provider `{node.name.text}`", node.props, KEYWORDS, report, repeated=("header",))
    url, protocol = _url(node, props)
    env, secret = _key(props)
    cold = props.one_of("cold", COLD)
    return Provider(
        name=node.name.text,
        url=url,
        key_env=env,
        key_secret=secret,
        region=props.text("region"),
        protocol=protocol,
        auth=_auth(props, protocol),
        limit=props.whole("limit"),
        cold=cast("Cold | None", cold),
        wake=_wake(props),
        tags=props.texts("tags"),
        headers=_headers(props),
    )


def _url(node: ast.Provider, props: Props) -> tuple[str, Protocol]:
    said = cast("Protocol | None", props.one_of("protocol", PROTOCOLS))
    prop, url, report = props.node("url"), props.text("url"), props.report
    if prop is None:
        if not report.lost(node, "url"):
            report.add(
                "E405", f"provider `{node.name.text}` has no `url`", node.name.span, 'write `url "https://…/v1"`'
            )
        return "", said or "openai"
    if url is None:
        return "", said or "openai"
    scheme = _scheme(HTTP2.sub(r"\1", url))
    if scheme is None:
        report.add(
            "E311",
            f"`{url}` is no address of a provider",
            prop.values[0].span,
            "it starts with `https://`, `http://` or `sim://`; over HTTP/2 with `https+h2://` or `http+h2://`",
        )
    elif scheme == "sim":
        _simulated(url, prop, report)
    if scheme == "sim" and said not in (None, "sim"):
        report.add(
            "E409", f"`sim://` does not speak `{said}`", prop.span, "leave `protocol` out, or write `protocol sim`"
        )
    if scheme in ("http", "https") and said == "sim":
        report.add("E409", "`protocol sim` needs a `sim://` url", prop.span, 'such as `url "sim://?ttft=200ms"`')
    return (url if scheme == "sim" else url.rstrip("/")), "sim" if scheme == "sim" else said or "openai"


def _simulated(url: str, prop: ast.Prop, report: Report) -> None:
    try:
        sim_url.parse(url)
    except ValueError as refused:
        report.add("E311", str(refused), prop.values[0].span)


# A provider that is asked over HTTP/2 says so where the scheme stands; `wake` is one call, and does not.
HTTP2 = re.compile(r"\A(https?)\+h2(?=://)")


def _scheme(url: str) -> str | None:
    """Return `http`, `https` or `sim`, None for anything that is no such address."""
    if not url.isprintable() or " " in url:
        return None
    if url.startswith(sim_url.SCHEME):
        return "sim"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts.scheme if parts.scheme in ("http", "https") and parts.hostname else None


def _key(props: Props) -> tuple[str | None, str | None]:
    prop = props.node("key")
    if prop is None:
        return None, None
    texts = [text_of(value) for value in prop.values]
    match texts:
        case ["env", str(name)] if _VARIABLE.fullmatch(name):
            return name, None
        case ["secret", str(name)] if name:
            return None, name
        case ["env", str(name)]:
            props.report.add("E311", f"`{name}` is no name of an environment variable", prop.span)
        case _:
            props.report.add(
                "E406",
                f"`key` of {props.owner} takes a place, not a key",
                prop.span,
                'write `key env.NAME` or `key secret "name"`',
            )
    return None, None


def _auth(props: Props, protocol: Protocol) -> str:
    """Return how the key travels; Anthropic's own protocol expects `x-api-key`, the others a bearer token."""
    prop = props.node("auth")
    if prop is None:
        return "x-api-key" if protocol == "anthropic" else "bearer"
    match [text_of(value) for value in prop.values]:
        case [("bearer" | "api-key") as scheme]:
            return scheme
        case ["header", str(name)] if _TOKEN.fullmatch(name):
            return name.lower()
        case _:
            props.report.add(
                "E406",
                f"`auth` of {props.owner} is no way to send a key",
                prop.span,
                'write `bearer`, `api-key` or `header "name"`',
            )
            return "bearer"


def _wake(props: Props) -> str | None:
    url, prop = props.text("wake"), props.node("wake")
    if url is not None and prop is not None and _scheme(url) not in ("http", "https"):
        props.report.add(
            "E311", f"`{url}` is no address to wake", prop.values[0].span, "it starts with `https://` or `http://`"
        )
    return url


def _headers(props: Props) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for prop in props.many:
        if prop.keyword.text != "header":
            continue
        match [text_of(value) for value in prop.values]:
            case [str(name), str(value)] if _TOKEN.fullmatch(name) and _sendable(value):
                if name.lower() in found:
                    props.report.add("E404", f"header `{name}` of {props.owner} is said twice", prop.span)
                found[name.lower()] = value
            case _:
                props.report.add(
                    "E406",
                    f"`header` of {props.owner} takes a header's name and value",
                    prop.span,
                    'write `header "x-name" "value"`',
                )
    return tuple(found.items())


def _sendable(value: str) -> bool:
    """Whether a header can carry the value: visible ASCII and inner spaces."""
    return value.isascii() and value.isprintable() and value == value.strip()
