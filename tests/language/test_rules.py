"""The policies that ship under `rules/`, and what the authors' docs say that commands print."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, settings

from handlers.cli.main import main
from handlers.cli.test import run_all
from handlers.coverage import Coverage
from router_dsl import ast
from router_dsl.check import models, providers
from router_dsl.check.options import METRICS
from router_dsl.check.program import check
from router_dsl.compile.build import build, source_digest
from router_dsl.fields import ENDPOINT, FAMILIES, REQUEST
from router_dsl.format import format_source
from router_dsl.load import load, load_text
from router_dsl.plan import Plan
from router_dsl.source import Source, render
from router_dsl.syntax import parse
from runtime.decision.book import Book

REPO = Path(__file__).parents[2]
RULES = REPO / "rules"
POLICIES = [RULES / "default.route", *sorted((RULES / "examples").glob("*.route"))]
CATALOG = sorted((RULES / "catalog").glob("*.route"))


def by_name(path: Path) -> str:
    return path.stem


@cache
def compiled(path: Path) -> tuple[Plan | None, list[str]]:
    files, found = load(path, RULES)
    program, more = check(files)
    findings = [render(finding) for finding in [*found, *more]]
    return (None if program is None else build(program, source_digest(files))), findings


@pytest.mark.parametrize("path", POLICIES, ids=by_name)
def test_a_shipped_policy_has_neither_errors_nor_warnings(path: Path) -> None:
    plan, findings = compiled(path)
    assert "\n\n".join(findings) == ""
    assert plan is not None


@pytest.mark.parametrize("path", POLICIES, ids=by_name)
def test_a_shipped_policy_passes_its_tests_and_an_example_s_reach_every_answer(path: Path) -> None:
    plan, _ = compiled(path)
    assert plan is not None
    book = Book(plan)
    coverage = Coverage(book.program)
    results = run_all(book, coverage)
    assert [f"{r.test.name}: {r.message}" for r in results if not r.passed] == []
    assert results
    if path.parent.name == "examples":
        assert coverage.missed_rules() == []
        assert coverage.missed_answers() == []


@pytest.mark.parametrize("path", CATALOG, ids=by_name)
def test_a_catalogue_file_can_be_imported_by_a_policy_that_uses_little_of_it(path: Path) -> None:
    text = f'import "catalog/{path.name}"\nprovider p {{ url "sim://" }}\nmodel m {{ serve p "m" }}\n'
    files, found = load_text(text + "policy main { otherwise -> m }\n", "main.route", RULES)
    program, more = check(files)
    assert [render(finding) for finding in [*found, *more]] == []
    assert program is not None


def test_every_price_of_the_catalogue_says_both_directions_and_caching_is_never_dearer() -> None:
    imports = "".join(f'import "catalog/{path.name}"\n' for path in CATALOG)
    files, _ = load_text(imports + "policy main { otherwise -> requested }\n", "main.route", RULES)
    program, found = check(files)
    assert [render(finding) for finding in found] == []
    assert program is not None
    resold = {i for i, provider in enumerate(program.providers) if "resold" in provider.tags}
    for endpoint in program.endpoints:
        if endpoint.provider not in resold:
            assert endpoint.price_in is not None, endpoint.id
            assert endpoint.price_out is not None, endpoint.id
            assert (endpoint.price_cached or 0) <= endpoint.price_in, endpoint.id
    assert len(program.models) >= 12


@pytest.mark.parametrize("path", CATALOG, ids=by_name)
def test_a_catalogue_file_says_of_which_day_it_is(path: Path) -> None:
    head = path.read_text().partition("\n\n")[0]
    assert "As of 2026-" in head
    assert "heck before you rely on" in head


@pytest.mark.parametrize("path", [*POLICIES, *CATALOG], ids=by_name)
def test_a_shipped_file_is_laid_out_as_fmt_would(path: Path) -> None:
    text = path.read_text()
    assert format_source(Source(path.name, text)) == (text, [])


# --- the examples show the whole language -----------------------------------------------------------


def nodes(value: object) -> Iterator[ast.Node]:
    if isinstance(value, tuple):
        for item in value:
            yield from nodes(item)
    elif isinstance(value, ast.Node):
        yield value
        for field in dataclasses.fields(value):
            if field.name != "span":
                yield from nodes(getattr(value, field.name))


@cache
def shown(*paths: Path) -> tuple[ast.Node, ...]:
    trees = [parse(Source(path.name, path.read_text()))[0] for path in paths or POLICIES[1:]]
    return tuple(node for tree in trees for node in nodes(tree.items))


def test_the_examples_show_every_construct() -> None:
    defined = {cls for cls in vars(ast).values() if isinstance(cls, type) and issubclass(cls, ast.Node)}
    assert {cls.__name__ for cls in defined - {ast.Node, ast.File}} - {type(node).__name__ for node in shown()} == set()


def test_the_examples_show_every_operator_and_every_order() -> None:
    used = {node.op for node in shown() if isinstance(node, ast.Compare)}
    assert set(get_args(ast.CompareOp)) - used == set()
    assert {node.negated for node in shown() if isinstance(node, ast.In)} == {True, False}
    named = {name.text for node in shown() if isinstance(node, ast.By) for name, _ in node.metrics}
    assert set(METRICS) - named == {"balance"}  # what an action does that says nothing


def test_the_examples_ask_every_fact() -> None:
    asked = {node.text for node in shown() if isinstance(node, ast.Path)}
    families = {path.partition(".")[0] for path in asked}
    plain = {name for name in [*REQUEST, *ENDPOINT] if not name.endswith(".*")}
    assert plain - asked == set()
    assert set(FAMILIES) - families == set()


def test_the_examples_and_the_catalogue_use_every_option_of_providers_and_endpoints() -> None:
    used = {node.keyword.text for node in shown(*POLICIES[1:], *CATALOG) if isinstance(node, ast.Prop)}
    assert {*providers.KEYWORDS, *models.MODEL_KEYWORDS, *models.SERVE_KEYWORDS} - used == set()


# --- the docs ---------------------------------------------------------------------------------------

BLOCK = re.compile(r"^```(route|console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
POLICY = re.compile(r"^policy .*?^}\n", re.DOTALL | re.MULTILINE)


def write(file: Path, block: str) -> None:
    """Do to the reader's file what the text asks: write it, swap its policy, or add to its end."""
    if block.startswith("policy "):
        file.write_text(POLICY.sub(lambda _: block, file.read_text()))
    elif POLICY.search(block):
        file.write_text(block)
    elif not block.startswith("provider "):
        file.write_text(f"{file.read_text()}\n{block}")


