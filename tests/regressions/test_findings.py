"""Findings that were wrong once: one mistake gives one finding, and the finding is about that mistake."""

from __future__ import annotations

import pytest

from router_dsl.check.program import check
from router_dsl.load import load_text
from router_dsl.source import in_order

CATALOG = """\
provider p { url "https://p.example/v1" }
model m { serve p "m" }
"""
MAIN = "policy main { otherwise -> m }\n"


def said(text: str) -> list[tuple[str, str, str, str | None]]:
    """Return code, underlined text, message and help of each finding."""
    files, reported = load_text(text, "x.route")
    _, found = check(files, reported)
    return [(d.code, d.span.text, d.message, d.help) for d in in_order([*reported, *found])]


def codes(text: str) -> list[str]:
    return [code for code, *_ in said(text)]


def rule(condition: str) -> str:
    return CATALOG + f"policy main {{ r: when {condition} -> reject 400  otherwise -> m }}\n"


def test_a_provider_that_nothing_declares_is_unknown_in_a_broken_file_too() -> None:
    text = 'provder p { url "https://p.example/v1" }\nmodel m { serve q "m" }\n' + MAIN
    assert codes(text) == ["E106", "E205"]


@pytest.mark.parametrize("amount", ["5", "5s", "5%"])
def test_a_limit_that_does_not_say_what_it_counts_is_told_so_once(amount: str) -> None:
    [(code, at, message, help_)] = said(CATALOG + f"limit l: {amount} per day by user\n" + MAIN)
    assert (code, at) == ("E405", amount)
    assert message == "limit `l` does not say what it counts"
    assert help_ == f"write `{amount.rstrip('s%')} requests`, `tokens`, or dollars: `$5`"


def test_text_on_the_left_of_a_comparison_is_no_fact() -> None:
    [(code, at, message, help_)] = said(rule('"a" < 3'))
    assert (code, at) == ("E301", '"a"')
    assert message == '`"a"` is text, not a fact'
    assert help_ == "a comparison begins with its fact: `prompt.tokens > 24k`"


def test_a_quoted_name_of_a_fact_is_a_fact() -> None:
    assert codes('fact "my plan": text from key.plan\n' + rule('"my plan" == pro')) == []


def test_a_mistyped_quoted_fact_is_still_suggested() -> None:
    [(code, _, _, help_)] = said('fact "my plan": text from key.plan\n' + rule('"my plam" == pro or "my plan" == a'))
    assert (code, help_) == ("E204", "did you mean `my plan`?")


def test_an_empty_text_is_called_empty() -> None:
    [(code, at, message, _)] = said(CATALOG.replace("https://p.example/v1", "") + MAIN)
    assert (code, at, message) == ("E406", '""', "`url` of provider `p` is empty")
