"""Every diagnostic code of the language, with its page: what it means, a failing example, the mended one."""

from __future__ import annotations

from dataclasses import dataclass

from router_dsl.check.codes_claims import CLAIMS
from router_dsl.check.codes_names import NAMES
from router_dsl.check.codes_structure import STRUCTURE
from router_dsl.check.codes_types import TYPES
from router_dsl.check.codes_warnings import WARNINGS
from router_dsl.compile.codes import COMPILE
from router_dsl.syntax_codes import SYNTAX_CODES


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding.

    Attributes:
        title: A few words, lower case.
        explanation: What it means and why it is refused, in Markdown.
        example: A text that has it; `mended`: the same without. `complete` makes a whole file of either.
    """

    title: str
    explanation: str
    example: str
    mended: str


# What the parser's own table leaves out: a failing text and the mended one.
_SYNTAX_EXAMPLES: dict[str, tuple[str, str]] = {
    "E100": (
        "policy main { otherwise -> m; }",
        "policy main { otherwise -> m }",
    ),
    "E101": (
        "policy main { otherwise -> }",
        "policy main { otherwise -> m }",
    ),
    "E102": (
        "policy main { a: when stream -> reject 403 'no'  otherwise -> m }",
        'policy main { a: when stream -> reject 403 "no"  otherwise -> m }',
    ),
    "E103": (
        "policy main { otherwise -> m $ }",
        "policy main { otherwise -> m }",
    ),
    "E104": (
        "policy main { a: when time.date == 2026-12-24 -> m  otherwise -> m }",
        'policy main { a: when time.date == "2026-12-24" -> m  otherwise -> m }',
    ),
    "E105": (
        "policy main { a: when user == zoé -> m  otherwise -> m }",
        'policy main { a: when user == "zoé" -> m  otherwise -> m }',
    ),
    "E106": (
        "policy main { a: when stream && has tools -> m  otherwise -> m }",
        "policy main { a: when stream and has tools -> m  otherwise -> m }",
    ),
    "E107": (
        "policy main { a when stream -> m  otherwise -> m }",
        "policy main { a: when stream -> m  otherwise -> m }",
    ),
    "E108": (
        "policy main { otherwise -> m",
        "policy main { otherwise -> m }",
    ),
    "E109": (
        f"policy main {{ a: when {'(' * 70}stream{')' * 70} -> m  otherwise -> m }}",
        "policy main { a: when stream -> m  otherwise -> m }",
    ),
    "E110": (
        "policy main {\n  a: when prompt.last matches /code -> m\n  otherwise -> m\n}",
        "policy main {\n  a: when prompt.last matches /code/ -> m\n  otherwise -> m\n}",
    ),
}

CODES: dict[str, Code] = {
    **{code: Code(*page, *_SYNTAX_EXAMPLES.get(code, ("", ""))) for code, page in SYNTAX_CODES.items()},
    **{
        code: Code(*page)
        for table in (NAMES, TYPES, STRUCTURE, WARNINGS, COMPILE, CLAIMS)
        for code, page in table.items()
    },
}
"""Code → its page, in the order of the codes."""

_BASE = 'provider p { url "https://p.example/v1" }\nmodel m { serve p "m" price $1 in $2 out }\n'
_POLICY = "policy main { otherwise -> m }\n"


def complete(example: str) -> str:
    """Return an example as a whole file: with a provider, a model and a policy where it shows none."""
    base = "" if "provider " in example or "model " in example else _BASE
    return f"{base}{example}\n" + ("" if "policy " in example else _POLICY)
