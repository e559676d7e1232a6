"""When a provider wants to be asked again: every form of the hint that is met in the wild."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

Headers = Iterable[tuple[bytes, bytes]]

# A day: what is asked for beyond that is a mistake or a suspended account, and either deserves another look by then.
MAX_RETRY_AFTER_S = 86_400.0

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SPAN_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DATE = re.compile(r"(\d{1,2})[ -]([A-Za-z]{3})[ -](\d{2,4}) (\d{2}):(\d{2}):(\d{2})")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_RESETS = ("", "-requests", "-tokens")


def retry_after_s(headers: Headers, now_unix_s: float, status: int = 429) -> float | None:
    """Return how long the provider asks to wait, in seconds in [0, 86400], or None.

    Reads `retry-after-ms`, then `retry-after` (seconds or HTTP date), then, of a 429, the latest
    `x-ratelimit-reset[-requests|-tokens]` whose `remaining` is not above zero (seconds, `1m30s`, Unix seconds or
    milliseconds). What cannot be read is no hint.
    """
    found = {name: value for name, value in headers if name.startswith((b"retry-", b"x-ratelimit-"))}
    if not found:
        return None
    text = {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in found.items()}
    in_ms = text.get("retry-after-ms", "")
    if _NUMBER.fullmatch(in_ms):
        return _bounded(float(in_ms) / 1000.0)
    plain = text.get("retry-after", "")
    if _NUMBER.fullmatch(plain):
        return _bounded(float(plain))
    at_s = _date_unix_s(plain)
    if at_s is not None:
        return _bounded(at_s - now_unix_s)
    if status != 429:
        return None
    waits = [
        wait_s
        for suffix in _RESETS
        if text.get(f"x-ratelimit-remaining{suffix}", "0").lstrip("-").strip("0.") == ""
        and (wait_s := _reset_s(text.get(f"x-ratelimit-reset{suffix}", ""), now_unix_s)) is not None
    ]
    return max(waits) if waits else None


def _bounded(wait_s: float) -> float:
    return min(max(0.0, wait_s), MAX_RETRY_AFTER_S)


def _reset_s(text: str, now_unix_s: float) -> float | None:
    """A reset as seconds, as `1m30s`, or as Unix seconds or milliseconds told by their size."""
    if _NUMBER.fullmatch(text):
        value = float(text)
        if value > 1e11:
            value /= 1000.0
        return _bounded(value - now_unix_s if value > 1e9 else value)
    spans = _SPAN.findall(text)
    if spans and _SPAN.sub("", text) == "":
        return _bounded(sum(float(amount) * _SPAN_S[unit] for amount, unit in spans))
    return None


def _date_unix_s(text: str) -> float | None:
    """An HTTP date (RFC 9110, its obsolete RFC 850 form too) as Unix seconds."""
    match = _DATE.search(text)
    if match is None or match[2].lower() not in _MONTHS:
        return None
    year = int(match[3]) + (2000 if len(match[3]) == 2 else 0)
    try:
        when = datetime(
            year,
            _MONTHS.index(match[2].lower()) + 1,
            int(match[1]),
            int(match[4]),
            int(match[5]),
            int(match[6]),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return when.timestamp()
