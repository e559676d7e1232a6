"""Which store an address names."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from runtime.dispatch.transport import Transport
from runtime.serve.settings import SettingError
from runtime.serve.stores.store import Store

PREFIX = "pointsman:"
"""Of everything that is kept there."""


def open_store(url: str, environ: Mapping[str, str], carriers: Mapping[str, Transport]) -> Store:
    """Return the store at an address; nothing is connected yet.

    Args:
        url: Its address.
        environ: Where AWS credentials are looked up.
        carriers: Transports by protocol; calls to AWS go over that of `openai`, which is plain HTTP.

    Raises:
        SettingError: It names none, or what speaks to it is not installed.
    """
    match urlsplit(url).scheme:
        case "redis" | "rediss" | "unix" | "valkey" | "valkeys":
            try:
                from runtime.serve.stores.redis_store import RedisStore
            except ImportError as error:
                raise SettingError(
                    "POINTSMAN_STORE: Redis needs more than is installed: `pip install pointsman[redis]`"
                ) from error
            try:
                return RedisStore(url, PREFIX)
            except ValueError as error:
                raise SettingError(f"POINTSMAN_STORE: {error}") from error
        case "dynamodb":
            from runtime.dispatch.aws import Aws
            from runtime.serve.stores.dynamo import DynamoStore

            parts = urlsplit(url)
            asked = dict(parse_qsl(parts.query))
            if parts.netloc and not parts.path.strip("/") and not asked.keys() - {"region"}:
                return DynamoStore(Aws(environ, carriers["openai"]), parts.netloc, PREFIX, asked.get("region", ""))
            raise SettingError("POINTSMAN_STORE: write dynamodb://TABLE or dynamodb://TABLE?region=REGION")
    raise SettingError("POINTSMAN_STORE: an address begins with redis://, rediss://, valkey://, unix:// or dynamodb://")
