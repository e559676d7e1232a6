"""Words, comments and where lines may break: the formatter's typesetting, which knows nothing of meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from router_dsl.lex import Token, lex
from router_dsl.source import Source

WIDTH = 120
# Columns are aligned while that reads well: not past this width, nor with more than this much white space.
WIDEST_COLUMN = 60
WIDEST_GAP = 30

_COMMENT = re.compile(r"#[^\n]*")
_TIGHT_BEFORE = frozenset({",", ":", ")", "]", "..", ".", "/"})
_TIGHT_AFTER = frozenset({"(", "[", "..", ".", "/"})
_BREAK_BEFORE = frozenset({"and", "or", "else", "when", "require", "from", "->", "per", "by", "|"})


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a line of its own; `blank`: after an empty line."""

    text: str
    blank: bool


@dataclass(slots=True)
class Word:
    """A token as it is printed, with its comments.

    Attributes:
        start: Character offset in the source.
        before: Comments on lines of their own before it.
        after: A comment behind it on its line.
        blank: An empty line stands right before it.
        tight: No space stands before it.
    """

    text: str
    kind: str
    start: int
    before: list[Comment] = field(default_factory=list)
    after: str | None = None
    blank: bool = False
    tight: bool = False

    @property
    def begins_blank(self) -> bool:
        """An empty line stands before it and its comments."""
        return self.before[0].blank if self.before else self.blank


Words = list[Word]


@dataclass(slots=True)
class Cell:
    """Words that stay together where they can, and the spaces before them."""

    words: Words
    gap: int = 2

    @property
    def text(self) -> str:
        """The words on one line, without comments."""
        return joined(self.words)


@dataclass(slots=True)
class Row:
    """One line's worth: cells that line up with those of its neighbours."""

    cells: list[Cell]

    @property
    def words(self) -> Words:
        """All its words."""
        return [word for cell in self.cells for word in cell.words]

    @property
    def has_inner_comments(self) -> bool:
        """A comment stands between its words, so that it cannot be one line."""
        words = self.words
        return any(word.before for word in words[1:]) or any(word.after for word in words[:-1])

    @property
    def text(self) -> str:
        """The row on one line, nothing aligned, without comments."""
        return _line(self, ())


def words_of(source: Source) -> tuple[Words, Word]:
    """Return the words of a sound file with their comments, and an empty one that holds what follows the last."""
    words: Words = []
    place = 0
    for token in [*lex(source).tokens, None]:
        start = len(source.text) if token is None else token.start
        word = _word(token, start)
        _attach(source.text[place:start], word, words[-1] if words else None)
        words.append(word)
        place = start if token is None else token.end
    return words[:-1], words[-1]


def _word(token: Token | None, start: int) -> Word:
    return Word("", "", start) if token is None else Word(token.text, token.kind, start)


def _attach(gap: str, word: Word, previous: Word | None) -> None:
    """Give the comments between two words to the one that they belong to."""
    line_ends = 0
    place = 0
    for found in _COMMENT.finditer(gap):
        line_ends += gap.count("\n", place, found.start())
        text = found[0].rstrip()
        if line_ends == 0 and previous is not None:
            previous.after = text
        else:
            word.before.append(Comment(text, line_ends > 1))
            line_ends = 0
        place = found.end()
    word.blank = line_ends + gap.count("\n", place) > 1


def drop(words: Words, at: int, behind: Word) -> None:
    """Remove a word that need not be there; its comments go to the next word (`behind` the last)."""
    word = words.pop(at)
    following = words[at] if at < len(words) else behind
    comments = list(word.before)
    if word.after:
        comments.append(Comment(word.after, False))
    following.before[:0] = comments


def joined(words: Sequence[Word]) -> str:
    """Return words on one line, without comments."""
    text = ""
    previous = ""
    for word in words:
        tight = word.tight or word.text in _TIGHT_BEFORE or previous in _TIGHT_AFTER
        text += word.text if tight or not text else " " + word.text
        previous = "" if word.kind == "STRING" else word.text
    return text


def pieces(words: Words) -> Iterable[Words]:
    """Return the words cut where a line may break, or must."""
    piece: Words = []
    for word in words:
        if piece and (word.before or piece[-1].after or piece[-1].text == "," or word.text in _BREAK_BEFORE):
            yield piece
            piece = []
        piece.append(word)
    if piece:
        yield piece


