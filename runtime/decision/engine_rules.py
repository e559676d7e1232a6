"""A small policy as straight-line code: one `if` a rule, in order, cheap questions first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from router_dsl.plan import And, Atom, Block, Cond, Named, Not, Or, Rule
from runtime.decision.engine_conditions import Facts, answer
from runtime.decision.engine_source import Source

MOST_QUESTIONS = 40
"""Questions a policy may ask to be small: with more, tables are faster, and the code takes longer to compile."""

_DEEPEST = 40
"""Nesting that Python's parser takes with room to spare; it refuses 200 brackets."""

_SYMBOLS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def is_small(rules: Sequence[Rule]) -> bool:
    """Whether rules are better asked one by one than looked up."""
    if len(rules) > MOST_QUESTIONS:
        return False
    conds = [rule.when for rule in rules if rule.when is not None]
    return sum(1 for cond in conds for _ in _atoms(cond)) <= MOST_QUESTIONS and all(
        _depth(cond) <= _DEEPEST for cond in conds
    )


def written(rules: Sequence[Rule], block: Block) -> Callable[[Facts], int]:
    """Return the rules as a function.

    Args:
        rules: Of the policy.
        block: Its tables, which know what a fact costs.
    """
    writer = _Writer({table.fact: cost for cost, table in enumerate(block.lazy, 1)})
    conds = [rule.when for rule in rules[:-1] if rule.when is not None]
    asked = Counter(atom.fact for cond in conds for atom in _atoms(cond))
    for fact, times in asked.items():
        # What costs something is found out when it is reached, if it is.
        if times > 1 and fact not in writer.costs:
            writer.keep(fact)
    for index, cond in enumerate(conds):
        writer.source.line(f"if {writer.test(cond)}: return {index}")
    writer.source.line(f"return {len(rules) - 1}")
    return writer.source.function()


class _Writer:
    """Writes conditions as expressions.

    Attributes:
        costs: Rank of the facts that cost something.
    """

    def __init__(self, costs: dict[str, int]) -> None:
        self.costs = costs
        self.source = Source("decide")
        self.source.begin("facts")
        self._kept: dict[str, str] = {}

    def keep(self, fact: str) -> None:
        """Add a variable for a fact that is asked more than once."""
        self._kept[fact] = f"v{len(self._kept)}"
        self.source.line(f"{self._kept[fact]} = facts[{self.source.name(fact)}]")

    def test(self, cond: Cond) -> str:
        """Return an expression that is true where the condition holds."""
        match cond:
            case Atom():
                return self._question(cond)
            case Not(item):
                return f"(not {self.test(item)})"
            case And(items):
                return self._joined(items, " and ") if items else "True"
            case Or(items):
                return self._joined(items, " or ") if items else "False"
            case Named(_, item):
                return self.test(item)

    def _joined(self, items: Sequence[Cond], word: str) -> str:
        return "(" + word.join(self.test(item) for item in sorted(items, key=self._cost)) + ")"

    def _cost(self, cond: Cond) -> int:
        return max((self.costs.get(atom.fact, 0) for atom in _atoms(cond)), default=0)

    def _question(self, atom: Atom) -> str:
        value = self._kept.get(atom.fact) or f"facts[{self.source.name(atom.fact)}]"
        constant = atom.value
        items = atom.items
        match atom.op:
            case "has":
                return value
            case "missing":
                return f"({value} is None)"
            case "is":
                return f"({value} is True)"
            case "eq" | "ne" if isinstance(constant, str):
                return f"({value} {'==' if atom.op == 'eq' else '!='} {self.source.name(constant)})"
            case "in" | "not in" if all(isinstance(item, str) for item in items):
                return f"({value} {atom.op} {self.source.name(frozenset(items))})"
            case "lt" | "le" | "gt" | "ge" if isinstance(constant, int | float) and not isinstance(constant, bool):
                # A float may be NaN, which is below and above nothing, as it should be.
                whole, real = self.source.name(int), self.source.name(float)
                is_number = f"(x := {value}).__class__ is {whole} or x.__class__ is {real}"
                return f"(({is_number}) and x {_SYMBOLS[atom.op]} {self.source.name(constant)})"
        return f"{self.source.name(answer(atom))}({value})"


def _atoms(cond: Cond) -> Iterator[Atom]:
    match cond:
        case Atom():
            yield cond
        case Not(item) | Named(_, item):
            yield from _atoms(item)
        case And(items) | Or(items):
            for item in items:
                yield from _atoms(item)


def _depth(cond: Cond) -> int:
    match cond:
        case Atom():
            return 1
        case Not(item) | Named(_, item):
            return 1 + _depth(item)
        case And(items) | Or(items):
            return 1 + max((_depth(item) for item in items), default=0)
