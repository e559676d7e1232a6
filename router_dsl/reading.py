"""The LALR(1) loop: tokens and tables in; a tree out, or the place where the words stop making sense.

A name is a keyword where the grammar can take that keyword, and a name everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router_dsl import ast
from router_dsl.lex import Token
from router_dsl.mend import is_guess, mend
from router_dsl.source import Diagnostic

END = "$END"

# Past so many mistakes in one piece nothing is clear any more.
_MOST_MENDED = 20
# How far to look for a rule's arrow; a rule of more words has one further back.
_AHEAD = 200

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
        symbols: What each state has read last: every way into a state reads the same.
    """

    actions: Sequence[Mapping[str, int | Production]]
    gotos: Sequence[Mapping[str, int]]
    start: int
    end: int
    keywords: Mapping[str, str]
    symbols: Sequence[str]


@dataclass(frozen=True, slots=True)
class Stuck:
    """Where the grammar cannot go on.

    Attributes:
        token: The word it cannot take, or None at the end.
        before: The word before it, or None at the beginning.
        accepted: The terminals it would take.
        was_name: `before` was read as a keyword, and all would be well were it a name.
        keywords: The keywords before it, since the last label or opening brace.
    """

    token: Token | None
    before: Token | None
    accepted: frozenset[str]
    was_name: bool = False
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading some tokens as a file: a tree, or the place where it got stuck.

    Attributes:
        findings: Mistakes that were mended on the way.
    """

    file: ast.File | None
    findings: list[Diagnostic]
    stuck: Stuck | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the reading of a text had come at its end.

    Attributes:
        symbols: What was read and not yet made part of something larger, the last at the end. Where a name can
            follow, all that it would complete is complete: behind `tags a,` stands `_names`, not `name`.
        values: What the symbols stand for.
        accepted: The terminals that can follow.
    """

    symbols: tuple[str, ...]
    values: tuple[Value, ...]
    accepted: frozenset[str]


def stand(tables: Tables, tokens: Sequence[Token]) -> Standing | None:
    """Return where the reading of a file's beginning stands, small mistakes mended; None where it got stuck before."""
    run = _MendingRun(_State(tables))
    for i in range(len(tokens)):
        if run.step(tokens, i) is not None:
            return None
    return run.state.standing()


def read(tables: Tables, tokens: Sequence[Token]) -> ast.File | None:
    """Return the tree of a sound file, or None: the quick way, which most files take."""
    state = _State(tables)
    for token in tokens:
        if not state.feed(token, state.terminal(token)):
            return None
    return state.finish()


def read_mending(tables: Tables, tokens: Sequence[Token]) -> Reading:
    """Read tokens as a file, small mistakes as what was meant."""
    run = _MendingRun(_State(tables))
    for i in range(len(tokens)):
        stuck = run.step(tokens, i)
        if stuck is not None:
            return Reading(None, run.findings, stuck)
    file = run.state.finish() if run.state.takes(END) else None
    return Reading(file, run.findings, None if file is not None else run.stuck(None))


class _State:
    """The stacks of one run over the tables."""

    __slots__ = ("_states", "_tables", "_values")

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._states = [tables.start]
        self._values: list[Value] = []

    @property
    def keywords(self) -> Mapping[str, str]:
        """Each keyword's terminal."""
        return self._tables.keywords

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

    def takes(self, *terminals: str) -> bool:
        """Return whether the grammar can go on with these terminals.

        A state that stands for several places promises what a few reductions later may be refused, so the answer
        is tried out on the states alone.
        """
        if len(terminals) == 1 and isinstance(self._tables.actions[self._states[-1]].get(terminals[0]), int):
            return True
        states = self._states.copy()
        return all(self._shifts(states, terminal) for terminal in terminals)

    def takes_instead(self, states: list[int], *terminals: str) -> bool:
        """Return whether the grammar could go on with these terminals from earlier states."""
        return all(self._shifts(states, terminal) for terminal in terminals)

    def states(self) -> list[int]:
        """Return a copy of the stack of states."""
        return self._states.copy()

    def _shifts(self, states: list[int], terminal: str) -> bool:
        actions, gotos = self._tables.actions, self._tables.gotos
        entry = actions[states[-1]].get(terminal)
        while isinstance(entry, Production):
            del states[len(states) - entry.size :]
            target = gotos[states[-1]][entry.origin]
            states.append(target)
            if terminal == END and target == self._tables.end:
                return True
            entry = actions[target].get(terminal)
        if entry is None:
            return False
        states.append(entry)
        return True

    def standing(self) -> Standing:
        """Return what was read, with all complete that a name completes; the state is of no use afterwards."""
        accepted = self.accepted()
        if "NAME" in accepted:
            while isinstance(entry := self._tables.actions[self._states[-1]]["NAME"], Production):
                self._reduce(entry)
        symbols = tuple(self._tables.symbols[state] for state in self._states[1:])
        return Standing(symbols, tuple(self._values), accepted)

    def accepted(self) -> frozenset[str]:
        """Return every terminal that the grammar can take."""
        row = self._tables.actions[self._states[-1]]
        return frozenset(terminal for terminal in row if self.takes(terminal))


class _MendingRun:
    """One run that reads small mistakes as what was meant.

    Attributes:
        findings: What was mended.
    """

    def __init__(self, state: _State) -> None:
        self.state = state
        self.findings: list[Diagnostic] = []
        self._before: Token | None = None
        self._keywords: list[str] = []
        # The states before the last keyword that could have been a name as well.
        self._fork: list[int] | None = None

    def step(self, tokens: Sequence[Token], i: int) -> Stuck | None:
        """Take in a token, or say why not."""
        state, token = self.state, tokens[i]
        terminal = state.terminal(token)
        if not state.takes(terminal):
            stuck = self.stuck(token)
            if len(self.findings) >= _MOST_MENDED:
                return stuck
            mended = mend(token, tokens[i + 1 : i + _AHEAD], stuck.accepted, state.keywords)
            if mended is None or not state.takes(*(stand_in.type for stand_in in mended.tokens)):
                return stuck
            for stand_in in mended.tokens:
                self._feed(stand_in, stand_in.type)
            terminal = state.terminal(token)
            if mended.again and not state.takes(terminal):
                return stuck
            if mended.finding is not None and not (mended.is_guess and any(is_guess(f) for f in self.findings)):
                # What follows a guess may be its own fault.
                self.findings.append(mended.finding)
            if not mended.again:
                self._before = token
                return None
        self._feed(token, terminal)
        return None

    def stuck(self, token: Token | None) -> Stuck:
        """Describe the current place, where a token (None: the end) does not fit."""
        terminal = END if token is None else token.kind
        instead = self._fork is not None and self.state.takes_instead(self._fork.copy(), "NAME", terminal)
        return Stuck(token, self._before, self.state.accepted(), instead, tuple(self._keywords))

    def _feed(self, token: Token, terminal: str) -> None:
        is_keyword = token.kind == "NAME" and terminal not in ("NAME", "LABEL")
        self._fork = self.state.states() if is_keyword and self.state.takes("NAME") else None
        if is_keyword:
            self._keywords.append(token.text)
        elif terminal in ("LABEL", "LBRACE"):
            self._keywords = ["label"] if terminal == "LABEL" else []
        self.state.feed(token, terminal)
        self._before = token
