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


@pytest.mark.parametrize(
    "options", ["by price", "retry 2", "within 3s", "where region == eu", "by price 70%, latency 30%"]
)
def test_a_target_behind_the_options_is_one_mistake(options: str) -> None:
    [(code, at, _, help_)] = said(CATALOG + f"policy main {{ otherwise -> m {options} else m }}\n")
    assert (code, at) == ("E100", "else")
    assert help_ == "the options stand behind the last target: `a else b by price`"


@pytest.mark.parametrize("bound", ["24k", "-1", "$3"])
def test_an_arrow_turned_round_before_a_number_is_a_comparison(bound: str) -> None:
    found = said(rule(f"prompt.tokens => {bound}"))
    assert found[0] == ("E106", "=>", "unexpected `=>`", "did you mean `>=`?")
    assert [code for code, *_ in found[1:]] == (["E302"] if bound == "$3" else [])


def test_an_arrow_turned_round_before_a_target_is_an_arrow() -> None:
    text = CATALOG + "policy main { r: when stream => m  otherwise -> m }\n"
    assert said(text) == [("E106", "=>", "unexpected `=>`", "did you mean `->`?")]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (CATALOG.replace('v1"', 'v1" limit 3') + MAIN, "limit 8 concurrent"),
        (CATALOG.replace('v1"', 'v1" limit many') + MAIN, "limit 8 concurrent"),
        (CATALOG + "limit l: 5 requests by user\n" + MAIN, "limit NAME: 60 requests per minute by key"),
        (CATALOG + MAIN + 'test "t" { expect reject }', "expect reject 413"),
        (CATALOG + MAIN + 'test "t" { expect order }', "expect order A, B"),
        (CATALOG + MAIN + 'test "t" { expect not }', "expect not TARGET"),
        (CATALOG + MAIN + 'test "t" { expect cost >= $3 }', "expect cost <= $0.01"),
        (CATALOG + MAIN + 'test "t" { expect attempts >= 3 }', "expect attempts <= 3"),
        (CATALOG + MAIN + "assert cost >= $3", "assert cost <= $1 when CONDITION"),
        (CATALOG + MAIN + "assert wait >= 3s", "assert wait <= 30s"),
        (CATALOG + MAIN + "assert reachable", "assert reachable LABEL"),
    ],
)
def test_the_form_shown_is_that_of_the_line(text: str, form: str) -> None:
    [(_, _, _, help_)] = said(text)
    assert help_ == f"the form is `{form}`"


def test_a_period_with_an_article_is_read() -> None:
    found = said(CATALOG + "limit l: 5 requests a day by user\n" + MAIN)
    assert found == [("E106", "a", "unexpected `a`", "did you mean `per`?")]
