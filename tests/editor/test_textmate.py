"""The colours of the VS Code extension are those of the language, and its files are what VS Code reads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from router_dsl.fields import ENDPOINT, REQUEST
from router_dsl.lex import lex
from router_dsl.lsp.textmate import FILE, grammar, text
from router_dsl.source import Source
from router_dsl.syntax import parse, tables

REPO = Path(__file__).parents[2]
VSCODE = REPO / "docs" / "editors" / "vscode"
CASES = REPO / "tests" / "language" / "cases"
TEXTS = [CASES / "example.route", CASES / "tour.txt", *sorted(REPO.glob("rules/**/*.route"))]
EXPECTED = {"STRING": ("string", "entity", "support"), "NUMBER": ("constant.numeric",), "REGEX": ("string.regexp",)}


def test_the_grammar_in_the_extension_is_what_the_language_makes() -> None:
    assert (REPO / FILE).read_text("utf-8") == text(), "run: python -m router_dsl.lsp.textmate"


def colored(line: str) -> dict[int, str]:
    """Return the scope at each column, as an editor finds it: at the earliest place, the first pattern that fits."""
    patterns: Any = grammar()["patterns"]
    scopes: dict[int, str] = {}
    at = 0
    while at < len(line):
        best: tuple[int, int, re.Match[str], Any] | None = None
        for order, pattern in enumerate(patterns):
            source = pattern.get("match") or r'"(?:[^"\\]|\\.)*(?:"|$)'
            found = re.compile(source, re.MULTILINE).search(line, at)
            if found is not None and (best is None or (found.start(), order) < best[:2]):
                best = (found.start(), order, found, pattern)
        if best is None:
            break
        found, pattern = best[2], best[3]
        for column in range(found.start(), found.end()):
            scopes[column] = pattern.get("name", "")
        for group, capture in pattern.get("captures", {}).items():
            for column in range(*found.span(int(group))):
                scopes[column] = capture["name"]
        at = max(found.end(), at + 1)
    return scopes


@pytest.mark.slow
@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_word_has_the_colour_of_what_the_parser_takes_it_for(path: Path) -> None:
    source = Source(path.name, path.read_text("utf-8"))
    assert parse(source)[1] == []
    wrong = []
    for token in lex(source).tokens:
        line, column = source.position(token.start)
        scope = colored(source.line(line)).get(column - 1, "")
        if not scope.startswith(EXPECTED.get(token.kind, ("",))):
            wrong.append((token.text, line, scope))
    assert wrong == []


@pytest.mark.parametrize("word", sorted(tables().keywords))
def test_every_keyword_is_coloured(word: str) -> None:
    assert colored(f"x {word} y")[2].startswith(("keyword", "storage")), word


@pytest.mark.parametrize("fact", [name for name in (*REQUEST, *ENDPOINT) if "*" not in name])
def test_every_fact_is_coloured(fact: str) -> None:
    scope = colored(f"( {fact} == 1")[2]
    assert scope.startswith(("support.variable", "keyword")), fact


def test_names_with_keywords_inside_are_names() -> None:
    scopes = colored("-> not-a-model else in-house.when")
    assert scopes[3] == "variable.other.route"
    assert scopes[20] == "variable.other.route"


def test_the_files_of_the_extension_fit_together() -> None:
    package = json.loads((VSCODE / "package.json").read_text("utf-8"))
    contributes = package["contributes"]
    for name in (package["main"], contributes["languages"][0]["configuration"], contributes["grammars"][0]["path"]):
        assert (VSCODE / name).is_file()
    assert contributes["grammars"][0]["scopeName"] == grammar()["scopeName"]
    script = (VSCODE / package["main"]).read_text("utf-8")
    required = re.findall(r'require\("([^"]+)"\)', script)
    assert {name.split("/")[0] for name in required} == {"vscode", *package["dependencies"]}
    settings = re.findall(r'get\("(\w+)"', script)
    assert {f"pointsman.{name}" for name in settings} == set(contributes["configuration"]["properties"])
    json.loads((VSCODE / "language-configuration.json").read_text("utf-8"))
