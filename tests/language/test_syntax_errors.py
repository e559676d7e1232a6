"""Broken files: every independent mistake at once, in an author's words, and never an exception.

A case is the file, a line of dashes, and the rendered findings. `python tests/language/test_syntax_errors.py`
rewrites the findings; read every difference as an author would before keeping it.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_dsl import ast, expected
from router_dsl.lex import PUNCTUATION, lex
from router_dsl.source import Diagnostic, Source, render
from router_dsl.suggest import distance, suggest
from router_dsl.syntax import parse, tables
from router_dsl.syntax_codes import SYNTAX_CODES

CASES = Path(__file__).parent / "cases" / "syntax"
NAMES = sorted(path.stem for path in CASES.glob("*.case"))
TOUR = (CASES.parent / "tour.txt").read_text(encoding="utf-8")
DASHES = "----\n"


def found(text: str) -> list[Diagnostic]:
    return parse(Source("x.route", text))[1]


def parsed(text: str) -> None:
    assert [render(d) for d in found(text)] == []


def rendered(text: str) -> str:
    return "\n\n".join(render(d) for d in found(text)) + "\n"


def parts(name: str) -> tuple[str, str]:
    text, _, findings = (CASES / f"{name}.case").read_text(encoding="utf-8").partition(DASHES)
    return text, findings


@pytest.mark.parametrize("name", NAMES)
def test_findings_are_as_written(name: str) -> None:
    text, findings = parts(name)
    assert rendered(text) == findings


def test_every_code_has_a_page_and_a_case() -> None:
    said = {d.code for name in NAMES for d in found(parts(name)[0])}
    assert said | {"E109"} == set(SYNTAX_CODES)


@pytest.mark.parametrize("name", NAMES)
def test_messages_keep_the_house_style(name: str) -> None:
    for d in found(parts(name)[0]):
        for line in (d.message, d.help or "x"):
            assert not line.endswith(".")
            assert not line[0].isupper()
            assert "__" not in line
            assert "\n" not in line


def test_what_is_sound_in_a_broken_file_is_kept() -> None:
    file, diagnostics = parse(
        Source(
            "t",
            'provider p { url "u"\n  regoin: eu\n}\nmodel m { context big\n serve p "x" }\nlet broken = >\n'
            "policy q {\n  a: when x -> m\n  b: when -> m\n  otherwise -> m\n}\n"
            'test "t" {\n  expect reject m\n  expect m\n}\n',
        )
    )
    assert len(diagnostics) == 5
    assert [type(item).__name__ for item in file.items] == ["Provider", "Model", "Policy", "Test"]
    policy = file.items[2]
    assert isinstance(policy, ast.Policy)
    assert [rule.label.text for rule in policy.rules] == ["a", "otherwise"]
    assert [name.text for name in file.broken] == ["broken", "b"]


def test_all_independent_errors_are_found_at_once() -> None:
    rules = "\n".join(f"  r{i}: when x{i} == -> m" for i in range(40))
    diagnostics = found(f"policy p {{\n{rules}\n  otherwise -> m\n}}\n")
    assert [d.span.line for d in diagnostics] == list(range(2, 42))


DEEP = 10_000


@pytest.mark.parametrize(
    "text",
    [
        "let x = " + "(" * DEEP + "a" + ")" * DEEP,
        "let x = " + "not " * DEEP + "a",
        "let x = " + "not (" * DEEP + "a" + ")" * DEEP,
        "let x = " + "a and (b or (" * DEEP + "c",
        "let x = " + "(" * DEEP,
        "let x = a" + ")" * DEEP,
        "{" * DEEP,
        "}" * DEEP,
        "let x = " + "[" * DEEP,
        "policy p {" * DEEP,
        "policy p { a: when x -> m else " * DEEP,
    ],
)
def test_deep_nesting_is_a_finding(text: str) -> None:
    diagnostics = found(text)
    assert diagnostics
    for d in diagnostics:
        render(d)


def test_what_nests_as_deep_as_allowed_is_fine() -> None:
    parsed("let x = " + "(" * 64 + "a" + ")" * 64)
    parsed("let x = " + "(" * 40 + "a" + ")" * 40 + " and " + "(" * 60 + "a" + ")" * 60)
    assert [d.code for d in found("let x = " + "(" * 65 + "a" + ")" * 65)] == ["E109"]
    assert [d.code for d in found("let x = " + "not " * 65 + "a\nlet y = " + "(" * 65 + "a" + ")" * 65)] == ["E109"] * 2


JUNK = [
    "\x00",
    "\ud800",
    "(",
    "?",
    '"',
    "'",
    "/",
    "/*",
    "“",
    "é",
    "\u00a0",
    "policy x {\n",
    "a ",
    "policy ",
    "when x: ",
    "a, ",
    "a: when\n",
    "\\",
    "$",
    "5.",
    "-",
    "\n",
    "`",
]


@pytest.mark.parametrize(
    "size", [pytest.param(100_000, marks=pytest.mark.slow), pytest.param(1_000_000, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("junk", JUNK)
def test_any_amount_of_junk_is_answered(junk: str, size: int) -> None:
    diagnostics = found(junk * (size // len(junk)))
    assert len(diagnostics) <= 500
    assert diagnostics or junk == "\n"


def test_characters_that_are_none_are_findings() -> None:
    assert [d.code for d in found('let x = "a\x00b"')] == ["E102"]
    assert [d.code for d in found('let x = a == "\ud800"')] == ["E102"]
    assert [d.code for d in found("let x\x00 = a")] == ["E103"]
    assert [d.code for d in found("let x = a \ud800")] == ["E103"]
    for text in ('let x = "\ud800"', "let x = \ud800", "\ud800: \ud800 '\ud800"):
        for d in found(text):
            (d.message + (d.help or "")).encode()


WORDS = sorted(
    {
        *tables().keywords,
        *PUNCTUATION,
        "a",
        "b-c",
        '"s"',
        "1",
        "2k",
        "$3",
        "5%",
        "/x/",
        "# c\n",
        "\n",
        "'",
        '"',
        "!",
        "\x00",
    }
)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
def test_no_words_in_any_order_raise(text: str) -> None:
    file, diagnostics = parse(Source("t", text))
    for d in diagnostics:
        assert 0 <= d.span.start <= d.span.end <= len(text)
        render(d)
    assert file.items or file.broken or diagnostics or not lex(Source("t", text)).tokens


@settings(max_examples=200)
@given(st.text(st.characters(codec=None), max_size=80))
def test_no_text_raises(text: str) -> None:
    for d in found(text):
        render(d)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_no_edit_of_a_sound_file_raises_or_stays_silent_about_a_loss(random: random.Random) -> None:
    words = re.split(r"(\s+)", TOUR)
    at = random.randrange(0, len(words), 2)
    match random.randrange(3):
        case 0:
            del words[at]
        case 1:
            words.insert(at, random.choice(words[::2]) + " ")
        case _:
            words[at] = words[at][:-1]
    file, diagnostics = parse(Source("t", "".join(words)))
    assert diagnostics or file.items
    assert len(diagnostics) <= 4, [render(d) for d in diagnostics]


# --- words ----------------------------------------------------------------------------------------


def test_the_grammars_signs_are_the_lexers() -> None:
    signs = {row for rows in tables().actions for row in rows} - set(tables().keywords.values())
    assert signs - {"NAME", "STRING", "NUMBER", "REGEX", "LABEL", "$END"} == set(PUNCTUATION.values())


def test_the_words_of_messages_are_the_grammars() -> None:
    assert set(expected.DECLARATIONS) | set(expected.OPTIONS) <= set(tables().keywords)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("polcy", "policy"),
        ("Policy", "policy"),
        ("plicoy", "policy"),
        ("guadr", "guard"),
        ("xyz", None),
        ("p", None),
        ("", None),
    ],
)
def test_the_nearest_word(word: str, meant: str | None) -> None:
    assert suggest(word, ["provider", "policy", "guard", "pool"]) == meant


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_distance_is_symmetric_and_zero_only_for_the_same(a: str, b: str) -> None:
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)


if __name__ == "__main__":
    for name in NAMES:
        text, _ = parts(name)
        (CASES / f"{name}.case").write_text(text + DASHES + rendered(text), encoding="utf-8")