@pytest.mark.slow
@pytest.mark.parametrize("page", ["tutorial.md", "testing.md"])
def test_the_commands_of_a_page_print_what_it_shows(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    shown_and_printed = []
    for kind, block in BLOCK.findall((REPO / "docs" / page).read_text()):
        if kind == "route":
            write(tmp_path / "chat.route", block)
        elif kind == "console":
            command, _, output = block.partition("\n")
            main(shlex.split(command.removeprefix("$ pointsman ")))
            told = capsys.readouterr()
            shown_and_printed.append((command, output.rstrip(), (told.out + told.err).rstrip()))
    assert shown_and_printed
    assert [(command, shown) for command, shown, _ in shown_and_printed] == [
        (command, printed) for command, _, printed in shown_and_printed
    ]


@pytest.mark.slow
def test_the_property_of_the_testing_page_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    (example,) = [block for kind, block in BLOCK.findall((REPO / "docs/testing.md").read_text()) if kind == "python"]
    names: dict[str, object] = {}
    exec(compile(example, "docs/testing.md", "exec"), names)
    properties = [value for name, value in names.items() if name.startswith("test_")]
    assert properties
    for holds in properties:
        assert callable(holds)
        # A busy machine must not fail it: no deadline, no health check, the same requests every time.
        calmly = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        calmly(holds)()
