"""`test --generate`: what it makes passes, every rule has a test, every question a near miss, or it is said why not."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import pytest
from hypothesis import given, settings

from handlers.cli.main import main
from handlers.compiled import Compiled, compile_source
from handlers.coverage import Coverage
from handlers.generated import Suite, generate
from handlers.trial import decide
from router_dsl.format import format_source
from router_dsl.interpret import decide as deciding
from router_dsl.interpret import finds, holds
from router_dsl.plan import Program
from router_dsl.source import Source
from router_dsl.strategies import programs
from router_dsl.suite.generate import suite
from router_dsl.suite.search import Search
from router_dsl.suite.texts import example_of
from router_dsl.suite.values import values_of
from router_dsl.testing import run
from runtime.decision.book import Book

RULES = Path(__file__).parents[2] / "rules"
EXAMPLES = [RULES / "default.route", *sorted((RULES / "examples").glob("*.route"))]

BASE = """\
provider p { url "sim://" }
model small { serve p "small" price $1 in $1 out }
model large { serve p "large" price $2 in $2 out }
"""


def generated(tmp_path: Path, rules: str, before: str = "") -> Suite:
    file = tmp_path / "x.route"
    file.write_text(f"{BASE}{before}\npolicy main {{\n{rules}\n}}\n")
    made = generate(file, None)
    assert isinstance(made, Suite)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_tests_of_an_example_pass_and_reach_every_rule_and_every_answer(path: Path, tmp_path: Path) -> None:
    made = generate(path, RULES)
    assert isinstance(made, Suite)
    assert made.unshown == []
    assert format_source(Source("x", made.text)) == (made.text, [])
    folder = tmp_path / "rules" / "examples"
    folder.mkdir(parents=True)
    copytree(RULES / "catalog", tmp_path / "rules" / "catalog")
    longer = (tmp_path / "rules" if path.parent == RULES else folder) / path.name
    # Their own tests would cover for what the generated ones miss.
    own = path.read_text().partition("\ntest ")[0]
    longer.write_text(f"{own}\n{made.text}")
    compiled = compile_source(longer, tmp_path / "rules")
    assert compiled.plan is not None, compiled.diagnostics
    book = Book(compiled.plan)
    coverage = Coverage(book.program)

    def counted(test, draw):  # type: ignore[no-untyped-def]
        decided, route, facts = decide(book, test, draw)
        coverage.add(route, facts)
        return decided

    assert [result.message for result in run(book.program, counted) if not result.passed] == []
    assert coverage.missed_rules() == []
    assert coverage.missed_answers() == []


def test_a_near_miss_of_a_bound_stands_at_the_bound(tmp_path: Path) -> None:
    text = generated(tmp_path, "long: when prompt.tokens > 24k -> large  otherwise -> small").text
    assert "given prompt.tokens 24001\n  expect rule long" in text
    assert "given prompt.tokens 24k\n  expect rule otherwise" in text


def test_a_near_miss_is_the_nearest_though_other_rules_ask_the_same_fact(tmp_path: Path) -> None:
    rules = "a: when prompt.tokens > 24k and stream -> large  b: when prompt.tokens > 90k -> large  otherwise -> small"
    text = generated(tmp_path, rules).text
    assert "given prompt.tokens 90k\n  expect rule otherwise" in text
    assert "given stream true, prompt.tokens 24k\n  expect rule otherwise" in text


def test_a_near_miss_changes_the_answer_of_one_question_alone(tmp_path: Path) -> None:
    # Without tools both questions would be answered no.
    text = generated(tmp_path, "a: when tools in 2..5 and tools in 4..9 -> large  otherwise -> small").text
    one, other = (block for block in text.split("test ") if "hangs on" in block)
    assert "hangs on tools in 2..5" in one
    assert "given tools 6" in one
    assert "given tools 2" in other


def test_each_way_of_an_or_has_its_request_and_its_near_miss(tmp_path: Path) -> None:
    made = generated(tmp_path, "a: when has tools or task == code -> large  otherwise -> small")
    assert made.text.count("expect rule a") == 2
    assert made.text.count("a hangs on") == 2
    assert made.unshown == []


def test_a_rule_that_nothing_reaches_is_said_and_not_tested(tmp_path: Path) -> None:
    made = generated(
        tmp_path, "a: when has tools -> large  b: when has tools and task == code -> small  otherwise -> small"
    )
    (unshown,) = made.unshown
    assert (unshown.rule.label, unshown.question) == ("b", None)
    assert unshown.reason == "an earlier rule takes every request that was tried"
    assert "rule b" not in made.text


def test_a_regex_without_an_easy_text_is_said(tmp_path: Path) -> None:
    # RE2 knows Unicode classes, from which nothing is made up here.
    made = generated(tmp_path, "a: when user matches /^\\p{Greek}+$/ -> large  otherwise -> small")
    assert [unshown.reason for unshown in made.unshown] == ["no text that its regex finds could be made"]


def test_names_of_generated_tests_are_new(tmp_path: Path) -> None:
    before = 'test "a decides" { given tools 1  expect rule a }'
    assert '"a decides (2)"' in generated(tmp_path, "a: when has tools -> large  otherwise -> small", before).text


def test_every_kind_of_fact_is_given_as_a_policy_writes_it(tmp_path: Path) -> None:
    before = """
