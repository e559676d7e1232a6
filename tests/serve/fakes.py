"""Providers' answers without providers."""

from __future__ import annotations

from runtime.dispatch.transport import Headers


class FakeResponse:
    """A whole answer that is already here."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._left = [body] if body else []

    @property
    def is_complete(self) -> bool:
        return not self._left

    async def read(self) -> bytes:
        return self._left.pop(0) if self._left else b""

    async def aclose(self) -> None:
        pass
