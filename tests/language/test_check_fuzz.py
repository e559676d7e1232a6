"""Nothing an author can write makes the checker fail: every text gives a program or findings."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_dsl.check.program import check
from router_dsl.load import load_text
from router_dsl.plan import Program
from router_dsl.source import in_order, render

CASES = Path(__file__).parent / "cases" / "check"
TEXTS = [path.read_text(encoding="utf-8").partition("----\n")[0] for path in sorted(CASES.glob("*.case"))]
TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|/[^/\n]*/i?|[A-Za-z_][\w-]*|\$?[0-9][0-9.]*[A-Za-z%]*|->|[=!<>]=|\.\.|\s+|.')
KEYWORDS = frozenset(
    """when where policy model provider serve pool fact let guard limit test given expect assert else by and or not in
    has missing over from per require otherwise import defaults as reject split""".split()  # noqa: SIM905
)
ODD = ['"\\n"', '""', '"a@b"', "-1", "$-1", "0", "%", "5xx", "healthy(m)", "key", "true", "missing", "1" * 5000, "é"]


def kind(token: str) -> str:
    """Tokens of one kind can mostly stand for each other without a syntax error."""
    if token in KEYWORDS or not token.strip():
        return token
    if token[0].isalpha():
        return "name"
    if token[0].isdigit() or token[0] == "$":
        return "number"
    return {'"': "string", "/": "regex"}.get(token[0], token)


WORDS: dict[str, list[str]] = {}
for _text in TEXTS:
    for _token in TOKEN.findall(_text):
        WORDS.setdefault(kind(_token), []).append(_token)
for _words in WORDS.values():
    _words[:] = sorted(set(_words))
ANY = sorted({word for words in WORDS.values() for word in words}) + ODD


@st.composite
def texts(draw: st.DrawFn) -> str:
    tokens = TOKEN.findall(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(0, len(tokens) - 1))
        same_kind = draw(st.integers(0, 9)) > 0
        tokens[place] = draw(st.sampled_from(WORDS[kind(tokens[place])] if same_kind else ["", *ANY]))
        if kind(tokens[place]) not in WORDS:
            WORDS[kind(tokens[place])] = [tokens[place]]
    return "".join(tokens)


def survives(text: str) -> None:
    files, reported = load_text(text, "x.route")
    program, found = check(files, reported)
    findings = in_order([*reported, *found])
    for finding in findings:
        assert render(finding)
        assert msgspec.json.encode(finding.to_json())
    assert (program is None) == any(finding.severity == "error" for finding in findings)
    if program is not None:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(program), type=Program) == program


@given(texts())
@settings(max_examples=150, deadline=None)
@pytest.mark.slow
def test_every_text_gives_a_program_or_findings(text: str) -> None:
    survives(text)


@given(texts())
@settings(max_examples=20_000, deadline=None)
@pytest.mark.long
def test_every_one_of_many_texts_gives_a_program_or_findings(text: str) -> None:
    survives(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\ufeff",
        "#",
        "policy",
        "policy main { otherwise -> m }" * 50,
        "policy main {" + "a: when stream -> reject 400 " * 500 + "otherwise -> reject 400 }",
        "\n".join(f"let l{n} = not l{n + 1}" for n in range(3000)) + "\nlet l3000 = stream\n"
        "policy main { a: when l0 -> reject 400  otherwise -> reject 401 }",
        "\n".join(f"let l{n} = l{n - 1} and l{n - 1}" for n in range(1, 60)) + "\nlet l0 = stream\n"
        "policy main { a: when l59 -> reject 400  otherwise -> reject 401 }",
        "\n".join(f"policy p{n} {{ otherwise -> policy p{n + 1} }}" for n in range(2000))
        + "\npolicy p2000 { otherwise -> reject 400 }",
    ],
    ids=["empty", "blank", "mark", "comment", "word", "policies", "labels", "lets", "doubling", "calls"],
)
def test_extremes_give_findings(text: str) -> None:
    survives(text)
