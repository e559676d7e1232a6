"""A file with syntax errors is checked as far as it was understood, and nothing is blamed on what was lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from router_dsl.check.program import check
from router_dsl.load import load, load_text
from router_dsl.source import Diagnostic, in_order

BASE = 'provider p { url "https://p.example/v1" }\nmodel m { serve p "m" }\n'


def checked(text: str) -> list[Diagnostic]:
    files, reported = load_text(text, "x.route")
    assert reported, "the text is meant to be broken"
    program, found = check(files, reported)
    assert program is None
    return in_order(found)


def said(text: str) -> list[tuple[str, str]]:
    return [(finding.code, finding.span.text) for finding in checked(text)]


@pytest.mark.parametrize(
    "text",
    [
        BASE + "let long = prompt.tokens >\npolicy main { a: when long -> m  otherwise -> m }",
        BASE + "let eu = [de, fr\npolicy main { a: when region in eu -> m  otherwise -> m }",
        BASE + "fact plan: one off a, b from key.plan\npolicy main { a: when plan == a -> m  otherwise -> m }",
        BASE + "limit spend: $200 pre day by tenant soft\npolicy main { a: when over spend -> m  otherwise -> m }",
        BASE + "pool fast = m @\npolicy main { a: when healthy(fast) < 50% -> fast  otherwise -> m }",
        BASE + 'model n { context contxt  serve p "n" }\npolicy main { otherwise -> n else n @ p else m }',
        BASE + 'model n { serv p "n" }\npolicy main { otherwise -> n @ p else m }',
        'provider p { ulr "https://p.example/v1" }\nmodel m { serve p "m" }\npolicy main { otherwise -> m @ p }',
        BASE + "policy main { otherwise -> policy other }\npolicy other { a: when -> m  otherwise -> m }",
        BASE + "policy main { a: when stream -> m  otherwise -> m else }",
        BASE + "policy main { a: when stream and -> m  otherwise -> m }\nassert reachable a",
        BASE + 'policy main { a: when stream and -> m  otherwise -> m }\ntest "t" { expect rule a }',
        BASE + "policy main { a: when stream -> m  other wise -> m }",
        BASE + "polcy main { otherwise -> m }",
    ],
)
def test_what_the_broken_part_declares_is_not_unknown(text: str) -> None:
    assert said(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            BASE + "let long = prompt.tokens >\npolicy main { a: when taks == code -> mm  otherwise -> m }",
            [("E204", "taks"), ("E206", "mm")],
        ),
        (
            BASE
            + "policy main {\n a: when stream and -> m\n b: when weather == rain -> other\n otherwise -> m within 5 }",
            [("E204", "weather"), ("E206", "other"), ("E302", "5")],
        ),
        (
            BASE + 'policy main {\n a: when stream and -> m\n b: when turns == "3" -> m\n}\n'
            "policy other { c: when stream -> m }",
            [("E301", '"3"'), ("E401", "other")],
        ),
    ],
)
def test_independent_mistakes_are_reported_in_the_same_run(text: str, expected: list[tuple[str, str]]) -> None:
    assert [finding for finding in said(text) if finding != ("E401", "main")] == expected


def test_warnings_that_need_the_whole_wait() -> None:
    text = (
        BASE + "let a = stream\npolicy main {\n a: when has tools -> m\n b: when has tools -> m\n c: when -> m\n"
        " otherwise -> m }"
    )
    assert said(text) == []


def test_while_an_import_is_missing_only_near_names_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "root.route"
    path.write_text(
        'import "lib.route"\n'
        "policy main { a: when prompt.token > 3 and x in regions -> fast  otherwise -> policy other }",
        encoding="utf-8",
    )
    files, reported = load(path)
    _, found = check(files, reported)
    assert [finding.message for finding in found] == ["unknown fact `prompt.token`"]


def test_an_import_with_a_broken_declaration_hides_it_too(tmp_path: Path) -> None:
    path = tmp_path / "root.route"
    path.write_text('import "lib.route"\npolicy main { otherwise -> fast else slow }', encoding="utf-8")
    (tmp_path / "lib.route").write_text(BASE + 'model fast { context = 8k  serve p "fast" }', encoding="utf-8")
    files, reported = load(path)
    _, found = check(files, reported)
    assert [finding.message for finding in found] == ["unknown model or pool `slow`"]
