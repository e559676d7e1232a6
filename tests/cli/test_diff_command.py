"""`pointsman diff`: which requests a change re-routes, what it costs, and when that fails a build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from handlers.cli.main import main

CATALOG = """
provider us { url "https://us.example/v1"  region us }
provider eu { url "https://eu.example/v1"  region eu }
model big   { context 128k  serve us "big" price $2 in $6 out  serve eu "big" price $3 in $9 out }
model small { context 128k  serve us "small" price $0.20 in $0.40 out }
fact plan: one of trial, pro from key.plan
"""
OLD = (
    CATALOG
    + """
guard home: when header.x-country == de require region == eu
policy main {
  code: when task == code and has tools -> big by price
  long: when prompt.tokens > 24k -> big by price
  trial: when plan == trial -> small
  otherwise -> requested else small else big
}
"""
)


@pytest.fixture
def diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run(new: str, *options: str, old: str = OLD, code: int = 0) -> str:
        (tmp_path / "old.route").write_text(old, encoding="utf-8")
        (tmp_path / "new.route").write_text(new, encoding="utf-8")
        found = main(["diff", str(tmp_path / "old.route"), str(tmp_path / "new.route"), *options])
        told = capsys.readouterr()
        assert found == code, told.out + told.err
        return told.out

    return run


def changes(text: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(text)["changes"]
    return found


def test_no_change_is_said_of_a_policy_that_was_rewritten_and_reordered(diff) -> None:  # type: ignore[no-untyped-def]
    new = (
        CATALOG
        + """
    let long = not prompt.tokens <= 24000
    guard abroad: when header.x-country in [de] require not region == us
    policy main {
      b: when not (not has tools or task != code) -> big by price
      d: when plan == trial and not long -> small
      c: when long -> big by price
      otherwise -> requested else small else big
    }
    """
    )
    assert changes(diff(new, "--json", "--fail-on", "change")) == []
    assert "no change" in diff(new)


def test_a_region_is_told_with_a_request_and_its_plans(diff, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    new = OLD.replace("prompt.tokens > 24k", "prompt.tokens > 32k")
    told = changes(diff(new, "--json"))
    assert [one["before"]["rule"] for one in told] == ["long", "long"]  # type: ignore[index]
    assert sorted(one["after"]["rule"] for one in told) == ["otherwise", "trial"]  # type: ignore[index]
    for one in told:
        assert "prompt.tokens > 24,000 and <= 32,000" in str(one["region"])
        (tmp_path / "request.json").write_text(json.dumps(one["witness"]), encoding="utf-8")
        for side in ("before", "after"):
            file = tmp_path / ("old.route" if side == "before" else "new.route")
            main(["explain", str(file), "--request", str(tmp_path / "request.json"), "--json"])
            record = json.loads(capsys.readouterr().out)
            assert record["rule"] == one[side]["rule"]  # type: ignore[index]
            assert record["candidates"] == one[side]["candidates"]  # type: ignore[index]


def test_a_guard_that_applies_elsewhere_is_a_change_of_every_rule_it_reaches(diff) -> None:  # type: ignore[no-untyped-def]
    told = changes(diff(OLD.replace("header.x-country == de", "header.x-country in [de, fr]"), "--json"))
    assert {one["before"]["rule"] for one in told} == {"code", "long", "trial", "otherwise"}  # type: ignore[index]
    assert all("header.x-country is `fr`" in str(one["region"]) for one in told)
    assert [one["after"]["action"] for one in told if one["before"]["rule"] == "trial"] == ["reject"]  # type: ignore[index]


def test_a_price_says_since_when_plans_are_others(diff) -> None:  # type: ignore[no-untyped-def]
    told = changes(diff(OLD.replace("$2 in", "$4 in"), "--json"))
    assert told
    assert all(one["since"] == ["big@us: price in $2.00 → $4.00"] for one in told)


@pytest.mark.parametrize(
    ("new", "fails"),
    [
        (OLD, set()),
        (OLD.replace("trial -> small", "trial -> big"), {"change", "cost"}),
        (OLD.replace("trial -> small", "trial -> reject 403"), {"change", "reject"}),
        (OLD.replace("$0.20 in", "$0.10 in"), {"change"}),
    ],
)
def test_a_build_fails_on_what_it_was_told_to(diff, new: str, fails: set[str]) -> None:  # type: ignore[no-untyped-def]
    for wanted in ("change", "reject", "cost"):
        diff(new, "--fail-on", wanted, code=int(wanted in fails))


def test_traffic_adds_shares_and_money(diff, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    base = {"event": "request", "rule": "x", "prompt_tokens": 1000, "completion_tokens": 1000, "model": "small"}
    lines = [base | {"request_id": str(n), "facts": {"plan": "trial" if n < 3 else "pro"}} for n in range(10)]
    log = [*lines, {"event": "serving"}, {"facts": {"key.plan": "trial", "prompt.tokens": 1000, "output.tokens": 1000}}]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, log)), encoding="utf-8")
    told = json.loads(diff(OLD.replace("trial -> small", "trial -> big by price"), "--traffic", str(path), "--json"))
    assert told["traffic"]["requests"] == 11
    assert told["traffic"]["changed"] == {
        "requests": 4, "share": round(4 / 11, 6), "cost_before_usd": 0.0024, "cost_after_usd": 0.032,
    }  # fmt: skip
    assert told["changes"][0]["traffic"]["requests"] == 4
    assert told["traffic"]["cost_after_usd"] == round(0.032 + 7 * 0.0006, 6)


def test_a_line_that_is_no_request_is_wrong_use(diff, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "log.jsonl").write_text('{"colour": "red"}\n', encoding="utf-8")
    diff(OLD, "--traffic", str(tmp_path / "log.jsonl"), code=2)


def test_policies_that_come_and_go_are_told(diff) -> None:  # type: ignore[no-untyped-def]
    told = json.loads(diff(OLD + "policy extra { otherwise -> small }", "--json", "--fail-on", "change", code=1))
    assert told["policies_added"] == ["extra"]
    assert told["changes"] == []


def test_a_policy_that_does_not_compile_is_told(diff) -> None:  # type: ignore[no-untyped-def]
    diff("policy main { otherwise -> nobody }", code=1)
