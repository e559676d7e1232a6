"""The script guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_prompts import SCRIPTS

from runtime.decision.language import guess


@pytest.mark.parametrize(("script", "text"), SCRIPTS)
def test_labelled_texts_get_their_script(script: str | None, text: str) -> None:
    assert guess(text) == script


@pytest.mark.parametrize(("script", "text"), [(script, text) for script, text in SCRIPTS if script])
def test_long_texts_are_judged_by_both_ends(script: str, text: str) -> None:
    assert guess(text + " " * 5000 + "12345 " * 5000) == script
    assert guess("12345 " * 5000 + text) == script


@given(st.text(max_size=40))
@pytest.mark.slow
def test_any_text_has_a_script_or_none(text: str) -> None:
    found = guess(text)
    assert found is None or found.isalpha()


def test_half_an_emoji_has_no_script() -> None:
    assert guess("\ud83d") is None
    assert guess("\ud83d hello") == "latin"
