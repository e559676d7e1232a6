"""`test --mutate`: what tests notice is killed, what they miss comes with the test that would have noticed."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import pytest

from handlers.cli.main import main
from handlers.mutation import Mutation, mutate
from router_dsl.interpret import decide
from router_dsl.plan import Program
from router_dsl.suite.mutate import mutants

RULES = Path(__file__).parents[2] / "rules"

POLICY = """\
provider p { url "sim://"  region us }
provider q { url "sim://"  region eu }
model small { serve p "small" price $1 in $1 out  serve q "small" price $3 in $3 out }
model large { serve q "large" price $2 in $2 out }
guard home: when header.x-country == de  require region == eu
policy main {
  long: when prompt.tokens > 8k and not stream -> large else small by price
  code: when task in [code, math]              -> large
  gone: when metadata.old == "yes"             -> reject 410
  otherwise                                    -> small
}
"""


def clock() -> float:
    return 0.0


def mutated(tmp_path: Path, tests: str) -> Mutation:
    file = tmp_path / "x.route"
    file.write_text(POLICY + tests)
    made = mutate(file, None, 1.0, clock)
    assert isinstance(made, Mutation)
    return made


def test_without_tests_nothing_is_noticed_and_every_survivor_has_its_test(tmp_path: Path) -> None:
    made = mutated(tmp_path, "")
    assert (made.killed, made.score) == (0, 0)
    assert {survivor.mutant.what for survivor in made.survivors} >= {
        "guard home left out",
        "rule long left out",
        "rule long behind code",
        "rule long: `prompt.tokens > 8k` with `>=`",
        "rule long: without `not stream`",
        "rule code: `task in [code, math]` without `math`",
        'rule gone: `metadata.old == "yes"` turned round',
        "rule gone: rejects with 403",
        "rule long: its first target left out",
    }
    assert all(survivor.test.startswith("test ") for survivor in made.survivors)


def test_the_tests_it_proposes_kill_every_survivor(tmp_path: Path) -> None:
    survivors = mutated(tmp_path, "").survivors
    made = mutated(tmp_path, "".join(survivor.test for survivor in survivors))
    assert made.failing == []
    assert [survivor.mutant.what for survivor in made.survivors] == []
    assert made.score == 1


@pytest.mark.slow
def test_the_same_holds_for_a_larger_policy(tmp_path: Path) -> None:
    source = RULES / "examples" / "reliability.route"
    made = mutate(source, RULES, 1.0, clock)
    assert isinstance(made, Mutation)
    copytree(RULES / "catalog", tmp_path / "catalog")
    (tmp_path / "examples").mkdir()
    longer = tmp_path / "examples" / source.name
    longer.write_text(source.read_text() + "".join(survivor.test for survivor in made.survivors))
    again = mutate(longer, tmp_path, 1.0, clock)
    assert isinstance(again, Mutation)
    assert (again.failing, again.survivors) == ([], [])


def test_a_change_is_where_it_says(tmp_path: Path) -> None:
    survivors = mutated(tmp_path, "").survivors
    lines = POLICY.splitlines()
    for survivor in survivors:
        label = survivor.mutant.what.split()[1].rstrip(":")
        assert label in lines[survivor.mutant.line - 1]


def test_what_makes_no_difference_does_not_count_against_the_tests(tmp_path: Path) -> None:
    # Both ask another value of one fact, so their order cannot matter.
    file = tmp_path / "x.route"
    file.write_text(
        'provider p { url "sim://" }\nmodel m { serve p "m" price $1 in $1 out }\npolicy main {\n'
        "  a: when task == code -> m\n  b: when task == math -> m\n  otherwise -> m\n}\n"
    )
    made = mutate(file, None, 1.0, clock)
    assert isinstance(made, Mutation)
    assert [mutant.what for mutant in made.alike] == ["rule a behind b"]


def test_when_the_time_is_up_the_rest_is_counted_as_untried(tmp_path: Path) -> None:
    file = tmp_path / "x.route"
    file.write_text(POLICY)
    ticks = iter(range(10_000))
    made = mutate(file, None, 5.0, lambda: float(next(ticks)))
    assert isinstance(made, Mutation)
    assert made.killed + len(made.survivors) + len(made.alike) == 5
    assert made.untried > 5


def test_every_mutant_differs_from_its_original(tmp_path: Path) -> None:
    from handlers.compiled import compile_source

    file = tmp_path / "x.route"
    file.write_text(POLICY)
    plan = compile_source(file).plan
    assert plan is not None
    program: Program = plan.program
    found = list(mutants(program, {"home": ("x.route", 5)}))
    assert all(mutant.program != program for mutant in found)
    assert len({mutant.what for mutant in found}) == len(found)
    assert all(decide(mutant.program.policies[0], {}) >= 0 for mutant in found)


def test_exit_codes_and_json_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.route"
    file.write_text(POLICY + 'test "code goes up" { given task code  expect rule code }\n')
    assert main(["test", "--mutate", str(file)]) == 0
    out = capsys.readouterr().out
    assert "x.route:8: no test notices: rule code: `task in [code, math]` without `math`" in out
    assert "mutation score" in out.splitlines()[-1]
    assert main(["test", "--mutate", "--min-score", "5", str(file)]) == 0
    assert main(["test", "--mutate", "--min-score", "90", str(file)]) == 1
    capsys.readouterr()
    assert main(["test", "--mutate", "--json", str(file)]) == 0
    (told,) = json.loads(capsys.readouterr().out)["mutations"]
    assert told["score"] == round(told["killed"] / (told["killed"] + told["survived"]), 4)
    assert {"file", "line", "change", "test"} == set(told["survivors"][0])
    file.write_text(POLICY + 'test "wrong" { expect rule code }\n')
    assert main(["test", "--mutate", str(file)]) == 1
    assert "FAILED wrong" in capsys.readouterr().out
