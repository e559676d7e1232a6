"""Every code has a page that is true: its example has the finding, the mended one has not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from handlers.checked import check
from router_dsl import docs
from router_dsl.codes import CODES, complete
from router_dsl.load import load
from router_dsl.source import Diagnostic

REPO = Path(__file__).parents[2]
CATALOG = 'provider q { url "https://q.example/v1" }\n'


def findings(example: str, folder: Path) -> list[Diagnostic]:
    (folder / "catalog.route").write_text(CATALOG, encoding="utf-8")
    path = folder / "example.route"
    path.write_text(complete(example), encoding="utf-8")
    files, reported = load(path)
    _, found = check(files, reported)
    return [*reported, *found]


@pytest.mark.parametrize("code", CODES)
def test_the_example_has_the_finding(code: str, tmp_path: Path) -> None:
    assert code in {finding.code for finding in findings(CODES[code].example, tmp_path)}


@pytest.mark.parametrize("code", CODES)
def test_the_mended_example_has_no_finding(code: str, tmp_path: Path) -> None:
    assert findings(CODES[code].mended, tmp_path) == []


@pytest.mark.parametrize("code", CODES)
def test_the_page_is_in_step(code: str) -> None:
    page = (REPO / "docs" / "errors" / f"{code}.md").read_text(encoding="utf-8")
    assert page == docs.pages()[f"errors/{code}.md"], "run `python -m router_dsl.docs`"


def test_there_are_no_other_pages() -> None:
    pages = {path.name for path in (REPO / "docs" / "errors").iterdir()}
    assert pages == {path.removeprefix("errors/") for path in docs.pages()}


def test_the_index_of_pages_is_in_step() -> None:
    assert (REPO / "docs" / "errors" / "README.md").read_text(encoding="utf-8") == docs.pages()["errors/README.md"]


def test_the_tables_of_the_reference_are_in_step() -> None:
    reference = (REPO / "docs" / "language.md").read_text(encoding="utf-8")
    assert docs.filled(reference) == reference, "run `python -m router_dsl.docs`"
    for table in docs.tables().values():
        assert table in reference


def test_every_code_that_the_language_reports_is_listed() -> None:
    said = set()
    for path in (REPO / "router_dsl").rglob("*.py"):
        if "codes" not in path.name or path.name == "syntax_codes.py":
            said |= set(re.findall(r'"([EW]\d{3})"', path.read_text(encoding="utf-8")))
    assert said == set(CODES)
