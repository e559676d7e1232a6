"""`test` blocks through the command and the pytest plugin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from handlers.cli import test as command

pytest_plugins = ["pytester"]

POLICY = """\
provider a { url "http://127.0.0.1:1/v1" }
provider b { url "http://127.0.0.1:2/v1" }
model big { serve a "big" price $1 in $2 out  serve b "big" price $3 in $4 out }
model small { serve b "small" price $0.10 in $0.10 out }
policy p {
  tools: when tools > 0 -> big by price
  long: when prompt.tokens > 8k and not stream -> reject 413 "too long"
  otherwise -> small else big by price
}
"""

GOOD = """\
test "tools go to the big one" { given tools 2  expect rule tools  expect big @ a  expect attempts <= 2 }
test "a dead provider is survived" { given tools 1  down a  expect big @ b  expect order big @ b, big @ a }
test "too long" { given prompt.tokens 9k  expect reject 413  expect not small }
test "cheap" { expect cost <= $0.01  expect order small, big  expect small }
"""


def write(folder: Path, text: str, name: str = "p.route") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_tests_that_hold_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([write(tmp_path, POLICY + GOOD)]) == 0
    assert capsys.readouterr().out == "4 passed, 0 failed\n"


@pytest.mark.parametrize(
    ("steps", "instead"),
    [
        ("expect rule tools", "rule otherwise decides"),
        ("expect big", "the order is small@b, big@a, big@b"),
        ("expect not big @ b", "the plan holds big@b"),
        ("expect reject 413", "the order is small@b, big@a, big@b"),
        ("given prompt.tokens 9k expect small", "the request is rejected with 413"),
        ("expect order small, big @ b", "the order is small@b, big@a, big@b"),
        ("expect attempts <= 3", "the plan makes up to 4 attempts"),
        ("given output.tokens 1M, tools 1 expect cost <= $3.99", "the answer may cost $4.0000"),
    ],
)
def test_a_failure_says_what_happened_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: str, instead: str
) -> None:
    file = write(tmp_path, POLICY + f'test "wrong" {{ {steps} }}\n')
    assert command.main([file, "--json"]) == 1
    (result,) = json.loads(capsys.readouterr().out)["tests"]
    assert set(result) == {"file", "line", "name", "passed", "message"}
    assert (result["file"], result["line"], result["name"], result["passed"]) == (file, 10, "wrong", False)
    assert instead in result["message"]


def test_a_failure_tells_the_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([write(tmp_path, POLICY + 'test "wrong" { given prompt.tokens 9k, stream true  expect big }')])
    told = capsys.readouterr().out
    assert "rule otherwise (line 8) of policy p decides" in told
    assert "not rule tools: tools > 0 is false: tools is 0" in told


def test_an_expectation_must_hold_for_every_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = 'policy q { otherwise -> split 80% small, 20% big by user }\ntest "luck" { policy q  expect small }\n'
    assert command.main([write(tmp_path, POLICY + drawn)]) == 1
    assert "random draw 0.999" in capsys.readouterr().out


def test_a_rule_of_a_called_policy_may_be_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    called = "policy q { otherwise -> policy p }\n"
    steps = 'test "through" { policy q  given tools 1  expect rule tools  expect rule otherwise }\n'
    assert command.main([write(tmp_path, POLICY + called + steps)]) == 0
    wrong = 'test "not so" { policy q  expect rule tools }\n'
    assert command.main([write(tmp_path, POLICY + called + wrong)]) == 1
    assert "rule otherwise, then otherwise decides" in capsys.readouterr().out


def test_coverage_names_what_no_test_reaches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some = 'test "t" { given tools 1  expect rule tools }  test "o" { expect rule otherwise }'
    assert command.main([write(tmp_path, POLICY + some), "--coverage", "--json"]) == 0
    (coverage,) = json.loads(capsys.readouterr().out)["coverage"]
    assert (coverage["rules"], coverage["rules_reached"]) == (3, 2)
    assert [missed["rule"] for missed in coverage["missed_rules"]] == ["long"]
    assert ("prompt.tokens > 8k", True) in [(m["condition"], m["answer"]) for m in coverage["missed_answers"]]


def test_a_policy_with_errors_fails_with_its_diagnostics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([write(tmp_path, "policy p { otherwise -> nobody }")]) == 1
    assert "`nobody`" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    assert command.main([str(tmp_path / "none.route")]) == 2


def test_pytest_collects_the_tests_of_a_policy(pytester: pytest.Pytester) -> None:
    pytester.makefile(
        ".route",
        good=POLICY + GOOD,
        wrong=POLICY + 'test "wrong" { expect big }',
        broken="policy {",
        pieces='provider a { url "http://127.0.0.1:1/v1" }',
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=6, failed=2)
    result.stdout.fnmatch_lines(["*`expect big` fails: the order is small@b*"])
