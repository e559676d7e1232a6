"""docs/operating.md names every setting, every header and every field of the log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.serve.desk import Desk

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")
READERS = [ROOT / "runtime" / "serve" / "settings.py", ROOT / "handlers" / "aws_lambda.py"]
SETTINGS = sorted({name for path in READERS for name in re.findall(r"POINTSMAN_[A-Z_]+", path.read_text("utf-8"))})


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_its_line(name: str) -> None:
    assert f"| `{name}` |" in PAGE


def test_no_setting_is_described_that_is_not_read() -> None:
    assert set(re.findall(r"POINTSMAN_[A-Z_]+", PAGE)) == set(SETTINGS)


def test_every_header_has_its_line() -> None:
    answer = Desk().post(headers={"x-pointsman-explain": "1"})
    for name in answer.headers:
        if name.startswith("x-"):
            assert f"`{name}`" in PAGE


def test_every_field_of_the_log_has_its_line() -> None:
    desk = Desk()
    desk.post()
    attempts = desk.log.last["attempts"]
    assert isinstance(attempts, list)
    for name in (*desk.log.last, *attempts[0], "log_dropped"):
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    "end", ["complete", "cut", "client gone", "exhausted", "refused", "rejected", "explained", "error"]
)
def test_every_end_is_explained(end: str) -> None:
    assert f"`{end}`" in PAGE
