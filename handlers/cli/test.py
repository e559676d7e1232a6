"""`pointsman test`: run the `test` blocks of policies."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from handlers import trial
from handlers.compiled import compile_file
from handlers.coverage import Coverage
from router_dsl.plan import PlanError, Test
from router_dsl.source import render
from router_dsl.testing import Decided, Result, run
from runtime.decision.book import Book


def main(argv: list[str]) -> int:
    """Run the tests of each file; 0 when all pass, 1 when one fails or a policy has errors, 2 for usage."""
    parser = argparse.ArgumentParser(prog="pointsman test", description=main.__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a .route or .plan file")
    parser.add_argument("--root", type=Path, help="folder that imports may not leave (default: the file's own)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--generate", action="store_true", help="print tests that pin every rule; run none")
    parser.add_argument("--mutate", action="store_true", help="say which small changes of a policy its tests notice")
    parser.add_argument(
        "--min-score", type=float, metavar="PERCENT", help="with --mutate: exit with 1 below this score"
    )
    parser.add_argument("--seconds", type=float, default=60, help="with --mutate: stop after so long (default: 60)")
    parser.add_argument("--coverage", action="store_true", help="say which rules and conditions no test reaches")
    options = parser.parse_args(argv)
    if options.generate and options.mutate:
        parser.error("--generate and --mutate are two commands: say one")
    if options.generate or options.mutate:
        from handlers.cli import test_made

        return test_made.main(options)
    results: list[Result] = []
    coverages: list[Coverage] = []
    broken = False
    for name in options.files:
        try:
            compiled = compile_file(Path(name), options.root, proving=False)
        except (OSError, PlanError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            print(f"pointsman test: {name}: {str(reason).lower()}", file=sys.stderr)
            return 2
        if compiled.plan is None:
            broken = True
            for diagnostic in compiled.diagnostics:
                print(render(diagnostic, color=sys.stderr.isatty()) + "\n", file=sys.stderr)
            continue
        book = Book(compiled.plan)
        coverage = Coverage(book.program)
        results += run_all(book, coverage)
        coverages.append(coverage)
    if options.json:
        print(json.dumps(_as_json(results, coverages if options.coverage else None), indent=2))
    else:
        _print(results, coverages if options.coverage else None)
    return 1 if broken or not all(result.passed for result in results) else 0


def run_all(book: Book, coverage: Coverage) -> list[Result]:
    """Return the results of a loaded policy's tests, and count what they reach."""

    def decide(test: Test, draw: float) -> Decided:
        decided, route, facts = trial.decide(book, test, draw)
        coverage.add(route, facts)
        return decided

    return run(book.program, decide)


def _as_json(results: list[Result], coverages: list[Coverage] | None) -> dict[str, object]:
    told: dict[str, object] = {"tests": [result.to_json() for result in results]}
    if coverages is not None:
        told["coverage"] = [
            {
                "policy_file": coverage.program.name,
                **coverage.totals(),
                "missed_rules": [
                    {"policy": policy, "rule": rule, "file": file, "line": line}
                    for policy, rule, file, line in coverage.missed_rules()
                ],
                "missed_answers": [
                    {"policy": policy, "rule": rule, "file": file, "line": line, "condition": text, "answer": answer}
                    for policy, rule, file, line, text, answer in coverage.missed_answers()
                ],
            }
            for coverage in coverages
        ]
    return told


def _print(results: list[Result], coverages: list[Coverage] | None) -> None:
    for result in results:
        if not result.passed:
            print(f"{result.test.file}:{result.line}: FAILED {result.test.name}\n  {result.message}\n")
    for coverage in coverages or ():
        _print_coverage(coverage)
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")


def _print_coverage(coverage: Coverage) -> None:
    totals = coverage.totals()
    print(
        f"{coverage.program.name}: rules {totals['rules_reached']}/{totals['rules']}, "
        f"conditions {totals['answers_reached']}/{totals['answers']} answers"
    )
    unreached = {(policy, rule) for policy, rule, _, _ in coverage.missed_rules()}
    for policy, rule, file, line in coverage.missed_rules():
        print(f"  {file}:{line}: no test is decided by rule {rule} of policy {policy}")
    for policy, rule, file, line, text, answer in coverage.missed_answers():
        if (policy, rule) not in unreached:
            print(f"  {file}:{line}: no test makes `{text}` {str(answer).lower()}")
    print()