class Pen:
    """Writes words line by line; where a line is full or a comment ends it, goes on at `indent`."""

    def __init__(self, indent: int) -> None:
        self.indent = indent
        self.lines: list[str] = []
        self._line = ""
        self._fresh = True
        self._full = False

    @property
    def column(self) -> int:
        """Where the next character goes."""
        return len(self._line)

    def start(self, column: int) -> None:
        """Begin a line at a column, unless the current one is still empty."""
        if not self._fresh:
            self.lines.append(self._line.rstrip())
        self._line = " " * column
        self._fresh, self._full = True, False

    def pad(self, column: int) -> None:
        """Go on at a column of the current line."""
        self._line = self._line.ljust(column)

    def rest(self) -> None:
        """Take the spaces so far for a beginning: what comes next needs none before it."""
        self._fresh = True

    def put(self, words: Words, gap: int, width: int = WIDTH) -> None:
        """Write words, breaking the line where needed; comments before the first are the caller's."""
        text = joined(words)
        whole = self.column + gap + len(text) > width >= self.indent + len(text)
        if whole and gap > 1 and not self._fresh and not words[0].before:
            # It fits on a line of its own: better than broken.
            self.start(self.indent)
        for i, piece in enumerate(pieces(words)):
            text = joined(piece)
            spaces = gap if i == 0 else 0 if piece[0].tight else 1
            if self._full or (not self._fresh and len(self._line) + spaces + len(text) > width):
                self.start(self.indent)
            if piece[0].before and not (self._fresh and not self.lines and not self._line.strip()):
                self._own_lines(piece[0].before)
            self._line += text if self._fresh else " " * spaces + text
            self._fresh = False
            if piece[-1].after:
                self._line += "  " + piece[-1].after
                self._full = True

    def _own_lines(self, comments: list[Comment]) -> None:
        for comment in comments:
            self.start(self.indent)
            self._line += comment.text
            self._fresh = False
        self.start(self.indent)

    @property
    def must_break(self) -> bool:
        """A comment ends the current line."""
        return self._full

    def done(self) -> list[str]:
        """Return the lines."""
        return [*self.lines, self._line] if self._line.strip() else self.lines


def written(row: Row, indent: int, columns: Sequence[int] = ()) -> list[str]:
    """Return a row as lines: one, its cells padded to `columns`, or as many as it needs."""
    if not row.has_inner_comments:
        comment = "  " + row.words[-1].after if row.words[-1].after else ""
        for line in (_line(row, columns), row.text):
            if indent + len(line) <= WIDTH:
                return [" " * indent + line + comment]
    pen = Pen(indent)
    pen.start(indent)
    for i, cell in enumerate(row.cells):
        pen.put(cell.words, cell.gap)
        if i == 0:
            pen.pad(indent + columns[0] if columns and len(row.cells) > 1 else 0)
            pen.indent = indent + 4
    return pen.done()


def _line(row: Row, columns: Sequence[int]) -> str:
    """Return a row's cells on one line, the first ones padded to `columns`."""
    line = ""
    column = 0
    skipped = 0
    for i, cell in enumerate(row.cells):
        if i >= len(columns) and not cell.words:
            skipped = cell.gap
            continue
        gap = skipped or cell.gap
        skipped = 0
        line = line.ljust(column) + " " * (gap if i else 0) + cell.text
        column = column + (gap if i else 0) + columns[i] if i < len(columns) else len(line)
    return line


def columns_of(rows: Sequence[Row], indent: int) -> list[int]:
    """Return the widths to which the cells of neighbouring rows are padded, as far as that reads well."""
    fitting = [row for row in rows if not row.has_inner_comments and indent + len(row.text) <= WIDTH]
    widths: list[int] = []
    for i in range(max((len(row.cells) for row in fitting), default=1) - 1):
        among = fitting if i else [row for row in rows if not row.has_inner_comments]
        inner = [len(row.cells[i].text) for row in among if i + 1 < len(row.cells)]
        said = [width for width in inner if width]
        if len(inner) < 2 or not said or max(said) > WIDEST_COLUMN or max(said) - min(said) > WIDEST_GAP:
            break
        widths.append(max(said))
    return widths
