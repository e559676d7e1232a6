"""`check --notes`: which rules keep a part of their cases, and who takes the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from handlers.cli.main import main

POLICY = """
provider p { url "https://p.example/v1" }
model m { serve p "m" }
policy main {
  a: when task == code and stream -> m
  b: when task in [code, math] -> reject 403
  c: when has tools -> reject 403
  otherwise -> m
}
"""


def test_a_rule_that_keeps_a_part_is_told_with_the_rules_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.route"
    path.write_text(POLICY, encoding="utf-8")
    assert main(["check", str(path), "--json", "--notes"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    # Of `stream` there are three cases: yes, no and missing; `a` takes one of them for one of two tasks.
    assert [(one["rule"], one["taken_by"]) for one in notes] == [("b", ["a"]), ("c", ["a"])]
    assert notes[0]["share_left"] == pytest.approx(5 / 6)
    assert main(["check", str(path), "--notes"]) == 0
    assert "rule `b` keeps 83% of its cases; before it stand `a` (line 5)" in capsys.readouterr().out


def test_without_the_option_nothing_is_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.route"
    path.write_text(POLICY, encoding="utf-8")
    main(["check", str(path), "--json"])
    assert list(json.loads(capsys.readouterr().out)) == ["findings"]
