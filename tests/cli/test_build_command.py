"""`pointsman build`: a plan on disk, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from handlers.cli.build import main
from router_dsl.plan import PlanError, decode
from router_dsl.seal import Key, open_plan

SOUND = """
import "models.route"
policy chat {
  long: when prompt.tokens > 8k -> reject 413 "too long"
  otherwise -> m
}
"""
MODELS = 'provider p { url "https://p.example/v1" }\nmodel m { serve p "m" }\n'
BROKEN = "policy chat { otherwise -> nothing }"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "models.route").write_text(MODELS)
    path = tmp_path / "chat.route"
    path.write_text(SOUND)
    return path


@pytest.mark.slow
def test_a_plan_is_written_beside_the_policy(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(policy)]) == 0
    plan = decode(policy.with_suffix(".plan").read_bytes())
    assert plan.program.name == "chat"
    assert [rule.label for rule in plan.program.policies[0].rules] == ["long", "otherwise"]
    said = capsys.readouterr()
    assert f"chat@{plan.digest[:12]}: 2 rules" in said.out


def test_a_plan_goes_where_it_is_told(policy: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.plan"
    assert main([str(policy), "-o", str(output)]) == 0
    assert decode(output.read_bytes()).trees.keys() == {"chat"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chat.route", "models.route", "out.plan"]


def test_json_says_what_was_built(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(policy), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["rules"]) == ("chat", 2)
    assert told["bytes"] == policy.with_suffix(".plan").stat().st_size
    assert len(told["digest"]) == 64
    assert told["certificate"]["terms"] == 2


def test_an_error_is_shown_and_nothing_written(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(BROKEN)
    assert main([str(policy)]) == 1
    assert not policy.with_suffix(".plan").exists()
    assert "unknown" in capsys.readouterr().err


def test_an_older_plan_stays_when_the_policy_is_broken(policy: Path) -> None:
    assert main([str(policy)]) == 0
    before = policy.with_suffix(".plan").read_bytes()
    policy.write_text(BROKEN)
    assert main([str(policy)]) == 1
    assert policy.with_suffix(".plan").read_bytes() == before


def test_errors_come_as_json_too(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(BROKEN)
    assert main([str(policy), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [finding["severity"] for finding in told["findings"]].count("error") == 1
    assert "digest" not in told


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.route")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_rule_too_wide_is_shown_where_it_stands(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = " and ".join(f"(header.a{number} == x or header.b{number} == x)" for number in range(9))
    policy.write_text(f'import "models.route"\npolicy chat {{\n  wide: when {wide} -> m\n  otherwise -> m\n}}\n')
    assert main([str(policy), "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["code"], finding["line"]) == ("E601", 3)
    assert finding["message"] == "`wide` can hold in 512 different ways, and a rule may have 256"


def test_the_policy_itself_is_never_overwritten(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(policy), "-o", str(policy)]) == 2
    assert policy.read_text() == SOUND
    assert "is the policy itself" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_said(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(policy), "-o", str(policy.parent / "no" / "x.plan")]) == 2
    assert "no such file or directory" in capsys.readouterr().err


def test_the_digest_follows_every_source_and_not_where_they_lie(policy: Path, tmp_path: Path) -> None:
    def digest(path: Path) -> str:
        assert main([str(path), "-o", str(tmp_path / "x.plan")]) == 0
        return decode((tmp_path / "x.plan").read_bytes()).digest

    first = digest(policy)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("chat.route", "models.route"):
        (elsewhere / name).write_text((tmp_path / name).read_text())
    assert digest(elsewhere / "chat.route") == first
    (elsewhere / "models.route").write_text(MODELS + "# a comment\n")
    assert digest(elsewhere / "chat.route") != first


def test_a_plan_is_signed_with_the_key_of_the_environment(
    policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTSMAN_SIGNING_KEY", "s" * 64)
    assert main([str(policy), "--sign"]) == 0
    sealed = policy.with_suffix(".plan").read_bytes()
    assert open_plan(sealed, [Key("hmac", "s" * 64)]).program.name == "chat"
    with pytest.raises(PlanError):
        open_plan(sealed, [Key("hmac", "o" * 64)])
    assert "signed (hmac)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "said"), [("", "needs one key"), ("short", "can be guessed"), (f"{'a' * 32},{'b' * 32}", "needs one key")]
)
def test_without_a_usable_key_nothing_is_signed_and_nothing_written(
    key: str, said: str, policy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTSMAN_SIGNING_KEY", key)
    assert main([str(policy), "--sign"]) == 2
    assert not policy.with_suffix(".plan").exists()
    shown = capsys.readouterr().err
    assert said in shown
    assert "short" not in shown


def test_a_policy_whose_own_test_fails_gives_no_plan(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(SOUND + 'test "all go" { given prompt.tokens 9k  expect m }\n')
    assert main([str(policy)]) == 1
    assert not policy.with_suffix(".plan").exists()
    assert "chat.route:7: test `all go` fails: `expect m` fails: the request is rejected with 413" in (
        capsys.readouterr().err
    )
