"""The one way to lay out a policy: same words, same comments, other white space.

What the author wrote together stays together (one empty line at most, one-line blocks on one line); columns of
neighbouring lines are aligned, long lines broken. Formatting twice changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import cast

from router_dsl import ast
from router_dsl.layout import WIDTH, Cell, Pen, Row, Word, Words, columns_of, drop, joined, words_of, written
from router_dsl.source import Diagnostic, Source
from router_dsl.syntax import parse

INDENT = 2
# Left of the arrow; a longer condition has its arrow on the next line.
LONGEST_LEFT = 76
LONGEST_LABEL = 24

Block = ast.Provider | ast.Model | ast.Policy | ast.Test | ast.Defaults


def format_source(source: Source) -> tuple[str, list[Diagnostic]]:
    """Return the file as it is to be laid out, or, unchanged, with its syntax errors."""
    file, diagnostics = parse(source)
    if diagnostics:
        return source.text, diagnostics
    return _Formatter(source, file).text(), []


@dataclass(slots=True)
class _Entry:
    """A declaration, or a member of a block: its words, and how they become lines.

    Attributes:
        kind: Neighbours of one kind are aligned with each other.
        row: What is one line where it fits; a block in several lines has none.
    """

    kind: str
    words: Words
    row: Row | None = None
    node: ast.Node | None = None


class _Formatter:
    """One file on its way to its text."""

    def __init__(self, source: Source, file: ast.File) -> None:
        self._source = source
        self._file = file
        self._words, self._end = words_of(source)
        at = 0
        while at < len(self._words):
            ends_list = self._words[at].kind == "COMMA" and self._kind(at + 1) == "RSQB"
            if self._words[at].kind == "SEMICOLON" or ends_list:
                drop(self._words, at, self._end)
            else:
                at += 1
        self._starts = [word.start for word in self._words]
        for path in _paths(file):
            inside = self._between(path.span.start, path.span.end)
            for word in inside[1:]:
                word.tight = True

    def _kind(self, at: int) -> str:
        return self._words[at].kind if at < len(self._words) else ""

    def text(self) -> str:
        """Return the file's new text."""
        starts = [item.span.start for item in self._file.items] + [len(self._source.text)]
        entries = [
            self._declaration(item, self._between(a, b))
            for item, a, b in zip(self._file.items, starts, starts[1:], strict=False)
        ]
        lines = list(self._lines(entries, 0))
        for comment in self._end.before:
            lines += ["", comment.text] if comment.blank and lines else [comment.text]
        return "".join(line + "\n" for line in lines)

    def _between(self, start: int, end: int) -> Words:
        return self._words[bisect_left(self._starts, start) : bisect_left(self._starts, end)]

    def _lines(self, entries: Sequence[_Entry], indent: int) -> Iterator[str]:
        """Yield entries one below the other, runs of a kind aligned, empty lines where the author has some."""
        first = True
        for run in _runs(entries):
            rows = [entry.row for entry in run if entry.row is not None]
            columns = columns_of(rows, indent)
            for entry in run:
                yield from _opening(entry.words[0], indent, first=first)
                first = False
                if entry.row is not None:
                    yield from written(entry.row, indent, columns)
                else:
                    yield from self._block(cast(Block, entry.node), entry.words)

    # --- declarations

    def _declaration(self, item: ast.Declaration, words: Words) -> _Entry:
        if isinstance(item, ast.Provider | ast.Model | ast.Policy | ast.Test | ast.Defaults):
            return self._one_line(item, words) or _Entry("block", words, None, item)
        return _Entry(type(item).__name__, words, Row(self._cells(item, words)))

    def _cells(self, item: ast.Declaration, words: Words) -> list[Cell]:
        match item:
            case ast.Let() | ast.Pool():
                return _cut(words, [(2, 1)])
            case ast.Fact():
                source = _index(words, item.source.span.start) - 1
                return _cut(words, [(3, 1), (source, 1)])
            case ast.Guard():
                require = _before(words, item.require.span.start)
                return _cut(words, [(3, 1), (require, 2)])
            case ast.Limit():
                amount = _index(words, item.amount.span.start)
                cuts = [(3, 1), (amount, 2)]
                return _cut(words, [*cuts, (len(words) - 1, 2)] if item.soft else cuts)
            case _:
                return [Cell(words)]

    def _one_line(self, item: Block, words: Words) -> _Entry | None:
        """Return a block as one row, when the author wrote it so and it fits."""
        at = next(i for i, word in enumerate(words) if word.kind == "LBRACE")
        head, body, close = words[: at + 1], words[at + 1 : -1], words[-1]
        empty = not body and not close.before and not head[-1].after
        if not empty and "\n" in self._source.text[head[-1].start : close.start]:
            return None
        if isinstance(item, ast.Policy) and len(item.rules) > 1:
            return None
        if empty:
            return _Entry("empty", words, Row([Cell([*head, _tight(close)])]))
        cells = [Cell(head[:-1])]
        members = self._members(item, close.start)
        for member in members:
            assert member.row is not None
            cells += member.row.cells if member.kind in ("serve", "rule") else [Cell(member.words)]
        cells[1] = Cell([head[-1], *cells[1].words], 1)
        cells[-1] = Cell([*cells[-1].words, close], cells[-1].gap)
        row = Row(cells)
        if len(row.text) > WIDTH or row.has_inner_comments:
            return None
        return _Entry(type(item).__name__, words, row)

    # --- blocks

    def _block(self, item: Block, words: Words) -> Iterator[str]:
        at = next(i for i, word in enumerate(words) if word.kind == "LBRACE")
        yield from written(Row([Cell(words[: at + 1])]), 0)
        close = words[-1]
        if isinstance(item, ast.Policy):
            yield from self._rules(self._members(item, close.start))
        else:
            yield from self._lines(self._members(item, close.start), INDENT)
        for i, comment in enumerate(close.before):
            if comment.blank and (i or len(words) > at + 2):
                yield ""
            yield " " * INDENT + comment.text
        yield "}" + ("  " + close.after if close.after else "")

    def _members(self, item: Block, end: int) -> list[_Entry]:
        nodes: list[ast.Node]
        match item:
            case ast.Provider():
                nodes = list(item.props)
            case ast.Model():
                nodes = sorted([*item.props, *item.serves], key=lambda node: node.span.start)
            case ast.Policy():
                nodes = list(item.rules)
            case ast.Test():
                nodes = list(item.steps)
            case ast.Defaults():
                nodes = list(item.options)
        starts = [node.span.start for node in nodes] + [end]
        return [_member(node, self._between(a, b)) for node, a, b in zip(nodes, starts, starts[1:], strict=False)]

    def _rules(self, members: Sequence[_Entry]) -> Iterator[str]:
        rules = [_Rule.of(entry) for entry in members]
        labels = [len(rule.label) for rule in rules if rule.condition and len(rule.label) <= LONGEST_LABEL]
        when = INDENT + max(labels, default=0) + 1
        lefts = [left for rule in rules if (left := rule.left(when)) <= LONGEST_LEFT]
        arrow = max(lefts) + 2 if lefts else INDENT + 4
        for i, rule in enumerate(rules):
            yield from _opening(rule.words[0], INDENT, first=i == 0)
            lines = rule.lines(when, arrow)
            if any(len(line) > WIDTH for line in lines) and arrow > INDENT + 4:
                low = rule.lines(when, INDENT + 4)
                lines = min(lines, low, key=lambda some: max(map(len, some)))
            yield from lines


