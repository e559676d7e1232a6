"""`test` blocks: what a policy's own tests expect, held against what was decided.

The deciding is the caller's (`decide`), so that a test runs the very code that serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from router_dsl.plan import Endpoint, Endpoints, Expect, Program, Test

DRAWS = (0.0, 0.25, 0.5, 0.75, 0.999)
"""A test holds when it holds for each of these values of the request's random number."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided for a test's request.

    Attributes:
        rules: Labels of the rules that decided: of the policy asked, then of those it called.
        candidates: Endpoint indices in the order of preference.
        escalation: Those of the stronger model; a copy's are not here, for nobody sees its answer.
        status: Of a rejection, else None.
        cost_nusd: What one answer costs at the dearest endpoint of the plan, None when unpriced.
        story: The decision as a person would tell it.
    """

    rules: tuple[str, ...]
    candidates: tuple[int, ...]
    escalation: tuple[int, ...]
    attempts: int
    status: int | None
    cost_nusd: int | None
    story: str


@dataclass(frozen=True, slots=True)
class Result:
    """How one test went; `message` says what happened instead, empty when it passed."""

    test: Test
    message: str
    line: int

    @property
    def passed(self) -> bool:
        """Whether every expectation held."""
        return not self.message

    def to_json(self) -> dict[str, object]:
        """Return the result as `test --json` prints it; `line` is the failed expectation's, else the test's."""
        return {
            "file": self.test.file,
            "line": self.line,
            "name": self.test.name,
            "passed": self.passed,
            "message": self.message or None,
        }


def run(program: Program, decide: Callable[[Test, float], Decided]) -> list[Result]:
    """Return the results of all tests of a program, in the order written.

    Args:
        decide: Decides a test's request with a given draw.
    """
    return [run_one(program, test, decide) for test in program.tests]


def run_one(program: Program, test: Test, decide: Callable[[Test, float], Decided]) -> Result:
    """Return the result of one test: the first expectation that fails under any draw fails it."""
    for draw in DRAWS:
        decided = decide(test, draw)
        for expect in test.expect:
            instead = _instead(expect, decided, program.endpoints)
            if instead is not None:
                chance = "" if draw == DRAWS[0] else f" (random draw {draw})"
                return Result(test, f"`{expect.text}` fails: {instead}{chance}\n{decided.story}", expect.line)
    return Result(test, "", test.line)


def _instead(expect: Expect, decided: Decided, endpoints: Sequence[Endpoint]) -> str | None:
    """Return what happened instead of what is expected, None when it holds."""
    if expect.kind == "rule":
        return None if expect.value in decided.rules else f"rule {', then '.join(decided.rules)} decides"
    if expect.kind == "reject":
        return None if decided.status == expect.value else _outcome(decided, endpoints)
    if decided.status is not None and expect.kind != "never":
        return _outcome(decided, endpoints)
    if expect.kind == "never":
        held = (*decided.candidates, *decided.escalation)
        found = [e for target in expect.targets for e in target.endpoints if e in held]
        return f"the plan holds {endpoints[found[0]].id}" if found else None
    if expect.kind in ("first", "order"):
        return None if _starts_with(decided.candidates, expect.targets) else _outcome(decided, endpoints)
    if expect.kind == "cost":
        return _cost(expect, decided)
    over = decided.attempts > int(expect.value or 0)
    return f"the plan makes up to {decided.attempts} attempts" if over else None


def _outcome(decided: Decided, endpoints: Sequence[Endpoint]) -> str:
    if decided.status is not None:
        return f"the request is rejected with {decided.status}"
    return "the order is " + ", ".join(endpoints[e].id for e in decided.candidates)


def _cost(expect: Expect, decided: Decided) -> str | None:
    if decided.cost_nusd is None:
        return "an endpoint of the plan has no price"
    if decided.cost_nusd <= int(expect.value or 0):
        return None
    return f"the answer may cost ${decided.cost_nusd / 1e9:.6f}"


def _starts_with(candidates: Sequence[int], targets: Sequence[Endpoints]) -> bool:
    """Whether the candidates begin with those of the first target, then those of the second, and so on."""
    place = 0
    for target in targets:
        start = place
        while place < len(candidates) and candidates[place] in target.endpoints:
            place += 1
        if place == start:
            return False
    return True
