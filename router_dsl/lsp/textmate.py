"""The colours of `.route` files as a TextMate grammar, made from the grammar's keywords and the scheme's facts.

`python -m router_dsl.lsp.textmate` rewrites `docs/editors/vscode/syntaxes/route.tmLanguage.json`; a test holds it in
step.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from router_dsl.expected import DECLARATIONS, OPTIONS
from router_dsl.fields import ENDPOINT, FAMILIES, REQUEST
from router_dsl.syntax import tables

FILE = Path("docs/editors/vscode/syntaxes/route.tmLanguage.json")

# Words of conditions, told apart from those that say what to do.
_ASKING = (
    "and", "or", "not", "in", "contains", "starts", "ends", "with", "matches", "has", "missing", "over",
)  # fmt: skip
_NAME = r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*"
_NAMED = rf'(?:{_NAME}|"(?:[^"\\\n]|\\.)*")'
_NUMBER = r"(?:(?<=\.\.)|(?<![\w.-]))[-+]?\$?[0-9]+(?:\.[0-9]+)?(?:%|[A-Za-z]+)?(?![\w-])"


_ESCAPE = r"\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4})"


def grammar() -> dict[str, object]:
    """Return the grammar."""
    keywords = set(tables().keywords)
    declared = [word for word in DECLARATIONS if word not in ("import", "defaults", "assert")]
    doing = sorted(keywords - set(_ASKING) - set(OPTIONS))
    facts = sorted({name for name in (*REQUEST, *ENDPOINT) if "*" not in name}, key=lambda name: (-len(name), name))
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "Route",
        "scopeName": "source.route",
        "fileTypes": ["route"],
        "patterns": [
            {"name": "comment.line.number-sign.route", "match": "#.*$"},
            {
                "match": rf"^[ \t]*({'|'.join(declared)})[ \t]+({_NAMED})(?=[ \t]*[{{=:])",
                "captures": {"1": {"name": "storage.type.route"}, "2": {"name": "entity.name.type.route"}},
            },
            {
                "match": rf"(?<![\w.-])({_NAMED})[ \t]*(:)(?=[ \t]*when(?![\w-]))",
                "captures": {"1": {"name": "entity.name.function.route"}, "2": {"name": "punctuation.route"}},
            },
            {
                "match": r"(?<![\w.-])(matches)[ \t]+(/(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/i?)",
                "captures": {"1": {"name": "keyword.operator.word.route"}, "2": {"name": "string.regexp.route"}},
            },
            {
                "name": "string.quoted.double.route",
                "begin": '"',
                "end": '"|$',
                "patterns": [{"name": "constant.character.escape.route", "match": _ESCAPE}],
            },
            {"name": "support.variable.route", "match": rf"(?<![\w.-])(?:{'|'.join(FAMILIES)}|env|body)\.{_NAMED}"},
            {"name": "support.variable.route", "match": _words(name for name in facts if "." in name)},
            {"name": "constant.numeric.route", "match": _NUMBER},
            {"name": "keyword.operator.word.route", "match": _words(_ASKING)},
            {"name": "keyword.control.route", "match": _words(doing)},
            {"name": "keyword.other.option.route", "match": _words(OPTIONS)},
            {"name": "support.variable.route", "match": _words(name for name in facts if "." not in name)},
            {"name": "constant.language.route", "match": _words(("true", "false"))},
            {"name": "keyword.operator.arrow.route", "match": "->"},
            {"name": "keyword.operator.comparison.route", "match": "==|!=|<=|>=|<|>"},
            {"name": "variable.other.route", "match": rf"(?<![\w.-]){_NAME}"},
        ],
    }


def _words(words: Iterable[str]) -> str:
    return rf"(?<![\w.-])(?:{'|'.join(map(re.escape, words))})(?![\w-])"


def text() -> str:
    """Return the grammar as its file has it."""
    return json.dumps(grammar(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else FILE).write_text(text(), encoding="utf-8")