@dataclass(slots=True)
class _Rule:
    """A rule's parts: `LABEL:`, `when …`, `-> …`, and its options."""

    words: Words
    head: Words
    condition: Words
    action: Words
    options: list[Words]

    @classmethod
    def of(cls, entry: _Entry) -> _Rule:
        """Return the parts of a rule."""
        rule = cast(ast.Rule, entry.node)
        words = entry.words
        arrow = _index(words, rule.action.span.start) - 1
        options = rule.action.options if isinstance(rule.action, ast.Use) else ()
        cuts = [_index(words, option.span.start) for option in options] + [len(words)]
        head = 1 if rule.when is None else 2
        return cls(
            words,
            words[:head],
            words[head:arrow],
            words[arrow : cuts[0]],
            [words[a:b] for a, b in pairwise(cuts)],
        )

    @property
    def label(self) -> str:
        """`LABEL:`."""
        return joined(self.head)

    def left(self, when: int) -> int:
        """Return the column where what stands left of the arrow ends, or a very large one when it is no line."""
        words = [*self.head, *self.condition]
        if any(word.after for word in words) or any(word.before for word in [*words[1:], self.action[0]]):
            return 10 * WIDTH
        if not self.condition:
            return INDENT + len(self.label)
        return max(when, INDENT + len(self.label) + 1) + len(joined(self.condition))

    def lines(self, when: int, arrow: int) -> list[str]:
        """Return the rule with its condition and its arrow at these columns."""
        pen = Pen(INDENT + 4)
        pen.start(INDENT)
        pen.put(self.head, 0)
        if self.condition:
            if not pen.must_break:
                pen.pad(when - 1)
            pen.indent = when + 5
            pen.put(self.condition, 1)
        pen.indent = arrow
        if pen.must_break or self.left(when) > arrow - 2:
            pen.start(arrow)
        else:
            pen.pad(arrow)
            pen.rest()
        pen.indent = arrow + 3
        whole = joined(self.action) + "".join("  " + joined(option) for option in self.options)
        commented = Row([Cell(self.action), *map(Cell, self.options)]).has_inner_comments
        pen.put(self.action, 0)
        if self.options:
            pen.indent = arrow + 5
            if commented or arrow + len(whole) > WIDTH:
                pen.start(pen.indent)
            for option in self.options:
                pen.put(option, 2)
        return pen.done()


