"""Events as AWS documents them, made for any request: function URL, HTTP API, REST API, load balancer."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

Event = dict[str, object]

PATH = "/v1/chat/completions"
HELLO: dict[str, object] = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}


def function_url(
    method: str = "POST", path: str = PATH, body: object = None, headers: Mapping[str, str] | None = None,
    query: str = "", cookies: list[str] | None = None, *, is_binary: bool = False,
) -> Event:  # fmt: skip
    """Payload format 2.0 of a function URL."""
    return _second(
        "url-id.lambda-url.eu-west-1.on.aws", "$default", method, path, body, headers, query, cookies, is_binary
    )


def http_api(
    method: str = "POST", path: str = PATH, body: object = None, headers: Mapping[str, str] | None = None,
    query: str = "", cookies: list[str] | None = None, *, stage: str = "$default", is_binary: bool = False,
) -> Event:  # fmt: skip
    """Payload format 2.0 of an HTTP API; a named stage stands before the path."""
    raw_path = path if stage == "$default" else f"/{stage}{path}"
    domain = "api-id.execute-api.eu-west-1.amazonaws.com"
    return _second(domain, stage, method, raw_path, body, headers, query, cookies, is_binary)


def _second(
    domain: str, stage: str, method: str, path: str, body: object, headers: Mapping[str, str] | None, query: str,
    cookies: list[str] | None, is_binary: bool,
) -> Event:  # fmt: skip
    event: Event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            "host": domain,
            "x-forwarded-for": "203.0.113.9",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            "content-type": "application/json",
            **(headers or {}),
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": domain.partition(".")[0],
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.9",
                "userAgent": "test",
            },
            "requestId": "1b0b4d3c",
            "routeKey": "$default",
            "stage": stage,
            "time": "25/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1795608000000,
        },
        "isBase64Encoded": is_binary,
    }
    if cookies is not None:
        event["cookies"] = cookies
    if body is not None:
        event["body"] = _text(body, is_binary)
    return event


def rest_api(
    method: str = "POST", path: str = PATH, body: object = None, headers: Mapping[str, list[str]] | None = None,
    query: Mapping[str, list[str]] | None = None, *, stage: str = "prod", is_binary: bool = False,
) -> Event:  # fmt: skip
    """Payload format 1.0 of a REST API's proxy integration, buffered or streaming; the path is without the stage."""
    many = {
        "Host": ["api-id.execute-api.eu-west-1.amazonaws.com"],
        "Content-Type": ["application/json"],
        "X-Forwarded-For": ["203.0.113.9, 70.132.20.166"],
        "X-Forwarded-Port": ["443"],
        "X-Forwarded-Proto": ["https"],
        **(headers or {}),
    }
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {name: values[-1] for name, values in many.items()},
        "multiValueHeaders": many,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} if query else None,
        "multiValueQueryStringParameters": query,
        "pathParameters": {"proxy": path.lstrip("/")},
        "stageVariables": None,
        "requestContext": {
            "resourceId": "roq9wj",
            "resourcePath": "/{proxy+}",
            "httpMethod": method,
            "path": f"/{stage}{path}",
            "protocol": "HTTP/1.1",
            "stage": stage,
            "domainName": "api-id.execute-api.eu-west-1.amazonaws.com",
            "identity": {"sourceIp": "203.0.113.9", "userAgent": "test", "accessKey": None},
            "requestId": "c6af9ac6",
            "apiId": "api-id",
        },
        "body": None if body is None else _text(body, is_binary),
        "isBase64Encoded": is_binary,
    }


def balancer(
    method: str = "POST", path: str = PATH, body: object = None, headers: Mapping[str, list[str]] | None = None,
    query: Mapping[str, list[str]] | None = None, *, many: bool = False, is_binary: bool = False,
) -> Event:  # fmt: skip
    """What an Application Load Balancer sends a Lambda target, with or without multi-value headers."""
    lists = {
        "host": ["lb-123.eu-west-1.elb.amazonaws.com"],
        "content-type": ["application/json"],
        "x-forwarded-for": ["198.51.100.1, 203.0.113.9"],
        "x-forwarded-port": ["80"],
        "x-forwarded-proto": ["http"],
        **(headers or {}),
    }
    event: Event = {
        "requestContext": {
            "elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/x/y"}
        },
        "httpMethod": method,
        "path": path,
        "body": "" if body is None else _text(body, is_binary),
        "isBase64Encoded": is_binary,
    }
    if many:
        return event | {"multiValueHeaders": lists, "multiValueQueryStringParameters": query or {}}
    single = {name: values[-1] for name, values in lists.items()}
    return event | {
        "headers": single,
        "queryStringParameters": {name: values[-1] for name, values in (query or {}).items()},
    }


def _text(body: object, is_binary: bool) -> str:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return base64.b64encode(data).decode() if is_binary else data.decode()


SCHEDULED: Event = {
    "version": "0",
    "id": "53dc4d37",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2026-11-25T12:00:00Z",
    "region": "eu-west-1",
    "resources": ["arn:aws:events:eu-west-1:123456789012:rule/warm"],
    "detail": {},
}

WEBSOCKET: Event = {
    "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "Zh9xMf", "stage": "prod"},
    "isBase64Encoded": False,
}

QUEUE: Event = {"Records": [{"messageId": "19dd0b57", "body": "hello", "eventSource": "aws:sqs"}]}