fact seats: number from key.seats
fact office: ip from header.x-office
fact beta: bool from metadata.beta
limit spend: $5 per day by user soft
pool both = small, large
"""
    rules = """
  a: when client.ip in ["10.0.0.0/8"] and office in ["192.168.0.0/16"] -> large
  b: when time.hour@"Europe/Berlin" in 9..17 and time.date >= "2026-12-24" -> large
  c: when healthy(both) < 50% and seats >= 3 and beta -> large
  d: when over spend and header."x.y" == "a b" and time.weekday in [sat, sun] -> large
  e: when prompt.last matches /^(hi|hello)\\b/i and temperature <= 0.5 and prompt.text contains "x y" -> large
  f: when missing user and model starts with "gpt-" and not stream -> large
  otherwise -> small"""
    made = generated(tmp_path, rules, before)
    assert [(unshown.rule.label, unshown.question) for unshown in made.unshown] == []


@pytest.mark.slow
@given(programs(most_rules=5))
@settings(max_examples=60, deadline=None)
def test_every_case_is_decided_as_it_says(program: Program) -> None:
    rules = [rule.when for policy in program.policies for rule in policy.rules if rule.when is not None]
    search = Search(lambda facts: dict(facts), values_of(rules, program), tries=300)
    cases, unshown = suite(program, search)
    policy = program.policies[0]
    for case in cases:
        assert policy.rules[deciding(policy, case.given)] is case.decides
        if case.question is not None:
            assert not holds(case.about.when, case.given)
    told = [case.about.label for case in cases if case.holds and case.question is None]
    assert {rule.label for rule in policy.rules} == {
        *told,
        *(one.rule.label for one in unshown if one.question is None),
    }


@pytest.mark.parametrize(
    "pattern",
    [
        "code",
        "^(hi|hello)\\b",
        "(?i)sk-[a-z0-9]{20}",
        "[^a]x?",
        "\\d{4}-\\d\\d",
        "a.c+",
        "^\\s*$|z",
        "(?:ab){2,3}",
        "[A-Z]",
    ],
)
def test_a_text_for_a_regex_is_found_by_it(pattern: str) -> None:
    text = example_of(pattern)
    assert text is not None
    assert finds(pattern)(text)


def test_the_command_prints_tests_and_says_beside_them_what_they_leave_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.route"
    file.write_text(
        f"{BASE}policy main {{\n  a: when stream -> large\n  b: when stream -> small\n  otherwise -> small\n}}\n"
    )
    assert main(["test", "--generate", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith('test "a decides" {')
    assert "x.route:6: rule b of policy main: no test decides it: an earlier rule takes" in err
    assert main(["test", "--generate", "--json", str(file)]) == 0
    (told,) = json.loads(capsys.readouterr().out)["generated"]
    assert (told["text"], [one["rule"] for one in told["unshown"]]) == (out, ["b"])


def test_a_policy_with_errors_gives_findings_and_no_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.route"
    file.write_text("policy main { otherwise -> nobody }\n")
    assert main(["test", "--generate", str(file)]) == 1
    assert "E206" in capsys.readouterr().err
    assert isinstance(generate(file, None), Compiled)
    assert main(["test", "--mutate", str(tmp_path / "none.route")]) == 2
