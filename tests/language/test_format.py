"""The formatter: the same meaning and the same comments, one layout, and no second opinion."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from strategies_ast import files_and_texts

from router_dsl import ast
from router_dsl.format import format_source
from router_dsl.layout import WIDTH, words_of
from router_dsl.source import Source, render
from router_dsl.syntax import parse

CASES = Path(__file__).parent / "cases"


def formatted(text: str) -> str:
    out, diagnostics = format_source(Source("x.route", text))
    assert [render(d) for d in diagnostics] == []
    return out


def comments(text: str) -> list[str]:
    words, end = words_of(Source("x.route", text))
    found = []
    for word in [*words, end]:
        found += [comment.text for comment in word.before]
        found += [word.after] if word.after else []
    return found


def parsed(text: str) -> ast.File:
    file, diagnostics = parse(Source("x.route", text))
    assert [render(d) for d in diagnostics] == []
    return file


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(files_and_texts())
def test_any_tree_survives_text_and_layout(drawn: tuple[ast.File, str]) -> None:
    file, text = drawn
    assert parsed(text) == file
    once = formatted(text)
    assert parsed(once) == file
    assert formatted(once) == once
    assert comments(once) == comments(text)
    assert once == "" or once.endswith("\n")
    assert not re.search(r"[ \t\r]\n|\n\n\n|\A\n|\n\n\Z", once)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CASES / "format").glob("*.in")))
def test_layout(name: str) -> None:
    text = (CASES / "format" / f"{name}.in").read_bytes().decode()
    expected = (CASES / "format" / f"{name}.out").read_text(encoding="utf-8")
    assert formatted(text) == expected
    assert formatted(expected) == expected
    assert comments(expected) == comments(text)
    assert parsed(expected) == parsed(text)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CASES / "format").glob("*.out")))
def test_no_line_is_too_wide(name: str) -> None:
    for line in (CASES / "format" / f"{name}.out").read_text(encoding="utf-8").splitlines():
        assert len(line) <= WIDTH


def test_white_space_alone_never_matters_to_the_result() -> None:
    text = (CASES / "tour.txt").read_text(encoding="utf-8")
    lines = [line for line in formatted(text).splitlines() if line]
    assert formatted("\n".join("   " + line + "   " for line in lines)) == "".join(line + "\n" for line in lines)


def test_a_broken_file_stays_as_it_is() -> None:
    text = "policy p {\n    a: whn x -> m\n}"
    out, diagnostics = format_source(Source("x.route", text))
    assert out == text
    assert [d.code for d in diagnostics] == ["E106"]


if __name__ == "__main__":
    for path in (CASES / "format").glob("*.in"):
        path.with_suffix(".out").write_text(formatted(path.read_bytes().decode()), encoding="utf-8")
