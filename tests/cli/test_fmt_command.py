"""`pointsman fmt`: files laid out in place, or only looked at."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from handlers.cli.fmt import main

LOOSE = "policy chat {\n  a: when   x -> m\n  otherwise -> m\n}\n"
TIDY = "policy chat {\n  a: when x  -> m\n  otherwise  -> m\n}\n"
BROKEN = "policy chat {\n  otherwise -> \n}\n"


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    path = tmp_path / "loose.route"
    path.write_text(LOOSE)
    return path


def test_a_file_is_laid_out_in_place_and_then_left_alone(loose: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loose.chmod(0o640)
    assert main([str(loose)]) == 0
    assert loose.read_text() == TIDY
    assert loose.stat().st_mode & 0o777 == 0o640
    assert capsys.readouterr().out == f"laid out {loose}\n"
    assert main([str(loose)]) == 0
    assert capsys.readouterr().out == ""
    assert os.listdir(loose.parent) == ["loose.route"]


def test_check_and_diff_write_nothing(loose: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(loose)]) == 1
    assert capsys.readouterr().out == f"would change {loose}\n"
    assert main(["--diff", str(loose)]) == 1
    diff = capsys.readouterr().out
    assert "-  a: when   x -> m\n" in diff
    assert "+  a: when x  -> m\n" in diff
    assert loose.read_text() == LOOSE
    loose.write_text(TIDY)
    assert main(["--check", "--diff", str(loose)]) == 0
    assert capsys.readouterr().out == ""


def test_a_broken_file_is_left_as_it_is_and_the_rest_is_done(
    loose: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.route"
    broken.write_text(BROKEN)
    assert main([str(tmp_path)]) == 1
    assert broken.read_text() == BROKEN
    assert loose.read_text() == TIDY
    assert f"{broken}:2:13: E101 " in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.route")]) == 2
    assert "no such file" in capsys.readouterr().err
    odd = tmp_path / "odd.route"
    odd.write_bytes(b"let a = \xff")
    assert main([str(odd)]) == 2
    assert "not UTF-8 text (byte 9)" in capsys.readouterr().err


def test_json_says_what_changed_and_what_is_wrong(
    loose: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.route"
    broken.write_text(BROKEN)
    assert main(["--json", "--diff", str(loose), str(broken)]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [(file["file"], file["changed"]) for file in said["files"]] == [(str(loose), True), (str(broken), False)]
    assert said["files"][0]["diff"].startswith(f"--- {loose}\n")
    assert [finding["code"] for finding in said["findings"]] == ["E101"]


class _Stdin(io.TextIOWrapper):
    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode()))


@pytest.mark.parametrize(("text", "out", "code"), [(LOOSE, TIDY, 0), (TIDY, TIDY, 0), (BROKEN, "", 1)])
def test_standard_input_goes_to_standard_output(
    text: str, out: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", _Stdin(text))
    assert main(["-"]) == code
    assert capsys.readouterr().out == out
