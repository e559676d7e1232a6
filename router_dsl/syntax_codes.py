"""The codes of mistakes that the parser finds, with what each page says about them."""

from __future__ import annotations

UNEXPECTED = "E100"
TOO_EARLY = "E101"
BAD_STRING = "E102"
BAD_CHARACTER = "E103"
BAD_NUMBER = "E104"
BAD_NAME = "E105"
OTHER_WORD = "E106"
LEFT_OUT = "E107"
UNBALANCED = "E108"
TOO_DEEP = "E109"
BAD_REGEX = "E110"

SYNTAX_CODES: dict[str, tuple[str, str]] = {
    UNEXPECTED: (
        "unexpected word",
        "The file is well formed up to the marked word, which cannot stand there. The message says what can.",
    ),
    TOO_EARLY: (
        "unfinished",
        "A rule, a declaration or the file ends before it is complete: something is missing behind the marked word.",
    ),
    BAD_STRING: (
        "malformed string",
        'Strings stand in straight double quotes, on one line: `"…"`. Escapes are those of JSON: `\\"`, `\\\\`, '
        "`\\/`, `\\b`, `\\f`, `\\n`, `\\r`, `\\t` and `\\uXXXX`, where a surrogate needs its partner.",
    ),
    BAD_CHARACTER: (
        "character with no meaning",
        "The marked character belongs to no word of the language. Outside strings and comments a file is plain "
        "ASCII; copied text often brings invisible spaces.",
    ),
    BAD_NUMBER: (
        "malformed number",
        "A number is digits, with a fraction perhaps, `$` before or a unit behind: `24k`, `1.5M`, `800ms`, "
        '`$0.90`, `95%`. Dates, versions and addresses are text: write them as strings, `"2026-12-24"`.',
    ),
    BAD_NAME: (
        "malformed name",
        "A bare name is made of ASCII letters, digits, `_` and, inside, `-`, and does not begin with a digit. Any "
        'other name is written as a string, `"llama-3.3"`. A name is never empty.',
    ),
    OTHER_WORD: (
        "word of another language",
        "The marked word is mistyped, or another language's: `==` compares, `and`, `or`, `not` connect, `else` "
        "names the next target, `->` leads to the action, `#` begins a comment. It was read as what the help says.",
    ),
    LEFT_OUT: (
        "something left out",
        "A word or sign that must stand before the marked word is missing.",
    ),
    UNBALANCED: (
        "unbalanced bracket",
        "Every `{`, `[` and `(` needs its partner. The marked one has none.",
    ),
    TOO_DEEP: (
        "nested too deeply",
        "Parentheses and `not` may nest 64 levels. Give parts of the condition names with `let`.",
    ),
    BAD_REGEX: (
        "malformed regex",
        "A regex stands between slashes on one line, `/…/`, with `i` behind it to ignore case. A slash inside is "
        "written `\\/`.",
    ),
}
"""Code → title and explanation."""
