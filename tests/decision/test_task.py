"""The task classifier: deterministic, right on labelled prompts, never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_prompts import HELD_OUT, TUNED

from router_dsl.fields import TASKS
from runtime.decision import task
from runtime.decision.task import classify


@pytest.mark.parametrize(("label", "text"), TUNED)
def test_prompts_of_the_tuning_set_get_their_label(label: str, text: str) -> None:
    assert classify(text) == label


def test_nine_in_ten_prompts_it_was_not_tuned_on_get_their_label() -> None:
    right = sum(classify(text) == label for label, text in HELD_OUT)
    assert right / len(HELD_OUT) >= 0.9


def test_pictures_make_it_vision_whatever_the_text() -> None:
    assert classify("Write a Python function", images=1) == "vision"


@pytest.mark.parametrize(
    ("task_name", "command"),
    [
        ("summarize", "Summarize the following article."),
        ("translate", "Translate the following text into Italian."),
        ("code", "Refactor the following Python function."),
        ("extract", "Extract all dates from the following text."),
    ],
)
def test_a_command_counts_at_either_end_of_a_long_text(task_name: str, command: str) -> None:
    body = "The quick brown fox jumps over the lazy dog near the river bank. " * 200
    assert classify(f"{command}\n\n{body}") == task_name
    assert classify(f"{body}\n\n{command}") == task_name


def test_system_text_decides_when_the_user_says_nothing_telling() -> None:
    assert classify("Good morning, how are you?", system="You translate English into German.") == "translate"
    assert classify("Summarize this.", system="You are a Python coding assistant.") == "summarize"
    assert classify("Good morning", system="You are a helpful assistant.") == "chat"


def test_body_text_needs_more_than_one_weak_word() -> None:
    story = "Yesterday we walked through the old town and then down to the harbour to see what the ships had brought. "
    assert classify(story + "Someone had left a script there. " + story) == "chat"


def test_every_keyword_has_one_meaning() -> None:
    words = [word for listed in task.KEYWORDS.values() for word in listed.split()]
    assert len(words) == len(set(words))
    assert {name for name, _ in (*task.KEYWORDS, *task.PHRASES)} <= set(TASKS)


@given(st.text(max_size=600), st.integers(0, 2), st.text(max_size=60))
@pytest.mark.slow
def test_any_text_has_a_task_and_always_the_same(text: str, images: int, system: str) -> None:
    found = classify(text, images=images, system=system)
    assert found in TASKS
    assert classify(text, images=images, system=system) == found