def _member(node: ast.Node, words: Words) -> _Entry:
    """Return a member of a block as a row of the cells that its kind has."""
    match node:
        case ast.Serve():
            cuts = [(_index(words, node.upstream.span.start), 1)]
            cuts += [(_index(words, prop.span.start), 2) for prop in node.props]
            cells = _cut(words, cuts)
            return _Entry("serve", words, Row(cells), node)
        case ast.Prop():
            return _Entry("prop", words, Row(_cut(words, [(1, 1)]) if len(words) > 1 else [Cell(words)]), node)
        case ast.Given() | ast.Fault() | ast.GivenOver() | ast.UsePolicy():
            return _Entry("given", words, Row(_cut(words, [(1, 1)])), node)
        case ast.Rule():
            rule = _Rule.of(_Entry("rule", words, None, node))
            cells = [Cell([*rule.head, *rule.condition, *rule.action]), *map(Cell, rule.options)]
            return _Entry("rule", words, Row(cells), node)
        case _:
            return _Entry("single", words, Row([Cell(words)]), node)


def _cut(words: Words, cuts: Sequence[tuple[int, int]]) -> list[Cell]:
    """Return the words in cells that begin at these indices, each after its number of spaces."""
    ends = [at for at, _ in cuts] + [len(words)]
    first = Cell(words[: ends[0]])
    return [first, *(Cell(words[at:end], gap) for (at, gap), end in zip(cuts, ends[1:], strict=True))]


def _index(words: Words, offset: int) -> int:
    """Return the place of the word at an offset of the source."""
    return next(i for i, word in enumerate(words) if word.start >= offset)


def _before(words: Words, offset: int) -> int:
    """Return the place of the word before a condition and the parentheses around it."""
    at = _index(words, offset) - 1
    while words[at].text == "(":
        at -= 1
    return at


def _tight(word: Word) -> Word:
    word.tight = True
    return word


def _runs(entries: Sequence[_Entry]) -> Iterator[list[_Entry]]:
    """Yield neighbours of one kind, without an empty line between."""
    run: list[_Entry] = []
    for entry in entries:
        if run and (entry.kind != run[-1].kind or entry.words[0].begins_blank):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def _opening(word: Word, indent: int, *, first: bool) -> Iterator[str]:
    """Yield what stands above a word: an empty line, and its comments."""
    for i, comment in enumerate(word.before):
        if comment.blank and not (first and i == 0):
            yield ""
        yield " " * indent + comment.text
    if word.blank and not (first and not word.before):
        yield ""


def _paths(node: object) -> Iterator[ast.Path]:
    """Yield every fact of a tree, however deep."""
    if isinstance(node, ast.Path):
        yield node
    elif isinstance(node, tuple):
        for item in node:
            yield from _paths(item)
    elif isinstance(node, ast.Node):
        for field in fields(node):
            if field.name != "span":
                yield from _paths(getattr(node, field.name))
