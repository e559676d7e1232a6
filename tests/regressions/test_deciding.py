"""Decisions that were wrong once, through the commands as an author runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from handlers.cli.main import main

CATALOG = """\
provider p { url "https://p.example/v1" }
model m { serve p "m" }
model n { serve p "n" }
"""


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def answer(command: str, policy: str, *arguments: str) -> dict[str, object]:
        path = tmp_path / "x.route"
        path.write_text(CATALOG + policy, encoding="utf-8")
        main([command, str(path), "--json", *arguments])
        told = json.loads(capsys.readouterr().out)
        assert isinstance(told, dict)
        return told

    return answer


TWO = "policy first { otherwise -> m }\npolicy second { otherwise -> n }\n"


def test_a_test_whose_model_names_a_policy_asks_that_policy(run) -> None:  # type: ignore[no-untyped-def]
    told = run("test", TWO + 'test "t" { given model "@second"  expect n @ p }')
    assert [test["passed"] for test in told["tests"]] == [True]


def test_a_test_whose_model_names_no_policy_is_told_so(run) -> None:  # type: ignore[no-untyped-def]
    told = run("check", TWO + 'test "t" { given model "@secund"  expect n }')
    assert [(f["code"], f["help"]) for f in told["findings"]] == [("E208", "did you mean `second`?")]


def test_a_request_without_a_model_is_not_said_to_ask_for_one(run) -> None:  # type: ignore[no-untyped-def]
    assert run("explain", "policy main { otherwise -> requested }")["message"] == "the request names no model"


def because(told: dict[str, object]) -> list[str]:
    skipped = told["skipped"]
    assert isinstance(skipped, list)
    return [one["because"] for one in skipped]


def test_blanks_inside_a_string_or_a_regex_are_the_authors(run) -> None:  # type: ignore[no-untyped-def]
    told = run("explain", 'policy p { a: when user  ==  "x  y"  # why\n or user matches /p  #q/ -> m  otherwise -> n }')
    assert because(told) == ['none of user == "x  y" (user is missing), user matches /p  #q/ (user is missing)']


def test_a_share_is_told_as_it_is_written(run) -> None:  # type: ignore[no-untyped-def]
    told = run("explain", "policy main { a: when healthy(m) < 50% -> n  otherwise -> m }")
    assert because(told) == ["healthy(m) < 50% is false: healthy(m) is 100%"]


def test_never_looks_at_the_escalation_too(run) -> None:  # type: ignore[no-untyped-def]
    policy = "policy main { otherwise -> m escalate to n when empty }\n"
    told = run("test", policy + 'test "t" { expect not n }')
    assert [test["passed"] for test in told["tests"]] == [False]
    assert "the plan holds n@p" in told["tests"][0]["message"]
    guarded = run("test", policy + 'guard g: require model == m\ntest "t" { expect not n }')
    assert [test["passed"] for test in guarded["tests"]] == [True]


def test_never_leaves_a_copy_alone_whose_answer_nobody_sees(run) -> None:  # type: ignore[no-untyped-def]
    told = run("test", 'policy main { otherwise -> m shadow 5% n }\ntest "t" { expect not n }')
    assert [test["passed"] for test in told["tests"]] == [True]


def test_what_happens_besides_the_attempts_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.route"
    options = "hedge after p95 escalate to n when refused | invalid json shadow 5% n within 2m first token 800ms"
    path.write_text(f"{CATALOG}policy main {{ otherwise -> m {options} }}", encoding="utf-8")
    assert main(["explain", str(path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[3:7] == [
        "A second attempt starts when the first is silent for longer than its p95.",
        "If the answer is refused or invalid json, it asks n@p instead.",
        "A copy of 5% of such requests goes to n@p.",
        "Allowed are: the whole answer 120 s, its first token 0.8 s.",
    ]
