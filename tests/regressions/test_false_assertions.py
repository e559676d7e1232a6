"""A false assertion stops what ships a policy, not what helps to understand it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from handlers.cli import build, check, explain, test
from handlers.loading import plan_of

POLICY = """\
provider a { url "http://127.0.0.1:1/v1" }
model big { serve a "big" }
policy chat { otherwise -> requested else big }
test "big is asked" {
  given model big
  expect big @ a
}
assert attempts <= 1
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "chat.route"
    file.write_text(POLICY)
    return file


def test_check_and_build_refuse_it(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(policy), "--json"]) == 1
    assert {found["code"] for found in json.loads(capsys.readouterr().out)["findings"]} == {"E701"}
    assert build.main([str(policy), "-o", str(policy.with_suffix(".plan"))]) == 1
    assert not policy.with_suffix(".plan").exists()


def test_explain_shows_its_witness(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check.main([str(policy), "--json"])
    request = policy.with_name("request.json")
    request.write_text(json.dumps(json.loads(capsys.readouterr().out)["findings"][0]["witness"]))
    assert explain.main([str(policy), "--request", str(request), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["attempts_max"] > 1


def test_its_tests_run_and_it_can_be_tried(policy: Path) -> None:
    assert test.main([str(policy)]) == 0
    assert plan_of(policy).program.name == "chat"
