"""The LALR(1) loop: tokens and tables in; a tree out, or the place where the words stop making sense.

A name is a keyword where the grammar can take that keyword, and a name everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router_dsl import ast
from router_dsl.lex import Token
from router_dsl.mend import mend
from router_dsl.source import Diagnostic

END = "$END"

Value = Token | ast.Node | list["Value"]


@dataclass(frozen=True, slots=True, eq=False)
class Production:
    """One rule of the grammar, ready to be reduced.

    Attributes:
        size: How many values it takes from the stack.
        origin: The symbol it makes of them.
        build: Makes its value of them; None passes its single value on.
    """

    size: int
    origin: str
    build: Callable[[list[Value]], Value] | None


@dataclass(frozen=True, slots=True)
class Tables:
    """What Lark makes of the grammar.

    Attributes:
        actions: For each state and terminal, the state to shift to or the production to reduce by.
        gotos: For each state, the state that a reduced symbol leads to.
        keywords: Each keyword's terminal.
    """

    actions: Sequence[Mapping[str, int | Production]]
    gotos: Sequence[Mapping[str, int]]
    start: int
    end: int
    keywords: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stuck:
    """Where the grammar cannot go on.

    Attributes:
        token: The word it cannot take, or None at the end.
        before: The word before it, or None at the beginning.
        accepted: The terminals it would take.
        was_name: `before` was read as a keyword where a name could have stood.
    """

    token: Token | None
    before: Token | None
    accepted: frozenset[str]
    was_name: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading some tokens as a file: a tree, or the place where it got stuck.

    Attributes:
        findings: Mistakes that were mended on the way.
    """

    file: ast.File | None
    findings: list[Diagnostic]
    stuck: Stuck | None = None


def read(tables: Tables, tokens: Sequence[Token]) -> ast.File | None:
    """Return the tree of a sound file, or None: the quick way, which most files take."""
    state = _State(tables)
    for token in tokens:
        if not state.feed(token, state.terminal(token)):
            return None
    return state.finish()


def read_mending(tables: Tables, tokens: Sequence[Token]) -> Reading:
    """Read tokens as a file, small mistakes as what was meant."""
    state = _State(tables)
    findings: list[Diagnostic] = []
    before: Token | None = None
    was_name = False
    for i, token in enumerate(tokens):
        terminal = state.terminal(token)
        if not state.takes(terminal):
            accepted = state.accepted()
            stuck = Stuck(token, before, accepted, was_name)
            mended = mend(token, tokens[i + 1 :], accepted, tables.keywords)
            if mended is None:
                return Reading(None, findings, stuck)
            if mended.finding is not None:
                findings.append(mended.finding)
            for stand_in in mended.tokens:
                if not (state.takes(stand_in.type) and state.feed(stand_in, stand_in.type)):
                    return Reading(None, findings, stuck)
            if not mended.again:
                before, was_name = token, False
                continue
            terminal = state.terminal(token)
            if not state.takes(terminal):
                return Reading(None, findings, Stuck(token, before, state.accepted(), False))
        was_name = token.kind == "NAME" and terminal != "NAME" and state.takes("NAME")
        state.feed(token, terminal)
        before = token
    file = state.finish() if state.takes(END) else None
    if file is None:
        return Reading(None, findings, Stuck(None, before, state.accepted(), was_name))
    return Reading(file, findings)


class _State:
    """The stacks of one run over the tables."""

    __slots__ = ("_states", "_tables", "_values")

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._states = [tables.start]
        self._values: list[Value] = []

    def terminal(self, token: Token) -> str:
        """Return the terminal that a token stands for here."""
        kind = token.kind
        if token.labels and (kind in ("NAME", "STRING")) and "LABEL" in self._tables.actions[self._states[-1]]:
            return "LABEL"
        if kind != "NAME" or (keyword := self._tables.keywords.get(token.text)) is None:
            return kind
        row = self._tables.actions[self._states[-1]]
        if keyword not in row:
            return kind
        return keyword if "NAME" not in row or self.takes(keyword) else kind

    def feed(self, token: Token, terminal: str) -> bool:
        """Take in a token; False when the grammar cannot."""
        actions, states = self._tables.actions, self._states
        while True:
            entry = actions[states[-1]].get(terminal)
            if isinstance(entry, int):
                token.type = terminal
                states.append(entry)
                self._values.append(token)
                return True
            if entry is None:
                return False
            self._reduce(entry)

    def finish(self) -> ast.File | None:
        """Return the tree when the grammar can end here."""
        while self._states[-1] != self._tables.end:
            entry = self._tables.actions[self._states[-1]].get(END)
            if not isinstance(entry, Production):
                return None
            self._reduce(entry)
        file = self._values[-1]
        assert isinstance(file, ast.File)
        return file

    def _reduce(self, production: Production) -> None:
        states, size, build = self._states, production.size, production.build
        if build is not None:
            values = self._values
            at = len(values) - size
            value = build(values[at:])
            del values[at:]
            values.append(value)
        del states[len(states) - size :]
        states.append(self._tables.gotos[states[-1]][production.origin])

    def takes(self, terminal: str) -> bool:
        """Return whether the grammar can go on with a terminal.

        A state that stands for several places promises what a few reductions later may be refused, so the answer
        is tried out on the states alone.
        """
        actions, gotos = self._tables.actions, self._tables.gotos
        entry = actions[self._states[-1]].get(terminal)
        if not isinstance(entry, Production):
            return entry is not None
        states = self._states.copy()
        while isinstance(entry, Production):
            del states[len(states) - entry.size :]
            target = gotos[states[-1]][entry.origin]
            if target == self._tables.end and terminal == END:
                return True
            states.append(target)
            entry = actions[target].get(terminal)
        return entry is not None

    def accepted(self) -> frozenset[str]:
        """Return every terminal that the grammar can take."""
        row = self._tables.actions[self._states[-1]]
        return frozenset(terminal for terminal in row if self.takes(terminal))
