"""Tests made for a policy, and how good its own are: what `test --generate` and `test --mutate` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from handlers.compiled import Compiled, compile_source
from router_dsl.check.program import check
from router_dsl.compile.build import build, source_digest
from router_dsl.format import format_source
from router_dsl.interpret import Value
from router_dsl.load import load, load_parsed
from router_dsl.plan import Plan, Program, Test
from router_dsl.source import Source, in_order
from router_dsl.suite.generate import Case, Unshown, expectations, suite, title, written
from router_dsl.suite.search import TRIES, Search
from router_dsl.suite.values import Given, values_of
from router_dsl.syntax import parse
from router_dsl.testing import run_one
from runtime.decision.book import Book
from runtime.decision.facts import Facts
from runtime.decision.rehearsal import Scripted, baseline_call, decided, rehearse


@dataclass(frozen=True, slots=True)
class Suite:
    """Generated tests as text, laid out, and what they do not show."""

    text: str
    tests: int
    unshown: list[Unshown]


def search_of(program: Program, tries: int = TRIES) -> Search:
    """Return a search among the requests of a program, which looks at so many for each question."""
    call = baseline_call()

    def facts(given: Given) -> Facts:
        over = frozenset(name[5:] for name, value in given.items() if name.startswith("over ") and value)
        asked: dict[str, Value] = {"model": None, **given}
        return Facts(call, program, Scripted(over=over), asked)  # type: ignore[arg-type]

    rules = [rule.when for policy in program.policies for rule in policy.rules if rule.when is not None]
    guards = [guard.when for guard in program.guards if guard.when is not None]
    return Search(facts, values_of([*rules, *guards], program), tries)


def generate(path: Path, root: Path | None) -> Suite | Compiled:
    """Return tests for the policies of a `.route` file, or what is wrong with it."""
    compiled = compile_source(path, root)
    if compiled.plan is None:
        return compiled
    program = compiled.plan.program
    cases, unshown = suite(program, search_of(program))
    names = _names(cases, program)
    sure = _blocks(names, cases, [list(expectations(case)) for case in cases], program)
    book = Book(_with_tests(path, root, sure))
    kept = [_kept(book, test, list(expectations(case))) for test, case in zip(_added(book, names), cases, strict=True)]
    text = _blocks(names, cases, kept, program)
    laid, findings = format_source(Source("generated.route", text))
    assert not findings
    return Suite(laid, len(cases), unshown)


def _blocks(names: Sequence[str], cases: Sequence[Case], expected: Sequence[Sequence[str]], program: Program) -> str:
    blocks = zip(names, cases, expected, strict=True)
    tests = (written(name, case.policy, case.given, lines, program) for name, case, lines in blocks)
    return "\n\n".join(tests) + "\n"


def _names(cases: Sequence[Case], program: Program) -> list[str]:
    """Return a name for each case that no other test has."""
    taken = {test.name for test in program.tests}
    names = []
    for case in cases:
        plain = name = title(case, program.policies[0].name)
        number = 2
        while name in taken:
            name, number = f"{plain} ({number})", number + 1
        taken.add(name)
        names.append(name)
    return names


def _with_tests(path: Path, root: Path | None, tests: str) -> Plan:
    """Return the plan of a file with more tests at its end."""
    files, _ = load(path, root)
    source = files[0].span.source
    longer = parse(Source(source.name, f"{source.text}\n{tests}"))
    files, found = load_parsed(longer, path, path.parent if root is None else root, lambda path, name: None)
    program, more = check(files, found)
    assert program is not None, in_order([*found, *more])
    return build(program, source_digest(files))


def _added(book: Book, names: Sequence[str]) -> list[Test]:
    tests = {test.name: test for test in book.program.tests}
    return [tests[name] for name in names]


def _kept(book: Book, test: Test, expected: Sequence[str]) -> list[str]:
    """Return the expectations that hold for every draw: where a guard or a draw decides, only the rule is sure."""
    kept = []
    for line, expect in zip(expected, test.expect, strict=True):
        alone = structs.replace(test, expect=(expect,))
        if run_one(book.program, alone, lambda one, draw: decided(book, *rehearse(book, one, draw))).passed:
            kept.append(line)
    return kept
