"""The address of a simulated provider."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_dsl.sim_url import SimUrl, parse


def test_the_address_of_the_language_page() -> None:
    assert parse("sim://?ttft=200ms&speed=80&fail=2%&seed=1") == SimUrl(ttft_s=0.2, speed=80.0, fail=0.02, seed=1)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sim://", SimUrl()),
        ("sim://?", SimUrl()),
        ("sim://fast", SimUrl(name="fast")),
        ("sim://fast/v1/chat/completions?ttft=0s", SimUrl(name="fast", path="/v1/chat/completions", ttft_s=0.0)),
        ("sim:///models", SimUrl(path="/models")),
        ("sim://?ttft=1.5s&jitter=10%", SimUrl(ttft_s=1.5, jitter=0.1)),
        ("sim://?fail=0.25", SimUrl(fail=0.25)),
        ("sim://?fail=2%25", SimUrl(fail=0.02)),
        ("sim://?fail=100%&cut=50%", SimUrl(fail=1.0, cut=0.5)),
        ("sim://?down", SimUrl(down=True)),
        ("sim://?down=true", SimUrl(down=True)),
        ("sim://?down=false", SimUrl()),
        ("sim://?speed=0.5", SimUrl(speed=0.5)),
    ],
)
def test_what_it_means(url: str, expected: SimUrl) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://x", "`http://x` is no address"),
        ("sim:?ttft=1s", "is no address"),
        ("sim://a@b", "is no address"),
        ("sim://x#y", "is no address"),
        ("sim://?tfft=200ms", "no parameter `tfft`; it knows ttft, speed"),
        ("sim://?ttft=1s&ttft=2s", "`ttft` is there twice"),
        ("sim://?ttft=200", "`ttft=200` is no duration"),
        ("sim://?ttft=-1s", "is no duration"),
        ("sim://?ttft=", "is no duration"),
        ("sim://?ttft=90m", "more than an hour"),
        ("sim://?speed=0", "is no speed"),
        ("sim://?speed=fast", "is no speed"),
        ("sim://?speed=inf", "is no speed"),
        ("sim://?fail=101%", "is no share"),
        ("sim://?fail=2", "is no share"),
        ("sim://?fail=nan%", "is no share"),
        ("sim://?cut=%", "is no share"),
        ("sim://?seed=-1", "is no seed"),
        ("sim://?seed=1e3", "is no seed"),
        ("sim://?seed=" + "9" * 5000, "is no seed"),
        ("sim://?down=maybe", "neither"),
    ],
)
def test_what_it_refuses(url: str, part: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(url)
    assert part in str(caught.value)


@given(st.text())
def test_any_text_is_read_or_refused(rest: str) -> None:
    with suppress(ValueError):
        parse("sim://?" + rest)
