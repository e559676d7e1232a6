"""What `check --html` shows of a policy file: its plan, findings, tests, and the requests that each rule takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from handlers.cli.test import run_all
from handlers.compiled import compile_source
from handlers.coverage import Coverage
from handlers.generated import search_of
from handlers.pictures.report import Region, Shown
from router_dsl.plan import And, Policy, Program
from router_dsl.source import Diagnostic, render
from router_dsl.suite.search import Search
from router_dsl.suite.values import Given, written_fact, written_value
from runtime.decision.book import Book

# Which earlier rules take a part is asked of every pair: of the first 100 rules it is quick.
_MOST_PAIRS = 5_000
_TRIES = 60


def shown(path: Path, root: Path | None, findings: Sequence[Diagnostic]) -> Shown:
    """Return what to show of a file that was checked."""
    excerpts = [render(finding) for finding in findings]
    compiled = compile_source(path, root)
    if compiled.plan is None:
        return Shown(path.name, None, findings, excerpts, None, (), {})
    book = Book(compiled.plan)
    coverage = Coverage(book.program)
    results = run_all(book, coverage)
    return Shown(path.name, compiled.plan, findings, excerpts, coverage, results, _regions(book.program))


def _regions(program: Program) -> dict[tuple[str, str], Region]:
    search = search_of(program)
    regions: dict[tuple[str, str], Region] = {}
    left = _MOST_PAIRS
    for policy in program.policies:
        for index, rule in enumerate(policy.rules):
            left -= index
            regions[policy.name, rule.label] = region_of(policy, index, program, search, with_behind=left > 0)
    return regions


def region_of(policy: Policy, index: int, program: Program, search: Search, *, with_behind: bool) -> Region:
    """Return what is known of the requests that a rule takes.

    Args:
        search: Among the requests of the program.
        with_behind: Look for the earlier rules that take a part, which asks each of them.
    """
    rule = policy.rules[index]
    earlier = [before.when for before in policy.rules[:index] if before.when is not None]
    given = search.find(rule.when, earlier)
    quick = Search(search.facts, search.values, _TRIES)
    behind = _behind(policy, index, quick) if with_behind and rule.when is not None else ()
    return Region(behind, None if given is None else _written(given, program))


def _behind(policy: Policy, index: int, search: Search) -> tuple[str, ...]:
    """Return the earlier rules that hold together with a rule."""
    rule = policy.rules[index]
    assert rule.when is not None
    found = []
    for before in policy.rules[:index]:
        if before.when is not None and search.find(And((before.when, rule.when)), ()) is not None:
            found.append(before.label)
    return tuple(found)


def _written(given: Given, program: Program) -> str:
    over = [fact for fact, value in given.items() if fact.startswith("over ") and value]
    facts = [
        f"{written_fact(fact)} {written_value(fact, value, program)}"
        for fact, value in given.items()
        if not fact.startswith("over ")
    ]
    return ", ".join([*facts, *over])
