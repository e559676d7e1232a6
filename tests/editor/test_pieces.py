"""Parsing piece by piece gives what parsing the whole gives, whatever was typed before."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.authoring import realistic
from router_dsl import ast
from router_dsl.lsp.pieces import Pieces
from router_dsl.source import Diagnostic, Source
from router_dsl.syntax import parse

CASES = Path(__file__).parents[1] / "language" / "cases"
RULES = Path(__file__).parents[2] / "rules"
TEXTS = [
    (CASES / "example.route").read_text("utf-8"),
    (CASES / "tour.txt").read_text("utf-8"),
    *((path).read_text("utf-8") for path in sorted(RULES.rglob("*.route"))),
    realistic(40),
]


def places(node: object) -> list[tuple[int, int, int, str]]:
    """Return where every node of a tree is, in its file."""
    if isinstance(node, tuple):
        return [place for item in node for place in places(item)]
    if not isinstance(node, ast.Node):
        return []
    span = node.span
    own = (span.source.origin + span.start, span.source.origin + span.end, span.line, type(node).__name__)
    return [own, *(place for part in fields(node) if part.name != "span" for place in places(getattr(node, part.name)))]


def told(findings: list[Diagnostic]) -> list[dict[str, object]]:
    return [finding.to_json() for finding in findings]


def assert_the_same(pieces: Pieces, text: str) -> None:
    file, found = pieces.parse("x.route", text)
    whole, expected = parse(Source("x.route", text))
    assert file == whole
    assert sorted(name.text for name in file.broken) == sorted(name.text for name in whole.broken)
    assert told(found) == told(expected)
    assert places(file) == places(whole)


@pytest.mark.parametrize("text", TEXTS)
def test_a_sound_file_is_read_the_same_twice(text: str) -> None:
    pieces = Pieces(0)
    assert_the_same(pieces, text)
    assert_the_same(pieces, text)


def test_what_did_not_change_is_the_same_tree() -> None:
    pieces, text = Pieces(0), realistic(50)
    before, _ = pieces.parse("x.route", text)
    after, _ = pieces.parse(
        "x.route", text.replace("  r20:", "# one line more\n  r20:").replace("tenant-3", "tenant-x")
    )
    (old,), (new,) = ([i for i in file.items if isinstance(i, ast.Policy)] for file in (before, after))
    changed = [a.label.text for a, b in zip(old.rules, new.rules, strict=True) if a is not b]
    # The comment belongs to the rule before it.
    assert changed == ["r15", "r16", "r17", "r18", "r19"]
    assert new.rules[40].span.line == old.span.line + 42


_TYPED = (
    "", " ", "\n", "x", "and", '"', "{", "}", ":", "->", "otherwise", "policy p {", "# c", "limit", "a: when b -> c\n",
    "/", "/*", "}\n}",
)  # fmt: skip
_EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(_TYPED)), max_size=6)


@pytest.mark.slow
@given(st.integers(0, len(TEXTS) - 1), _EDITS)
@example(6, [(0.5, 0, "{"), (0.5, 0, "}")])
@settings(max_examples=120, deadline=None, derandomize=True)
def test_any_edits_end_in_the_same_tree_and_findings(index: int, edits: list[tuple[float, int, str]]) -> None:
    typed_and_read(index, edits)


@pytest.mark.long
@given(st.integers(0, len(TEXTS) - 1), _EDITS)
@settings(max_examples=2000, deadline=None)
def test_many_more_edits_end_in_the_same_tree_and_findings(index: int, edits: list[tuple[float, int, str]]) -> None:
    typed_and_read(index, edits)


def typed_and_read(index: int, edits: list[tuple[float, int, str]]) -> None:
    pieces, text = Pieces(0), TEXTS[index]
    for place, lost, typed in edits:
        at = int(place * len(text))
        text = text[:at] + typed + text[at + lost :]
        pieces.parse("x.route", text)
    assert_the_same(pieces, text)


@pytest.mark.slow
def test_a_rule_typed_letter_by_letter_has_the_findings_of_every_moment() -> None:
    text = realistic(30)
    at = text.index("  r20:")
    pieces = Pieces(0)
    rule = '  new: when tenant in [a, "b c"] and not has tools -> small else big by price 70%, latency 30%\n'
    for end in range(len(rule) + 1):
        assert_the_same(pieces, text[:at] + rule[:end] + text[at:])


@pytest.mark.slow
def test_lines_moved_about_at_random_are_found_where_they_are() -> None:
    random, lines = Random(7), TEXTS[0].splitlines(keepends=True)
    pieces = Pieces(0)
    for _ in range(60):
        a, b = random.randrange(len(lines)), random.randrange(len(lines))
        lines[a], lines[b] = lines[b], lines[a]
        assert_the_same(pieces, "".join(lines))
