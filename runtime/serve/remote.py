"""Plans from elsewhere: `https://`, `s3://` and `gs://`, asked by ETag over our own transport.

The only host that is asked is the one that is named, with the platform's own services for credentials: a redirect is
not followed. Everything is bounded: the wait, the size. A connection is made for each look and closed behind it, since
whatever lies idle between looks may be dead when it is used again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Protocol
from urllib.parse import quote, urlsplit

import msgspec

from runtime.dispatch.aws import Aws, AwsError
from runtime.dispatch.pool import Http1Transport
from runtime.dispatch.transport import Transport, TransportError
from runtime.dispatch.whole import Whole, exchange
from runtime.serve.settings import is_loopback
from runtime.serve.source import MOST_BYTES, Fetched, Source, SourceError, shown

SCHEMES = ("https", "s3", "gs", "http")

# For the whole look, credentials included; the largest plan at 10 MB/s takes half of it.
FETCH_S = 10.0

# Google's metadata service answers in milliseconds where there is one; elsewhere its name does not resolve.
GOOGLE_METADATA_S = 1.0
GOOGLE_TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 — a path

# Renewed so long before it expires, by the wall clock.
RENEW_BEFORE_S = 60.0


class AddressError(ValueError):
    """An address that no plan can be had from; the message says why."""


def remote(where: str, environ: Mapping[str, str], now_unix_s: Callable[[], float] = time.time) -> Source:
    """Return the source at an address.

    Args:
        where: `https://HOST/PATH`, `s3://BUCKET/KEY` or `gs://BUCKET/OBJECT`; `http://` of this machine alone.
        environ: Where credentials are found, by the names that every AWS and Google SDK reads.
        now_unix_s: The wall clock.

    Raises:
        AddressError: It is none.
    """
    parts = urlsplit(where)
    name = shown(where)
    if parts.scheme not in SCHEMES:
        raise AddressError(f"`{name}` is neither a file nor an address of {', '.join(SCHEMES[:3])}")
    if parts.username is not None or parts.fragment:
        raise AddressError(f"`{name}` has a user or a fragment, which an address of a plan has not")
    if not parts.hostname or not parts.path.strip("/"):
        raise AddressError(f"`{name}` lacks the name of a host or a bucket, or the path of a plan in it")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise AddressError(f"`{name}` could be read and changed on its way: use https")
    transport = Http1Transport()
    place: Place
    if parts.scheme == "s3":
        place = S3(parts.netloc, parts.path[1:], environ, transport, now_unix_s)
    elif parts.scheme == "gs":
        place = GoogleStorage(parts.netloc, parts.path[1:], environ, transport, now_unix_s)
    else:
        place = Web(where, transport)
    return RemoteSource(name, place, transport)


class Place(Protocol):
    """Where an object is, and how to ask for it there."""

    async def look(self, asked: Mapping[str, str]) -> Whole:
        """Return the answer to a GET with these headers.

        Raises:
            TransportError: There is none.
            AwsError: Likewise.
        """
        ...


class RemoteSource:
    """A plan at such a place.

    Args:
        name: What it is called in messages.
        place: Where it is.
        transport: What the place is asked over; closed after each look.
    """

    def __init__(self, name: str, place: Place, transport: Http1Transport) -> None:
        self.name = name
        self._place = place
        self._transport = transport

    async def fetch(self, known: str | None) -> Fetched | None:
        """Return the plan, or None when it still bears the mark `known`.

        Raises:
            SourceError: It cannot be had.
        """
        # A mark of our own, for servers that give none, is not for them to compare.
        asked = {"if-none-match": known} if known is not None and known.endswith('"') else {}
        try:
            async with asyncio.timeout(FETCH_S):
                found = await self._place.look(asked)
        except TimeoutError as error:
            raise SourceError(f"no answer within {FETCH_S:g} s") from error
        except (TransportError, AwsError) as error:
            raise SourceError(error.detail) from error
        finally:
            await self._transport.aclose()
        if found.status == 304:
            return None
        if found.status != 200:
            raise SourceError(_refusal(found))
        tag = found.headers.get("etag") or sha256(found.body).hexdigest()
        return None if tag == known else Fetched(found.body, tag)


class Web:
    """A plan on a web server."""

    def __init__(self, url: str, transport: Transport) -> None:
        self._url = url
        self._transport = transport

    async def look(self, asked: Mapping[str, str]) -> Whole:
        """Ask it."""
        return await get(self._transport, self._url, asked)


class S3:
    """A plan in S3, read as the role that this process runs under; a bucket of another region is found by itself."""

    def __init__(
        self,
        bucket: str,
        key: str,
        environ: Mapping[str, str],
        transport: Transport,
        now_unix_s: Callable[[], float],
    ) -> None:
        self._bucket = bucket
        self._path = quote(key, safe="/-_.~")
        self._aws = Aws(environ, transport, now_unix_s)
        self._region = self._aws.region

    async def look(self, asked: Mapping[str, str]) -> Whole:
        """Ask it, where it is."""
        found = await self._ask(asked)
        region = found.headers.get("x-amz-bucket-region", self._region)
        if found.status in (301, 307, 400) and region != self._region:
            self._region = region
            found = await self._ask(asked)
        return found

    async def _ask(self, asked: Mapping[str, str]) -> Whole:
        status, headers, body = await self._aws.send(
            "GET", self._url(), asked, b"", service="s3", region=self._region, within_s=FETCH_S, most_bytes=MOST_BYTES
        )
        return Whole(status, headers, body)

    def _url(self) -> str:
        host = self._aws.endpoint("s3", self._region)
        # Buckets are hosts of their own on AWS; one with a dot has no certificate there, other endpoints no such hosts.
        if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) and "." not in self._bucket:
            return f"{host.replace('://', f'://{self._bucket}.', 1)}/{self._path}"
        return f"{host}/{self._bucket}/{self._path}"


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float


class GoogleStorage:
    """A plan in Cloud Storage, read as the service account that this process runs under, or as anybody elsewhere."""

    def __init__(
        self,
        bucket: str,
        key: str,
        environ: Mapping[str, str],
        transport: Transport,
        now_unix_s: Callable[[], float],
    ) -> None:
        said = environ.get("STORAGE_EMULATOR_HOST", "")
        host = (said if "://" in said else f"http://{said}") if said else "https://storage.googleapis.com"
        self._url = f"{host.rstrip('/')}/{quote(bucket, safe='-_.')}/{quote(key, safe='/-_.~')}"
        self._transport = transport
        self._metadata = environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
        self._now_unix_s = now_unix_s
        self._token = ""
        self._until_unix_s = 0.0

    async def look(self, asked: Mapping[str, str]) -> Whole:
        """Ask it."""
        token = await self._own_token()
        return await get(self._transport, self._url, {**asked, "authorization": f"Bearer {token}"} if token else asked)

    async def _own_token(self) -> str:
        """Return the token of this process's service account; empty where there is no metadata service."""
        if self._now_unix_s() > self._until_unix_s - RENEW_BEFORE_S:
            url = f"http://{self._metadata}{GOOGLE_TOKEN_PATH}"
            try:
                async with asyncio.timeout(GOOGLE_METADATA_S):
                    found = await get(self._transport, url, {"metadata-flavor": "Google"})
                issued = msgspec.json.decode(found.body, type=_Token)
            except (TransportError, TimeoutError, msgspec.MsgspecError):
                return ""
            self._token, self._until_unix_s = issued.access_token, self._now_unix_s() + issued.expires_in
        return self._token


async def get(transport: Transport, url: str, headers: Mapping[str, str]) -> Whole:
    """Return the answer to a GET.

    Raises:
        TransportError: There is none.
    """
    told = {"accept-encoding": "identity", "user-agent": "pointsman", **headers}
    return await exchange(transport, "GET", url, told, most_bytes=MOST_BYTES)


def _refusal(found: Whole) -> str:
    if 300 <= found.status < 400:
        return f"it answers {found.status}, and redirects are not followed: name the place itself"
    hints = {401: "who is asking is not known there", 403: "this process may not read it", 404: "there is no such plan"}
    return f"it answers {found.status}" + (f": {hints[found.status]}" if found.status in hints else "")
