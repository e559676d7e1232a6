"""Small mistakes with one clear meaning, read as what was meant: one finding, and no cascade behind it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from router_dsl import syntax_codes as codes
from router_dsl.expected import OPTIONS, SIGNS
from router_dsl.lex import PUNCTUATION, Token
from router_dsl.source import Diagnostic
from router_dsl.suggest import suggest

# A word that another language uses, and what may be meant; the first that can stand there is.
_ALIASES = {
    "fallback": ("else",),
    "fallbacks": ("else",),
    "then": ("->", "else"),
    "default": ("otherwise", "defaults"),
    "if": ("when",),
    "is": ("==",),
    "equals": ("==",),
    "eq": ("==",),
    "ne": ("!=",),
    "lt": ("<",),
    "gt": (">",),
    "lte": ("<=",),
    "gte": (">=",),
    "like": ("matches",),
    "includes": ("contains",),
    "startswith": ("starts with",),
    "endswith": ("ends with",),
    "per": ("by",),
    "a": ("per",),
    "each": ("per",),
    "every": ("per",),
    "route": ("policy",),
    "include": ("import",),
    "endpoint": ("serve",),
    "base_url": ("url",),
    "api_key": ("key",),
    "timeout": ("within",),
    "retries": ("retry",),
    "alias": ("aka",),
    "aliases": ("aka",),
    "expects": ("expect",),
}
_SWAPS: dict[str, tuple[str, ...]] = {
    "ASSIGN": ("EQ", "COLON", "FROM"),
    "EQ": ("ASSIGN",),
    "COLON": ("ASSIGN", "ARROW"),
    "ARROW": ("REQUIRE",),
    "LT": ("LE",),
    "LPAR": ("LSQB",),
    "RPAR": ("RSQB",),
    "LSQB": ("LBRACE",),
    "LBRACE": ("LSQB",),
    "RSQB": ("RBRACE",),
    "BAR": ("OR", "COMMA"),
    "COMMA": ("ELSE",),
    "SLASH": ("PER",),
}
# Words that begin a part of their own: what is wrong there is not what stands before them.
_STARTERS = frozenset({"when", "otherwise", "from", "require", "else"})


@dataclass(frozen=True, slots=True)
class Mended:
    """What to read in place of a word, and the finding about it.

    Attributes:
        tokens: With their terminals; may be empty, when the word is to be skipped.
        again: The word itself follows, read in the state that the tokens lead to.
    """

    tokens: tuple[Token, ...]
    finding: Diagnostic | None
    again: bool = False

    @property
    def is_guess(self) -> bool:
        """What was meant may be something else."""
        return self.finding is not None and is_guess(self.finding)


def is_guess(finding: Diagnostic) -> bool:
    """Whether a mended mistake may have been mended wrong."""
    return finding.code in (codes.LEFT_OUT, codes.UNEXPECTED)


def mend(token: Token, ahead: Sequence[Token], accepted: Collection[str], keywords: Mapping[str, str]) -> Mended | None:
    """Return how to read a word that cannot stand where it does, or None when that is anyone's guess.

    Args:
        token: The word.
        ahead: The words behind it, to the end of what is read.
        accepted: The terminals that can stand there.
        keywords: Each keyword's terminal.
    """
    if token.kind == "ODD_NUMBER":
        return _odd_number(token, accepted)
    if token.kind == "SEMICOLON":
        return Mended((), _finding(codes.UNEXPECTED, "unexpected `;`", token, "white space separates, nothing else"))
    if (word := _meant_word(token, accepted, keywords)) is not None:
        return word
    if token.kind == "COMMA" and ahead and ahead[0].text in OPTIONS:
        return Mended((), _finding(codes.UNEXPECTED, "unexpected `,`", token, "white space separates these"))
    if (swap := next((t for t in _SWAPS.get(token.kind, ()) if t in accepted), None)) is not None:
        sign = SIGNS.get(swap) or swap.lower()
        return Mended((_stand_in(token, swap, sign),), _other_word(token, sign))
    if token.kind == "NAME" and "LABEL" in accepted and ahead and ahead[0].text == "when":
        message = f"expected `:` after the label `{token.text}`"
        tokens = (_stand_in(token, "LABEL", token.text), _stand_in(token, "COLON", ":"))
        return Mended(tokens, _finding(codes.LEFT_OUT, message, token, f"write `{token.text}: when …`"))
    if token.kind == "RPAR" and "NAME" not in accepted:
        return Mended((), _finding(codes.UNBALANCED, "this `)` closes nothing", token))
    if token.kind == "COMMA" and len(accepted) > 3:
        value_missing = "NAME" in accepted or "NUMBER" in accepted
        help_ = "something is missing before it" if value_missing else "white space separates these"
        return Mended((), _finding(codes.UNEXPECTED, "unexpected `,`", token, help_))
    return _left_out(token, ahead, accepted, keywords)


def _left_out(
    token: Token, ahead: Sequence[Token], accepted: Collection[str], keywords: Mapping[str, str]
) -> Mended | None:
    """Return the sign or keyword that must have stood before a word."""
    if token.kind not in ("NAME", "STRING", "NUMBER") or token.text in _STARTERS:
        return None
    missing = None
    if len(accepted) == 1:
        missing = next(iter(accepted))
    elif "COMMA" in accepted and "SOFT" not in accepted:
        missing = "COMMA"
    elif token.kind == "NUMBER" or "NAME" in accepted:
        return None
    elif "REQUIRE" in accepted:
        missing = "REQUIRE"
    elif "ARROW" in accepted and not any(t.kind == "ARROW" for t in ahead):
        missing = "ARROW"
    sign = None if missing is None else SIGNS.get(missing) or {t: word for word, t in keywords.items()}.get(missing)
    if missing == "PER" and token.text == "by":
        return None  # the period is missing too
    if missing is None or sign is None or (missing != "COMMA" and any(t.text == sign for t in ahead)):
        return None
    finding = _finding(codes.LEFT_OUT, f"expected `{sign}` before `{token.text}`", token)
    return Mended((_stand_in(token, missing, sign),), finding, again=True)


def _odd_number(token: Token, accepted: Collection[str]) -> Mended | None:
    if "STRING" in accepted:
        stand_in = _stand_in(token, "STRING", json.dumps(token.text))
        stand_in.kind = "STRING"
        return Mended((stand_in,), None)
    return Mended((_stand_in(token, "NUMBER", token.text),), None) if "NUMBER" in accepted else None


def _meant_word(token: Token, accepted: Collection[str], keywords: Mapping[str, str]) -> Mended | None:
    """Read a mistyped keyword, where no name could stand."""
    if token.kind != "NAME" or "NAME" in accepted:
        return None
    if token.text in _ALIASES:
        for meant in _ALIASES[token.text]:
            words = meant.split()
            terminals = [PUNCTUATION.get(word) or keywords[word] for word in words]
            if terminals[0] in accepted:
                tokens = tuple(_stand_in(token, t, w) for t, w in zip(terminals, words, strict=True))
                return Mended(tokens, _other_word(token, meant))
        return None
    near = suggest(token.text, [word for word, terminal in keywords.items() if terminal in accepted])
    if near is None:
        return None
    return Mended((_stand_in(token, keywords[near], near),), _other_word(token, near))


def _stand_in(token: Token, terminal: str, text: str) -> Token:
    stand_in = Token(token.source, token.kind, text, token.start, token.end)
    stand_in.type = terminal
    return stand_in


def _other_word(token: Token, meant: str) -> Diagnostic:
    return _finding(codes.OTHER_WORD, f"unexpected `{token.text}`", token, f"did you mean `{meant}`?")


def _finding(code: str, message: str, token: Token, help_: str | None = None) -> Diagnostic:
    return Diagnostic(code, message, token.span, help_)
