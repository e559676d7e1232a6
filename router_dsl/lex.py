"""Text → tokens: one pass over a file, lexical mistakes noted, comments left out.

A token's kind is what its characters alone say (`NAME`, `STRING`, `ARROW`); which keyword a name is depends
on what the grammar expects there, and `syntax.py` decides it. What is mistyped but clear (`'x'`, `&&`) is
reported here and handed on as what was meant, so that it causes no second finding.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from router_dsl import syntax_codes as codes
from router_dsl.source import Diagnostic, Source, Span

# Deeper than a person reads, far from where recursion over the tree would hurt.
MAX_DEPTH = 64
# Nobody reads more; a file of junk stays quick.
MAX_FINDINGS = 500

PUNCTUATION = {
    "->": "ARROW",
    "==": "EQ",
    "!=": "NE",
    "<=": "LE",
    ">=": "GE",
    "<": "LT",
    ">": "GT",
    "=": "ASSIGN",
    "..": "DOTDOT",
    ".": "DOT",
    ",": "COMMA",
    ":": "COLON",
    ";": "SEMICOLON",
    "@": "AT_SIGN",
    "/": "SLASH",
    "|": "BAR",
    "(": "LPAR",
    ")": "RPAR",
    "[": "LSQB",
    "]": "RSQB",
    "{": "LBRACE",
    "}": "RBRACE",
}

# What authors of other languages write, and what it is here.
FOREIGN = {
    "&&": "and",
    "&": "and",
    "||": "or",
    "!": "not",
    "===": "==",
    "!==": "!=",
    "<>": "!=",
    "=>": "->",
    "-->": "->",
    "→": "->",
    "⇒": "->",
    "≤": "<=",
    "=<": "<=",
    "≥": ">=",
    "≠": "!=",
    "...": "..",
    "…": "..",
    ":=": "=",
}


class Token:
    """One word of a file.

    Attributes:
        text: As written, or as it was meant.
        kind: `NAME`, `STRING`, `NUMBER`, `ODD_NUMBER`, `REGEX`, a value of `PUNCTUATION`, or `BAD`; the last
            and `ODD_NUMBER` are already reported.
        type: The terminal of the grammar it stands for; the parser's lexer sets it.
        labels: A colon follows, so it may be a rule's label.
        start: Character offset; `end` is exclusive.
    """

    __slots__ = ("end", "kind", "labels", "source", "start", "text", "type")

    # Lark copies these into its end-of-input token; places come from the offsets instead.
    line = column = end_line = end_column = 0

    def __init__(self, source: Source, kind: str, text: str, start: int, end: int) -> None:
        self.source = source
        self.kind = self.type = kind
        self.text = text
        self.start = start
        self.end = end
        self.labels = False

    @property
    def start_pos(self) -> int:
        """Character offset, as Lark calls it."""
        return self.start

    @property
    def end_pos(self) -> int:
        """Exclusive end, as Lark calls it."""
        return self.end

    @property
    def span(self) -> Span:
        """Where it stands."""
        return Span(self.source, self.start, self.end)

    @property
    def begins_line(self) -> bool:
        """Nothing but white space stands before it on its line."""
        text, at = self.source.text, self.start - 1
        while at >= 0 and text[at] in " \t\ufeff":
            at -= 1
        return at < 0 or text[at] == "\n"

    def __repr__(self) -> str:
        return f"{self.kind}({self.text!r})"


SKIP = r"(?:[ \t\r\n\f\v]++|\#[^\n]*+)*+"
_NUMBER = r"[-+]?\$?[0-9]++(?:\.[0-9]++)?+(?:%|[A-Za-z_][A-Za-z0-9_]*+)?+"
_TOKEN = re.compile(
    SKIP
    + rf"""(?:
      (?P<NAME>[A-Za-z_][A-Za-z0-9_]*+(?:-[A-Za-z0-9_]++)*+(?!\w))
    | (?P<STRING>"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+")
    | (?P<NUMBER>{_NUMBER}(?!\w|-\w|\.\w|:[0-9]|/[0-9]))
    | (?P<FOREIGN>-->|[=!]==|<>|=[><]|:=|\.\.\.|&&?|\|\||!(?!=)|[→⇒≤≥≠…])
    | (?P<COMMENT>/[/*])
    | (?P<PUNCTUATION>->|[=!<>]=|\.\.|[=<>.,:;@/|()\[\]{{}}])
    | (?P<LONE_QUOTE>"[^\n]*+)
    | (?P<QUOTED>'[^'\n]*+'? | [“”„«»][^"“”»\n]*+["“”»]? | [‘’‚][^'‘’\n]*+['‘’]? | `[^`\n]*+`?)
    | (?P<ODD_NUMBER>[-+]?\$?[0-9]++(?:[\w%$]|[-./:](?=\w))*+)
    | (?P<ODD_NAME>\w++(?:-\w++)*+)
    | (?P<SPACE>[^\S \t\r\n\f\v]++)
    | (?P<ODD>\$\w*+|[-+]++|[^\w\s"'`“”„«»‘’‚\#(){{}}\[\]<>=!&|.,:;@/$+→⇒≤≥≠…-]++)
    )""",
    re.VERBOSE,
)
_REGEX = re.compile(r"/((?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*+\]|\[)++)/(\w*)")
_PART = re.compile(r"[A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*|.", re.DOTALL)
_BOUND = re.compile(r"[ \t]*[-+$]?[0-9]")
_DASHED = re.compile(r"([0-9]+)-([0-9]+)")
_URL = re.compile(r"[^\s\"'{},]+")
_ESCAPE = re.compile(
    r"\\(?:[\"\\/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})"
    r"|(\\(?:u[0-9a-fA-F]{0,4}|.))"
)
# A tab may stand in a string; other control characters and halves of surrogate pairs are accidents.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(slots=True)
class Lexed:
    """The tokens of a file and what is wrong with its characters."""

    source: Source
    tokens: list[Token] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def report(self, code: str, message: str, start: int, end: int, help_: str | None = None) -> None:
        """Note a finding about some characters."""
        self.diagnostics.append(Diagnostic(code, message, Span(self.source, start, end), help_))


def lex(source: Source) -> Lexed:
    """Return the tokens of a file; every stretch of text gives tokens or a finding, never an exception."""
    text = source.text
    lexed = Lexed(source)
    tokens = lexed.tokens
    depth = _Depth()
    place = 1 if text.startswith("\ufeff") else 0
    while (match := _TOKEN.match(text, place)) is not None and len(lexed.diagnostics) < MAX_FINDINGS:
        kind = match.lastgroup
        assert kind is not None
        start, place = match.span(kind)
        word = text[start:place]
        if kind == "NAME":
            if word == "not":
                depth.nots += 1
                if depth.is_exceeded():
                    _report_depth(lexed, start, place)
                    kind = "BAD"
            else:
                depth.nots = 0
        elif kind == "PUNCTUATION" and not (word == "/" and _regex_may_follow(tokens)):
            kind = PUNCTUATION.get(word, "BAD")
            if kind == "COLON" and tokens:
                tokens[-1].labels = True
            depth.count(kind)
            if depth.is_exceeded():
                _report_depth(lexed, start, place)
                kind = "BAD"
        elif kind == "STRING":
            if "\\" in word or not word.isprintable():
                _check_string(lexed, word, start)
        elif kind == "NUMBER" or kind == "ODD_NUMBER":
            if tokens and tokens[-1].kind == "DOT":
                # Behind a dot stands a name, whatever it begins with: `body.messages.0.role`, `header.3d-id`.
                found = _PART.match(text, start)
                assert found is not None
                kind, word, place = "NAME", found[0], found.end()
            elif kind == "ODD_NUMBER":
                place = _odd(lexed, kind, start, place)
                continue
        else:
            place = _odd(lexed, kind, start, place)
            continue
        tokens.append(Token(source, kind, word, start, place))
    return lexed


def _report_depth(lexed: Lexed, start: int, end: int) -> None:
    message = f"this condition nests deeper than {MAX_DEPTH} levels"
    lexed.report(codes.TOO_DEEP, message, start, end, "give its parts names with `let`")


def _regex_may_follow(tokens: list[Token]) -> bool:
    if len(tokens) < 2 or tokens[-1].text != "matches" or tokens[-1].kind != "NAME":
        return False
    return tokens[-2].kind in ("NAME", "STRING", "RPAR")


def _scheme(tokens: list[Token], start: int) -> int | None:
    """Return where an address without quotation marks begins, when `//` is a part of one."""
    if len(tokens) < 2 or tokens[-1].kind != "COLON" or tokens[-1].end != start:
        return None
    return tokens[-2].start if tokens[-2].kind == "NAME" and tokens[-2].end == tokens[-1].start else None


def _odd(lexed: Lexed, kind: str, start: int, end: int) -> int:
    """Take in what is no plain word; return where to go on."""
    source = lexed.source
    word = source.text[start:end]
    stands_for = "BAD"
    if kind in ("PUNCTUATION", "COMMENT") and _regex_may_follow(lexed.tokens):
        return _regex(lexed, start)
    match kind:
        case "COMMENT" if word == "//" and (begin := _scheme(lexed.tokens, start)) is not None:
            found = _URL.match(source.text, begin)
            assert found is not None
            del lexed.tokens[-2:]
            start, end, word = begin, found.end(), found[0]
            lexed.report(codes.BAD_STRING, "an address is a string", start, end, f'write `"{_shown(word)}"`')
            stands_for, word = "STRING", json.dumps(word)
        case "COMMENT":
            stop = source.text.find("*/", end) + 2 if word == "/*" else 0
            if stop < 2:
                stop = source.text.find("\n", end)
            stop = stop if stop > 0 else len(source.text)
            lexed.report(codes.OTHER_WORD, f"`{word}` begins no comment here", start, end, "comments begin with `#`")
            return stop
        case "FOREIGN":
            # What an arrow leads to never begins with a number, so before one it is the comparison.
            meant = ">=" if word == "=>" and _BOUND.match(source.text, end) else FOREIGN[word]
            lexed.report(codes.OTHER_WORD, f"unexpected `{word}`", start, end, f"did you mean `{meant}`?")
            stands_for, word = PUNCTUATION.get(meant, "NAME"), meant
        case "QUOTED":
            stands_for, word = _quoted(lexed, word, start, end)
        case "LONE_QUOTE":
            # A closing brace at the end of the line is more likely the block's than the string's.
            end = start + max(1, len(word.rstrip("} \t\r")))
            lexed.report(codes.BAD_STRING, "this string does not end on its line", start, end, 'close it with `"`')
        case "ODD_NUMBER":
            ends = _DASHED.fullmatch(word)
            help_ = f"a range is `{ends[1]}..{ends[2]}`" if ends else f'as text it is written `"{_shown(word)}"`'
            lexed.report(codes.BAD_NUMBER, f"`{_shown(word)}` is not a number", start, end, help_)
            stands_for = kind
        case "ODD_NAME":
            lexed.report(
                codes.BAD_NAME,
                f"a bare name cannot be `{_shown(word)}`",
                start,
                end,
                f'any other name is a string: `"{_shown(word)}"`',
            )
            stands_for = "NAME"
        case "SPACE":
            lexed.report(codes.BAD_CHARACTER, _unseen(word[0]), start, end, "put a plain space there")
            return end
        case _:
            _odd_character(lexed, word, start, end)
    lexed.tokens.append(Token(source, stands_for, word, start, end))
    return end


def _quoted(lexed: Lexed, word: str, start: int, end: int) -> tuple[str, str]:
    closed = len(word) > 1 and word[-1] in "'\"`“”»‘’"
    if not closed:
        lexed.report(
            codes.BAD_STRING, f"`{word[0]}` is no quotation mark here", start, start + 1, 'strings stand in `"`'
        )
        return "STRING", json.dumps(word[1:])
    lexed.report(
        codes.BAD_STRING,
        "a string stands in straight double quotes",
        start,
        end,
        f'write `"{_shown(word[1:-1])}"`',
    )
    return "STRING", json.dumps(word[1:-1])


def _odd_character(lexed: Lexed, word: str, start: int, end: int) -> None:
    if word[0] in "+-":
        help_ = "there is no arithmetic here" if word == "+" else "a hyphen stands only inside a name; an arrow is `->`"
    elif word[0] == "$":
        help_ = "an amount is `$0.90`; a variable of the environment is `env.NAME`, after `key`"
    else:
        help_ = None
    what = f"`{_shown(word)}` has no meaning here" if word.isprintable() else _unseen(word[0])
    lexed.report(codes.BAD_CHARACTER, what, start, end, help_)


def _regex(lexed: Lexed, start: int) -> int:
    source = lexed.source
    found = _REGEX.match(source.text, start)
    if found is None:
        line_end = source.text.find("\n", start)
        end = line_end if line_end > 0 else len(source.text)
        end = start + len(source.text[start:end].rstrip())
        lexed.report(codes.BAD_REGEX, "this regex does not end on its line", start, end, "close it with `/`")
        lexed.tokens.append(Token(source, "BAD", source.text[start:end], start, end))
        return end
    if found[2] not in ("", "i"):
        lexed.report(
            codes.BAD_REGEX,
            f"`{found[2]}` is no flag of a regex",
            found.start(2),
            found.end(2),
            "the only flag is `i`, to ignore case",
        )
    lexed.tokens.append(Token(source, "REGEX", found[0], start, found.end()))
    return found.end()


def _check_string(lexed: Lexed, word: str, start: int) -> None:
    for found in _ESCAPE.finditer(word):
        if found[1]:
            help_ = 'a backslash itself is written `\\\\`; the escapes are `\\" \\/ \\b \\f \\n \\r \\t \\uXXXX`'
            if found[1].startswith("\\u"):
                help_ = "`\\u` takes four hexadecimal digits; a surrogate needs its partner behind it"
            lexed.report(
                codes.BAD_STRING,
                f"`{_shown(found[1])}` is no escape",
                start + found.start(),
                start + found.end(),
                help_,
            )
    for found in _UNPRINTABLE.finditer(word):
        lexed.report(
            codes.BAD_STRING,
            f"{_unseen(found[0])} in a string",
            start + found.start(),
            start + found.end(),
            f"write it as `\\u{ord(found[0]):04x}`" if found[0] < "\x80" else None,
        )
        break


def string_value(word: str) -> str:
    """Return what a string token says; a malformed escape, reported already, stands for itself."""
    if "\\" not in word:
        return word[1:-1]
    try:
        value: str = json.loads(word, strict=False)
    except ValueError:
        return word[1:-1]
    return value


def _unseen(character: str) -> str:
    return f"invisible character U+{ord(character):04X}"


def _shown(word: str) -> str:
    """Shorten and clean what a message repeats, so that a report stays readable and printable."""
    clean = "".join(c if c.isprintable() else "�" for c in word[:41])
    return clean if len(clean) < 41 else clean[:40] + "…"


@dataclass(slots=True)
class _Depth:
    """How deeply `(` and `not` nest at the current place."""

    nots: int = 0
    opened: list[int] = field(default_factory=list)
    total: int = 0
    reported: bool = False

    def count(self, kind: str) -> None:
        """Take in a sign."""
        if kind == "LPAR":
            self.opened.append(self.nots + 1)
            self.total += self.nots + 1
        elif kind == "RPAR":
            if self.opened:
                self.total -= self.opened.pop()
        elif kind in ("COLON", "ASSIGN", "LBRACE", "RBRACE", "ARROW"):
            # No condition holds one of these: a new one begins behind it.
            self.opened.clear()
            self.total = 0
            self.reported = False
        self.nots = 0

    def is_exceeded(self) -> bool:
        """Say, once for each condition, that it nests too deeply."""
        exceeded = self.total + self.nots > MAX_DEPTH and not self.reported
        self.reported = self.reported or exceeded
        return exceeded
