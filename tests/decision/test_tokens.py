"""The token estimate: near real tokenizers, steady, cheap to keep right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.decision import scripts, tokens
from runtime.decision.tokens import estimate, of_json, of_messages

# Counted once with each model's own tokenizer: GPT-4o, Llama 3, Qwen 3, DeepSeek V3, Gemma 3, Mistral's Tekken.
COUNTED: tuple[tuple[str, tuple[int, ...]], ...] = ()


@pytest.mark.parametrize(("text", "counts"), COUNTED)
def test_the_estimate_is_within_a_quarter_of_the_mean_of_six_tokenizers(text: str, counts: tuple[int, ...]) -> None:
    mean = sum(counts) / len(counts)
    assert abs(estimate(text) - mean) <= max(2.0, 0.25 * mean), (estimate(text), mean)


def test_nothing_is_nothing_and_something_is_at_least_one() -> None:
    assert estimate("") == 0
    for text in ("a", " ", ".", "é", "漢", "\ud83d", "\0"):
        assert estimate(text) >= 1


def test_a_short_chat_is_what_openai_counts() -> None:
    assert of_messages(1) + estimate("Hello") == 8


@given(st.text(max_size=300))
@pytest.mark.slow
def test_any_text_has_an_estimate_no_larger_than_its_bytes_allow(text: str) -> None:
    assert 0 <= estimate(text) <= 2 * len(text.encode("utf-8", "surrogatepass")) + 1


PARAGRAPH = "The committee met on 12 May and agreed, after a long debate, to postpone the decision until autumn.\n"


@pytest.mark.parametrize("times", [1, 5, 11, 50, 500, 2000])
def test_a_sampled_text_is_estimated_like_its_parts(times: int) -> None:
    assert estimate(PARAGRAPH * times) == pytest.approx(times * estimate(PARAGRAPH), rel=0.1)


def test_a_sample_covers_both_ends_of_a_text() -> None:
    mixed = PARAGRAPH * 200 + "委员会于五月十二日开会，经过长时间讨论后决定。\n" * 200
    parts = estimate(PARAGRAPH * 200) + estimate("委员会于五月十二日开会，经过长时间讨论后决定。\n" * 200)
    assert estimate(mixed) == pytest.approx(parts, rel=0.1)


def test_json_is_a_quarter_of_its_bytes_rounded_up() -> None:
    assert [of_json(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]


# --- counting scripts -----------------------------------------------------------------------------


@given(
    st.text(
        "aZ0 .\n\u00e9\u0161\u03b1\u0436\u05d0\u0627\u0915\u0e01\u3042\u6f22\ud55c\uff0c\u2014\U0001f642", max_size=60
    )
)
def test_every_unit_beyond_ascii_is_counted_once(text: str) -> None:
    plain = scripts.ascii_only(text)
    assert plain.decode() == "".join(char for char in text if char.isascii())
    counts = scripts.count(text, len(plain))
    assert sum(counts.values()) == len(text.encode("utf-16-le")) // 2 - len(plain)
    assert set(counts) <= set(scripts.SCRIPTS)
    assert set(scripts.SCRIPTS) == set(tokens.PER_UNIT)
