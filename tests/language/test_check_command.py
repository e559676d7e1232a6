"""`pointsman check`: what it prints and how it exits, as authors and editors rely on."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from handlers.cli.check import main

GOOD = 'provider p { url "https://p.example" }\nmodel m { serve p "m" }\npolicy main { otherwise -> m }\n'
BAD = GOOD.replace("otherwise", "long: when prompt.token > 24k -> m\n  otherwise")
DOUBTFUL = GOOD + "let long = prompt.tokens > 24k\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for name, text in {"good": GOOD, "bad": BAD, "doubtful": DOUBTFUL}.items():
        (tmp_path / f"{name}.route").write_text(text, encoding="utf-8")
    return tmp_path


pytestmark = pytest.mark.usefixtures("write")


def test_a_sound_file_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["good.route"]) == 0
    assert capsys.readouterr().out == "ok: 1 policy, 1 rule, 1 endpoint, 0 tests\n"


def test_errors_are_shown_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bad.route"]) == 1
    assert capsys.readouterr().out == (
        "bad.route:3:26: E204 unknown fact `prompt.token`\n"
        "  |\n"
        "3 | policy main { long: when prompt.token > 24k -> m\n"
        "  |                          ^^^^^^^^^^^^\n"
        "  = help: did you mean `prompt.tokens`?\n"
        "\n"
        "1 error\n"
    )


def test_warnings_alone_are_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doubtful.route"]) == 0
    assert capsys.readouterr().out.endswith("\nok: 1 policy, 1 rule, 1 endpoint, 0 tests; 1 warning\n")


def test_several_files_are_checked_each_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bad.route", "doubtful.route", "bad.route"]) == 1
    assert capsys.readouterr().out.endswith("\n1 error, 1 warning\n")


def test_json_has_the_documented_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bad.route", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "findings": [
            {
                "file": "bad.route",
                "line": 3,
                "column": 26,
                "end_line": 3,
                "end_column": 38,
                "severity": "error",
                "code": "E204",
                "message": "unknown fact `prompt.token`",
                "help": "did you mean `prompt.tokens`?",
                "witness": None,
            }
        ]
    }
    assert main(["--json", "good.route"]) == 0
    assert json.loads(capsys.readouterr().out) == {"findings": []}


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BAD.encode())))
    assert main(["-"]) == 1
    assert capsys.readouterr().out.startswith("stdin:3:26: E204")


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_that_cannot_be_read_is_wrong_use(
    content: bytes | None, write: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (write / "none.route").write_bytes(content)
    assert main(["none.route", "good.route"]) == 2
    assert "none.route:1:1: E219 cannot read `none.route`" in capsys.readouterr().out


def test_an_import_that_cannot_be_read_is_an_error_of_the_policy(write: Path) -> None:
    (write / "root.route").write_text('import "none.route"\n' + GOOD, encoding="utf-8")
    assert main(["root.route"]) == 1


def test_the_root_bounds_imports(write: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (write / "sub").mkdir()
    (write / "sub" / "root.route").write_text('import "../lib.route"\npolicy main { otherwise -> m }', encoding="utf-8")
    (write / "lib.route").write_text(GOOD.replace("policy main", "policy other"), encoding="utf-8")
    assert main(["sub/root.route"]) == 1
    assert "E220" in capsys.readouterr().out
    assert main(["sub/root.route", "--root", "."]) == 0
    assert main(["sub/root.route", "--root", "nowhere"]) == 2


def test_wrong_use_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--what"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "--root" in capsys.readouterr().out


def test_colour_is_for_terminals_and_can_be_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["bad.route"])
    assert "\x1b[31mE204" in capsys.readouterr().out
    main(["bad.route", "--no-color"])
    assert "\x1b" not in capsys.readouterr().out


def test_a_syntax_error_does_not_hide_the_rest(write: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = BAD.replace("policy main {", "let broken = turns >\npolicy main { b: when broken -> m\n")
    (write / "broken.route").write_text(broken, encoding="utf-8")
    assert main(["broken.route", "--json"]) == 1
    codes = [finding["code"] for finding in json.loads(capsys.readouterr().out)["findings"]]
    assert codes == sorted(codes)
    assert codes[-1] == "E204"
    assert len(codes) == 2
