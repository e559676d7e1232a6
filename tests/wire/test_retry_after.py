"""Reading when a provider wants to be asked again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.wire.retry_after import MAX_RETRY_AFTER_S, retry_after_s

NOW_S = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


def wait(status: int = 429, **headers: str) -> float | None:
    named = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return retry_after_s(named, NOW_S, status)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5.0),
        (" 5 ", 5.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("999999999", MAX_RETRY_AFTER_S),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Friday, 15-Jan-27 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2099 07:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Fri, 99 Jan 2027 07:00:00 GMT", None),
        ("Fri, 15 Foo 2027 07:00:00 GMT", None),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, expected: float | None) -> None:
    assert wait(retry_after=text) == expected


def test_milliseconds_are_the_finer_hint() -> None:
    assert wait(retry_after_ms="1250", retry_after="60") == 1.25
    assert wait(retry_after_ms="x", retry_after="60") == 60.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12.0),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("1800000030", 30.0),
        ("1800000030000", 30.0),
        ("2027-01-15", None),
        ("", None),
    ],
)
def test_a_rate_limits_reset_is_read_in_every_form(text: str, expected: float | None) -> None:
    assert wait(x_ratelimit_reset=text) == expected


def test_of_several_resets_the_last_exhausted_counts() -> None:
    both = {"x_ratelimit_reset_requests": "2s", "x_ratelimit_reset_tokens": "9s"}
    assert wait(**both) == 9.0
    assert wait(**both, x_ratelimit_remaining_tokens="50") == 2.0
    assert wait(**both, x_ratelimit_remaining_tokens="0", x_ratelimit_remaining_requests="7") == 9.0


def test_resets_are_a_hint_only_of_a_429() -> None:
    assert wait(status=503, x_ratelimit_reset="5") is None
    assert wait(status=503, retry_after="5") == 5.0


def test_no_header_is_no_hint() -> None:
    assert retry_after_s((), NOW_S) is None
    assert wait(date="x") is None


TEXT = st.text("0123456789.smhd -:,GMTJan", max_size=30) | st.binary(max_size=20).map(lambda b: b.decode("latin-1"))


@given(TEXT, TEXT, TEXT)
def test_any_text_gives_a_bounded_hint_or_none(after: str, after_ms: str, reset: str) -> None:
    named = ((b"retry-after", after), (b"retry-after-ms", after_ms), (b"x-ratelimit-reset", reset))
    found = retry_after_s(tuple((name, text.encode("latin-1")) for name, text in named), NOW_S)
    assert found is None or 0.0 <= found <= MAX_RETRY_AFTER_S
