"""`pointsman bounds`: the worst of each rule, exact where it has a bound and honest where it has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from handlers.cli.main import main

CATALOG = """
provider us { url "https://us.example/v1"  region us }
provider eu { url "https://eu.example/v1"  region eu }
model big   { context 10k  output 2k  serve us "big" price $1 in $10 out  serve eu "big" price $2 in $20 out }
model small { context 4k   serve us "small" price $1 in $1 out }
model free  { serve eu "free" }
"""

Bounds = Callable[..., dict[str, dict[str, object]]]


@pytest.fixture
def bounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bounds:
    def run(policy: str) -> dict[str, dict[str, object]]:
        path = tmp_path / "x.route"
        path.write_text(CATALOG + policy, encoding="utf-8")
        assert main(["bounds", str(path), "--json"]) == 0
        return {one["rule"]: one for one in json.loads(capsys.readouterr().out)["bounds"]}

    return run


def test_each_target_that_may_have_a_turn_has_its_attempts(bounds: Bounds) -> None:
    found = bounds("""
    guard home: when stream require region == eu
    policy p {
      a: when has tools -> big else small retry 2
      b: when stream -> small else big
      otherwise -> big else big
    }""")
    assert [found[rule]["attempts"] for rule in ("a", "b", "otherwise")] == [6, 2, 2]


def test_waits_add_up_over_attempts_pauses_and_hedges(bounds: Bounds) -> None:
    found = bounds("""
    policy p {
      a: when has tools -> big first token 3s within 10s
      b: when stream -> small first token 3s
      c: when has images -> big first token 3s within 10s hedge after 1s
      otherwise -> big escalate to small when empty  within 10s
    }""")
    assert [found[rule]["wait_s"] for rule in ("a", "b", "c", "otherwise")] == [6, 8, 7, 42]
    assert [found[rule]["total_s"] for rule in ("a", "b", "c", "otherwise")] == [20, None, 21, 42]
    assert found["c"]["hedges"] == 1
    assert found["otherwise"]["escalations"] == 2


def test_costs_are_those_of_the_dearest_request_that_the_rule_decides(bounds: Bounds) -> None:
    found = bounds("""
    policy p {
      a: when output.tokens <= 1k -> big @ us
      b: when has tools -> big @ us
      c: when stream -> small
      otherwise -> big @ us else small cap max_tokens 100
    }""")
    assert found["a"]["cost_usd"] == pytest.approx((9_000 * 1 + 1_000 * 10) / 1e6, abs=1e-5)
    assert found["b"]["cost_usd"] == pytest.approx((8_000 * 1 + 2_000 * 10) / 1e6, abs=1e-5)
    assert found["c"]["cost_usd"] == pytest.approx(4_000 / 1e6, abs=1e-5)
    # Who sets no limit, or one above 1,000, must leave room for it, whatever is capped.
    assert found["otherwise"]["cost_usd"] == pytest.approx((8_999 * 1 + 100 * 10) / 1e6, abs=1e-6)
    assert found["b"]["dearest"] == ["big@us"]


def test_what_has_no_bound_and_what_is_not_known_is_said(bounds: Bounds) -> None:
    found = bounds("""
    policy p {
      a: when stream and not stream -> small
      b: when has tools -> free
      c: when stream -> reject 403
      otherwise -> small
    }""")
    assert found["a"]["decides"] is False
    assert found["b"]["cost_usd"] is None
    assert found["b"]["unpriced"] == ["free@eu"]
    assert found["c"]["attempts"] == 0
    assert found["otherwise"]["total_s"] is None


def test_a_rule_that_calls_is_as_bad_as_the_worst_it_calls(bounds: Bounds) -> None:
    found = bounds("""
    policy p { a: when has tools -> small else policy q  otherwise -> small }
    policy q { b: when stream -> big retry 4  otherwise -> reject 404 }""")
    assert found["a"]["attempts"] == 7
    assert found["b"]["attempts"] == 5


def test_the_table_is_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.route"
    path.write_text(CATALOG + "policy p { a: when stream -> small  otherwise -> big }", encoding="utf-8")
    assert main(["bounds", str(path)]) == 0
    told = capsys.readouterr().out
    assert "policy p" in told
    assert "unbounded" in told
    assert "big@eu" in told


def test_a_policy_that_does_not_compile_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.route").write_text("policy p { otherwise -> nobody }", encoding="utf-8")
    assert main(["bounds", str(tmp_path / "x.route")]) == 1
    assert main(["bounds", str(tmp_path / "y.route")]) == 2
