"""How good a policy's own tests are: small changes of it, and which of them some test notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import structs

from handlers.compiled import Compiled
from handlers.generated import search_of
from router_dsl import ast
from router_dsl.check.program import check
from router_dsl.compile.build import body_facts_of, build, source_digest, tree_of
from router_dsl.compile.terms import CompileError
from router_dsl.format import format_source
from router_dsl.load import load
from router_dsl.plan import Endpoints, Expect, Plan, Program, Test
from router_dsl.source import Source, in_order
from router_dsl.suite.generate import written
from router_dsl.suite.mutate import Mutant, Place, mutants
from router_dsl.suite.search import Search
from router_dsl.suite.values import Given, written_name
from router_dsl.testing import Decided, Result, run_one
from runtime.decision.book import Book
from runtime.decision.rehearsal import decided, failures, rehearse

SECONDS = 60.0
"""How long to go on unless told otherwise: some thousand changes of a policy of usual size."""

_LONGEST_ORDER = 8
_STEP = 16
# A guard's absence can show for any rule; one of the first shows it, or the guard hardly matters.
_MOST_GOALS = 12


@dataclass(frozen=True, slots=True)
class Survivor:
    """A change that no test notices; `test`, a block as text, would."""

    mutant: Mutant
    test: str


@dataclass(slots=True)
class Mutation:
    """What came of the changes of one policy.

    Attributes:
        alike: Changes that no test notices, and that no request was found to show.
        untried: Left when the time was up.
        failing: The policy's own tests that fail unchanged; then nothing was tried.
    """

    name: str
    killed: int = 0
    survivors: list[Survivor] = field(default_factory=list)
    alike: list[Mutant] = field(default_factory=list)
    untried: int = 0
    failing: list[Result] = field(default_factory=list)

    @property
    def score(self) -> float:
        """Share of the changes that make a difference and that some test notices; 1 when there are none."""
        told_apart = self.killed + len(self.survivors)
        return self.killed / told_apart if told_apart else 1.0


def mutate(path: Path, root: Path | None, seconds: float, clock: Callable[[], float]) -> Mutation | Compiled:
    """Return how a policy's tests take its changes, or what is wrong with it.

    Args:
        seconds: When to stop, as `clock` counts.
    """
    files, found = load(path, root)
    program, more = check(files, found) if files else (None, [])
    if program is None:
        return Compiled(None, in_order([*found, *more]))
    plan = build(program, source_digest(files))
    book = Book(plan)
    mutation = Mutation(program.name, failing=failures(book))
    if mutation.failing:
        return mutation
    end = clock() + seconds
    search = search_of(program)
    everything = list(mutants(program, _guards(files)))
    # In large steps, so that what the time allows is a sample of the whole policy.
    for mutant in (mutant for start in range(_STEP) for mutant in everything[start::_STEP]):
        if clock() > end:
            mutation.untried += 1
        else:
            _try(mutant, book, search, mutation)
    mutation.survivors.sort(key=lambda survivor: (survivor.mutant.file, survivor.mutant.line))
    return mutation


def _guards(files: list[ast.File]) -> dict[str, Place]:
    guards = (item for file in files for item in file.items if isinstance(item, ast.Guard))
    return {guard.name.text: (guard.span.source.name, guard.span.line) for guard in guards}


def _try(mutant: Mutant, book: Book, search: Search, mutation: Mutation) -> None:
    changed = _book(mutant, book.plan)
    if changed is None:
        return
    if any(not run_one(changed.program, test, _decide(changed)).passed for test in changed.program.tests):
        mutation.killed += 1
    elif (test := _telling(mutant, book, changed, search)) is not None:
        mutation.survivors.append(Survivor(mutant, test))
    else:
        mutation.alike.append(mutant)


def _decide(book: Book) -> Callable[[Test, float], Decided]:
    return lambda test, draw: decided(book, *rehearse(book, test, draw))


def _book(mutant: Mutant, plan: Plan) -> Book | None:
    """Return the changed policy, loaded; None when the change made a rule too wide to compile."""
    trees = plan.trees
    if mutant.compiles and mutant.policy is not None:
        program = mutant.program
        policy = next(policy for policy in program.policies if policy.name == mutant.policy)
        try:
            trees = {**trees, policy.name: tree_of(policy, body_facts_of(program))}
        except CompileError:
            return None
    # Nobody keeps or ships this plan: it needs no certificate of its own.
    return Book(structs.replace(plan, program=mutant.program, trees=trees))


# --- telling them apart ---------------------------------------------------------------------------


def _telling(mutant: Mutant, book: Book, changed: Book, search: Search) -> str | None:
    """Return a test, as text, that holds for the original alone; None when none was found."""
    for goal, earlier in mutant.goals[:_MOST_GOALS]:
        given = search.find(goal, earlier)
        if given is None:
            continue
        for policy in [mutant.policy] if mutant.policy is not None else [one.name for one in book.program.policies]:
            for down in _outages(book, policy, given):
                expected = _difference(book, changed, policy, given, down)
                if expected is not None:
                    faults = [f"down {_endpoint(book.program, endpoint)}" for endpoint in down]
                    text = written(f"notices: {mutant.what}", policy, given, [*faults, expected], book.program)
                    return format_source(Source("test.route", text))[0]
    return None


def _outages(book: Book, policy: str, given: Given) -> Iterator[tuple[int, ...]]:
    """Give what may be out of service: nothing, then the first choice."""
    yield ()
    first = _decide(book)(_test(policy, given, (), ()), 0.0).candidates[:1]
    if first:
        yield first


def _test(policy: str, given: Given, down: tuple[int, ...], expect: tuple[Expect, ...]) -> Test:
    facts = tuple((fact, value) for fact, value in given.items() if not fact.startswith("over "))
    over = tuple(fact[5:] for fact, value in given.items() if fact.startswith("over ") and value)
    return Test("", "", 1, policy, facts, down, (), (), over, expect)


def _difference(book: Book, changed: Book, policy: str, given: Given, down: tuple[int, ...]) -> str | None:
    """Return what can be expected of the original, whatever the draw, and does not come of the changed policy."""
    bare = _test(policy, given, down, ())
    for draw in (0.0, 0.5):
        before, after = _decide(book)(bare, draw), _decide(changed)(bare, draw)
        for expect in _expected(before, after, book.program):
            test = structs.replace(bare, expect=(expect,))
            holds = run_one(book.program, test, _decide(book)).passed
            if holds and not run_one(changed.program, test, _decide(changed)).passed:
                return expect.text
    return None


def _expected(before: Decided, after: Decided, program: Program) -> Iterator[Expect]:
    """Give what may hold before a change and not after it, the plainest first."""
    yield Expect("rule", before.rules[0], (), 1, f"expect rule {written_name(before.rules[0])}")
    if before.status is not None:
        yield Expect("reject", before.status, (), 1, f"expect reject {before.status}")
        return
    first = _endpoint(program, before.candidates[0])
    yield Expect("first", None, (Endpoints(first, before.candidates[:1]),), 1, f"expect {first}")
    for endpoint in dict.fromkeys((*after.candidates, *after.escalation)):
        name = _endpoint(program, endpoint)
        yield Expect("never", None, (Endpoints(name, (endpoint,)),), 1, f"expect not {name}")
    if len(before.candidates) <= _LONGEST_ORDER:
        order = tuple(Endpoints(_endpoint(program, endpoint), (endpoint,)) for endpoint in before.candidates)
        yield Expect("order", None, order, 1, "expect order " + ", ".join(target.text for target in order))
    yield Expect("attempts", before.attempts, (), 1, f"expect attempts <= {before.attempts}")


def _endpoint(program: Program, index: int) -> str:
    endpoint = program.endpoints[index]
    label = f"/{written_name(endpoint.label)}" if endpoint.label else ""
    provider = program.providers[endpoint.provider].name
    return f"{written_name(endpoint.model)} @ {written_name(provider)}{label}"
