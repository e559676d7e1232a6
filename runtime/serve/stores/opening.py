"""Which store an address names."""

from __future__ import annotations

from urllib.parse import urlsplit

from runtime.serve.settings import SettingError
from runtime.serve.stores.store import Store

PREFIX = "pointsman:"
"""Of everything that is kept there."""


def open_store(url: str) -> Store:
    """Return the store at an address; nothing is connected yet.

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
    raise SettingError("POINTSMAN_STORE: an address begins with redis://, rediss://, valkey:// or unix://")
