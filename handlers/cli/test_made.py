"""`pointsman test --generate` and `--mutate`: tests made by machine, and how good the policy's own are."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from handlers.cli.output import FOUND, OK, USAGE, complain, show
from handlers.compiled import Compiled
from handlers.generated import Suite, generate
from handlers.mutation import Mutation, mutate


def main(options: argparse.Namespace) -> int:
    """Do what was asked for each file; 0 when all went well, 1 for broken policies and low scores, 2 for usage."""
    code = OK
    told: list[dict[str, object]] = []
    for name in options.files:
        path = Path(name)
        if path.suffix == ".plan" or not path.is_file():
            reason = "a plan has no text to add tests to" if path.suffix == ".plan" else "there is no such file"
            complain(f"`{name}`: {reason}", "`--generate` and `--mutate` take .route files")
            return USAGE
        if options.generate:
            made: Suite | Mutation | Compiled = generate(path, options.root)
        else:
            made = mutate(path, options.root, options.seconds, time.monotonic)
        if isinstance(made, Compiled):
            show(made.diagnostics, sys.stderr)
            code = FOUND
        elif isinstance(made, Suite):
            told.append(_suite_json(name, made))
            if not options.json:
                _print_suite(made)
        else:
            told.append(_mutation_json(name, made))
            if not options.json:
                _print_mutation(name, made)
            if made.failing or (options.min_score is not None and made.score * 100 < options.min_score):
                code = FOUND
    if options.json:
        print(json.dumps({"generated" if options.generate else "mutations": told}, indent=2, ensure_ascii=False))
    return code


def _print_suite(suite: Suite) -> None:
    """Print the tests, ready to be added to the policy, and beside them what they do not show."""
    print(suite.text, end="")
    for unshown in suite.unshown:
        rule = unshown.rule
        what = "no test decides it" if unshown.question is None else f"no near miss for `{unshown.question.text}`"
        place = f"{rule.file}:{rule.line}: rule {rule.label} of policy {unshown.policy}"
        print(f"{place}: {what}: {unshown.reason}", file=sys.stderr)


def _suite_json(name: str, suite: Suite) -> dict[str, object]:
    unshown = [
        {
            "policy": one.policy,
            "rule": one.rule.label,
            "file": one.rule.file,
            "line": one.rule.line,
            "condition": None if one.question is None else one.question.text,
            "reason": one.reason,
        }
        for one in suite.unshown
    ]
    return {"file": name, "tests": suite.tests, "text": suite.text, "unshown": unshown}


def _print_mutation(name: str, mutation: Mutation) -> None:
    if mutation.failing:
        for result in mutation.failing:
            print(f"{result.test.file}:{result.line}: FAILED {result.test.name}")
        print(f"{name}: its own tests fail as it is: nothing was changed")
        return
    for survivor in mutation.survivors:
        print(f"{survivor.mutant.file}:{survivor.mutant.line}: no test notices: {survivor.mutant.what}")
        print(_indented(survivor.test))
    rest = [
        *([f"{len(mutation.alike)} more make no difference that was found"] if mutation.alike else []),
        *([f"{mutation.untried} were not tried, the time was up"] if mutation.untried else []),
    ]
    told_apart = mutation.killed + len(mutation.survivors)
    counted = f"{mutation.killed} of {told_apart} changes are noticed"
    print(f"{name}: mutation score {mutation.score:.0%}: " + "; ".join([counted, *rest]))


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def _mutation_json(name: str, mutation: Mutation) -> dict[str, object]:
    return {
        "file": name,
        "score": round(mutation.score, 4),
        "killed": mutation.killed,
        "survived": len(mutation.survivors),
        "alike": len(mutation.alike),
        "untried": mutation.untried,
        "failing": [result.test.name for result in mutation.failing],
        "survivors": [
            {"file": one.mutant.file, "line": one.mutant.line, "change": one.mutant.what, "test": one.test}
            for one in mutation.survivors
        ],
    }
