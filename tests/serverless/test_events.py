"""An event of any front → the same request."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.lambda_runtime.events import HttpRequest, NotHttpError, request_of
from tests.serverless.events import (
    HELLO,
    PATH,
    QUEUE,
    SCHEDULED,
    WEBSOCKET,
    Event,
    balancer,
    function_url,
    http_api,
    rest_api,
)


def read(event: Event, base_path: str = "") -> HttpRequest:
    return request_of(json.dumps(event).encode(), base_path)


def header(request: HttpRequest, name: str) -> list[str]:
    pairs = request.scope["headers"]
    assert isinstance(pairs, list)
    return [value.decode("latin-1") for found, value in pairs if found == name.encode()]


FRONTS: dict[str, Callable[..., Event]] = {
    "url": function_url,
    "http-api": http_api,
    "rest-api": rest_api,
    "alb": balancer,
}


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("is_binary", [False, True])
def test_the_same_request_comes_out_of_every_front(front: str, is_binary: bool) -> None:
    request = read(FRONTS[front]("POST", PATH, HELLO, is_binary=is_binary))
    assert request.front == front
    assert request.scope["method"] == "POST"
    assert request.scope["path"] == PATH
    assert request.scope["raw_path"] == PATH.encode()
    assert request.scope["client"] == ("203.0.113.9", 0)
    assert json.loads(request.body) == HELLO
    assert header(request, "content-type") == ["application/json"]
    assert request.scope["scheme"] == ("http" if front == "alb" else "https")


def test_a_body_of_any_bytes_arrives_as_it_was_sent() -> None:
    data = bytes(range(256))
    assert read(function_url(body=data, is_binary=True)).body == data
    assert read(function_url(body="é€".encode())).body == "é€".encode()
    assert read(function_url(method="GET")).body == b""


def test_cookies_of_the_second_format_are_one_header() -> None:
    assert header(read(function_url(cookies=["a=1", "b=2"])), "cookie") == ["a=1; b=2"]


@pytest.mark.parametrize(
    "event", [rest_api(headers={"X-Two": ["a", "b"]}), balancer(headers={"x-two": ["a", "b"]}, many=True)]
)
def test_repeated_headers_stay_apart_where_the_front_tells_them_apart(event: Event) -> None:
    assert header(read(event), "x-two") == ["a", "b"]


def test_null_headers_are_none() -> None:
    event = rest_api()
    event["multiValueHeaders"] = None
    event["headers"] = {"Host": "h", "X-Gone": None}
    assert header(read(event), "host") == ["h"]
    assert header(read(event), "x-gone") == []


def test_the_query_is_that_of_the_client() -> None:
    assert read(function_url(query="a=1&a=2&b=%20")).scope["query_string"] == b"a=1&a=2&b=%20"
    assert read(rest_api(query={"a": ["1", "2"], "b": [" &"]})).scope["query_string"] == b"a=1&a=2&b=+%26"
    assert read(balancer(query={"a": ["1", "2"], "b": ["%20"]}, many=True)).scope["query_string"] == b"a=1&a=2&b=%20"
    assert read(balancer(query={"b": ["%20"]})).scope["query_string"] == b"b=%20"


def test_an_escaped_path_is_both_decoded_and_as_sent() -> None:
    scope = read(function_url("GET", "/v1/models/a%20b")).scope
    assert (scope["path"], scope["raw_path"]) == ("/v1/models/a b", b"/v1/models/a%20b")


@pytest.mark.parametrize(
    ("event", "base_path", "root_path"),
    [
        (http_api(stage="prod"), "", "/prod"),
        (http_api(), "", ""),
        (rest_api(stage="prod"), "", ""),
        (rest_api(path=f"/llm{PATH}"), "/llm", "/llm"),
        (http_api(path=f"/llm{PATH}"), "/llm", "/llm"),
        (rest_api(path=f"/llmx{PATH}"), "/llm", ""),
    ],
)
def test_stage_and_base_path_are_not_part_of_the_address(event: Event, base_path: str, root_path: str) -> None:
    scope = read(event, base_path).scope
    assert scope["root_path"] == root_path
    assert str(scope["path"]).startswith(root_path)


def test_a_balancers_client_is_whom_the_balancer_heard() -> None:
    event = balancer(headers={"x-forwarded-for": ["6.6.6.6, 203.0.113.9"]})
    assert read(event).scope["client"] == ("203.0.113.9", 0)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (WEBSOCKET, "websocket"),
        (QUEUE, "no http request"),
        ({}, "no http request"),
        ({"source": "aws.s3"}, "aws.s3"),
        (function_url(body=None) | {"body": "not base64!", "isBase64Encoded": True}, "base64"),
    ],
)
def test_what_is_no_http_request_says_what_it_is(event: Event, words: str) -> None:
    with pytest.raises(NotHttpError, match=words) as raised:
        read(event)
    assert not raised.value.is_scheduled


def test_a_schedule_is_told_apart() -> None:
    with pytest.raises(NotHttpError) as raised:
        read(SCHEDULED)
    assert raised.value.is_scheduled


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(sorted({*function_url(), *rest_api(), *balancer(many=True), "cookies", "body"}))


@given(event=st.sampled_from([make(body=HELLO) for make in FRONTS.values()]), field=FIELDS, value=JSON)
def test_whatever_stands_in_an_event_it_is_a_request_or_none(event: Event, field: str, value: object) -> None:
    try:
        request = request_of(msgspec.json.encode({**event, field: value}))
    except NotHttpError:
        return
    assert isinstance(request.scope["path"], str)
    assert isinstance(request.body, bytes)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_request_or_none(event: bytes) -> None:
    with pytest.raises(NotHttpError):
        request_of(event)
